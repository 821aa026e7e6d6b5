//! Ownership of authorization keys: which process may dial a key.
//!
//! Owns the trait, [`Ownership`], and its first implementation, [`HostLocks`]: the processes of one user on
//! one machine. Never opens a connection and never sees a key, only its public id.
//!
//! # Why
//! Telegram voids an authorization whose key it sees on two main connections. Within a process the
//! manager sees to it that there is one. Another process knows nothing of that: the same service
//! started twice, a shell beside it, a restart that overlaps. So a key is claimed before it is dialled
//! for the first time, and whoever finds it claimed is refused and told by whom.
//!
//! # What a claim cannot see
//! Containers that share no folder, other machines, other users of the machine, and programs that do
//! not ask. One session, one place: copy no session to where a second process might dial it.
//!
//! # When the other end may still be open
//! A process that is killed closes its sockets, and the machine that it ran on tells Telegram so, if
//! the network lets it. A machine that lost its power tells nobody. Then only a timer ends the
//! connection at Telegram's end: the first thing that each connection asks for is that timer
//! (`ping_delay_disconnect`). A key whose connection may still be open there *rests* until the timer
//! has surely struck.

mod folder;
mod folder_locks;
mod held_locks;
mod host_locks;
mod layout;
mod lock_loss;
mod locks;
mod pause;
mod process;
mod record;
mod table;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use host_locks::{HostLocks, HostLocksOptions};
use lock_loss::LockLoss;

use crate::base::clock::unix_time;
use crate::base::text::display_safely;
pub use crate::session::KeyId;

/// One answer per key that was to be claimed, in the order of asking.
pub type Claims<'a> = Pin<Box<dyn Future<Output = Vec<Result<Claim, ClaimError>>> + Send + 'a>>;

/// Comes when it is noted that nothing is open.
pub type Settled<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Which process may dial a key.
///
/// The manager of a pool claims each key before it dials it for the first time, and gives all of
/// them back with its end. A claim is what makes a process the owner; the rest keeps an owner that
/// cannot run (paused, asleep, cut off) from acting as one after it has ceased to be.
pub trait Ownership: fmt::Debug + Send + Sync + 'static {
    /// Claims keys, for this process and for as long as this value lives. A key that was claimed by
    /// it before is claimed once.
    fn claim<'a>(&'a self, keys: &'a [KeyId]) -> Claims<'a>;

    /// The last look before a dial: sockets of the key may exist from now on, until
    /// [`end`](Self::end). The answer is what [`guard`](Self::guard) is to be asked with.
    ///
    /// # Errors
    /// The process may not dial now.
    fn begin(&self, key: KeyId) -> Result<Epoch, Fenced>;

    /// Whether a connection that began in this epoch may be written to. Asked before every call, so
    /// it must be quick.
    ///
    /// # Errors
    /// It may not: it must be closed without a word.
    fn guard(&self, epoch: Epoch) -> Result<(), Fenced>;

    /// Every socket of the dial is closed here. With `rest` the other end may be open for so much
    /// longer.
    fn end(&self, key: KeyId, rest: Option<Duration>);

    /// Waits until every socket of what is claimed is closed and that is noted, so that whoever claims it
    /// after the end of the process need not wait. Asked last, before the process may end.
    fn settled(&self) -> Settled<'_> {
        Box::pin(std::future::ready(()))
    }

    /// Gives keys back whose sockets are all closed.
    fn release(&self, keys: &[KeyId]);

    /// Tells when every connection must be closed at once, without a word.
    fn fence(&self) -> watch::Receiver<Fence>;
}

/// A key is claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// For how long it must not be dialled yet: a process that ended without closing it had used it,
    /// and Telegram's end of that connection may be open for so much longer.
    pub rest: Duration,
}

/// Between two fences. A connection belongs to the epoch that it began in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of a number; later ones have greater numbers.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// A fence: everything that began in earlier epochs must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fence {
    /// The epoch that begins with it.
    pub epoch: Epoch,
    /// For how long the process did not run before it, as far as that is known.
    pub stopped: Duration,
}

impl Fence {
    /// A fence before an epoch, after the process did not run for a time.
    #[must_use]
    pub const fn new(epoch: Epoch, stopped: Duration) -> Self {
        Self { epoch, stopped }
    }
}

/// Why nothing may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fenced {
    /// The process, or its machine, did not run for longer than Telegram waits for it.
    #[error(
        "the process or its machine was stopped for longer than Telegram keeps a connection open: \
         nothing was sent, acquire another one"
    )]
    Stopped,
    /// It cannot be noted on disk that the key is dialled, so that a crash would be forgotten.
    #[error(
        "it could not be noted in the folder of the locks that the session is dialled, which the log \
         tells more of: nothing was dialled"
    )]
    Unrecorded,
    /// This process does not hold the lock of the key, or somebody has removed it from the folder.
    #[error(
        "this process does not hold the lock of the session's key, or somebody has removed it, which \
         the log tells more of: nothing was dialled"
    )]
    Unlocked,
    /// The process is a fork of the one that holds the locks.
    #[error("{}: nothing was dialled; {}", LockLoss::Forked, LockLoss::Forked.remedy())]
    Forked,
}

/// Why a key could not be claimed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another process has it.
    #[error(
        "another process on this machine holds the key: {}; end it first, or give each process \
         sessions of its own",
        shown(.0)
    )]
    Held(Option<Box<Holder>>),
    /// The folder of the locks cannot be used.
    #[error(
        "keys cannot be locked in {folder}: {error}: {}", remedy(.error)
    )]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What is wrong with it.
        error: std::sync::Arc<std::io::Error>,
    },
}

/// What to do about a folder that cannot be used. Not the folder is to blame where files are lacking.
fn remedy(error: &std::io::Error) -> &'static str {
    if let Some(lost) = LockLoss::of(error) {
        return lost.remedy();
    }
    if is_lack_of_files(error) {
        return "raise the limit of open files (ulimit -n; LimitNOFILE= of systemd; --ulimit nofile= of \
                Docker)";
    }
    "give access to the folder, or name another one that all processes with these sessions share \
     (TELEPOOL_LOCKS)"
}

/// Whether the process, or the system, may open no more files.
#[cfg(unix)]
pub(crate) fn is_lack_of_files(error: &std::io::Error) -> bool {
    use nix::errno::Errno;
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE))
}

#[cfg(not(unix))]
pub(crate) fn is_lack_of_files(_error: &std::io::Error) -> bool {
    false
}

fn shown(holder: &Option<Box<Holder>>) -> String {
    holder.as_ref().map_or_else(|| "which one is not known".to_owned(), ToString::to_string)
}

/// A process that holds keys, or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Since when it has held them, in seconds since 1970.
    pub since: u64,
    /// The name of its program.
    pub program: String,
    /// What it serves, in its own words: the files of its sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<String>,
}

impl Holder {
    /// This process, from now on.
    pub(crate) fn myself(serves: Option<String>) -> Self {
        let program = std::env::current_exe().ok();
        let program = program.and_then(|path| Some(path.file_name()?.to_string_lossy().into()));
        Self {
            pid: std::process::id(),
            since: unix_time().as_secs(),
            program: program.unwrap_or_else(|| "?".into()),
            serves: serves.into_iter().collect(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it says of itself.
        let program = display_safely(&self.program);
        write!(f, "process {} ({program}) since {}", self.pid, date_of(self.since))?;
        if !self.serves.is_empty() {
            write!(f, ", serving {}", display_safely(&self.serves.join(", ")))?;
        }
        Ok(())
    }
}

/// Seconds since 1970 as a date and a time of day: `2026-11-26T09:30:00Z`.
pub(crate) fn date_of(seconds: u64) -> String {
    // The last second that has a date in four digits.
    let seconds = seconds.min(253_402_300_799);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Claims nothing and refuses nobody.
///
/// Two processes that are given the same session then dial it both, and Telegram voids the login for
/// good. For keys that no other process can know of, such as those of a sandbox inside this one.
#[derive(Clone, Debug)]
pub struct Unguarded(watch::Sender<Fence>);

impl Default for Unguarded {
    fn default() -> Self {
        Self(watch::Sender::new(Fence::default()))
    }
}

impl Ownership for Unguarded {
    fn claim<'a>(&'a self, keys: &'a [KeyId]) -> Claims<'a> {
        Box::pin(std::future::ready(vec![Ok(Claim::default()); keys.len()]))
    }

    fn begin(&self, _key: KeyId) -> Result<Epoch, Fenced> {
        Ok(Epoch::default())
    }

    fn guard(&self, _epoch: Epoch) -> Result<(), Fenced> {
        Ok(())
    }

    fn end(&self, _key: KeyId, _rest: Option<Duration>) {}

    fn release(&self, _keys: &[KeyId]) {}

    fn fence(&self) -> watch::Receiver<Fence> {
        self.0.subscribe()
    }
}
