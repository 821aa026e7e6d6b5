//! Quarantines that outlast the process, in a file.
//!
//! Owns the source that keeps them, and what an operator may do to the file. A quarantine is bound
//! to the authorization key it was imposed on, by the key's public id, wherever the key stands: a
//! session that is moved to another slot or account stays quarantined, and a new login in its place
//! is not concerned.
//!
//! The file holds one JSON object per line (`file`, `lines`), where its path leads (`place`).
//! One process keeps quarantines in it at a time (`lock`): two would dial what the other has learnt
//! is over. Whoever imposes a quarantine does not wait for the disk, which is a thread's work
//! (`keeper`); a crash within the few milliseconds forgets it, which costs the session one more
//! refused dial.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use self::file::StateFile;
use self::keeper::{Flush, Keeper, Memory, Told, is_leaving, leave};
use self::lock::FileLock;
use super::source::{SessionProfile, SessionSource};
use crate::account_id::AccountId;
use crate::base::clock::{now, unix_time};
use crate::base::sync::Mutex;
use crate::manager::QuarantineReason;
use crate::session::{KeyId, SessionRecord};

mod error;
mod file;
mod keeper;
mod lines;
mod lock;
mod place;

pub use self::error::LatchFileError;
pub use self::lines::Latched;

/// How long the last write of the same file may take, of a `LatchFile` that this process has
/// dropped.
const LEAVING_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether that has ended.
const LEAVING_STEP: Duration = Duration::from_millis(2);

/// A source of sessions whose quarantines are kept in a file.
///
/// The file is held for as long as this lives, by a lock on a file beside it (`.lock` is added to
/// the name), which stays. Lines that somebody else adds meanwhile stay as well, and count from the
/// next change on. What cannot be written is tried again until it can.
///
/// ```no_run
/// use telepool::telegram::{LatchFile, MemorySource};
///
/// # fn example(sessions: MemorySource) -> Result<(), Box<dyn std::error::Error>> {
/// let source = LatchFile::open("quarantined.jsonl", sessions)?;
/// // Give it to a `GrammersManager`, and before the process ends:
/// source.flush(std::time::Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
pub struct LatchFile<S> {
    source: S,
    file: StateFile,
    memory: Arc<Mutex<Memory>>,
    /// Told of every change, and by whom the thread learns that there will be no more.
    told: mpsc::Sender<Told>,
}

impl<S: SessionSource> LatchFile<S> {
    /// Reads a file of quarantines, or begins one, and holds it.
    ///
    /// # Errors
    /// Another process holds the file, it cannot be read, a line of it makes no sense, it cannot be
    /// written, or something else than a file stands there.
    pub fn open(path: impl AsRef<Path>, source: S) -> Result<Self, LatchFileError> {
        let file = StateFile::at(path.as_ref())?;
        let lock = hold(&file)?;
        // Written at once: that it cannot be is better known before it matters.
        let known = file.update(true, Default::default, |_| ())?;
        let memory = Arc::new(Mutex::new(Memory::of(known)));
        let (told, heard) = mpsc::channel();
        let keeper = Keeper::new(file.clone(), lock, Arc::clone(&memory));
        let thread = std::thread::Builder::new().name("telepool-latches".to_owned());
        let begun = thread.spawn(move || keeper.keep(&heard));
        begun.map_err(|error| LatchFileError::io(file.path(), error))?;
        Ok(Self { source, file, memory, told })
    }

    /// Waits until every quarantine so far is in the file. Returns whether it is, in time; what
    /// fails is tried again until then.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, written) = mpsc::sync_channel(1);
        let flush = Flush { done, until: now().checked_add(limit) };
        self.told.send(Told::Flush(flush)).is_ok() && written.recv_timeout(limit).is_ok()
    }

    /// How many keys are quarantined, also those that no session of the source has.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.memory.lock().known().len()
    }

    /// The sessions of the source that are quarantined, in the order of accounts and slots, each
    /// where its key stands now. A source that does not tell [its
    /// accounts](SessionSource::all_accounts) is asked for the places that the file names.
    #[must_use]
    pub fn latches(&self) -> Vec<Latched> {
        let known = self.memory.lock().known().clone();
        if known.is_empty() {
            return Vec::new();
        }
        let mut places = BTreeSet::new();
        match self.source.all_accounts() {
            Some(accounts) => {
                for account in accounts {
                    let sessions = self.source.profile(account).map_or(0, |it| it.sessions);
                    places.extend((0..sessions).map(|slot| (account, slot)));
                }
            }
            None => places.extend(known.values().map(|it| (it.account, it.slot))),
        }
        let of_place = |(account, slot)| {
            let latched = known.get(&self.key_id(account, slot)?)?;
            Some(Latched { account, slot, ..*latched })
        };
        places.into_iter().filter_map(of_place).collect()
    }

    /// The key that stands at a place.
    fn key_id(&self, account: AccountId, slot: u16) -> Option<KeyId> {
        Some(KeyId::of(&self.source.session(account, slot)?.key))
    }
}

impl<S: SessionSource> SessionSource for LatchFile<S> {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.source.profile(account)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.source.session(account, slot)
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        self.source.members(group)
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        self.source.all_accounts()
    }

    fn load(&self, account: AccountId, slot: u16) -> Option<QuarantineReason> {
        // Mostly there is none, and nothing to hash.
        if self.memory.lock().known().is_empty() {
            return None;
        }
        let key = self.key_id(account, slot)?;
        self.memory.lock().known().get(&key).map(|latched| latched.reason)
    }

    fn latch(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        if reason.is_some_and(|reason| !reason.is_kept()) {
            return;
        }
        let Some(key_id) = self.key_id(account, slot) else { return };
        match reason {
            None => self.memory.lock().lift(key_id),
            Some(reason) => {
                let since = unix_time().as_secs();
                self.memory.lock().latch(Latched { account, slot, key_id, reason, since });
            }
        }
        // Without its thread there is no file any more, which `flush` tells.
        self.told.send(Told::Changed).ok();
    }
}

impl<S> fmt::Debug for LatchFile<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatchFile")
            .field("file", &self.file)
            .field("quarantined", &self.memory.lock().known().len())
            .finish_non_exhaustive()
    }
}

impl<S> Drop for LatchFile<S> {
    fn drop(&mut self) {
        // The thread ends with the last sender, after it has written what is left.
        leave(self.file.path());
    }
}

/// Takes the lock of a file, which another `LatchFile` of this process may be about to give up.
fn hold(file: &StateFile) -> Result<FileLock, LatchFileError> {
    let until = now() + LEAVING_MAX;
    loop {
        // Looked at first: who has gone in between has given the lock up before.
        let is_leaving = is_leaving(file.path());
        match file.lock() {
            Err(LatchFileError::InUse { .. }) if is_leaving && now() < until => {
                std::thread::sleep(LEAVING_STEP);
            }
            held => return held,
        }
    }
}

/// What a file of quarantines says, in the order of accounts and slots. It need not be held: it is
/// always replaced as a whole.
///
/// # Errors
/// There is no such file, it cannot be read, or a line of it makes no sense.
pub fn read_latches(path: impl AsRef<Path>) -> Result<Vec<Latched>, LatchFileError> {
    let file = StateFile::at(path.as_ref())?;
    let found = file.read()?;
    let missing = || LatchFileError::io(file.path(), std::io::ErrorKind::NotFound.into());
    found.map(|latches| lines::sorted(&latches)).ok_or_else(missing)
}

/// Lifts the quarantines of a file that are meant, and returns which they were. The file is held
/// meanwhile.
///
/// # Errors
/// As with [`read_latches`]; another process holds the file, or it cannot be written.
pub fn lift_latches(
    path: impl AsRef<Path>,
    is_meant: impl Fn(&Latched) -> bool,
) -> Result<Vec<Latched>, LatchFileError> {
    read_latches(&path)?;
    let file = StateFile::at(path.as_ref())?;
    let _lock = hold(&file)?;
    let mut lifted = Default::default();
    file.update(false, Default::default, |latches| {
        let all = std::mem::take(latches);
        (lifted, *latches) = all.into_iter().partition(|(_, latched)| is_meant(latched));
    })?;
    Ok(lines::sorted(&lifted))
}

#[cfg(test)]
mod tests;
