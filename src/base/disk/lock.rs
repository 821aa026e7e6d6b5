//! Lock of a path: one process holds it at a time.
//!
//! Owns the file that is locked. The lock is the kernel's: it ends with its holder, however that dies, so that
//! the file stays when it is given up. Removing it would let two hold it, one by the old file and one by the
//! new.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// How often the file may be removed by somebody while it is being taken.
const REMOVALS_MAX: u32 = 3;

/// Holds a path for as long as it lives.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "telegram"),
    expect(dead_code, reason = "only some ask about what they hold")
)]
pub(crate) struct PathLock {
    path: PathBuf,
    file: File,
}

/// Why a path is not held.
#[derive(Debug)]
#[cfg_attr(not(feature = "telegram"), expect(dead_code, reason = "only some ask who holds it"))]
pub(crate) enum PathLockError {
    /// Somebody else holds it, by this file.
    Held(File),
    /// The system refuses.
    Io(io::Error),
}

impl PathLock {
    /// Takes the lock, or says at once that somebody has it. The path must lead over no link, or two names of
    /// one file would not meet.
    pub(crate) fn take(path: &Path) -> Result<Self, PathLockError> {
        Self::take_opened(path, || open(path))
    }

    /// Takes the lock of a file that is opened so.
    fn take_opened(
        path: &Path,
        mut open: impl FnMut() -> io::Result<File>,
    ) -> Result<Self, PathLockError> {
        for _ in 0..REMOVALS_MAX {
            let file = open().map_err(PathLockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(PathLockError::Held(file)),
                Err(TryLockError::Error(error)) => return Err(PathLockError::Io(error)),
            }
            if is_at(&file, path) {
                return Ok(Self { path: path.to_owned(), file });
            }
        }
        Err(PathLockError::Io(io::Error::other("it is removed again and again")))
    }
}

#[cfg(feature = "telegram")]
impl PathLock {
    /// Whether the file that is held still stands at its path.
    pub(crate) fn is_current(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// The file, into which its holder may write who it is.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// The lock beside a file. It stays there: to remove it would let two writers hold two files.
pub(crate) fn lock_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}

/// Opens the file, and makes it unless it is there. Anything else in its place is left alone.
fn open(path: &Path) -> io::Result<File> {
    if let Ok(found) = std::fs::symlink_metadata(path)
        && !found.is_file()
    {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether a file still stands at its path: whoever opens that would else lock another one.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let here = file.metadata().map(place);
    matches!((here, std::fs::metadata(path).map(place)), (Ok(here), Ok(there)) if here == there)
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
pub(crate) fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_removed_while_it_is_taken_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.lock");
        let mut opened = 0;
        let mut removing = |times: u32| {
            opened += 1;
            let file = open(&path)?;
            if opened <= times {
                std::fs::remove_file(&path)?;
            }
            Ok(file)
        };
        let lock = PathLock::take_opened(&path, || removing(2)).unwrap();
        assert!(is_at(&lock.file, &path));
        assert!(matches!(PathLock::take(&path), Err(PathLockError::Held(_))));
        drop(lock);
        let refused = PathLock::take_opened(&path, || removing(u32::MAX));
        assert!(matches!(refused, Err(PathLockError::Io(_))), "not for ever");
    }
}
