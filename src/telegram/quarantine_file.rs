//! The quarantine file: quarantines that outlast the process.
//!
//! Owns the session source that stores them, and what an operator may do to the file. A quarantine is bound
//! to the authorization key it was imposed on, by the key's public id, wherever the key stands: a
//! session that is moved to another slot or account stays quarantined, and a new login in its place
//! is not concerned.
//!
//! The file holds one JSON object per line (`file`, `lines`), where its path leads (`path`).
//! One process keeps quarantines in it at a time (`lock`): two would dial what the other has learnt
//! is over. Whoever imposes a quarantine does not wait for the disk, which is a thread's work
//! (`writer`); a crash within the few milliseconds forgets it, which costs the session one more
//! refused dial.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use self::file::StateFile;
use self::lock::FileLock;
use self::writer::{Flush, KnownQuarantines, Writer, WriterMessage, is_leaving, leave};
use super::source::{BoxError, SessionProfile, SessionSource};
use crate::account_id::AccountId;
use crate::base::clock::{now, unix_time};
use crate::base::sync::Mutex;
use crate::manager::QuarantineReason;
use crate::session::{KeyId, SessionRecord, SessionUser, UpdateStates};

mod error;
mod file;
mod lines;
pub(super) mod lock;
mod path;
mod writer;

pub use self::error::QuarantineFileError;
pub use self::lines::Quarantine;

/// How long the last write of the same file may take, of a `QuarantineFile` that this process has
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
/// use telepool::telegram::{QuarantineFile, MemorySource};
///
/// # fn example(sessions: MemorySource) -> Result<(), Box<dyn std::error::Error>> {
/// let source = QuarantineFile::open("quarantined.jsonl", sessions)?;
/// // Give it to a `TelegramManager`, and before the process ends:
/// source.flush(std::time::Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
pub struct QuarantineFile<S> {
    source: S,
    file: StateFile,
    memory: Arc<Mutex<KnownQuarantines>>,
    /// Every change goes to the writer's thread, which ends with the last sender.
    sender: mpsc::Sender<WriterMessage>,
}

impl<S: SessionSource> QuarantineFile<S> {
    /// Reads a file of quarantines, or begins one, and holds it.
    ///
    /// # Errors
    /// Another process holds the file, it cannot be read, a line of it makes no sense, it cannot be
    /// written, or something else than a file stands there.
    pub fn open(path: impl AsRef<Path>, source: S) -> Result<Self, QuarantineFileError> {
        let file = StateFile::at(path.as_ref())?;
        let lock = hold(&file)?;
        // Written at once: that it cannot be is better known before it matters.
        let known = file.update(true, Default::default, |_| ())?;
        let memory = Arc::new(Mutex::new(KnownQuarantines::of(known)));
        let (sender, messages) = mpsc::channel();
        let writer = Writer::new(file.clone(), lock, Arc::clone(&memory));
        let thread = std::thread::Builder::new().name("telepool-state".to_owned());
        let begun = thread.spawn(move || writer.run(&messages));
        begun.map_err(|error| QuarantineFileError::io(file.path(), error))?;
        Ok(Self { source, file, memory, sender })
    }

    /// Waits until every quarantine so far is in the file. Returns whether it is, in time; what
    /// fails is tried again until then.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, written) = mpsc::sync_channel(1);
        let flush = Flush { done, until: now().checked_add(limit) };
        self.sender.send(WriterMessage::Flush(flush)).is_ok() && written.recv_timeout(limit).is_ok()
    }

    /// How many keys are quarantined, also those that no session of the source has.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.memory.lock().known().len()
    }

    /// The sessions of the source that are quarantined, in the order of accounts and slots, each
    /// where its key stands now. A source that does not tell [its
    /// accounts](SessionSource::all_accounts) is asked for the slots that the file names.
    #[must_use]
    pub fn all_quarantines(&self) -> Vec<Quarantine> {
        let known = self.memory.lock().known().clone();
        if known.is_empty() {
            return Vec::new();
        }
        let mut slots = BTreeSet::new();
        match self.source.all_accounts() {
            Some(accounts) => {
                for account in accounts {
                    let sessions = self.source.profile(account).map_or(0, |it| it.sessions);
                    slots.extend((0..sessions).map(|slot| (account, slot)));
                }
            }
            None => slots.extend(known.values().map(|it| (it.account, it.slot))),
        }
        let of_slot = |(account, slot)| {
            let quarantine = known.get(&self.key_id(account, slot)?)?;
            Some(Quarantine { account, slot, ..*quarantine })
        };
        slots.into_iter().filter_map(of_slot).collect()
    }

    /// The key that a slot has.
    fn key_id(&self, account: AccountId, slot: u16) -> Option<KeyId> {
        Some(KeyId::of(&self.source.session(account, slot)?.key))
    }
}

impl<S: SessionSource> SessionSource for QuarantineFile<S> {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.source.profile(account)
    }

    fn canonical(&self, name: AccountId) -> AccountId {
        self.source.canonical(name)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.source.session(account, slot)
    }

    fn note_login(&self, account: AccountId, slot: u16, user: Option<SessionUser>) {
        self.source.note_login(account, slot, user);
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        self.source.members(group)
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        self.source.all_accounts()
    }

    fn update_states(&self, account: AccountId) -> Result<Option<UpdateStates>, BoxError> {
        self.source.update_states(account)
    }

    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        self.source.set_update_states(account, changed);
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        // Mostly there is none, and nothing to hash.
        if self.memory.lock().known().is_empty() {
            return Vec::new();
        }
        let sessions = self.source.profile(account).map_or(0, |it| it.sessions);
        let of_slot = |slot| {
            let key = self.key_id(account, slot)?;
            let reason = self.memory.lock().known().get(&key)?.reason;
            Some((slot, reason))
        };
        (0..sessions).filter_map(of_slot).collect()
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        if reason.is_some_and(|reason| !reason.is_kept()) {
            return;
        }
        let Some(key_id) = self.key_id(account, slot) else { return };
        match reason {
            None => self.memory.lock().lift(key_id),
            Some(reason) => {
                let since = unix_time().as_secs();
                self.memory.lock().impose(Quarantine { account, slot, key_id, reason, since });
            }
        }
        // Without its thread there is no file any more, which `flush` tells.
        self.sender.send(WriterMessage::Changed).ok();
    }
}

impl<S> fmt::Debug for QuarantineFile<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuarantineFile")
            .field("file", &self.file)
            .field("quarantined", &self.memory.lock().known().len())
            .finish_non_exhaustive()
    }
}

impl<S> Drop for QuarantineFile<S> {
    fn drop(&mut self) {
        // The thread ends with the last sender, after it has written what is left.
        leave(self.file.path());
    }
}

/// Takes the lock of a file, which another `QuarantineFile` of this process may be about to give up.
fn hold(file: &StateFile) -> Result<FileLock, QuarantineFileError> {
    let until = now() + LEAVING_MAX;
    loop {
        // Looked at first: who has gone in between has given the lock up before.
        let is_leaving = is_leaving(file.path());
        match file.lock() {
            Err(QuarantineFileError::InUse { .. }) if is_leaving && now() < until => {
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
pub fn read_quarantines(path: impl AsRef<Path>) -> Result<Vec<Quarantine>, QuarantineFileError> {
    let file = StateFile::at(path.as_ref())?;
    let found = file.read()?;
    let missing = || QuarantineFileError::io(file.path(), std::io::ErrorKind::NotFound.into());
    found.map(|quarantines| lines::sorted(&quarantines)).ok_or_else(missing)
}

/// Lifts the quarantines of a file that are meant, and returns which they were. The file is held
/// meanwhile.
///
/// # Errors
/// As with [`read_quarantines`]; another process holds the file, or it cannot be written.
pub fn lift_quarantines(
    path: impl AsRef<Path>,
    is_meant: impl Fn(&Quarantine) -> bool,
) -> Result<Vec<Quarantine>, QuarantineFileError> {
    read_quarantines(&path)?;
    let file = StateFile::at(path.as_ref())?;
    let _lock = hold(&file)?;
    let mut lifted = Default::default();
    file.update(false, Default::default, |quarantines| {
        let all = std::mem::take(quarantines);
        (lifted, *quarantines) = all.into_iter().partition(|(_, quarantine)| is_meant(quarantine));
    })?;
    Ok(lines::sorted(&lifted))
}

#[cfg(test)]
mod tests;
