//! A file for each range, where the system has no locks on ranges that belong to a description. For
//! some thousand keys that will do.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::Range;
use crate::sync::Mutex;

/// A folder with a file for each range, named after where the range begins.
#[derive(Debug)]
pub(crate) struct LockFile {
    folder: PathBuf,
    held: Mutex<HashMap<i64, File>>,
}

impl LockFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self { folder: path.to_owned(), held: Mutex::new(HashMap::new()) })
    }

    /// Makes no folder.
    pub(crate) fn open_if_there(path: &Path) -> io::Result<Option<Self>> {
        path.is_dir().then(|| Self::open(path)).transpose()
    }

    /// Whether the folder still stands at its path.
    pub(crate) fn is_current(&self) -> bool {
        self.folder.is_dir()
    }

    /// Keeps the folder from those who clear away what is old.
    pub(crate) fn touch(&self) -> io::Result<()> {
        Ok(())
    }

    /// Locks a range for this value alone. Answers whether it was free.
    pub(crate) fn try_lock(&self, range: Range) -> io::Result<bool> {
        let mut file = self.file(range.start)?;
        if !lock(&file)? {
            return Ok(false);
        }
        // How long it is tells who holds it.
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&range.len.to_le_bytes())?;
        self.held.lock().insert(range.start, file);
        Ok(true)
    }

    pub(crate) fn unlock(&self, range: Range) -> io::Result<()> {
        drop(self.held.lock().remove(&range.start));
        Ok(())
    }

    /// The range that another value holds at this place.
    pub(crate) fn holder(&self, start: i64) -> io::Result<Option<Range>> {
        if self.held.lock().contains_key(&start) {
            return Ok(None);
        }
        let mut file = self.file(start)?;
        if lock(&file)? {
            return Ok(None);
        }
        let mut len = [0; 8];
        file.read_exact(&mut len)?;
        Ok(Some(Range { start, len: i64::from_le_bytes(len) }))
    }

    /// Whether another value may hold anything in a range. Nobody can tell, but by looking at each place.
    pub(crate) fn is_any_held(&self, _range: Range) -> io::Result<bool> {
        Ok(true)
    }

    fn file(&self, start: i64) -> io::Result<File> {
        let path = self.folder.join(format!("{start:016x}"));
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }
}

fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
