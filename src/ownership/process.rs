//! Registry of the processes of a folder: each has a number, says who it is, and says which keys it may have
//! connections with.
//!
//! Owns the files of processes. `process-7.json` says who number 7 is and until when it may have had
//! sockets; `process-7.keys` holds the ids of the keys that it has, or that must rest. A process lives for as
//! long as the lock of its number is held. What a dead one has left tells which keys must rest. Whatever
//! cannot be read counts as if it concerned every key. What is being written stands beside them until it is
//! whole, under the number as well (`process-7.json.new`): it is cleared away with them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Holder;
use super::locks::{LockFile, Range};
use super::record::{KeyNumbers, OtherProcess, ProcessRecord};
use crate::base::clock::unix_time;
use crate::session::KeyId;

/// The most processes that may share a folder. It never changes: it is part of the format on disk.
const PROCESSES_MAX: u16 = 4095;
/// The coarsest that the times of files are.
const SETTLED: Duration = Duration::from_secs(3);
/// The longest record that is read, and the most keys.
const RECORD_LEN_MAX: u64 = 64 * 1024;
const KEYS_LEN_MAX: u64 = 8 * 10_000_000;

/// The numbers of the processes of a folder, and their files.
#[derive(Debug)]
pub(super) struct Processes {
    folder: PathBuf,
    numbers: LockFile,
    own: u16,
    keys: File,
    /// The keys of others as they were last read, with the time and the length of their files.
    seen: HashMap<u16, (SystemTime, u64, KeyNumbers)>,
}

impl Processes {
    /// Takes the lowest number that is free and that nobody has left anything under.
    pub(super) fn join(folder: &Path) -> io::Result<Self> {
        let numbers = LockFile::open(&folder.join("processes"))?;
        for own in 0..PROCESSES_MAX {
            let has_record = || fs::exists(folder.join(record_name(own)));
            // Looked at first: whoever has the number is taken for the one that the record names.
            if has_record()? || !numbers.try_lock(making(own))? {
                continue;
            }
            if has_record()? || !numbers.try_lock(byte(own))? {
                numbers.unlock(making(own))?;
                continue;
            }
            let path = folder.join(keys_name(own));
            replace(&path, &[])?;
            let (keys, seen) = (append(&path)?, HashMap::new());
            numbers.unlock(making(own))?;
            return Ok(Self { folder: folder.to_owned(), numbers, own, keys, seen });
        }
        Err(io::Error::other("more processes than there are numbers have left their files here"))
    }

    pub(super) fn own(&self) -> u16 {
        self.own
    }

    /// Whether the files that this process has locked are those that others find.
    pub(super) fn is_current(&self) -> bool {
        self.numbers.is_current()
    }

    /// Says anew who this process is.
    pub(super) fn write(&self, record: &ProcessRecord) -> io::Result<()> {
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

    /// Keeps what is this process's from those who clear away what is old: a lock is no use of a file that
    /// its times would tell of.
    pub(super) fn touch(&self) -> io::Result<()> {
        let now = std::time::UNIX_EPOCH + unix_time();
        self.numbers.touch()?;
        self.keys.set_modified(now)?;
        append(&self.folder.join(record_name(self.own)))?.set_modified(now)
    }

    /// Leaves nothing behind.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.clear(self.own)
    }

    /// Who a number is, if it still is somebody.
    pub(super) fn holder(&self, number: u16) -> Option<Holder> {
        let record = read(&self.folder.join(record_name(number)), RECORD_LEN_MAX).ok()?;
        let record: ProcessRecord = serde_json::from_slice(&record).ok()?;
        self.is_alive(number).ok()?.then_some(record.holder)
    }

    fn is_alive(&self, number: u16) -> io::Result<bool> {
        Ok(number == self.own || self.numbers.holder(byte(number).start)?.is_some())
    }

    /// Every other process, alive or dead. What is of no more use is cleared away.
    pub(super) fn others(&mut self, timer: Duration, boot: &str) -> io::Result<Vec<OtherProcess>> {
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
    fn other(&mut self, number: u16) -> io::Result<Option<OtherProcess>> {
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
        Ok(Some(OtherProcess { is_alive, record, keys, age }))
    }

    fn keys_of(&mut self, number: u16) -> Option<KeyNumbers> {
        let path = self.folder.join(keys_name(number));
        let about = match fs::metadata(&path) {
            // Cleared away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(KeyNumbers::default());
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
                return Some(KeyNumbers::default());
            }
            bytes => bytes.ok()?,
        };
        // A key that was only half written was not dialled.
        let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk());
        let keys: KeyNumbers = Arc::new(words.map(|word| u64::from_le_bytes(*word)).collect());
        // A file that was written just now may be written again without its time's changing.
        if time.elapsed().is_ok_and(|age| age > SETTLED) {
            self.seen.insert(number, (time, len, Arc::clone(&keys)));
        }
        Some(keys)
    }

    /// Clears the files of a dead process away, unless another one has its number by now. That number is
    /// not locked for it: whoever asks meanwhile would take the dead one for alive.
    fn clear_dead(&mut self, number: u16, timer: Duration, boot: &str) -> io::Result<()> {
        if !self.numbers.try_lock(making(number))? {
            return Ok(());
        }
        let is_useless = self.is_useless(number, timer, boot);
        let cleared = if is_useless { self.clear(number) } else { Ok(()) };
        self.numbers.unlock(making(number))?;
        cleared
    }

    /// As it is now that nobody else makes or clears files under the number.
    fn is_useless(&mut self, number: u16, timer: Duration, boot: &str) -> bool {
        // It may have its number and not have said yet who it is.
        let is_dead = self.is_alive(number).is_ok_and(|is_alive| !is_alive);
        let left = self.other(number);
        is_dead && left.is_ok_and(|it| it.is_none_or(|it| !it.is_of_use(timer, boot)))
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

/// What a process has locked for as long as it lives.
fn byte(number: u16) -> Range {
    Range { start: i64::from(number), len: 1 }
}

/// What is locked, behind the numbers, while the files of a number are first made, or cleared away.
fn making(number: u16) -> Range {
    Range { start: i64::from(PROCESSES_MAX) + 1 + i64::from(number), len: 1 }
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
