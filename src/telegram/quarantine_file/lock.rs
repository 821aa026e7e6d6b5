//! Lock file: one process holds it at a time.
//!
//! Owns the line that says who holds it, which counts only while the lock is held.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::base::disk::{PathLock, PathLockError};
use crate::ownership::Holder;

/// How much is read of what a holder has written.
const LINE_LEN_MAX: u64 = 4096;
/// How often it is looked for a line that the holder has not written yet, and how long it is waited
/// in between.
const LOOKS: u32 = 5;
const LOOK_STEP: Duration = Duration::from_millis(10);

/// Why a file is not held.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody holds it, who may be known.
    Held(Option<Holder>),
    Io(io::Error),
}

/// Holds a file for as long as it lives.
#[derive(Debug)]
pub(crate) struct FileLock(PathLock);

impl FileLock {
    /// Takes the lock, or says at once who has it. The path must lead over no link, or two names of
    /// one file would not meet.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let lock = PathLock::take(path).map_err(|error| match error {
            PathLockError::Held(file) => LockError::Held(holder(&file)),
            PathLockError::Io(error) => LockError::Io(error),
        })?;
        let lock = Self(lock);
        // Whoever is refused is told less if this fails, and is refused all the same.
        lock.sign().ok();
        Ok(lock)
    }

    /// Who holds the path, if anybody does. Unlike taking it, a look keeps nobody from it for longer than that.
    #[cfg(feature = "store")]
    pub(crate) fn holder(path: &Path) -> io::Result<Option<Option<Holder>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(std::fs::TryLockError::WouldBlock) => Ok(Some(holder(&file))),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the file that is held still stands at its path.
    pub(crate) fn is_current(&self) -> bool {
        self.0.is_current()
    }

    fn sign(&self) -> io::Result<()> {
        let mut line = serde_json::to_string(&Holder::myself(None))?;
        line.push('\n');
        let mut file = self.0.file();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(line.as_bytes())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // So that the next holder is not taken for this one before it has signed. The lock ends
        // with the descriptor.
        self.0.file().set_len(0).ok();
    }
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
