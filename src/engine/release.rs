//! Releases of leases: the fast path, and the long way behind the lock.
//!
//! Owns the end of each lease, be it with its connection. Why a connection is not kept is judged in
//! `pressure`.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::base::sync::{Ordering, load_after_change};
use crate::connection::{CloseReason, Source};
use crate::engine::connection::Connection;
use crate::engine::effects::Effects;
use crate::engine::pressure::Pressure;
use crate::engine::state::{Released, Retired};
use crate::engine::{AccountPool, Core, WAIT};

impl<C, E> AccountPool<C, E> {
    /// Returns a lease. `pressure` tells whether another account waits for a permit of the
    /// global cap. `None`: nothing is left to do.
    #[inline(always)]
    pub(crate) fn release(
        &self,
        connection: Arc<Connection<C>>,
        now: Tick,
        pressure: Pressure,
    ) -> Option<Effects<C>> {
        connection.set_last_used(now);
        let generation = connection.generation;
        let kept = self.gate.load(Ordering::Relaxed) == generation
            && now < connection.retire_at()
            && pressure == Pressure::Calm;
        if !kept {
            return Some(self.release_slowly(connection, now, pressure));
        }
        match connection.word.transition_to_idle() {
            Some(true) => self.push(connection),
            Some(false) => {}
            None => return self.release_unusual(connection, now),
        }
        if load_after_change(&self.gate) == generation {
            return None;
        }
        Some(self.handle_gate_change(generation, now))
    }

    /// Returns a lease of a connection that is shared, retires, or has lost its entry just now.
    fn release_unusual(&self, connection: Arc<Connection<C>>, now: Tick) -> Option<Effects<C>> {
        let generation = connection.generation;
        match connection.word.transition_to_released() {
            Released::Open { push } => {
                if push {
                    self.push(connection);
                }
                if load_after_change(&self.gate) == generation {
                    return None;
                }
                Some(self.handle_gate_change(generation, now))
            }
            Released::Close => {
                let mut effects = self.closing(connection);
                effects.ended = true;
                Some(effects)
            }
            Released::Draining => Some(Effects::ended()),
            Released::Orphan => {
                self.counters().orphans.fetch_sub(1, Ordering::Relaxed);
                Some(Effects::ended())
            }
        }
    }

    /// Returns a lease whose connection must not be used again.
    pub(crate) fn release_discarded(
        &self,
        connection: Arc<Connection<C>>,
        reason: CloseReason,
        now: Tick,
    ) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        self.discard(&mut core, connection, reason, &mut effects);
        self.handle_retired(body, &mut core, now, &mut effects);
        effects
    }

    /// After a release found the gate changed under its feet.
    #[cold]
    pub(super) fn handle_gate_change(&self, generation: u64, now: Tick) -> Effects<C> {
        if self.gate.load(Ordering::Relaxed) & !WAIT != generation {
            return self.retire_mismatched(CloseReason::Drain, now);
        }
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }

    /// Gives a lease that comes back to the first waiter, if somebody waits and that is all: then no
    /// reason to close its connection need be looked for.
    fn hand_over(
        &self,
        mut connection: Arc<Connection<C>>,
        now: Tick,
        pressure: Pressure,
    ) -> Result<Effects<C>, Arc<Connection<C>>> {
        let body = self.body();
        let only_wait = connection.generation | WAIT;
        if pressure != Pressure::Calm || now >= connection.retire_at() {
            return Err(connection);
        }
        loop {
            let mut core = body.core.lock();
            let only_waited_for = self.gate.load(Ordering::Relaxed) == only_wait
                && core.queue.waiting_for_fresh() == 0
                && core.queue.waiting_for_any() > 0
                // Used just now, it may serve others who wait for a check.
                && core.checking == 0;
            let seen = connection.word.snapshot();
            if !only_waited_for || seen.is_retiring() {
                return Err(connection);
            }
            let source = Source::of_live(seen.leases() > 1);
            let waiter = core.queue.take_any().note(&connection, source, now);
            self.sync_wait_flag(&core);
            let wake_dials = core.dialing > 0;
            drop(core);
            // After the lock: the waiter is in another thread's cache, as a rule.
            match waiter.answer(Ok((connection, source))) {
                Ok(waker) => {
                    let mut effects = Effects::none();
                    effects.wake_dials = wake_dials && waker.is_some();
                    effects.wake.extend(waker);
                    return Ok(effects);
                }
                // It has left. Each iteration takes one out of the queue.
                Err(Ok((back, _))) => connection = back,
                Err(Err(_)) => unreachable!("BUG: an answer changed its kind"),
            }
        }
    }

    /// A release for which the gate, the age or the pressure asks more than a push: as a rule somebody
    /// waits.
    pub(crate) fn release_slowly(
        &self,
        connection: Arc<Connection<C>>,
        now: Tick,
        pressure: Pressure,
    ) -> Effects<C> {
        let connection = match self.hand_over(connection, now, pressure) {
            Ok(effects) => return effects,
            Err(connection) => connection,
        };
        let body = self.body();
        let mut effects = Effects::none();
        let mut guard = body.core.lock();
        let core = &mut *guard;
        let seen = connection.word.snapshot();
        if let Some(reason) = self.reason_to_close(body, core, &connection, now, pressure) {
            self.discard(core, connection, reason, &mut effects);
            effects.ended = true;
        } else if core.queue.waiting_for_any() > 0
            && !seen.is_retiring()
            && !connection.is_checking()
            && !self.is_paused()
        {
            let source = Source::of_live(seen.leases() > 1);
            effects.wake.extend(core.queue.serve_any(connection, source, now));
        } else {
            effects.ended = self.end_lease(core, connection, &mut effects);
        }
        self.dispatch(body, core, now, &mut effects);
        effects
    }

    /// Ends a lease of a connection that stays unless it retires. Returns whether it takes no more leases.
    fn end_lease(
        &self,
        core: &mut Core<C, E>,
        connection: Arc<Connection<C>>,
        effects: &mut Effects<C>,
    ) -> bool {
        let released = connection.word.transition_to_released();
        match released {
            Released::Open { push: true } => self.push(connection),
            Released::Open { push: false } => {}
            Released::Draining => effects.stale.push(connection),
            Released::Close => {
                core.closing += 1;
                effects.close.push(connection);
            }
            Released::Orphan => {
                self.counters().orphans.fetch_sub(1, Ordering::Relaxed);
                effects.stale.push(connection);
            }
        }
        !matches!(released, Released::Open { .. })
    }

    /// Ends a lease together with its connection.
    pub(super) fn discard(
        &self,
        core: &mut Core<C, E>,
        connection: Arc<Connection<C>>,
        reason: CloseReason,
        effects: &mut Effects<C>,
    ) {
        connection.note_reason(reason);
        match connection.word.transition_to_discarded(reason.is_fault()) {
            Retired::Close => {
                core.closing += 1;
                effects.close.push(connection);
            }
            Retired::Draining { first: true } => effects.drain.push(connection),
            Retired::Draining { first: false } => {}
            Retired::Connecting => unreachable!("BUG: a lease of what is being opened"),
            Retired::Already => {
                self.counters().orphans.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
