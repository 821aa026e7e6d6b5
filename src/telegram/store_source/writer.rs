//! Writer thread of a store: quarantines and logins, off the way of whoever dials.
//!
//! Owns what has still to be written. What fails is tried again until it works, in the order in which it came.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::lease::StoreLease;
use super::quarantines::SessionQuarantines;
use super::taken::TakenUpdates;
use crate::base::clock::{Instant, now, unix_time};
use crate::base::sync::Mutex;
use crate::manager::QuarantineReason;
use crate::session::SessionUser;
use crate::store::{ServeMark, SessionStore, StoreError, StoreId};

/// How often it is said in the store that it is served.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);
/// For how long logins are gathered, and how many at most, before they are written at once.
const GATHER: Duration = Duration::from_secs(1);
const LOGINS_MAX: usize = 1_000;
/// How much waits for a store that cannot be written to before logins are no longer kept for it.
const QUEUE_MAX: usize = 100_000;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
const CLOSE_RETRY: Duration = Duration::from_millis(100);

/// What is to be written.
pub(super) enum StoreWrite {
    Quarantine(StoreId, u16, Option<QuarantineReason>),
    Login(StoreId, u16, Option<SessionUser>),
    /// How far updates were taken, as it stands when this is written.
    Updates,
    /// Where the process can be asked.
    Announce(Option<String>),
    /// Everything so far; answered when it is on disk.
    Flush(mpsc::SyncSender<()>),
    /// The same, and nothing after it; tried until then.
    Close(mpsc::SyncSender<()>, Instant),
}

/// What the thread owns.
pub(super) struct StoreWriter<S: ?Sized> {
    store: Arc<S>,
    quarantines: Arc<Mutex<SessionQuarantines>>,
    updates: Arc<Mutex<TakenUpdates>>,
    mark: ServeMark,
    todo: VecDeque<StoreWrite>,
    is_failing: bool,
    /// Given up last.
    lease: StoreLease,
}

impl<S: SessionStore + ?Sized> StoreWriter<S> {
    pub(super) fn new(
        store: Arc<S>,
        quarantines: Arc<Mutex<SessionQuarantines>>,
        updates: Arc<Mutex<TakenUpdates>>,
        mark: ServeMark,
        lease: StoreLease,
    ) -> Self {
        let (todo, is_failing) = (VecDeque::new(), false);
        Self { store, quarantines, updates, mark, todo, is_failing, lease }
    }

    /// Writes until nobody can send any more, or the store is closed; then notes that nobody serves it, and gives
    /// it up.
    pub(super) fn run(mut self, writes: &mpsc::Receiver<StoreWrite>) {
        let closed = self.run_until_closed(writes);
        let until = closed.as_ref().map_or_else(now, |(_, until)| *until);
        let mut is_written = self.attempt();
        while !is_written && now() < until {
            std::thread::sleep(CLOSE_RETRY);
            is_written = self.attempt();
        }
        if !is_written {
            let left = self.todo.len();
            tracing::error!(left, "what was to be written to the store is lost with the process");
        }
        self.beat(true);
        drop(self.lease);
        if let Some((closed, _)) = closed.filter(|_| is_written) {
            closed.send(()).ok();
        }
    }

    /// Returns who waits for the end, if somebody does.
    fn run_until_closed(
        &mut self,
        writes: &mpsc::Receiver<StoreWrite>,
    ) -> Option<(mpsc::SyncSender<()>, Instant)> {
        let mut beat_at = now() + HEARTBEAT;
        let mut write_at: Option<Instant> = None;
        loop {
            let until = write_at.map_or(beat_at, |at| at.min(beat_at));
            match writes.recv_timeout(until.saturating_duration_since(now())) {
                Ok(StoreWrite::Close(closed, until)) => return Some((closed, until)),
                // What a login tells will be told again; of an end that is not so.
                Ok(StoreWrite::Login(..)) if self.todo.len() >= QUEUE_MAX => {}
                Ok(write) => {
                    let is_urgent = !matches!(write, StoreWrite::Login(..) | StoreWrite::Updates);
                    self.todo.push_back(write);
                    let pause = if is_urgent && !self.is_failing { Duration::ZERO } else { GATHER };
                    let due = now() + pause;
                    write_at = Some(write_at.map_or(due, |at| at.min(due)));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
            if write_at.is_some_and(|at| at <= now()) || self.todo.len() >= LOGINS_MAX {
                write_at = if self.attempt() { None } else { Some(now() + RETRY) };
            }
            if beat_at <= now() {
                self.beat(false);
                beat_at = now() + HEARTBEAT;
            }
        }
    }

    fn beat(&mut self, released: bool) {
        if !self.lease.has_store() {
            tracing::error!(
                "the file of the store was removed or replaced: what becomes known is lost with this process, and what \
                 others change is not seen; end it, and put the store back"
            );
        }
        if !self.lease.is_current() {
            tracing::error!(
                "somebody has removed the lock of the store: another process may serve it as well, which costs logins"
            );
        }
        (self.mark.heartbeat, self.mark.released) = (unix_time().as_secs(), released);
        if let Err(error) = self.store.set_serve_mark(&self.mark) {
            tracing::warn!(%error, "it cannot be noted in the store that it is served");
        }
    }

    /// Writes, and tells when that begins to fail and when it works again.
    fn attempt(&mut self) -> bool {
        match self.write_all() {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the store can be written to again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "the store cannot be written to, which is tried again");
                }
                false
            }
        }
    }

    fn write_all(&mut self) -> Result<(), StoreError> {
        while let Some(next) = self.todo.front() {
            match next {
                StoreWrite::Quarantine(account, slot, reason) => {
                    let (account, slot, reason) = (*account, *slot, *reason);
                    // One that was removed meanwhile needs none.
                    if let Some(key) = self.store.key_at(account, slot)? {
                        self.store.set_quarantine(key, reason)?;
                    }
                    self.quarantines.lock().written(account, slot, reason);
                    self.todo.pop_front();
                }
                StoreWrite::Login(..) => self.write_logins()?,
                StoreWrite::Updates => {
                    self.write_updates()?;
                    self.todo.pop_front();
                }
                StoreWrite::Announce(socket) => {
                    self.mark.socket.clone_from(socket);
                    self.store.set_serve_mark(&self.mark)?;
                    self.todo.pop_front();
                }
                StoreWrite::Flush(done) | StoreWrite::Close(done, _) => {
                    // Whoever has stopped waiting needs no answer.
                    done.send(()).ok();
                    self.todo.pop_front();
                }
            }
        }
        Ok(())
    }

    fn write_updates(&self) -> Result<(), StoreError> {
        let taken = self.updates.lock().begin_write();
        let written = self.store.set_update_states(&taken);
        self.updates.lock().end_write(written.is_ok());
        written
    }

    /// Those that stand in a row, in one step. A session that is logged in as somebody else than the store has it goes
    /// out of service: whoever asks for its account must not get another's.
    fn write_logins(&mut self) -> Result<(), StoreError> {
        let login = |write: &StoreWrite| match write {
            StoreWrite::Login(account, slot, user) => Some((*account, *slot, *user)),
            _ => None,
        };
        let places: Vec<_> = self.todo.iter().map_while(login).take(LOGINS_MAX).collect();
        let mut logins = Vec::with_capacity(places.len());
        for (account, slot, user) in &places {
            logins.extend(self.store.key_at(*account, *slot)?.map(|key| (key, *user)));
        }
        let conflicts = self.store.note_logins(&logins)?;
        for ((key, _), conflict) in logins.iter().zip(conflicts) {
            if let Some(conflict) = conflict {
                tracing::error!(%key, %conflict, "a session is logged in as somebody else than the store has it");
                self.store.set_quarantine(*key, Some(QuarantineReason::Misconfigured))?;
            }
        }
        self.todo.drain(..places.len());
        Ok(())
    }
}
