//! Lock table: files in which the lock of each key is a range of bytes.
//!
//! Owns the files of one process that are open. Never waits for a lock: it is free, or somebody has
//! it. Where that is not sure, it is not taken.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::PathBuf;

use super::layout::{LockIndex, Sharding};
use super::locks::{HAS_RANGES, LockFile, Range};
use super::process::Processes;
use super::{Holder, LockLoss};

/// How often it is tried to learn who has a key, if that one has just ended.
const HOLDER_TRIES: usize = 5;
/// A process that may open so many files locks in fine shards: connections do not miss what those take.
const FINE_LIMIT: u64 = 4_096;
/// The files of a process that hold no keys: its number, what it has open, and one that is looked into.
const FILES_BESIDE: u64 = 3;
/// How many files are looked at each time: all of them would take a millisecond or two.
const LOOKED_AT_ONCE: usize = 64;

/// How a process locks that may open so many files.
fn sharding_of(limit: u64) -> Sharding {
    // Where ranges cannot be locked each key has a file of its own, and gains nothing from more folders.
    if HAS_RANGES && limit >= FINE_LIMIT { Sharding::Fine } else { Sharding::Coarse }
}

/// How many files the locks of so many keys take in a process that may open so many.
pub(super) fn files_for(keys: usize, limit: u64) -> u64 {
    let files = if HAS_RANGES { sharding_of(limit).files() } else { u64::MAX };
    files.min(keys as u64).saturating_add(FILES_BESIDE)
}

/// How many files this process may have open.
#[cfg(unix)]
pub(super) fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(limit, _)| limit)
}

#[cfg(not(unix))]
pub(super) fn limit() -> u64 {
    u64::MAX
}

/// The locks on keys of this process.
#[derive(Debug)]
pub(super) struct LockTable {
    folder: PathBuf,
    /// The number of the process.
    own: u16,
    /// Chosen once: a key is locked in one file for as long as it is.
    sharding: Sharding,
    open: BTreeMap<u64, LockFile>,
    /// Which file is to be looked at next.
    next: u64,
}

/// What became of a try to lock an index.
enum LockAttempt {
    Locked,
    /// Somebody has it, by a range in a file of this kind.
    Taken(Sharding, Range),
    /// Somebody had it a moment ago.
    Missed,
}

impl LockTable {
    /// For the process with this number, which may have so many files open.
    pub(super) fn new(folder: PathBuf, own: u16, limit: u64) -> Self {
        Self { folder, own, sharding: sharding_of(limit), open: BTreeMap::new(), next: 0 }
    }

    /// Locks an index, or says who has it.
    pub(super) fn lock(
        &mut self,
        index: LockIndex,
        processes: &Processes,
    ) -> io::Result<Result<(), Option<Box<Holder>>>> {
        for _ in 0..HOLDER_TRIES {
            let (sharding, range) = match self.try_lock(index, processes)? {
                LockAttempt::Locked => return Ok(Ok(())),
                LockAttempt::Taken(sharding, range) => (sharding, range),
                LockAttempt::Missed => continue,
            };
            let number = u16::try_from(range.len - 1).ok();
            // By a number of its own it is somebody who had it before: who, nobody knows any more.
            let number = number.filter(|number| *number != self.own);
            let holder = number.and_then(|number| processes.holder(number));
            // Free again by now, or somebody else's: tried once more.
            if holder.is_some() && self.look(index, sharding)? == Some(range) {
                return Ok(Err(holder.map(Box::new)));
            }
        }
        Ok(Err(None))
    }

    fn try_lock(&mut self, index: LockIndex, processes: &Processes) -> io::Result<LockAttempt> {
        let (number, start) = self.sharding.find(index);
        let range = self.range(start);
        let file = match self.open.entry(number) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                none.insert(LockFile::open(&self.sharding.path(&self.folder, number))?)
            }
        };
        if !file.try_lock(range)? {
            let found = file.holder(start)?;
            return Ok(
                found.map_or(LockAttempt::Missed, |range| LockAttempt::Taken(self.sharding, range))
            );
        }
        let sound = self.look_around(index, processes);
        if !matches!(sound, Ok(LockAttempt::Locked)) {
            self.open[&number].unlock(range)?;
        }
        sound
    }

    /// Whether an index that has just been locked is this process's. After the lock is taken, so that of two
    /// that lock it in different files one sees the other.
    fn look_around(&self, index: LockIndex, processes: &Processes) -> io::Result<LockAttempt> {
        if !self.is_current(index) {
            return Err(LockLoss::Removed.into());
        }
        let elsewhere = self.sharding.other();
        if HAS_RANGES && let Some(range) = self.look(index, elsewhere)? {
            return Ok(LockAttempt::Taken(elsewhere, range));
        }
        if !processes.is_current() {
            return Err(LockLoss::Removed.into());
        }
        Ok(LockAttempt::Locked)
    }

    /// The range that another process has locked at an index.
    fn look(&self, index: LockIndex, sharding: Sharding) -> io::Result<Option<Range>> {
        let (number, start) = sharding.find(index);
        if sharding == self.sharding {
            return self.open.get(&number).map_or(Ok(None), |file| file.holder(start));
        }
        // Not kept open: there may be many. Whoever makes it after this look looks here in its turn.
        let file = LockFile::open_if_there(&sharding.path(&self.folder, number))?;
        file.map_or(Ok(None), |file| file.holder(start))
    }

    /// Whether what this process has locked at an index is what others find there.
    pub(super) fn is_current(&self, index: LockIndex) -> bool {
        let (number, start) = self.sharding.find(index);
        self.open.get(&number).is_some_and(|file| file.is_current_at(start))
    }

    /// Whether the next of the files are those that others find: all of them are looked at in turn.
    pub(super) fn is_next_current(&mut self) -> bool {
        let later = self.open.range(self.next..);
        let in_turn = later.chain(self.open.range(..self.next));
        let mut looked_at = in_turn.take(LOOKED_AT_ONCE);
        let mut last = None;
        let is_current = looked_at.all(|(number, file)| {
            last = Some(*number);
            file.is_current()
        });
        self.next = last.map_or(0, |last| last + 1);
        is_current
    }

    pub(super) fn unlock(&self, index: LockIndex) -> io::Result<()> {
        let (number, start) = self.sharding.find(index);
        self.open.get(&number).map_or(Ok(()), |file| file.unlock(self.range(start)))
    }

    /// Gives everything back.
    pub(super) fn unlock_all(&mut self) {
        self.open.clear();
    }

    fn range(&self, start: i64) -> Range {
        Range { start, len: i64::from(self.own) + 1 }
    }

    /// Keeps the files from those who clear away what is old. Where it fails, nothing is as a rule.
    pub(super) fn touch(&self) {
        self.open.values().for_each(|file| drop(file.touch()));
    }
}

#[cfg(test)]
mod tests;
