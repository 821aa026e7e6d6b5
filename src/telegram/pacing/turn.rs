//! Turns: the right to send one call into a chat now, and the waiting for one.
//!
//! Owns the queues of all accounts, and a task for each that somebody waits in. Never sends anything.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::chat::SendTicket;
use super::queue::SendQueue;
use super::settings::SendPacing;
use super::target::{SendChat, SendTarget};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
use crate::base::timer::timeout_at;
use crate::manager::{TrafficCounters, TurnOutcome};

/// With fewer queues than that none is looked for that could be forgotten.
const QUEUES_FEW: usize = 64;

/// The queues of all accounts that have sent lately.
#[derive(Default)]
pub(in crate::telegram) struct Pacers {
    queues: Mutex<SendQueues>,
}

#[derive(Default)]
struct SendQueues {
    by_account: HashMap<AccountId, Arc<Pacer>>,
    /// With how many it is looked which can be forgotten.
    many: usize,
}

impl Pacers {
    /// The queue of an account, if it keeps to limits.
    pub(in crate::telegram) fn of(
        &self,
        account: AccountId,
        pacing: impl FnOnce() -> Option<(SendPacing, Arc<TrafficCounters>)>,
    ) -> Option<Arc<Pacer>> {
        if let Some(known) = self.queues.lock().by_account.get(&account) {
            return Some(Arc::clone(known));
        }
        // Not under the lock: it is the source of sessions that is asked.
        let (pacing, counters) = pacing()?;
        let mut queues = self.queues.lock();
        if let Some(known) = queues.by_account.get(&account) {
            return Some(Arc::clone(known));
        }
        let pacer = Arc::new(Pacer::new(pacing, counters));
        if queues.by_account.len() >= queues.many.max(QUEUES_FEW) {
            let now = now();
            // Whoever holds one has yet to take a turn of it.
            queues.by_account.retain(|_, pacer| {
                Arc::strong_count(pacer) > 1 || !pacer.state.lock().queue.is_over(now)
            });
            queues.many = 2 * queues.by_account.len();
        }
        queues.by_account.insert(account, Arc::clone(&pacer));
        Some(pacer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.lock().by_account.len()
    }
}

impl fmt::Debug for Pacers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.queues.lock().by_account.len();
        f.debug_struct("Pacers").field("queues", &queues).finish_non_exhaustive()
    }
}

/// The queue of one account, and who waits in it.
#[derive(Debug)]
pub(in crate::telegram) struct Pacer {
    state: Mutex<PacerState>,
    /// Told when the queue has to be looked at before the time that was named.
    changed: Notify,
    counters: Arc<TrafficCounters>,
}

#[derive(Debug)]
struct PacerState {
    queue: SendQueue,
    /// A task gives the turns.
    has_giver: bool,
}

impl Pacer {
    pub(super) fn new(pacing: SendPacing, counters: Arc<TrafficCounters>) -> Self {
        let state = PacerState { queue: SendQueue::new(pacing), has_giver: false };
        Self { state: Mutex::new(state), changed: Notify::new(), counters }
    }

    /// A turn, if one is free now.
    ///
    /// # Errors
    /// How long there will be none, at the least.
    pub(in crate::telegram) fn try_turn(
        self: &Arc<Self>,
        target: SendTarget,
    ) -> Result<Turn, Duration> {
        self.try_take(target).inspect_err(|_| self.count(TurnOutcome::Refused, now()))
    }

    fn count(&self, outcome: TurnOutcome, since: Instant) {
        self.counters.count_turn(outcome, now().saturating_duration_since(since));
    }

    fn try_take(self: &Arc<Self>, target: SendTarget) -> Result<Turn, Duration> {
        let came = now();
        self.state.lock().queue.try_take(target, came)?;
        self.count(TurnOutcome::AtOnce, came);
        Ok(Turn { pacer: Arc::clone(self), target, is_open: true })
    }

    /// Waits for a turn. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// For how much longer there will be none, at the least: at once if that is beyond the deadline.
    pub(in crate::telegram) async fn turn(
        self: &Arc<Self>,
        target: SendTarget,
        deadline: Instant,
        runtime: &Handle,
    ) -> Result<Option<Turn>, Duration> {
        let wait = match self.try_take(target) {
            Ok(turn) => return Ok(Some(turn)),
            Err(wait) => wait,
        };
        let mut counted = CountedWait { pacer: self, since: now(), outcome: TurnOutcome::Refused };
        if wait >= deadline.saturating_duration_since(counted.since) {
            return Err(wait);
        }
        let (sender, receiver) = oneshot::channel();
        let (place, has_giver) = {
            let mut state = self.state.lock();
            let ticket = state.queue.join(target, sender, now());
            let has_giver = std::mem::replace(&mut state.has_giver, true);
            (QueuePlace { pacer: self, chat: target.chat, ticket }, has_giver)
        };
        if !has_giver {
            // Not under the lock: a runtime that has ended drops it at once.
            let giver = TurnGiver { pacer: Arc::clone(self), is_over: false };
            drop(runtime.spawn(giver.run()));
        }
        self.changed.notify_one();
        let given = timeout_at(runtime, deadline, receiver).await;
        drop(place);
        match given {
            Some(Ok(turn)) => {
                counted.outcome = TurnOutcome::Waited;
                Ok(Some(turn))
            }
            // Nobody gives turns any more, because the pool's runtime has ended: what is done with this
            // one fails for that reason.
            Some(Err(_)) => Ok(None),
            None => {
                let wait = self.state.lock().queue.least_wait(target, now());
                Err(wait.max(Duration::from_millis(1)))
            }
        }
    }

    /// Gives a turn back, or counts it as used.
    fn end(&self, target: SendTarget, is_sent: bool) {
        let mut state = self.state.lock();
        match is_sent {
            true => state.queue.sent(target, now()),
            false => state.queue.give_back(target, now()),
        }
        // Also if nobody waits any more: whoever gives turns is to find that out.
        if state.has_giver {
            self.changed.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn chats(&self) -> usize {
        let mut state = self.state.lock();
        let _ = state.queue.is_over(now());
        state.queue.chats()
    }
}

/// Counts a wait when it ends, also that of a caller who leaves.
struct CountedWait<'a> {
    pacer: &'a Pacer,
    since: Instant,
    outcome: TurnOutcome,
}

impl Drop for CountedWait<'_> {
    fn drop(&mut self) {
        self.pacer.count(self.outcome, self.since);
    }
}

/// A place in the queue: leaves it when dropped, unless its turn has come.
struct QueuePlace<'a> {
    pacer: &'a Pacer,
    chat: SendChat,
    ticket: SendTicket,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        let mut state = self.pacer.state.lock();
        state.queue.leave(self.chat, self.ticket, now());
        if state.has_giver {
            self.pacer.changed.notify_one();
        }
    }
}

/// The right to send a call. Dropped before it was [sent](Self::sent), it goes back.
#[derive(Debug)]
#[must_use = "dropping it gives the turn back"]
pub(in crate::telegram) struct Turn {
    pacer: Arc<Pacer>,
    target: SendTarget,
    is_open: bool,
}

impl Turn {
    /// The call goes out now.
    pub(in crate::telegram) fn sent(mut self) {
        self.is_open = false;
        self.pacer.end(self.target, true);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_open {
            self.pacer.end(self.target, false);
        }
    }
}

/// Who gives the turns of an account while somebody waits.
struct TurnGiver {
    pacer: Arc<Pacer>,
    is_over: bool,
}

impl TurnGiver {
    /// Gives turns until nobody waits.
    async fn run(mut self) {
        loop {
            let (given, next) = {
                let mut state = self.pacer.state.lock();
                let advanced = state.queue.advance(now());
                if !state.queue.is_waited_for() {
                    // From here on whoever comes has to start another.
                    state.has_giver = false;
                    self.is_over = true;
                }
                advanced
            };
            for (target, waiter) in given {
                let turn = Turn { pacer: Arc::clone(&self.pacer), target, is_open: true };
                // Whoever has left in between drops it, and so it goes back.
                drop(waiter.send(turn));
            }
            if self.is_over {
                return;
            }
            match next {
                Some(next) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(next) => {}
                        () = self.pacer.changed.notified() => {}
                    }
                }
                None => self.pacer.changed.notified().await,
            }
        }
    }
}

impl Drop for TurnGiver {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Its runtime has ended before it: nobody is to wait for turns that nobody gives.
        let mut state = self.pacer.state.lock();
        state.queue.dismiss();
        state.has_giver = false;
    }
}
