//! Lock file: one process holds it at a time.
//!
//! Owns the lock and the line that says who holds it. The lock is the kernel's: it ends with its
//! holder, however that dies, so that the file stays when it is given up. Removing it would let
//! two hold it, one by the old file and one by the new. What the line says counts only while the
//! lock is held.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ownership::{Holder, is_at};

/// How much is read of what a holder has written.
const LINE_LEN_MAX: u64 = 4096;
/// How often it is looked for a line that the holder has not written yet, and how long it is waited
/// in between.
const LOOKS: u32 = 5;
const LOOK_STEP: Duration = Duration::from_millis(10);
/// How often the file may be removed by somebody while it is being taken.
const REMOVALS_MAX: u32 = 3;

/// Why a file is not held.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody holds it, who may be known.
    Held(Option<Holder>),
    Io(io::Error),
}

/// Holds a file for as long as it lives.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    file: File,
}

impl FileLock {
    /// Takes the lock, or says at once who has it. The path must lead over no link, or two names of
    /// one file would not meet.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        for _ in 0..REMOVALS_MAX {
            let file = open(path).map_err(LockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&file))),
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
            let lock = Self { path: path.to_owned(), file };
            if lock.is_current() {
                // Whoever is refused is told less if this fails, and is refused all the same.
                lock.sign().ok();
                return Ok(lock);
            }
        }
        Err(LockError::Io(io::Error::other("it is removed again and again")))
    }

    /// Whether the file that is held still stands at its path.
    pub(crate) fn is_current(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    fn sign(&self) -> io::Result<()> {
        let mut line = serde_json::to_string(&Holder::myself(None))?;
        line.push('\n');
        self.file.set_len(0)?;
        (&self.file).seek(SeekFrom::Start(0))?;
        (&self.file).write_all(line.as_bytes())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // So that the next holder is not taken for this one before it has signed. The lock ends
        // with the descriptor.
        self.file.set_len(0).ok();
    }
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

/// What the holder has written of itself, which it does as soon as it has the lock.
fn holder(mut file: &File) -> Option<Holder> {
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(LOOK_STEP);
        }
        let mut line = String::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(LINE_LEN_MAX).read_to_string(&mut line).ok()?;
        if let Ok(holder) = serde_json::from_str(&line) {
            return Some(holder);
        }
    }
    None
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
