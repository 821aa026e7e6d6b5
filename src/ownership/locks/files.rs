//! A file for each range, where the system has no locks on ranges that belong to a description. For
//! some thousand keys that will do.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::Range;
use crate::base::clock::unix_time;
use crate::base::disk::is_at;
use crate::base::sync::Mutex;

/// Whether one file has room for the locks of many keys.
pub(crate) const HAS_RANGES: bool = false;

/// The length of a range that is held by nobody knows whom: longer than any that tells a number.
const LEN_UNKNOWN: i64 = i64::MAX;

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

    /// Whether the folder still stands at its path, with all that is locked in it.
    pub(crate) fn is_current(&self) -> bool {
        let held = self.held.lock();
        self.folder.is_dir() && held.iter().all(|(start, file)| is_at(file, &self.path(*start)))
    }

    /// Whether what is locked at this place is what others find there.
    pub(crate) fn is_current_at(&self, start: i64) -> bool {
        let held = self.held.lock();
        held.get(&start).is_some_and(|file| is_at(file, &self.path(start)))
    }

    /// Keeps what is locked from those who clear away what is old.
    pub(crate) fn touch(&self) -> io::Result<()> {
        let now = std::time::UNIX_EPOCH + unix_time();
        self.held.lock().values().try_for_each(|file| file.set_modified(now))
    }

    /// Locks a range for this value alone. Returns whether it was free.
    pub(crate) fn try_lock(&self, range: Range) -> io::Result<bool> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(self.path(range.start))?;
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
        let mut file = match OpenOptions::new().read(true).write(true).open(self.path(start)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        if lock(&file)? {
            return Ok(None);
        }
        // It may be empty as yet, and some systems let nobody read what another has locked.
        let mut len = [0; 8];
        let len = file.read_exact(&mut len).map(|()| i64::from_le_bytes(len));
        let len = len.ok().filter(|len| *len > 0).unwrap_or(LEN_UNKNOWN);
        Ok(Some(Range { start, len }))
    }

    fn path(&self, start: i64) -> PathBuf {
        self.folder.join(format!("{start:016x}"))
    }
}

fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { start: 4096, len: 7 };

    #[test]
    fn whoever_asks_for_a_holder_makes_no_file_and_an_unreadable_one_is_held_by_somebody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks");
        let (one, other) = (LockFile::open(&path).unwrap(), LockFile::open(&path).unwrap());
        assert_eq!(other.holder(RANGE.start).unwrap(), None);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        assert!(one.try_lock(RANGE).unwrap() && !other.try_lock(RANGE).unwrap());
        assert_eq!(other.holder(RANGE.start).unwrap(), Some(RANGE));
        // As between its lock and its first word.
        one.held.lock()[&RANGE.start].set_len(0).unwrap();
        let unknown = Range { start: RANGE.start, len: LEN_UNKNOWN };
        assert_eq!(other.holder(RANGE.start).unwrap(), Some(unknown));
        one.unlock(RANGE).unwrap();
        assert_eq!(other.holder(RANGE.start).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_removed_is_no_longer_what_others_find() {
        let folder = tempfile::tempdir().unwrap();
        let one = LockFile::open(folder.path()).unwrap();
        assert!(!one.is_current_at(RANGE.start), "it is not held");
        assert!(one.try_lock(RANGE).unwrap());
        assert!(one.is_current() && one.is_current_at(RANGE.start));
        one.touch().unwrap();
        std::fs::remove_file(one.path(RANGE.start)).unwrap();
        assert!(!one.is_current() && !one.is_current_at(RANGE.start));
    }
}
