//! The token file on the disk: read, and replaced as a whole.
//!
//! Owns who may read it, the lock between writers, and by what it is noticed that it has changed. It is
//! written beside, synced and renamed: whenever the machine stops or the disk is full, the old file or the new
//! one is there.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base::clock::unix_time;
use crate::base::disk::{folder, keep_rename, lock_beside};

use super::TokenFileError;

/// The longest file that is read.
const FILE_LEN_MAX: u64 = 16 << 20;
/// A file that was written so short a time before it was read may be written again within the same step of the
/// clock of its file system, and then shows no other time. It is read once more.
const SETTLED: Duration = Duration::from_secs(2);

/// By what it is noticed that a file has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct TokenFileStamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Its number, its owner, its mode, and when any of them changed.
    inode: [u64; 6],
}

impl TokenFileStamp {
    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt as _;
            let [changed, nanos] = [found.ctime(), found.ctime_nsec()].map(i64::cast_unsigned);
            let (mode, owner) = (u64::from(found.mode()), u64::from(found.uid()));
            [found.dev(), found.ino(), mode, owner, changed, nanos]
        };
        #[cfg(not(unix))]
        let inode = [0; 6];
        Self { len: found.len(), modified: found.modified().ok(), inode }
    }

    /// Whether it was taken so long after the file was written that a later change shows.
    pub(in super::super) fn is_settled(&self) -> bool {
        let written = self.modified.and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        written.is_some_and(|written| written + SETTLED < unix_time())
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

pub(super) fn stamp(path: &Path) -> io::Result<TokenFileStamp> {
    std::fs::metadata(path).map(|found| TokenFileStamp::of(&found))
}

/// Reads a file that nobody but its owner can use.
pub(super) fn read(path: &Path) -> Result<(String, TokenFileStamp), TokenFileError> {
    let failed = failed(path);
    let foreign = |what| TokenFileError::Foreign { path: path.to_owned(), what };
    // Before it is opened: to open a FIFO would wait for its other end.
    if !std::fs::metadata(path).map_err(&failed)?.is_file() {
        return Err(foreign("no plain file"));
    }
    let file = File::open(path).map_err(&failed)?;
    let found = file.metadata().map_err(&failed)?;
    check_mode(path, &found)?;
    let stamp = TokenFileStamp::of(&found);
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

/// Keeps other writers away until it is dropped.
#[derive(Debug)]
pub(super) struct WriterLock(#[expect(dead_code, reason = "it is locked while it is open")] File);

/// Takes the lock beside a file.
pub(super) fn lock(path: &Path) -> Result<WriterLock, TokenFileError> {
    let path = resolve(path);
    let beside = lock_beside(&path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    keep_private(&mut options);
    let file = options.open(&beside).map_err(failed(&beside))?;
    match file.try_lock() {
        Ok(()) => Ok(WriterLock(file)),
        Err(TryLockError::WouldBlock) => Err(TokenFileError::InUse { path }),
        Err(TryLockError::Error(error)) => Err(failed(&beside)(error)),
    }
}

/// Replaces a file as a whole. A link to it stays one, and its owner stays its owner.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), TokenFileError> {
    let path = resolve(path);
    let failed = failed(&path);
    let owner = std::fs::metadata(&path).ok();
    let folder = folder(&path);
    // Its owner alone can use it from its first moment on.
    let mut file =
        tempfile::Builder::new().prefix(".telepool-").tempfile_in(folder).map_err(&failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| keep_owner(file.as_file(), owner.as_ref()))
        .and_then(|()| file.as_file().sync_all())
        .map_err(&failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    keep_rename(folder).map_err(&failed)
}

/// Where a path leads to: what is renamed over a link would take its place.
fn resolve(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(unix)]
fn keep_private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn keep_private(_options: &mut OpenOptions) {}

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
