//! Ownership of a store: which process may dial what is in it.
//!
//! Owns the lock beside the store's file, and the look at who served it last. A copy of a store on another machine
//! would lock there another file, so that the store itself says where it was served.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::unix_time;
use crate::base::disk::lock_beside;
use crate::ownership::{Holder, date_of};
use crate::store::{ServeMark, SessionStore, SqliteStore, StoreError};
use crate::telegram::quarantine_file::lock::{FileLock, LockError};

/// Where a machine keeps an id of its own.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Why a store may not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another process serves it.
    #[error(
        "{}: it is served by {}; end that process first", path.display(),
        holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string)
    )]
    Held {
        /// The store.
        path: PathBuf,
        /// Who.
        holder: Option<Box<Holder>>,
    },
    /// It was last served on another machine, and not given up there.
    #[error(
        "{}: it was served on another machine ({}), last seen there at {}, and was not given up: if that is a copy \
         of a store that is served there, the sessions of both would be lost. Use `--take-over` only if nothing \
         serves it there any more", path.display(), mark.machine, date_of(mark.heartbeat)
    )]
    Elsewhere {
        /// The store.
        path: PathBuf,
        /// Who served it.
        mark: Box<ServeMark>,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lock cannot be taken.
    #[error("{}: it cannot be locked: {error}", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Holds a store: no other process on this machine serves it as long as this lives.
#[derive(Debug)]
pub(super) struct StoreLease {
    lock: FileLock,
    store: PathBuf,
    /// Which file that was.
    inode: Option<(u64, u64)>,
}

impl StoreLease {
    /// Whether the lock still stands where others look for it.
    pub(super) fn is_current(&self) -> bool {
        self.lock.is_current()
    }

    /// Whether the store still stands where others open it.
    pub(super) fn has_store(&self) -> bool {
        inode_of(&self.store) == self.inode
    }
}

/// Which file stands at a path. It is only looked at: closing a file of a database would take its locks away.
#[cfg(unix)]
fn inode_of(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Elsewhere a file that is open cannot be replaced.
#[cfg(not(unix))]
fn inode_of(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// How often it is tried to take the lock, and how long in between: whoever only settles a store has it for a moment.
const TRIES: u32 = 20;
const TRY_STEP: Duration = Duration::from_millis(50);
/// For how long a process counts as serving that has said so, although it does not hold the lock (which somebody may
/// have removed).
const MARK_LASTS: u64 = 120;

/// Takes the lock, or says who has it.
fn take_lock(store: &SqliteStore) -> Result<FileLock, ServeError> {
    let path = lock_beside(store.path());
    let mut tries = 0;
    loop {
        tries += 1;
        match FileLock::take(&path) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held(_)) if tries < TRIES => std::thread::sleep(TRY_STEP),
            Err(LockError::Held(holder)) => {
                let path = store.path().to_owned();
                return Err(ServeError::Held { path, holder: holder.map(Box::new) });
            }
            Err(LockError::Io(error)) => return Err(ServeError::Lock { path, error }),
        }
    }
}

/// Takes a store to serve it. Returns also what is to be noted there, and how long ago a process was last seen that
/// has not given it up.
pub(super) fn take(
    store: &SqliteStore,
    take_over: bool,
) -> Result<(StoreLease, ServeMark, Option<Duration>), ServeError> {
    let lock = take_lock(store)?;
    let machine = machine_id();
    let before = store.serve_mark()?.filter(|mark| !mark.released);
    if let Some(mark) = before.as_ref().filter(|mark| mark.machine != machine && !take_over) {
        let path = store.path().to_owned();
        return Err(ServeError::Elsewhere { path, mark: Box::new(mark.clone()) });
    }
    let now = unix_time().as_secs();
    let last_seen = before.map(|mark| Duration::from_secs(now.saturating_sub(mark.heartbeat)));
    let mark = ServeMark::new(machine, std::process::id(), now);
    store.set_serve_mark(&mark)?;
    let (path, inode) = (store.path().to_owned(), inode_of(store.path()));
    Ok((StoreLease { lock, store: path, inode }, mark, last_seen))
}

/// Whether a store could be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreSettled {
    /// It was, and so many accounts were merged.
    Now(usize),
    /// Somebody serves it, who does it when it next starts.
    Served,
}

/// Merges what is one in a store that nobody serves; see [`SessionStore::settle`].
///
/// # Errors
/// The store cannot be used, or not be locked.
pub fn settle_store(store: &SqliteStore) -> Result<StoreSettled, ServeError> {
    let path = lock_beside(store.path());
    match FileLock::take(&path) {
        Ok(_lock) if is_marked(store)? => Ok(StoreSettled::Served),
        Ok(_lock) => Ok(StoreSettled::Now(store.settle()?)),
        Err(LockError::Held(_)) => Ok(StoreSettled::Served),
        Err(LockError::Io(error)) => Err(ServeError::Lock { path, error }),
    }
}

/// Who serves the store of this path on this machine, if anybody does.
///
/// # Errors
/// The lock cannot be looked at.
pub fn store_holder(path: &Path) -> std::io::Result<Option<Option<Holder>>> {
    FileLock::holder(&lock_beside(path))
}

/// Whether a process has lately said that it serves the store.
fn is_marked(store: &SqliteStore) -> Result<bool, ServeError> {
    let now = unix_time().as_secs();
    let mark = store.serve_mark()?;
    Ok(mark.is_some_and(|mark| !mark.released && mark.heartbeat + MARK_LASTS > now))
}

/// What tells this machine from others. One without an id goes by its name.
fn machine_id() -> String {
    let read = |path: &&str| std::fs::read_to_string(path).ok();
    let ids = MACHINE_IDS.iter().filter_map(read).map(|id| id.trim().to_owned());
    ids.into_iter().find(|id| id.len() >= 16).or_else(host_name).unwrap_or_default()
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?;
    Some(name.to_string_lossy().into_owned())
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}
