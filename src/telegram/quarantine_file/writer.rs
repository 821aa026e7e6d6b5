//! The writer thread of a quarantine file.
//!
//! Owns what is known, what of it has still to be written, and the lock. Writes nothing but the
//! changes since its last success, on top of what the file says at that moment; a write that fails
//! is made again until it works.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use super::QuarantineFileError;
use super::file::StateFile;
use super::lines::{Quarantine, Quarantines};
use super::lock::FileLock;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
use crate::session::KeyId;

/// How long after a failure it is tried again; twice as long after each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Files that nobody keeps quarantines in any more, but whose threads have not ended yet.
static LEAVING: LazyLock<Mutex<Vec<PathBuf>>> = LazyLock::new(|| Mutex::new(Vec::new()));

/// Whether the thread of a file is about to give it up.
pub(super) fn is_leaving(path: &Path) -> bool {
    LEAVING.lock().iter().any(|leaving| leaving == path)
}

/// Notes that the thread of a file is about to give it up.
pub(super) fn leave(path: &Path) {
    LEAVING.lock().push(path.to_owned());
}

/// What is sent to the thread.
pub(super) enum WriterMessage {
    Changed,
    Flush(Flush),
}

/// Somebody who waits until everything so far is written.
pub(super) struct Flush {
    pub(super) done: mpsc::SyncSender<()>,
    /// Until when; for ever if that is beyond the clock.
    pub(super) until: Option<Instant>,
}

/// What this process knows, and what it has still to write.
#[derive(Debug, Default)]
pub(super) struct KnownQuarantines {
    known: Quarantines,
    /// Since the last success: a quarantine, or the end of one.
    changes: BTreeMap<KeyId, Option<Quarantine>>,
}

impl KnownQuarantines {
    pub(super) fn of(known: Quarantines) -> Self {
        Self { known, changes: BTreeMap::new() }
    }

    pub(super) fn known(&self) -> &Quarantines {
        &self.known
    }

    pub(super) fn impose(&mut self, quarantine: Quarantine) {
        self.known.insert(quarantine.key_id, quarantine);
        self.changes.insert(quarantine.key_id, Some(quarantine));
    }

    /// The end of a quarantine is written also if this process knows of none: there may be a line
    /// of somebody else's.
    pub(super) fn lift(&mut self, key: KeyId) {
        self.known.remove(&key);
        self.changes.insert(key, None);
    }

    /// Takes over what the file says since these changes are in it. What came meanwhile stands. A
    /// quarantine whose line somebody has removed lasts until this process ends: it errs on the side
    /// that costs no authorization.
    fn settle(&mut self, changes: &BTreeMap<KeyId, Option<Quarantine>>, written: Quarantines) {
        self.changes.retain(|key, change| changes.get(key) != Some(change));
        for (key, quarantine) in written {
            if !self.changes.contains_key(&key) {
                self.known.insert(key, quarantine);
            }
        }
    }
}

/// When the next attempt is due, after failures.
#[derive(Debug)]
struct Retry {
    at: Option<Instant>,
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { at: None, pause: RETRY_FIRST }
    }
}

impl Retry {
    /// An attempt has failed. One that was not due, because something new came, changes nothing.
    fn put_off(&mut self) {
        let now = now();
        if self.at.is_none_or(|at| at <= now) {
            self.at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(RETRY_MAX);
        }
    }
}

/// The writer: what its thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    file: StateFile,
    lock: FileLock,
    memory: Arc<Mutex<KnownQuarantines>>,
    is_failing: bool,
}

impl Writer {
    pub(super) fn new(
        file: StateFile,
        lock: FileLock,
        memory: Arc<Mutex<KnownQuarantines>>,
    ) -> Self {
        Self { file, lock, memory, is_failing: false }
    }

    /// Writes the file after each change, once for all those that came meanwhile, until nobody can
    /// make any more.
    pub(super) fn run(mut self, messages: &mpsc::Receiver<WriterMessage>) {
        let (mut retry, mut waiting) = (Retry::default(), Vec::new());
        loop {
            let first = match retry.at {
                None => messages.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(at) => messages.recv_timeout(at.saturating_duration_since(now())),
            };
            if matches!(first, Err(mpsc::RecvTimeoutError::Disconnected)) {
                break;
            }
            for message in first.into_iter().chain(messages.try_iter()) {
                if let WriterMessage::Flush(flush) = message {
                    waiting.push(flush);
                    // Its patience is short: what has failed for long is begun anew.
                    retry = Retry::default();
                }
            }
            if self.attempt() {
                retry = Retry::default();
                for flush in waiting.drain(..) {
                    // Whoever has stopped waiting needs no answer.
                    flush.done.send(()).ok();
                }
            } else {
                retry.put_off();
                waiting.retain(|flush| flush.until.is_none_or(|until| until > now()));
            }
        }
        self.end();
    }

    /// Gives the file up, after a last attempt if there is something left to write.
    fn end(mut self) {
        let left = self.memory.lock().changes.len();
        if left > 0 && !self.attempt() {
            let path = self.file.path().display();
            tracing::error!(%path, left, "quarantines are lost with the process");
        }
        let Self { file, lock, .. } = self;
        drop(lock);
        LEAVING.lock().retain(|leaving| leaving != file.path());
    }

    /// Writes, and tells when that begins to fail and when it works again.
    fn attempt(&mut self) -> bool {
        match self.write() {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    let path = self.file.path().display();
                    tracing::info!(%path, "quarantines are kept again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "quarantines are not kept, which is tried again");
                }
                false
            }
        }
    }

    fn write(&mut self) -> Result<(), QuarantineFileError> {
        if !self.lock.is_current() {
            // Its folder may have gone and come back. Another may hold the new file by now.
            self.lock = self.file.lock()?;
        }
        let changes = self.memory.lock().changes.clone();
        let was_lost = Cell::new(false);
        let lost = || {
            // Nobody lifts quarantines by removing the file of a process that keeps them.
            was_lost.set(true);
            self.memory.lock().known.clone()
        };
        let written = self.file.update(self.is_failing, lost, |quarantines| {
            for (key, change) in &changes {
                match change {
                    Some(quarantine) => quarantines.insert(*key, *quarantine),
                    None => quarantines.remove(key),
                };
            }
        })?;
        if was_lost.get() {
            let path = self.file.path().display();
            tracing::warn!(%path, "the file of quarantines was gone, and is written anew");
        }
        self.memory.lock().settle(&changes, written);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
