//! Byte ranges of one file, by locks that belong to the open file description.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::Range;
use crate::base::clock::unix_time;
use crate::base::disk::is_at;

/// Whether one file has room for the locks of many keys.
pub(crate) const HAS_RANGES: bool = true;

/// A file whose ranges are locked.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self { file: options.open(path)?, path: path.to_owned() })
    }

    /// Makes no file.
    pub(crate) fn open_if_there(path: &Path) -> io::Result<Option<Self>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the file still stands at its path.
    pub(crate) fn is_current(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Whether what is locked here is what others find.
    pub(crate) fn is_current_at(&self, _start: i64) -> bool {
        self.is_current()
    }

    /// Keeps the file from those who clear away what is old.
    pub(crate) fn touch(&self) -> io::Result<()> {
        self.file.set_modified(std::time::UNIX_EPOCH + unix_time())
    }

    /// Locks a range for this description alone. Returns whether it was free.
    pub(crate) fn try_lock(&self, range: Range) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&record(libc::F_WRLCK, range))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn unlock(&self, range: Range) -> io::Result<()> {
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&record(libc::F_UNLCK, range)))?;
        Ok(())
    }

    /// The range that another description holds at this place.
    pub(crate) fn holder(&self, start: i64) -> io::Result<Option<Range>> {
        let mut found = record(libc::F_WRLCK, Range { start, len: 1 });
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut found))?;
        let is_held = i32::from(found.l_type) != libc::F_UNLCK;
        Ok(is_held.then_some(Range { start: found.l_start, len: found.l_len }))
    }
}

fn record(kind: i32, Range { start, len }: Range) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).expect("BUG: kinds of locks are small numbers"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("BUG: it is zero"),
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}
