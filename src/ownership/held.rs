//! What one process holds in a folder of locks.
//!
//! Owns the counts of claims, the record of the process and the threads that keep it true. In doubt a
//! claim is refused, a dial not begun and a key left to rest.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::beat::{self, Beat};
use super::keys::{Files, Place};
use super::process::{Moment, Other, Processes, Record, Verdict};
use super::{Claim, ClaimError, Epoch, Fenced, Holder, place};
use crate::clock::time_with_sleep;
use crate::session::KeyId;
use crate::sync::Mutex;

/// How often the record says anew that there may be sockets.
const MARK_STEP: Duration = Duration::from_secs(30);
/// How often it is looked whether it must.
const LOOK_STEP: Duration = Duration::from_secs(1);
/// How often the files are kept from those who clear away what is old.
const TOUCH_STEP: Duration = Duration::from_secs(3_600);
/// The most that is said of what a process serves.
const SERVES_MAX: usize = 16;

/// Every folder that this process is in.
static FOLDERS: LazyLock<Mutex<HashMap<PathBuf, Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// What a process has in one folder.
pub(super) struct Shared {
    folder: PathBuf,
    pub(super) beat: Beat,
    held: Mutex<Held>,
    /// Told when nothing is open any more; its end ends the threads.
    wake: Sender<()>,
    /// Told when something is closed, and when everything has been kept true.
    changes: watch::Sender<()>,
}

struct Held {
    processes: Processes,
    folder: PathBuf,
    files: Files,
    /// How often each place is claimed: two keys may share one, if hardly ever.
    places: HashMap<Place, u32>,
    /// Places that nobody claims any more, and that are locked until their key has rested.
    lingering: HashMap<Place, KeyId>,
    /// Keys that stand in the file of keys.
    noted: HashSet<KeyId>,
    /// Keys of which dials have begun and not ended, and how many.
    open: HashMap<KeyId, u32>,
    /// Until when each key must rest whose sockets are closed here, by the clock that counts sleep.
    resting: HashMap<KeyId, Duration>,
    /// The same, of those that another process has left: it also left word of that.
    inherited: HashMap<KeyId, Duration>,
    record: Record,
    touched: Duration,
    /// Somebody has removed the files that are locked here: others lock other ones.
    is_removed: bool,
}

impl Shared {
    /// What this process has in a folder, opened if it has nothing there yet.
    pub(super) fn of(
        folder: &Path,
        serves: Option<&str>,
        timer: Duration,
        pause_max: Duration,
    ) -> io::Result<Arc<Self>> {
        place::make(folder)?;
        let folder = folder.canonicalize()?;
        let mut folders = FOLDERS.lock();
        if let Some(shared) = folders.get(&folder).and_then(Weak::upgrade) {
            shared.held.lock().also_serve(serves, timer)?;
            return Ok(shared);
        }
        let shared = Self::open(folder.clone(), serves, timer, pause_max)?;
        folders.retain(|_, shared| shared.strong_count() > 0);
        folders.insert(folder, Arc::downgrade(&shared));
        Ok(shared)
    }

    /// Opens a folder as a process of its own.
    pub(super) fn open(
        folder: PathBuf,
        serves: Option<&str>,
        timer: Duration,
        pause_max: Duration,
    ) -> io::Result<Arc<Self>> {
        let held = Mutex::new(Held::open(&folder, serves, timer)?);
        let (wake, woken) = channel();
        let shared = Arc::new(Self {
            folder,
            beat: Beat::new(pause_max),
            held,
            wake,
            changes: watch::Sender::default(),
        });
        // The beat in a thread of its own: the disk may keep the other one waiting.
        let (weak, ended) = (Arc::downgrade(&shared), Arc::downgrade(&shared));
        let thread = |name: &str| thread::Builder::new().name(name.into());
        thread("telepool-beat").spawn(move || beat_on(&weak))?;
        thread("telepool-locks").spawn(move || keep_on(&ended, &woken))?;
        Ok(shared)
    }

    /// Claims keys that the caller has not claimed yet, none of them twice.
    pub(super) fn claim(
        &self,
        keys: &[KeyId],
        timer: Duration,
    ) -> Result<Vec<Result<Claim, ClaimError>>, ClaimError> {
        let mut held = self.held.lock();
        let count = held.places.len() + keys.len();
        let taken: Vec<_> = keys.iter().map(|key| held.take(*key, count)).collect();
        // Looked at after the locks are taken: whoever had them until now has left its files by then.
        let boot = held.record.boot.clone();
        let others = held.processes.others(timer, &boot);
        let others = others.map_err(|error| Arc::new(self.failed(error)));
        let claims = taken.into_iter().zip(keys).map(|(taken, key)| {
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(holder)) => return Err(ClaimError::Held(holder)),
                Err(error) => return Err(self.failed(error)),
            }
            let settled = match &others {
                Ok(others) => held.settle_claim(*key, others, timer).map_err(ClaimError::Held),
                Err(error) => Err(ClaimError::clone(error)),
            };
            if settled.is_err() {
                held.give_back(*key);
            }
            settled.map(|rest| Claim { rest })
        });
        Ok(claims.collect())
    }

    /// For how much longer a key that is claimed must rest because of a process before this one.
    pub(super) fn rest(&self, key: KeyId) -> Duration {
        let held = self.held.lock();
        let until = held.inherited.get(&key).copied().unwrap_or_default();
        until.saturating_sub(time_with_sleep())
    }

    /// Gives claims back.
    pub(super) fn release(&self, keys: impl Iterator<Item = KeyId>) {
        let mut held = self.held.lock();
        let keys: Vec<KeyId> = keys.collect();
        // Whoever claims one next must not find it among those that this process has.
        if let Err(error) = held.forget(&keys) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "keys stay locked until this process ends");
            return;
        }
        keys.into_iter().for_each(|key| held.give_back(key));
    }

    /// A dial is about to begin.
    pub(super) fn begin(&self, key: KeyId) -> Result<Epoch, Fenced> {
        let epoch = self.beat.begin()?;
        let begun = self.held.lock().begin(key);
        begun.map_err(|error| {
            let folder = self.folder.display();
            tracing::error!(%folder, %error, "it cannot be noted that a session is dialled");
            Fenced::Unrecorded
        })?;
        Ok(epoch)
    }

    /// The sockets of a dial are closed.
    pub(super) fn end(&self, key: KeyId, rest: Option<Duration>) {
        let mut held = self.held.lock();
        if let Some(rest) = rest {
            held.resting.insert(key, time_with_sleep() + rest);
        }
        if let Entry::Occupied(mut open) = held.open.entry(key) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        if held.open.is_empty() {
            // The thread is gone only after this is.
            self.wake.send(()).ok();
        }
        self.changes.send_replace(());
    }

    /// Waits until none of these keys is open and that is noted. While others are open, it is noted with
    /// them.
    pub(super) async fn until_settled(&self, keys: &[KeyId]) {
        // Before the first look, so that no change is missed.
        let mut changes = self.changes.subscribe();
        while !self.held.lock().has_settled(keys) {
            changes.changed().await.expect("BUG: the sender is borrowed");
        }
    }

    /// Whether it is noted that nothing is open.
    pub(super) fn is_settled(&self) -> bool {
        let held = self.held.lock();
        held.open.is_empty() && held.record.open == Moment::default()
    }

    fn failed(&self, error: io::Error) -> ClaimError {
        ClaimError::Place { place: self.folder.clone(), error: error.into() }
    }
}

fn beat_on(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        shared.beat.beat();
        drop(shared);
        thread::sleep(beat::STEP);
    }
}

fn keep_on(shared: &Weak<Shared>, woken: &Receiver<()>) {
    while !matches!(woken.recv_timeout(LOOK_STEP), Err(RecvTimeoutError::Disconnected)) {
        let Some(shared) = shared.upgrade() else { return };
        if shared.held.lock().keep() {
            shared.beat.cut_all();
        }
        shared.changes.send_replace(());
    }
}

impl Held {
    fn open(folder: &Path, serves: Option<&str>, timer: Duration) -> io::Result<Self> {
        let keys = folder.join("keys");
        std::fs::create_dir_all(&keys)?;
        let record = Record {
            holder: Holder::myself(serves.map(str::to_owned)),
            boot: place::boot_id(),
            timer: timer.as_secs(),
            open: Moment::default(),
            rest_until: Moment::default(),
        };
        let processes = Processes::join(folder)?;
        processes.write(&record)?;
        Ok(Self {
            files: Files::new(keys, processes.own()),
            processes,
            folder: folder.to_owned(),
            places: HashMap::new(),
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
    fn also_serve(&mut self, serves: Option<&str>, timer: Duration) -> io::Result<()> {
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

    /// Locks the place of a key, as one of so many, or says who has it.
    fn take(&mut self, key: KeyId, keys: usize) -> io::Result<Result<(), Option<Box<Holder>>>> {
        let at = Place::from(key);
        if let Some(count) = self.places.get_mut(&at) {
            *count += 1;
            return Ok(Ok(()));
        }
        // What lingers is locked.
        let is_locked = self.lingering.contains_key(&at) && self.files.is_current(at);
        let locked = match is_locked {
            true => Ok(()),
            false => self.files.lock(at, keys, &self.processes)?,
        };
        if locked.is_ok() {
            self.lingering.remove(&at);
            self.places.insert(at, 1);
        }
        Ok(locked)
    }

    /// What others mean for a key that has just been locked: for how long it must rest, or who has it
    /// still though its lock is open.
    fn settle_claim(
        &mut self,
        key: KeyId,
        others: &[Other],
        timer: Duration,
    ) -> Result<Duration, Option<Box<Holder>>> {
        let mut rest = Duration::ZERO;
        for other in others {
            match other.judge(key, timer, &self.record.boot) {
                Verdict::Has(holder) => return Err(holder.map(Box::new)),
                Verdict::Rest(more) => rest = rest.max(more),
            }
        }
        if !rest.is_zero() {
            self.inherited.insert(key, time_with_sleep() + rest);
        }
        Ok(rest)
    }

    fn give_back(&mut self, key: KeyId) {
        let at = Place::from(key);
        let Some(count) = self.places.get_mut(&at) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.places.remove(&at);
        if self.open.contains_key(&key) || self.resting.contains_key(&key) {
            self.lingering.insert(at, key);
        } else {
            self.unlock(at);
        }
    }

    fn unlock(&self, at: Place) {
        if let Err(error) = self.files.unlock(at) {
            tracing::warn!(%error, "a key stays locked until this process ends");
        }
    }

    /// Strikes keys from the file of keys that are neither open nor resting.
    fn forget(&mut self, keys: &[KeyId]) -> io::Result<()> {
        let is_over = |key: &KeyId| !self.open.contains_key(key) && !self.resting.contains_key(key);
        if keys.iter().any(|key| self.noted.contains(key) && is_over(key)) {
            self.note_what_is()?;
        }
        Ok(())
    }

    /// Has the file of keys hold those that are open or rest, and no others.
    fn note_what_is(&mut self) -> io::Result<()> {
        let now = time_with_sleep();
        self.resting.retain(|_, until| *until > now);
        let keys: HashSet<KeyId> = self.open.keys().chain(self.resting.keys()).copied().collect();
        self.processes.note_only(keys.iter().copied())?;
        self.noted = keys;
        Ok(())
    }

    fn has_settled(&self, keys: &[KeyId]) -> bool {
        let is_marked = self.record.open != Moment::default();
        !(keys.iter().any(|key| self.open.contains_key(key)) || self.open.is_empty() && is_marked)
    }

    fn begin(&mut self, key: KeyId) -> io::Result<()> {
        if self.is_removed {
            return Err(io::Error::other("somebody has removed files in use from the folder"));
        }
        if !self.noted.contains(&key) {
            self.processes.note(key)?;
            self.noted.insert(key);
        }
        if self.record.open == Moment::default() {
            self.mark()?;
        }
        *self.open.entry(key).or_default() += 1;
        Ok(())
    }

    /// Says that there may be sockets now.
    fn mark(&mut self) -> io::Result<()> {
        let record = Record { open: Moment::now(), ..self.record.clone() };
        self.processes.write(&record)?;
        self.record = record;
        Ok(())
    }

    /// Keeps everything true; to be called every now and then, and when nothing is open any more. Answers
    /// whether the locks have been removed since, so that somebody else may dial the same keys.
    fn keep(&mut self) -> bool {
        let now = time_with_sleep();
        self.inherited.retain(|_, until| *until > now);
        self.resting.retain(|_, until| *until > now);
        let age = Duration::from_secs(Moment::now().up.saturating_sub(self.record.open.up));
        let written = match (self.record.open != Moment::default(), self.open.is_empty()) {
            (true, false) if age >= MARK_STEP => self.mark().and_then(|()| self.note_what_is()),
            (true, true) => self.settle(),
            _ => Ok(()),
        };
        if let Err(error) = written {
            tracing::error!(%error, "the record of this process cannot be kept");
        }
        self.let_linger(now);
        if self.is_removed || self.processes.is_current() {
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

    /// Unlocks what has rested, and keeps the files from being cleared away.
    fn let_linger(&mut self, now: Duration) {
        let (open, resting) = (&self.open, &self.resting);
        let is_over = |key: &KeyId| !open.contains_key(key) && !resting.contains_key(key);
        let over: Vec<_> = self
            .lingering
            .iter()
            .filter(|(_, key)| is_over(key))
            .map(|(at, key)| (*at, *key))
            .collect();
        for (at, key) in over {
            if self.forget(&[key]).is_ok() {
                self.lingering.remove(&at);
                self.unlock(at);
            }
        }
        if now.saturating_sub(self.touched) >= TOUCH_STEP {
            self.touched = now;
            self.files.touch();
        }
    }

    /// Nothing is open: only keys that must rest are left to be told of.
    fn settle(&mut self) -> io::Result<()> {
        self.note_what_is()?;
        let now = time_with_sleep();
        let longest = self.resting.values().max().map(|until| until.saturating_sub(now));
        let rest_until = longest.map_or_else(Moment::default, |rest| Moment::now().after(rest));
        let record = Record { open: Moment::default(), rest_until, ..self.record.clone() };
        self.processes.write(&record)?;
        self.record = record;
        Ok(())
    }
}

/// The end of an orderly process: nothing is left behind but what must rest.
impl Drop for Held {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            return;
        }
        let settled = self.settle().and_then(|()| match self.resting.is_empty() {
            true => self.processes.leave(),
            false => Ok(()),
        });
        if let Err(error) = settled {
            tracing::warn!(%error, "the record of this process is left behind");
        }
    }
}
