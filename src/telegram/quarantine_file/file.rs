//! The quarantine file on the disk: read, and replaced as a whole.
//!
//! Owns what is done with the disk. It is written beside, synced and renamed: whenever the machine
//! stops, the old file or the new one is there. Never writes over what it has not read.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::QuarantineFileError;
use super::lines::{self, ParseFailure, Quarantines};
use super::lock::{FileLock, LockError};
use super::path::{is_there, resolve};
use crate::base::disk::{folder, keep_rename, lock_beside};
use crate::session::lines::file_text;

/// How long a file may be: a million quarantined sessions fit.
const FILE_LEN_MAX: u64 = 256 * 1024 * 1024;
/// How often it is begun anew because the file has changed meanwhile.
const CHANGES_MAX: u32 = 5;

/// A file of quarantines where it really stands.
#[derive(Clone, Debug)]
pub(super) struct StateFile {
    path: PathBuf,
}

/// By what it is noticed that somebody else has written a file.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    len: u64,
    modified: Option<SystemTime>,
    number: u64,
}

impl FileStamp {
    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(found);
        #[cfg(not(unix))]
        let number = 0;
        Self { len: found.len(), modified: found.modified().ok(), number }
    }
}

impl StateFile {
    /// Follows the links of a path, and looks at what it leads to.
    pub(super) fn at(path: &Path) -> Result<Self, QuarantineFileError> {
        Ok(Self { path: resolve(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock beside the file.
    pub(super) fn lock(&self) -> Result<FileLock, QuarantineFileError> {
        let beside = lock_beside(&self.path);
        FileLock::take(&beside).map_err(|error| match error {
            LockError::Held(holder) => {
                QuarantineFileError::InUse { path: self.path.clone(), holder }
            }
            LockError::Io(error) => QuarantineFileError::Io { path: beside, error },
        })
    }

    /// What the file says, or `None` if there is none.
    pub(super) fn read(&self) -> Result<Option<Quarantines>, QuarantineFileError> {
        Ok(self.read_stamped()?.map(|(quarantines, _)| quarantines))
    }

    fn read_stamped(&self) -> Result<Option<(Quarantines, FileStamp)>, QuarantineFileError> {
        if !is_there(&self.path)? {
            return Ok(None);
        }
        let (bytes, stamp) = self.bytes()?;
        let text =
            file_text(bytes).map_err(|kind| self.foreign(kind.what(), kind.is_encoding()))?;
        let quarantines = lines::read(&text).map_err(|unread| match unread {
            ParseFailure::Foreign(what) => self.foreign(what, false),
            ParseFailure::Line(line, problem) => {
                QuarantineFileError::Line { path: self.path.clone(), line, problem }
            }
        })?;
        Ok(Some((quarantines, stamp)))
    }

    fn bytes(&self) -> Result<(Vec<u8>, FileStamp), QuarantineFileError> {
        let failed = |error| self.failed(error);
        let file = File::open(&self.path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let mut bytes = Vec::new();
        // A hole takes no room on the disk, and would take it here.
        let is_long = found.len() > FILE_LEN_MAX
            || file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(failed)? as u64
                > FILE_LEN_MAX;
        match is_long {
            true => Err(self.foreign("longer than 256 MiB, as no file of quarantines is", false)),
            false => Ok((bytes, FileStamp::of(&found))),
        }
    }

    fn foreign(&self, what: &'static str, is_encoding: bool) -> QuarantineFileError {
        QuarantineFileError::Foreign { path: self.path.clone(), what, is_encoding }
    }

    /// Reads the file, changes what it says and replaces it, and returns what it says then. If
    /// there is none, it is made of `lost`. To be called by whoever holds the lock; whoever writes
    /// without it meanwhile is noticed, up to the moment of the rename.
    ///
    /// A file that says what it should is left as it is, unless `always` is asked for.
    pub(super) fn update(
        &self,
        always: bool,
        lost: impl Fn() -> Quarantines,
        mut change: impl FnMut(&mut Quarantines),
    ) -> Result<Quarantines, QuarantineFileError> {
        for _ in 0..CHANGES_MAX {
            let (before, stamp) = self.read_stamped()?.unzip();
            let may_stay = before.is_some() && !always;
            let before = before.unwrap_or_else(&lost);
            let mut quarantines = before.clone();
            change(&mut quarantines);
            if may_stay && quarantines == before {
                return Ok(quarantines);
            }
            if self.replace(&quarantines, stamp.as_ref()).map_err(|error| self.failed(error))? {
                return Ok(quarantines);
            }
        }
        Err(self.failed(io::Error::other("somebody else is writing it again and again")))
    }

    /// Replaces the file as a whole, unless it has another stamp by now.
    fn replace(&self, quarantines: &Quarantines, stamp: Option<&FileStamp>) -> io::Result<bool> {
        let folder = folder(&self.path);
        // Readable by its owner alone: phone numbers stand in it.
        let mut file = tempfile::Builder::new().prefix(".telepool-").tempfile_in(folder)?;
        let mut out = BufWriter::new(&mut file);
        lines::write(quarantines, &mut out)?;
        out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        let found = match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Some(FileStamp::of(&found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if found.as_ref() != stamp {
            return Ok(false);
        }
        file.persist(&self.path)?;
        keep_rename(folder)?;
        Ok(true)
    }

    fn failed(&self, error: io::Error) -> QuarantineFileError {
        QuarantineFileError::io(&self.path, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(slot: u16) -> String {
        format!(
            "{{\"account\":\"bot:1\",\"slot\":{slot},\"key_id\":\"{slot:016x}\",\
             \"reason\":\"dead\",\"since\":1}}\n"
        )
    }

    #[test]
    fn what_somebody_writes_at_the_same_moment_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(&folder.path().join("state.jsonl")).unwrap();
        let mut turns = 0;
        let written = file.update(false, Quarantines::new, |quarantines| {
            turns += 1;
            // By then it has been read, and is not written yet.
            if turns < 3 {
                let lines: String = (1..=turns).map(line).collect();
                std::fs::write(file.path(), lines).unwrap();
            }
            quarantines.extend(lines::read(&line(7)).unwrap());
        });
        let slots =
            |quarantines: &Quarantines| quarantines.values().map(|it| it.slot).collect::<Vec<_>>();
        assert_eq!((turns, slots(&written.unwrap())), (3, vec![1, 2, 7]));
        assert_eq!(slots(&file.read().unwrap().unwrap()), [1, 2, 7]);
    }

    #[test]
    fn a_file_that_says_what_it_should_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(&folder.path().join("state.jsonl")).unwrap();
        file.update(false, Quarantines::new, |_| ()).unwrap();
        assert!(file.path().is_file(), "one that is not there is begun");
        let text = format!("\n{}", line(1));
        std::fs::write(file.path(), &text).unwrap();
        file.update(false, Quarantines::new, |_| ()).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
        file.update(true, Quarantines::new, |_| ()).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), line(1));
    }
}
