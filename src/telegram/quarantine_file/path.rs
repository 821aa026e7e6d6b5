//! Path of the quarantine file: where it leads, and whether a file may be replaced there.
//!
//! Owns the way through symbolic links. Never opens what it looks at: opening a FIFO waits for its
//! other end, and opening a device may do anything.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::QuarantineFileError;
use crate::base::disk::folder;

/// How many links may lead to a file.
const HOPS_MAX: usize = 32;

/// The file that a path leads to, which need not be there yet, by the whole path of its folder.
/// Who writes beside it and renames replaces that file, and leaves the links as they are.
pub(super) fn resolve(named: &Path) -> Result<PathBuf, QuarantineFileError> {
    let mut path = named.to_owned();
    for _ in 0..=HOPS_MAX {
        match look(&path)? {
            Some(found) if found.is_symlink() => {
                let target = fs::read_link(&path);
                let target = target.map_err(|error| QuarantineFileError::io(&path, error))?;
                path = folder(&path).join(target);
            }
            Some(found) if !found.is_file() => return Err(no_file(&path, found)),
            _ => return whole(&path),
        }
    }
    let what = "a symbolic link that leads to itself, or over more than 32 others";
    Err(QuarantineFileError::NotAFile { path: named.to_owned(), what })
}

/// Whether the file is there. Anything else that stands in its place is an error.
pub(super) fn is_there(path: &Path) -> Result<bool, QuarantineFileError> {
    match look(path)? {
        Some(found) if !found.is_file() => Err(no_file(path, found)),
        found => Ok(found.is_some()),
    }
}

/// What stands at a path, links not followed.
fn look(path: &Path) -> Result<Option<FileType>, QuarantineFileError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(QuarantineFileError::io(path, error)),
    }
}

fn whole(path: &Path) -> Result<PathBuf, QuarantineFileError> {
    let failed = |error| QuarantineFileError::io(path, error);
    let nameless = || failed(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    let name = path.file_name().ok_or_else(nameless)?;
    Ok(fs::canonicalize(folder(path)).map_err(failed)?.join(name))
}

fn no_file(path: &Path, found: FileType) -> QuarantineFileError {
    let what = match found {
        found if found.is_dir() => "a folder",
        found if found.is_symlink() => "a symbolic link by now",
        found => special(found),
    };
    QuarantineFileError::NotAFile { path: path.to_owned(), what }
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

#[cfg(unix)]
#[cfg(test)]
mod tests;
