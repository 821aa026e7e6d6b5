//! Locks of this process in one folder, shared by all of it that locks there.
//!
//! Owns one value per folder, the threads that keep it true, and the answers to claims. Locks belong to the
//! process that opened the folder: a fork of it has the same ones, and is refused.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::held_locks::HeldLocks;
use super::pause::{self, PauseDetector};
use super::{Claim, ClaimError, Epoch, Fenced, Holder, LockLoss, folder};
use crate::base::clock::time_with_sleep;
use crate::base::sync::Mutex;
use crate::session::KeyId;

/// How often it is looked whether what is held is still true.
const LOOK_STEP: Duration = Duration::from_secs(1);

/// Every folder that this process is in.
static FOLDERS: LazyLock<Mutex<HashMap<PathBuf, Weak<FolderLocks>>>> =
    LazyLock::new(Mutex::default);

/// The locks of a process in one folder.
pub(super) struct FolderLocks {
    folder: PathBuf,
    /// The process that opened it.
    pid: u32,
    pub(super) pauses: PauseDetector,
    held: Mutex<HeldLocks>,
    /// Told when nothing is open any more; its end ends the threads.
    wake: Sender<()>,
    /// Told when something is closed, and when everything has been kept true.
    changes: watch::Sender<()>,
}

impl FolderLocks {
    /// What this process has in a folder, opened if it has nothing there yet.
    pub(super) fn of(
        folder: &Path,
        serves: Option<&str>,
        timer: Duration,
        pause_max: Duration,
    ) -> io::Result<Arc<Self>> {
        folder::make(folder)?;
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
        let held = HeldLocks::open(&folder, Holder::myself(serves.map(str::to_owned)), timer)?;
        Self::start(folder, held, pause_max)
    }

    pub(super) fn start(
        folder: PathBuf,
        held: HeldLocks,
        pause_max: Duration,
    ) -> io::Result<Arc<Self>> {
        let (pid, held) = (held.pid(), Mutex::new(held));
        let (wake, woken) = channel();
        let shared = Arc::new(Self {
            folder,
            pid,
            pauses: PauseDetector::new(pause_max),
            held,
            wake,
            changes: watch::Sender::default(),
        });
        // The ticks in a thread of their own: the disk may keep the other one waiting.
        let (weak, ended) = (Arc::downgrade(&shared), Arc::downgrade(&shared));
        let thread = |name: &str| thread::Builder::new().name(name.into());
        thread("telepool-pause").spawn(move || tick_loop(&weak))?;
        thread("telepool-locks").spawn(move || maintain_loop(&ended, &woken))?;
        Ok(shared)
    }

    /// Claims keys that the caller has not claimed yet, none of them twice.
    pub(super) fn claim(
        &self,
        keys: &[KeyId],
        timer: Duration,
    ) -> Result<Vec<Result<Claim, ClaimError>>, ClaimError> {
        // Before the lock, which a thread of the other process may have held at that moment.
        if self.is_forked() {
            return Err(self.failed(LockLoss::Forked.into()));
        }
        let mut held = self.held.lock();
        let taken: Vec<_> = keys.iter().map(|key| held.claim(*key)).collect();
        // Looked at after the locks are taken: whoever had them until now has left its files by then.
        let others = held.others(timer).map_err(|error| self.failed(error));
        let claims = taken.into_iter().zip(keys).map(|(taken, key)| {
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(holder)) => return Err(ClaimError::Held(holder)),
                Err(error) => return Err(self.failed(error)),
            }
            let settled = match &others {
                Ok(others) => held.check_others(*key, others, timer).map_err(ClaimError::Held),
                Err(error) => Err(ClaimError::clone(error)),
            };
            if settled.is_err() {
                held.release(*key);
            }
            settled.map(|rest| Claim { rest })
        });
        Ok(claims.collect())
    }

    /// For how much longer a key that is claimed must rest because of a process before this one.
    pub(super) fn rest(&self, key: KeyId) -> Duration {
        let held = self.held.lock();
        held.inherited(key).saturating_sub(time_with_sleep())
    }

    /// Gives claims back.
    pub(super) fn release(&self, keys: impl Iterator<Item = KeyId>) {
        // They are the other process's to give back.
        if self.is_forked() {
            return;
        }
        let mut held = self.held.lock();
        let keys: Vec<KeyId> = keys.collect();
        // Whoever claims one next must not find it among those that this process has.
        if let Err(error) = held.forget(&keys) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "keys stay locked until that can be noted: it is tried again");
        }
        keys.into_iter().for_each(|key| held.release(key));
    }

    /// A dial is about to begin.
    pub(super) fn begin(&self, key: KeyId) -> Result<Epoch, Fenced> {
        let folder = self.folder.display();
        if self.is_forked() {
            tracing::error!(%folder, error = %LockLoss::Forked, "a session is not dialled");
            return Err(Fenced::Forked);
        }
        let epoch = self.pauses.begin()?;
        let begun = self.held.lock().begin(key);
        begun.map_err(|error| {
            tracing::error!(%folder, %error, "a session is not dialled");
            if LockLoss::of(&error).is_some() { Fenced::Unlocked } else { Fenced::Unrecorded }
        })?;
        Ok(epoch)
    }

    /// Whether this is a copy of the process that took the locks.
    fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    /// The sockets of a dial are closed.
    pub(super) fn end(&self, key: KeyId, rest: Option<Duration>) {
        let mut held = self.held.lock();
        if held.end(key, rest) {
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
        self.held.lock().is_settled()
    }

    fn failed(&self, error: io::Error) -> ClaimError {
        ClaimError::Folder { folder: self.folder.clone(), error: error.into() }
    }
}

fn tick_loop(shared: &Weak<FolderLocks>) {
    while let Some(shared) = shared.upgrade() {
        shared.pauses.tick();
        drop(shared);
        thread::sleep(pause::STEP);
    }
}

fn maintain_loop(shared: &Weak<FolderLocks>, woken: &Receiver<()>) {
    while !matches!(woken.recv_timeout(LOOK_STEP), Err(RecvTimeoutError::Disconnected)) {
        let Some(shared) = shared.upgrade() else { return };
        if shared.held.lock().maintain() {
            shared.pauses.fence_all();
        }
        shared.changes.send_replace(());
    }
}

#[cfg(test)]
mod tests;
