//! The processes of a folder: each has a number, says who it is, and says which keys it may have
//! connections with.
//!
//! Owns the files of processes. `process-7.json` says who number 7 is and until when it may have had
//! sockets; `process-7.keys` holds the ids of the keys that it has, or that must rest. A process lives for as
//! long as the lock of its number is held. What a dead one has left tells which keys must rest. Whatever
//! cannot be read counts as if it concerned every key. What is being written stands beside them until it is
//! whole, under the number as well (`process-7.json.new`): it is cleared away with them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Holder;
use super::locks::{LockFile, Range};
use crate::clock::{time_with_sleep, unix_time};
use crate::session::KeyId;

/// The most processes that may share a folder.
const PROCESSES_MAX: u16 = 4095;
/// How much later than it says a process may still have had sockets: it says so anew twice a minute.
const STEP: Duration = Duration::from_secs(60);
/// The coarsest that the times of files are.
const SETTLED: Duration = Duration::from_secs(3);
/// The longest record that is read, and the most keys.
const RECORD_LEN_MAX: u64 = 64 * 1024;
const KEYS_LEN_MAX: u64 = 8 * 10_000_000;

/// A moment by two clocks, in seconds: the time of day, which other runs of the machine know, and the
/// time since its start, which nobody sets. Zero is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    pub(super) unix: u64,
    pub(super) up: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { unix: unix_time().as_secs().max(1), up: time_with_sleep().as_secs().max(1) }
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self { unix: self.unix + time.as_secs() + 1, up: self.up + time.as_secs() + 1 }
    }
}

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) holder: Holder,
    /// The run of the machine that it belongs to.
    pub(super) boot: String,
    /// How long its keys must rest after a crash, in seconds.
    pub(super) timer: u64,
    /// When it last said that it had sockets; never if it has none.
    pub(super) open: Moment,
    /// Until when keys of it must rest though all of its sockets are closed.
    pub(super) rest_until: Moment,
}

impl Record {
    fn rest(&self, now: Moment, timer: Duration, boot: &str) -> Duration {
        let timer = timer.max(Duration::from_secs(self.timer));
        let seconds = |moment: Moment| match self.boot == boot {
            true => moment.up,
            false => moment.unix,
        };
        let [now, open, until] = [now, self.open, self.rest_until].map(seconds);
        let asked = Duration::from_secs(until.saturating_sub(now)).min(timer);
        if open == 0 {
            return asked;
        }
        // A clock that was set back since must not make it longer than the timer is.
        let last = (open + STEP.as_secs()).min(now);
        (Duration::from_secs(last) + timer).saturating_sub(Duration::from_secs(now)).max(asked)
    }
}

/// Keys by their numbers.
type Numbers = Arc<HashSet<u64>>;

/// Another process of the folder, or what is left of one.
#[derive(Debug)]
pub(super) struct Other {
    is_alive: bool,
    /// `None`: it cannot be read.
    record: Option<Record>,
    keys: Option<Numbers>,
    /// How long ago the record was written, if it cannot be read.
    age: Duration,
}

/// What another process means for a key that this one has just locked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It lives, and says that it has the key: it is about to end, or somebody has removed the locks.
    Has(Option<Holder>),
    /// The key must rest for so long; zero if it need not.
    Rest(Duration),
}

impl Other {
    pub(super) fn judge(&self, key: KeyId, timer: Duration, boot: &str) -> Verdict {
        let has_key = self.keys.as_ref().is_none_or(|keys| keys.contains(&key.number()));
        match &self.record {
            record if self.is_alive && has_key => {
                Verdict::Has(record.as_ref().map(|record| record.holder.clone()))
            }
            _ if self.is_alive => Verdict::Rest(Duration::ZERO),
            None => Verdict::Rest((STEP + timer).saturating_sub(self.age)),
            // What a machine wrote just before it lost its power may be missing: no key is exempt.
            Some(record) if has_key || record.boot != boot => {
                Verdict::Rest(record.rest(Moment::now(), timer, boot))
            }
            Some(_) => Verdict::Rest(Duration::ZERO),
        }
    }

    fn is_of_use(&self, timer: Duration, boot: &str) -> bool {
        let rests = |record: &Record| !record.rest(Moment::now(), timer, boot).is_zero();
        self.is_alive || self.record.as_ref().map_or(self.age < STEP + timer, rests)
    }
}

/// The numbers of the processes of a folder, and their files.
#[derive(Debug)]
pub(super) struct Processes {
    folder: PathBuf,
    numbers: LockFile,
    own: u16,
    keys: File,
    /// The keys of others as they were last read, with the time and the length of their files.
    seen: HashMap<u16, (SystemTime, u64, Numbers)>,
}

impl Processes {
    /// Takes the lowest number that is free and that nobody has left anything under.
    pub(super) fn join(folder: &Path) -> io::Result<Self> {
        let numbers = LockFile::open(&folder.join("processes"))?;
        for own in 0..PROCESSES_MAX {
            let has_record = || fs::exists(folder.join(record_name(own)));
            // Looked at first: whoever has the lock is taken for the one that the record names.
            if has_record()? || !numbers.try_lock(byte(own))? {
                continue;
            }
            if has_record()? {
                numbers.unlock(byte(own))?;
                continue;
            }
            let path = folder.join(keys_name(own));
            replace(&path, &[])?;
            let (keys, seen) = (append(&path)?, HashMap::new());
            return Ok(Self { folder: folder.to_owned(), numbers, own, keys, seen });
        }
        Err(io::Error::other("more processes than there are numbers have left their files here"))
    }

    pub(super) fn own(&self) -> u16 {
        self.own
    }

    /// Says, for as long as this process lives, that it locks keys in a way that has this number.
    pub(super) fn announce(&self, way: u8) -> io::Result<()> {
        let all = announcements(way);
        let own = Range { start: all.start + i64::from(self.own), len: 1 };
        match self.numbers.try_lock(own)? {
            true => Ok(()),
            false => Err(io::Error::other("another process has the number of this one")),
        }
    }

    /// Whether another process may lock keys in this way.
    pub(super) fn is_announced(&self, way: u8) -> io::Result<bool> {
        self.numbers.is_any_held(announcements(way))
    }

    /// Whether the files that this process has locked are those that others find.
    pub(super) fn is_current(&self) -> bool {
        self.numbers.is_current()
    }

    /// Says anew who this process is.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let bytes = serde_json::to_vec(record)?;
        replace(&self.folder.join(record_name(self.own)), &bytes)
    }

    /// Notes that there may be a connection with this key from now on.
    pub(super) fn note(&mut self, key: KeyId) -> io::Result<()> {
        self.keys.write_all(&key.number().to_le_bytes())
    }

    /// Notes that there may be connections with these keys and no others.
    pub(super) fn note_only(&mut self, keys: impl Iterator<Item = KeyId>) -> io::Result<()> {
        let bytes: Vec<u8> = keys.flat_map(|key| key.number().to_le_bytes()).collect();
        let path = self.folder.join(keys_name(self.own));
        replace(&path, &bytes)?;
        self.keys = append(&path)?;
        Ok(())
    }

    /// Leaves nothing behind.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.clear(self.own)
    }

    /// Who a number is, if it still is somebody.
    pub(super) fn holder(&self, number: u16) -> Option<Holder> {
        let record = read(&self.folder.join(record_name(number)), RECORD_LEN_MAX).ok()?;
        let record: Record = serde_json::from_slice(&record).ok()?;
        self.is_alive(number).ok()?.then_some(record.holder)
    }

    fn is_alive(&self, number: u16) -> io::Result<bool> {
        Ok(number == self.own || self.numbers.holder(byte(number).start)?.is_some())
    }

    /// Every other process, alive or dead. What is of no more use is cleared away.
    pub(super) fn others(&mut self, timer: Duration, boot: &str) -> io::Result<Vec<Other>> {
        let mut numbers = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            numbers.extend(entry?.file_name().to_str().and_then(number_of));
        }
        numbers.remove(&self.own);
        let mut all = Vec::new();
        for number in numbers {
            match self.other(number)? {
                Some(other) if other.is_of_use(timer, boot) => all.push(other),
                // It may also have died before it had said who it is.
                _ => self.clear_dead(number, timer, boot)?,
            }
        }
        Ok(all)
    }

    /// `None`: it has left nothing.
    fn other(&mut self, number: u16) -> io::Result<Option<Other>> {
        // Before the files: a living one may still say something, a dead one does not.
        let is_alive = self.is_alive(number)?;
        let path = self.folder.join(record_name(number));
        let record = match read(&path, RECORD_LEN_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            record => record.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        };
        let age = match (&record, fs::metadata(&path)) {
            (None, Ok(about)) => about.modified()?.elapsed().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let keys = self.keys_of(number);
        Ok(Some(Other { is_alive, record, keys, age }))
    }

    fn keys_of(&mut self, number: u16) -> Option<Numbers> {
        let path = self.folder.join(keys_name(number));
        let about = match fs::metadata(&path) {
            // Cleared away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(Numbers::default());
            }
            about => about.ok()?,
        };
        let (time, len) = (about.modified().ok()?, about.len());
        if let Some((seen_time, seen_len, keys)) = self.seen.get(&number)
            && (*seen_time, *seen_len) == (time, len)
        {
            return Some(Arc::clone(keys));
        }
        let bytes = match read(&path, KEYS_LEN_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(Numbers::default());
            }
            bytes => bytes.ok()?,
        };
        // A key that was only half written was not dialled.
        let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk());
        let keys: Numbers = Arc::new(words.map(|word| u64::from_le_bytes(*word)).collect());
        // A file that was written just now may be written again without its time's changing.
        if time.elapsed().is_ok_and(|age| age > SETTLED) {
            self.seen.insert(number, (time, len, Arc::clone(&keys)));
        }
        Some(keys)
    }

    /// Clears the files of a dead process away, unless another one has its number by now.
    fn clear_dead(&mut self, number: u16, timer: Duration, boot: &str) -> io::Result<()> {
        if !self.numbers.try_lock(byte(number))? {
            return Ok(());
        }
        // As it is under the lock; this process holds it, so that it seems to be dead.
        let other = self.other(number);
        let is_useless = other.is_ok_and(|it| it.is_none_or(|it| !it.is_of_use(timer, boot)));
        let cleared = if is_useless { self.clear(number) } else { Ok(()) };
        self.numbers.unlock(byte(number))?;
        cleared
    }

    fn clear(&self, number: u16) -> io::Result<()> {
        // The record last: without it the number is free.
        let (keys, record) = (keys_name(number), record_name(number));
        for name in [unfinished(&keys), unfinished(&record), keys.into(), record.into()] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Replaces a file as a whole: the old one or the new one is there, whenever the machine stops. To be called
/// by whoever has its number, so that nobody else writes under the same name.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = PathBuf::from(unfinished(path));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

fn read(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn byte(number: u16) -> Range {
    Range { start: i64::from(number), len: 1 }
}

/// Where processes announce how they lock keys: behind their numbers.
fn announcements(way: u8) -> Range {
    let len = i64::from(PROCESSES_MAX) + 1;
    Range { start: (1 + i64::from(way)) * len, len }
}

fn record_name(number: u16) -> String {
    format!("process-{number}.json")
}

fn keys_name(number: u16) -> String {
    format!("process-{number}.keys")
}

/// The name of what is not yet whole.
fn unfinished(name: impl AsRef<OsStr>) -> OsString {
    let mut name = name.as_ref().to_owned();
    name.push(".new");
    name
}

/// Whose file it is.
fn number_of(name: &str) -> Option<u16> {
    let (number, _kind) = name.strip_prefix("process-")?.split_once('.')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_neither_shortens_nor_prolongs_a_rest_in_the_same_run_of_the_machine() {
        let timer = Duration::from_secs(120);
        let holder = Holder::myself(None);
        let (open, rest_until) = (Moment { unix: 10_000, up: 500 }, Moment::default());
        let record = Record { holder, boot: "a".into(), timer: 120, open, rest_until };
        let rest = |unix, up, boot: &str| record.rest(Moment { unix, up }, timer, boot).as_secs();
        for unix in [1, 10_100, 1_000_000] {
            assert_eq!(rest(unix, 600, "a"), 80, "whatever the time of day says");
        }
        assert_eq!(rest(10_100, 7, "b"), 80, "only the time of day is known to both");
        assert_eq!(rest(9_000, 7, "b"), 120, "it was set back");
        assert_eq!(record.rest(Moment { unix: 1, up: 600 }, Duration::ZERO, "a").as_secs(), 80);
    }
}
