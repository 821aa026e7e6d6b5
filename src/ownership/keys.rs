//! Where keys are locked: files in which each key is a range of bytes.
//!
//! Owns the open files, and where in them a key lies. Never waits for a lock: it is free, or somebody has
//! it. In doubt it is not taken.
//!
//! # Few files or many
//! The kernel keeps the locks of a file in a list, and walks it for each: a hundred thousand need many
//! files. But each that is open is one of those that the process may open, and a process with some
//! hundred keys has better use for them. So a key lies at two places, one in few files and one in
//! many. Whoever claims it locks one, as it thinks fit, and *then* looks at the other: of two that come at the
//! same moment both may be refused, but never neither. To look is only needed where another process has
//! announced that it locks keys there, which it does before the first of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use super::Holder;
use super::locks::{LockFile, Range};
use super::process::Processes;
use crate::session::KeyId;

/// How long a key's place in its file is: a range in it tells the number of its process.
const PLACE_LEN: u64 = 4096;
/// How many places there are. Of 2^55 keys one shares it with another.
const PLACES: u64 = 1 << 55;
/// How often it is tried to learn who has a key, if that one has just ended.
const TRIES_MAX: usize = 5;
/// The most keys that a process locks in few files if it may open many.
const FEW_MAX: usize = 1_000;
/// Unless a process may open so many files besides one for each key's connection, it locks every key in
/// few: what locks take, connections do not miss.
const TO_SPARE: u64 = 2_048;

/// Where a key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl From<KeyId> for Place {
    fn from(key: KeyId) -> Self {
        Self(key.number() % PLACES)
    }
}

/// Over how many files keys are spread. All processes must agree on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Spread {
    Few,
    Many,
}

impl Spread {
    fn files(self) -> u64 {
        match self {
            Self::Few => 16,
            Self::Many => 1_024,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Few => Self::Many,
            Self::Many => Self::Few,
        }
    }

    /// The file of a place, and where in that it begins.
    fn find(self, place: Place) -> (FileName, i64) {
        let start = place.0 / self.files() * PLACE_LEN;
        (FileName(self, place.0 % self.files()), start.try_into().expect("BUG: it is below 2^63"))
    }

    /// How so many keys are spread by a process that may open so many files.
    fn of(keys: usize, limit: u64) -> Self {
        let is_plenty = limit.saturating_sub(keys as u64) >= TO_SPARE;
        if keys > FEW_MAX && is_plenty { Self::Many } else { Self::Few }
    }
}

/// A file of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileName(Spread, u64);

impl FileName {
    fn path(self, folder: &Path) -> PathBuf {
        folder.join(match self.0 {
            Spread::Few => format!("few-{:x}", self.1),
            Spread::Many => format!("{:03x}", self.1),
        })
    }
}

/// How many files the locks of so many keys take.
pub(super) fn files_for(keys: usize) -> u64 {
    // Where ranges cannot be locked, each key has a file of its own.
    let has_ranges = cfg!(all(target_os = "linux", target_pointer_width = "64"));
    let files = if has_ranges { Spread::of(keys, limit()).files() } else { u64::MAX };
    // And the files of the process itself: its number, its keys, and one that is looked into.
    files.min(keys as u64) + 3
}

/// How many files this process may have open.
#[cfg(unix)]
fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(limit, _)| limit)
}

#[cfg(not(unix))]
fn limit() -> u64 {
    u64::MAX
}

fn removed() -> io::Error {
    io::Error::other("somebody has removed files in use from it")
}

/// The files of keys that this process has open.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// The number of the process.
    own: u16,
    limit: u64,
    open: HashMap<FileName, LockFile>,
    announced: Vec<Spread>,
}

/// What became of a try to lock a place.
enum Tried {
    Locked,
    /// Somebody has it, by this range, unless it is free again.
    Taken(Option<Range>),
}

impl Files {
    /// Files in this folder, for the process with this number.
    pub(super) fn new(folder: PathBuf, own: u16) -> Self {
        Self { folder, own, limit: limit(), open: HashMap::new(), announced: Vec::new() }
    }

    /// Locks a place, as one of so many of this process, or says who has it.
    pub(super) fn lock(
        &mut self,
        place: Place,
        keys: usize,
        processes: &Processes,
    ) -> io::Result<Result<(), Option<Box<Holder>>>> {
        let spread = Spread::of(keys, self.limit);
        for _ in 0..TRIES_MAX {
            // Free again by now, or somebody else's: tried once more.
            let Tried::Taken(range) = self.try_lock(place, spread, processes)? else {
                return Ok(Ok(()));
            };
            let Some(range) = range else { continue };
            let number = u16::try_from(range.len - 1).unwrap_or(u16::MAX);
            let holder = processes.holder(number);
            let is_there = |spread| Ok::<_, io::Error>(self.look(place, spread)? == Some(range));
            if holder.is_some() && (is_there(spread)? || is_there(spread.other())?) {
                return Ok(Err(holder.map(Box::new)));
            }
        }
        Ok(Err(None))
    }

    fn try_lock(
        &mut self,
        place: Place,
        spread: Spread,
        processes: &Processes,
    ) -> io::Result<Tried> {
        if !self.announced.contains(&spread) {
            processes.announce(spread as u8)?;
            self.announced.push(spread);
        }
        let (name, start) = spread.find(place);
        let range = self.range(start);
        let file = match self.open.entry(name) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => none.insert(LockFile::open(&name.path(&self.folder))?),
        };
        if !file.try_lock(range)? {
            return Ok(Tried::Taken(file.holder(start)?));
        }
        if !file.is_current() {
            file.unlock(range)?;
            return Err(removed());
        }
        // After the lock is taken, so that of two which do so crosswise one sees the other.
        let elsewhere = match processes.is_announced(spread.other() as u8) {
            Ok(true) => self.look(place, spread.other()),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        if !matches!(elsewhere, Ok(None)) {
            self.open[&name].unlock(range)?;
        }
        Ok(elsewhere?.map_or(Tried::Locked, |range| Tried::Taken(Some(range))))
    }

    /// The range that another process has locked at a place.
    fn look(&self, place: Place, spread: Spread) -> io::Result<Option<Range>> {
        let (name, start) = spread.find(place);
        match self.open.get(&name) {
            Some(file) if file.is_current() => file.holder(start),
            Some(_) => Err(removed()),
            // None is kept open for a look: there are many.
            None => match LockFile::open_if_there(&name.path(&self.folder))? {
                Some(file) => file.holder(start),
                None => Ok(None),
            },
        }
    }

    /// Whether what this process has locked at a place is what others find there.
    pub(super) fn is_current(&self, place: Place) -> bool {
        let open = [Spread::Few, Spread::Many].map(|spread| self.open.get(&spread.find(place).0));
        open.into_iter().flatten().all(LockFile::is_current)
    }

    /// Gives a place back, wherever it is locked.
    pub(super) fn unlock(&self, place: Place) -> io::Result<()> {
        for spread in [Spread::Few, Spread::Many] {
            let (name, start) = spread.find(place);
            if let Some(file) = self.open.get(&name) {
                file.unlock(self.range(start))?;
            }
        }
        Ok(())
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
mod tests {
    use std::sync::Barrier;

    use tempfile::TempDir;

    use super::*;

    const MANY: usize = FEW_MAX + 1;

    fn place() -> Place {
        Place(fastrand::u64(..PLACES))
    }

    /// A process, which may open as many files as it likes.
    struct One(Files, Processes);

    fn two(folder: &TempDir) -> [One; 2] {
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        [0, 1].map(|_| {
            let processes = Processes::join(folder.path()).unwrap();
            let files = Files::new(keys.clone(), processes.own());
            One(Files { limit: u64::MAX, ..files }, processes)
        })
    }

    impl One {
        fn locks(&mut self, place: Place, keys: usize) -> bool {
            self.0.lock(place, keys, &self.1).unwrap().is_ok()
        }
    }

    #[test]
    fn some_hundred_keys_take_few_files_and_so_do_more_where_few_may_be_open() {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = two(&folder);
        for _ in 0..300 {
            assert!(one.locks(place(), 300));
        }
        assert_eq!(one.0.open.len(), 16);
        other.0.limit = 120;
        for _ in 0..300 {
            assert!(other.locks(place(), MANY));
        }
        assert_eq!(other.0.open.len(), 16);
        other.0.limit = MANY as u64 + TO_SPARE - 1;
        assert!(other.locks(place(), MANY));
        assert_eq!(other.0.open.len(), 16);
        other.0.limit += 1;
        for _ in 0..300 {
            assert!(other.locks(place(), MANY));
        }
        assert!((200..=316).contains(&other.0.open.len()), "{}", other.0.open.len());
    }

    #[test]
    fn a_key_is_held_by_one_whether_it_is_locked_in_few_files_or_in_many() {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = two(&folder);
        for (first, second) in [(1, MANY), (MANY, 1), (1, 1), (MANY, MANY)] {
            let place = place();
            assert!(one.locks(place, first));
            assert!(!other.locks(place, second), "{first} and {second}");
            one.0.unlock(place).unwrap();
            assert!(other.locks(place, second), "{first} and {second}");
            assert!(!one.locks(place, first), "{first} and {second}");
        }
    }

    #[test]
    fn of_two_that_lock_a_key_at_the_same_moment_in_other_files_never_both_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = two(&folder);
        let places: Vec<Place> = (0..2_000).map(|_| place()).collect();
        let at_once = Barrier::new(2);
        let lock_all = |one: &mut One, spread| -> Vec<bool> {
            let lock = |place: &Place| {
                at_once.wait();
                matches!(one.0.try_lock(*place, spread, &one.1), Ok(Tried::Locked))
            };
            places.iter().map(lock).collect()
        };
        let [few, many] = std::thread::scope(|scope| {
            let few = scope.spawn(|| lock_all(&mut one, Spread::Few));
            let many = lock_all(&mut other, Spread::Many);
            [few.join().unwrap(), many]
        });
        assert!(few.iter().zip(&many).all(|(few, many)| !(*few && *many)));
        assert!(few.iter().chain(&many).any(|got| *got));
    }

    #[test]
    fn files_that_were_removed_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = two(&folder);
        let place = place();
        assert!(one.locks(place, 1));
        std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        assert!(other.locks(place, 1), "it cannot know");
        one.0.unlock(place).unwrap();
        assert!(one.0.lock(place, 1, &one.1).is_err());
        assert!(one.0.lock(place, MANY, &one.1).is_err(), "nor looks into what is gone");
    }
}
