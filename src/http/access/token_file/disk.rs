//! The token file on the disk: read, and replaced as a whole.
//!
//! Owns who may read it, the lock between writers, and by what it is noticed that it has changed. It is
//! written beside, synced and renamed: whenever the machine stops or the disk is full, the old file or the new
//! one is there.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base::clock::unix_time;
use crate::base::disk::{
    PathLock, PathLockError, PlaceError, folder, keep_rename, lock_beside, resolve,
};

use super::TokenFileError;

/// The longest file that is read.
const FILE_LEN_MAX: u64 = 16 << 20;
/// A file that was written so short a time before it was looked at may be written again within the same step
/// of the clock of its file system, and then shows no other time.
const SETTLED: Duration = Duration::from_secs(2);

/// By what it is noticed that a file has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct TokenFileStamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Its number, its owner, its mode.
    inode: [u64; 4],
    /// When any of all that changed, since 1970.
    changed: Option<Duration>,
}

impl TokenFileStamp {
    /// The stamp of what was looked at by then, since 1970; `None` if a later change need not show in it.
    fn of(found: &Metadata, looked: Duration) -> Option<Self> {
        let modified = found.modified().ok();
        let written = modified.and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        #[cfg(unix)]
        let (inode, changed) = {
            use std::os::unix::fs::MetadataExt as _;
            let seconds = u64::try_from(found.ctime()).ok();
            let nanos = u32::try_from(found.ctime_nsec()).ok();
            let (mode, owner) = (u64::from(found.mode()), u64::from(found.uid()));
            let changed = seconds.zip(nanos).map(|(seconds, nanos)| Duration::new(seconds, nanos));
            ([found.dev(), found.ino(), mode, owner], changed)
        };
        #[cfg(not(unix))]
        let (inode, changed) = ([0; 4], written);
        let is_settled = written.max(changed).is_some_and(|last| last + SETTLED < looked);
        is_settled.then_some(Self { len: found.len(), modified, inode, changed })
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TokenFileError {
    move |error| TokenFileError::Io { path: path.to_owned(), error }
}

/// What can be done about an error of the system.
pub(super) fn remedy_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            ": make it with telepool token create --file, in a folder that is there"
        }
        io::ErrorKind::PermissionDenied => {
            ": run this as the user whose file it is, with the right to write to its folder"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full, and nothing was changed: make room on it"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ": nothing was changed: name a file where it can be written"
        }
        _ => "",
    }
}

/// The stamp of a file as it is now, if it is there and a later change shows in it.
pub(super) fn stamp(path: &Path) -> Option<TokenFileStamp> {
    let looked = unix_time();
    TokenFileStamp::of(&std::fs::metadata(path).ok()?, looked)
}

/// Reads a file that nobody but its owner can use, and its stamp.
pub(super) fn read(path: &Path) -> Result<(String, Option<TokenFileStamp>), TokenFileError> {
    read_by(path, unix_time())
}

/// The same, by a time of day of the caller's.
fn read_by(
    path: &Path,
    looked: Duration,
) -> Result<(String, Option<TokenFileStamp>), TokenFileError> {
    let failed = failed(path);
    let foreign = |what| TokenFileError::Foreign { path: path.to_owned(), what };
    // Before it is opened: to open a FIFO would wait for its other end.
    if !std::fs::metadata(path).map_err(&failed)?.is_file() {
        return Err(foreign("no plain file"));
    }
    let file = File::open(path).map_err(&failed)?;
    let found = file.metadata().map_err(&failed)?;
    check_mode(path, &found)?;
    let stamp = TokenFileStamp::of(&found, looked);
    let mut bytes = Vec::new();
    let read = file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(&failed)?;
    if found.len() > FILE_LEN_MAX || read as u64 > FILE_LEN_MAX {
        return Err(foreign("longer than 16 MiB, as no file of tokens is"));
    }
    let text = String::from_utf8(bytes).map_err(|_| foreign("no text in UTF-8"))?;
    Ok((text, stamp))
}

#[cfg(unix)]
fn check_mode(path: &Path, found: &Metadata) -> Result<(), TokenFileError> {
    let mode = std::os::unix::fs::MetadataExt::mode(found) & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(TokenFileError::Exposed { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _found: &Metadata) -> Result<(), TokenFileError> {
    Ok(())
}

/// Keeps other writers away from a file until it is dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    /// Where the file really stands: what is renamed over a link would take its place.
    path: PathBuf,
    _lock: PathLock,
}

/// Takes the lock beside a file, which need not be there yet.
pub(super) fn lock(named: &Path) -> Result<WriterLock, TokenFileError> {
    let path = resolve(named).map_err(|error| match error {
        PlaceError::NotAFile { path, what } => TokenFileError::Foreign { path, what },
        PlaceError::Io { path, error } => TokenFileError::Io { path, error },
    })?;
    let beside = lock_beside(&path);
    match PathLock::take(&beside) {
        Ok(lock) => Ok(WriterLock { path, _lock: lock }),
        Err(PathLockError::Held(_)) => Err(TokenFileError::InUse { path }),
        Err(PathLockError::Io(error)) => Err(failed(&beside)(error)),
    }
}

impl WriterLock {
    /// Replaces the file as a whole. A link to it stays one, and its owner stays its owner.
    pub(super) fn replace(&self, text: &str) -> Result<(), TokenFileError> {
        let path = &self.path;
        let failed = failed(path);
        let owner = std::fs::metadata(path).ok();
        let folder = folder(path);
        // Its owner alone can use it from its first moment on.
        let mut file =
            tempfile::Builder::new().prefix(".telepool-").tempfile_in(folder).map_err(&failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| keep_owner(file.as_file(), owner.as_ref()))
            .and_then(|()| file.as_file().sync_all())
            .map_err(&failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        keep_rename(folder).map_err(&failed)
    }
}

/// Gives a new file the owner of the one that it replaces: else a server that runs as another user could not
/// read what root has written.
#[cfg(unix)]
fn keep_owner(file: &File, before: Option<&Metadata>) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let Some(before) = before else { return Ok(()) };
    let now = file.metadata()?;
    if (now.uid(), now.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    fchown(file, Some(before.uid()), Some(before.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_file: &File, _before: Option<&Metadata>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_kept_only_if_the_file_had_settled_when_it_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.jsonl");
        lock(&path).unwrap().replace("first").unwrap();
        let now = unix_time();
        let at = |after: Duration| read_by(&path, now + after).unwrap().1;
        assert_eq!((at(Duration::ZERO), stamp(&path)), (None, None), "it was written just now");
        let settled = at(SETTLED * 2);
        assert!(settled.is_some() && at(SETTLED * 3) == settled, "it is the same then as later");
        // One that bears an old date, as a copy may, was put there just now all the same.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + SETTLED).unwrap();
        drop(file);
        assert_eq!(at(Duration::ZERO).is_none(), cfg!(unix));
        assert_ne!(at(SETTLED * 2), settled);
    }
}
