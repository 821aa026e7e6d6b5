//! Where a path leads to, and whether a file may be replaced there.
//!
//! Owns the way through symbolic links. Never opens what it looks at: opening a FIFO waits for its
//! other end, and opening a device may do anything.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::folder;

/// Why no file can be replaced at a path.
#[derive(Debug)]
pub(crate) enum PlaceError {
    /// Something else stands there.
    NotAFile { path: PathBuf, what: &'static str },
    /// It cannot be looked at.
    Io { path: PathBuf, error: io::Error },
}

impl PlaceError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}

/// How many links may lead to a file.
pub(crate) const HOPS_MAX: usize = 32;

/// The file that a path leads to, which need not be there yet, by the whole path of its folder.
/// Who writes beside it and renames replaces that file, and leaves the links as they are.
pub(crate) fn resolve(named: &Path) -> Result<PathBuf, PlaceError> {
    let mut path = named.to_owned();
    for _ in 0..=HOPS_MAX {
        match look(&path)? {
            Some(found) if found.is_symlink() => {
                let target = fs::read_link(&path);
                let target = target.map_err(|error| PlaceError::io(&path, error))?;
                path = folder(&path).join(target);
            }
            Some(found) if !found.is_file() => return Err(no_file(&path, found)),
            _ => return whole(&path),
        }
    }
    let what = "a symbolic link that leads to itself, or over more than 32 others";
    Err(PlaceError::NotAFile { path: named.to_owned(), what })
}

/// Whether the file is there. Anything else that stands in its place is an error.
#[cfg(feature = "telegram")]
pub(crate) fn is_there(path: &Path) -> Result<bool, PlaceError> {
    match look(path)? {
        Some(found) if !found.is_file() => Err(no_file(path, found)),
        found => Ok(found.is_some()),
    }
}

/// What stands at a path, links not followed.
fn look(path: &Path) -> Result<Option<FileType>, PlaceError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PlaceError::io(path, error)),
    }
}

fn whole(path: &Path) -> Result<PathBuf, PlaceError> {
    let failed = |error| PlaceError::io(path, error);
    let nameless = || failed(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    let name = path.file_name().ok_or_else(nameless)?;
    Ok(fs::canonicalize(folder(path)).map_err(failed)?.join(name))
}

fn no_file(path: &Path, found: FileType) -> PlaceError {
    let what = match found {
        found if found.is_dir() => "a folder",
        found if found.is_symlink() => "a symbolic link by now",
        found => special(found),
    };
    PlaceError::NotAFile { path: path.to_owned(), what }
}

#[cfg(unix)]
fn special(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;

    match found {
        found if found.is_fifo() => "a FIFO",
        found if found.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn special(_found: FileType) -> &'static str {
    "no regular file"
}
