//! Locks that one process holds in a folder, and what it says of them.
//!
//! Owns the counts of claims and the record of the process. Where it is not sure, a claim is refused, a dial not
//! begun and a key left to rest.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layout::LockIndex;
use super::process::Processes;
use super::record::{Moment, OtherProcess, PriorUse, ProcessRecord};
use super::table::{LockTable, limit};
use super::{Holder, LockLoss, folder};
use crate::base::clock::time_with_sleep;
use crate::session::KeyId;

/// How often the record says anew that there may be sockets.
const MARK_STEP: Duration = Duration::from_secs(30);
/// How often the files are kept from those who clear away what is old.
const TOUCH_STEP: Duration = Duration::from_secs(3_600);
/// The most that is said of what a process serves.
const SERVES_MAX: usize = 16;

/// What a process has locked, and what it says of that.
pub(super) struct HeldLocks {
    /// Before the number in every end of this value: whoever finds a lock can tell whose it is.
    table: LockTable,
    processes: Processes,
    folder: PathBuf,
    /// How often each index is claimed: two keys may share one, if hardly ever.
    indices: HashMap<LockIndex, u32>,
    /// Slots that nobody claims any more, and that are locked until their key has rested and is
    /// struck from the file of keys.
    lingering: HashMap<LockIndex, KeyId>,
    /// Keys that stand in the file of keys.
    noted: HashSet<KeyId>,
    /// Keys of which dials have begun and not ended, and how many.
    open: HashMap<KeyId, u32>,
    /// Until when each key must rest whose sockets are closed here, by the clock that counts sleep.
    resting: HashMap<KeyId, Duration>,
    /// The same, of those that another process has left: it also left word of that.
    inherited: HashMap<KeyId, Duration>,
    record: ProcessRecord,
    touched: Duration,
    /// Somebody has removed the files that are locked here: others lock other ones.
    is_removed: bool,
}

impl HeldLocks {
    /// Joins the processes of a folder.
    pub(super) fn open(folder: &Path, holder: Holder, timer: Duration) -> io::Result<Self> {
        let keys = folder.join("keys");
        std::fs::create_dir_all(&keys)?;
        let record = ProcessRecord {
            holder,
            boot: folder::boot_id(),
            timer: timer.as_secs(),
            open: Moment::default(),
            rest_until: Moment::default(),
        };
        let processes = Processes::join(folder)?;
        processes.write(&record)?;
        Ok(Self {
            table: LockTable::new(keys, processes.own(), limit()),
            processes,
            folder: folder.to_owned(),
            indices: HashMap::new(),
            lingering: HashMap::new(),
            noted: HashSet::new(),
            open: HashMap::new(),
            resting: HashMap::new(),
            inherited: HashMap::new(),
            record,
            touched: time_with_sleep(),
            is_removed: false,
        })
    }

    /// Somebody else in this process has something here as well.
    pub(super) fn also_serve(&mut self, serves: Option<&str>, timer: Duration) -> io::Result<()> {
        let mut record = self.record.clone();
        record.timer = record.timer.max(timer.as_secs());
        let all = &mut record.holder.serves;
        if let Some(serves) = serves.filter(|serves| all.iter().all(|it| it != serves))
            && all.len() < SERVES_MAX
        {
            all.push(serves.to_owned());
        }
        if record != self.record {
            self.processes.write(&record)?;
            self.record = record;
        }
        Ok(())
    }

    /// The process that holds it.
    pub(super) fn pid(&self) -> u32 {
        self.record.holder.pid
    }

    /// Locks the index of a key, or says who has it.
    pub(super) fn claim(&mut self, key: KeyId) -> io::Result<Result<(), Option<Box<Holder>>>> {
        let index = LockIndex::from(key);
        if let Some(count) = self.indices.get_mut(&index) {
            if !self.table.is_current(index) {
                return Err(LockLoss::Removed.into());
            }
            *count += 1;
            return Ok(Ok(()));
        }
        // What lingers is locked.
        let is_locked = self.lingering.contains_key(&index) && self.table.is_current(index);
        let locked = if is_locked { Ok(()) } else { self.table.lock(index, &self.processes)? };
        if locked.is_ok() {
            self.lingering.remove(&index);
            self.indices.insert(index, 1);
        }
        Ok(locked)
    }

    /// Every other process that has left something here.
    pub(super) fn others(&mut self, timer: Duration) -> io::Result<Vec<OtherProcess>> {
        self.processes.others(timer, &self.record.boot)
    }

    /// Until when a key must rest because of a process before this one.
    pub(super) fn inherited(&self, key: KeyId) -> Duration {
        self.inherited.get(&key).copied().unwrap_or_default()
    }

    /// What others mean for a key that has just been locked: for how long it must rest, or who has it
    /// still though its lock is open.
    pub(super) fn check_others(
        &mut self,
        key: KeyId,
        others: &[OtherProcess],
        timer: Duration,
    ) -> Result<Duration, Option<Box<Holder>>> {
        let mut rest = Duration::ZERO;
        for other in others {
            match other.prior_use(key, timer, &self.record.boot) {
                PriorUse::Has(holder) => return Err(holder.map(Box::new)),
                PriorUse::Rest(more) => rest = rest.max(more),
            }
        }
        if !rest.is_zero() {
            self.inherited.insert(key, time_with_sleep() + rest);
        }
        Ok(rest)
    }

    pub(super) fn release(&mut self, key: KeyId) {
        let index = LockIndex::from(key);
        let Some(count) = self.indices.get_mut(&index) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.indices.remove(&index);
        if self.is_over(key) && !self.noted.contains(&key) {
            self.unlock(index);
        } else {
            self.lingering.insert(index, key);
        }
    }

    fn is_over(&self, key: KeyId) -> bool {
        !self.open.contains_key(&key) && !self.resting.contains_key(&key)
    }

    fn unlock(&self, index: LockIndex) {
        if let Err(error) = self.table.unlock(index) {
            tracing::warn!(%error, "a key stays locked until this process ends");
        }
    }

    /// Strikes keys from the file of keys that are neither open nor resting.
    pub(super) fn forget(&mut self, keys: &[KeyId]) -> io::Result<()> {
        if keys.iter().any(|key| self.noted.contains(key) && self.is_over(*key)) {
            self.rewrite_keys_file()?;
        }
        Ok(())
    }

    /// Has the file of keys hold those that are open or rest, and no others.
    fn rewrite_keys_file(&mut self) -> io::Result<()> {
        let now = time_with_sleep();
        self.resting.retain(|_, until| *until > now);
        let keys: HashSet<KeyId> = self.open.keys().chain(self.resting.keys()).copied().collect();
        self.processes.note_only(keys.iter().copied())?;
        self.noted = keys;
        Ok(())
    }

    pub(super) fn has_settled(&self, keys: &[KeyId]) -> bool {
        let is_marked = self.record.open != Moment::default();
        !(keys.iter().any(|key| self.open.contains_key(key)) || self.open.is_empty() && is_marked)
    }

    /// Whether it is noted that nothing is open.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty() && self.record.open == Moment::default()
    }

    /// A dial of a key is about to begin.
    pub(super) fn begin(&mut self, key: KeyId) -> io::Result<()> {
        let index = LockIndex::from(key);
        if !self.indices.contains_key(&index) {
            return Err(LockLoss::Released.into());
        }
        if !self.noted.contains(&key) {
            self.processes.note(key)?;
            self.noted.insert(key);
        }
        if self.record.open == Moment::default() {
            self.mark()?;
        }
        // Last: whoever removes the lock after this and claims the key finds it noted.
        if self.is_removed || !self.table.is_current(index) || !self.processes.is_current() {
            return Err(LockLoss::Removed.into());
        }
        *self.open.entry(key).or_default() += 1;
        Ok(())
    }

    /// The sockets of a dial are closed. Returns whether none is open any more.
    pub(super) fn end(&mut self, key: KeyId, rest: Option<Duration>) -> bool {
        if let Some(rest) = rest {
            self.resting.insert(key, time_with_sleep() + rest);
        }
        if let Entry::Occupied(mut open) = self.open.entry(key) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        self.open.is_empty()
    }

    /// Says that there may be sockets now.
    fn mark(&mut self) -> io::Result<()> {
        let record = ProcessRecord { open: Moment::now(), ..self.record.clone() };
        self.processes.write(&record)?;
        self.record = record;
        Ok(())
    }

    /// Keeps everything true; to be called each second, and when nothing is open any more. Returns
    /// whether it was found just now that locks have been removed, so that somebody else may dial the same
    /// keys. Of a thousand files it takes a quarter of a minute to look at each; what is dialled meanwhile
    /// is looked at by itself.
    pub(super) fn maintain(&mut self) -> bool {
        let now = time_with_sleep();
        self.inherited.retain(|_, until| *until > now);
        self.resting.retain(|_, until| *until > now);
        let age = Duration::from_secs(Moment::now().up.saturating_sub(self.record.open.up));
        let written = match (self.record.open != Moment::default(), self.open.is_empty()) {
            (true, false) if age >= MARK_STEP => {
                self.mark().and_then(|()| self.rewrite_keys_file())
            }
            (true, true) => self.record_closed(),
            _ => Ok(()),
        };
        if let Err(error) = written {
            tracing::error!(%error, "the record of this process cannot be kept");
        }
        self.unlock_rested();
        if now.saturating_sub(self.touched) >= TOUCH_STEP {
            self.touched = now;
            self.touch();
        }
        if self.is_removed || self.processes.is_current() && self.table.is_next_current() {
            return false;
        }
        self.is_removed = true;
        tracing::error!(
            folder = %self.folder.display(),
            "somebody has removed locks that are held: every connection is closed and none dialled any \
             more; start the process again"
        );
        true
    }

    /// Unlocks what has rested, once that is noted.
    fn unlock_rested(&mut self) {
        let lingering = self.lingering.iter().map(|(index, key)| (*index, *key));
        let over: Vec<_> = lingering.filter(|(_, key)| self.is_over(*key)).collect();
        let keys: Vec<KeyId> = over.iter().map(|(_, key)| *key).collect();
        if self.forget(&keys).is_err() {
            return;
        }
        for (index, _) in over {
            self.lingering.remove(&index);
            self.unlock(index);
        }
    }

    /// Keeps the files from those who clear away what is old.
    pub(super) fn touch(&self) {
        self.table.touch();
        if let Err(error) = self.processes.touch() {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "the files of this process look old");
        }
    }

    /// Nothing is open: only keys that must rest are left to be told of.
    fn record_closed(&mut self) -> io::Result<()> {
        self.rewrite_keys_file()?;
        let now = time_with_sleep();
        let longest = self.resting.values().max().map(|until| until.saturating_sub(now));
        let rest_until = longest.map_or_else(Moment::default, |rest| Moment::now().after(rest));
        let record = ProcessRecord { open: Moment::default(), rest_until, ..self.record.clone() };
        self.processes.write(&record)?;
        self.record = record;
        Ok(())
    }
}

/// The end of an orderly process: nothing is left behind but what must rest.
impl Drop for HeldLocks {
    fn drop(&mut self) {
        // The other process of a fork is not at its end.
        if !self.open.is_empty() || self.pid() != std::process::id() {
            return;
        }
        let settled = self.record_closed().and_then(|()| {
            // While it still says whose they are.
            self.table.unlock_all();
            if self.resting.is_empty() { self.processes.leave() } else { Ok(()) }
        });
        if let Err(error) = settled {
            tracing::warn!(%error, "the record of this process is left behind");
        }
    }
}
