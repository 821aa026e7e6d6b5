//! Acquires that wait: how they join the queue, leave it, and are refused.
//!
//! Owns the steps of a wait. Who is served is decided in `dispatch`.

use std::sync::Arc;

use crate::base::clock::{Instant, Tick};
use crate::base::sync::{Ordering, set_bits_before_load};
use crate::connection::ConnectionState;
use crate::engine::effects::Effects;
use crate::engine::wait_queue::Queued;
use crate::engine::waiters::{Cancelled, WaitRefusal, Waiter};
use crate::engine::watches::Watch;
use crate::engine::{AccountPool, FLAGS, WAIT};

impl<C, E> AccountPool<C, E> {
    /// Whether somebody waits.
    pub(crate) fn has_waiters(&self) -> bool {
        self.body.get().is_some_and(|body| body.counters.waiting.load(Ordering::Relaxed) > 0)
    }

    /// Puts a waiter into the queue. The effects serve or dial for whoever can be helped, this one
    /// included; `None` if nothing is left to do but wait.
    pub(crate) fn enqueue_waiter(
        &self,
        waiter: &Arc<Waiter<C, E>>,
        front: bool,
        now: Tick,
    ) -> Result<Option<Effects<C>>, WaitRefusal<E>>
    where
        C: Send + Sync + 'static,
        E: Send + 'static,
    {
        let queued = Queued::new(waiter);
        let body = self.body();
        let mut core = body.core.lock();
        let gate = self.gate.load(Ordering::Relaxed);
        if let Some(refusal) = core.refusal(gate) {
            return Err(refusal);
        }
        core.queue.push(queued, front);
        let watch = core.watches.ask_for(waiter.deadline());
        // Those that waited before have looked at everything, and every release since finds the gate
        // marked: one more changes nothing, unless it may have something dialled.
        let is_one_more = gate & FLAGS == WAIT && !front && core.queue.waiting_for_fresh() == 0;
        if is_one_more && watch.is_none() && core.can_only_wait(&body.permits) {
            self.sync_wait_flag(&core);
            return Ok(None);
        }
        let mut effects = Effects { watch, ..Effects::none() };
        // Announced before any connection is looked at: a release that does not see this is
        // one whose connection the dispatch sees.
        set_bits_before_load(&self.gate, WAIT);
        self.dispatch(body, &mut core, now, &mut effects);
        // A dial that was begun in advance is now waited for.
        effects.wake_dials |= core.dialing > 0 && effects.dial.is_empty();
        Ok(Some(effects))
    }

    /// A waiter gives up. What it had been given meanwhile is released unused.
    pub(crate) fn cancel_waiter(&self, waiter: &Arc<Waiter<C, E>>) -> Effects<C> {
        let mut effects = Effects::none();
        let body = self.body();
        let mut core = body.core.lock();
        let cancelled = core.queue.cancel(waiter);
        self.sync_wait_flag(&core);
        effects.wake_dials = core.dialing > 0;
        drop(core);
        match cancelled {
            Cancelled::Served(served) => effects.unused.extend(served.ok().map(|(lease, _)| lease)),
            Cancelled::Waiting(waker) => effects.unheard = waker,
        }
        effects
    }

    /// Refuses the waiters that are due, and says through `watch` when to come back. What was handed
    /// to one that is due, and that it has not taken, is released unused.
    pub(crate) fn expire_waiters(&self, now: Instant) -> Effects<C> {
        let mut effects = Effects::none();
        let Some(body) = self.body.get() else { return effects };
        let mut core = body.core.lock();
        if !core.watches.end(now) {
            return effects;
        }
        let mut next = core.queue.expire(now, &mut effects.wake);
        for slot in body.all_slots() {
            slot.inspect(|connection| {
                let handed = connection.handed().expire(now, |lease, waker| {
                    effects.unused.extend(lease);
                    effects.wake.extend(waker);
                });
                next = [next, handed].into_iter().flatten().min();
            });
        }
        effects.watch = core.watches.ask_for(next);
        self.sync_wait_flag(&core);
        core.wake_dials(&mut effects);
        effects
    }

    /// Whether anything would come of a watch that the pool was told.
    pub(crate) fn is_watched(&self, watch: Watch) -> bool {
        self.body.get().is_some_and(|body| body.core.lock().watches.is_told(watch))
    }

    /// Refuses everybody whose patience ends before the account's rest does, unless a connection that
    /// there is may serve them.
    pub(crate) fn refuse_impatient(&self, ends: Instant, until: Tick) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        if self.is_paused() {
            // They wait for more than a dial.
            return effects;
        }
        let states = self.connections().map(|connection| connection.word.snapshot().state());
        let (mut serves, mut opens) = (false, false);
        for state in states {
            serves |= matches!(state, ConnectionState::Idle | ConnectionState::Active);
            opens |= state == ConnectionState::Connecting;
        }
        if !opens {
            core.queue.refuse_impatient(
                ends,
                serves,
                || WaitRefusal::Resting { until },
                &mut effects.wake,
            );
            self.sync_wait_flag(&core);
            core.wake_dials(&mut effects);
        }
        effects
    }

    /// Refuses everybody who waits: there is no runtime left that could serve them.
    pub(crate) fn refuse_waiters(&self) -> Effects<C> {
        let mut effects = Effects::none();
        let Some(body) = self.body.get() else { return effects };
        let mut core = body.core.lock();
        core.queue.refuse_all(|| WaitRefusal::Closed, &mut effects.wake);
        core.watches.clear();
        self.sync_wait_flag(&core);
        core.wake_dials(&mut effects);
        effects
    }

    /// Since when the first waiter has waited.
    pub(crate) fn waited_since(&self) -> Option<Instant> {
        if self.gate.load(Ordering::Relaxed) & WAIT == 0 {
            return None;
        }
        self.body.get()?.core.lock().queue.first_since()
    }
}
