//! The end of connections: expiry, retiring, closing, and every way to take an account's connections out
//! of service.
//!
//! Owns the steps that end with a slot and a permit given back. Each change of the gate is made
//! first, then [`AccountPool::retire_mismatched`] retires what does not match; a connection that is leased
//! or being dialled meets the new gate at its next transition.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::{CloseReason, ConnectionState};
use crate::engine::connection::{Connection, Purpose};
use crate::engine::effects::{Effects, Reap};
use crate::engine::state::Retired;
use crate::engine::{AccountPool, Body, CLOSED, Core, FLAGS, GENERATION, UNREADY};

impl<C, E> AccountPool<C, E> {
    /// The connection has been closed: its slot and its permit come back. If it broke at once, as
    /// those before it, the account's next dial waits for a while, of which `share` is random.
    pub(crate) fn vacate(&self, connection: &Connection<C>, now: Tick, share: f64) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let counters = self.counters();
        counters.closed.fetch_add(1, Ordering::Relaxed);
        let mut core = body.core.lock();
        core.closing -= 1;
        if let (true, Some(live)) = (connection.reason().is_fault(), connection.live()) {
            let age = Duration::from_millis(now.saturating_sub(live.created));
            let until = core.backoff.after_break(now, share, age, connection.uses());
            core.retry_at = core.retry_at.max(until);
        }
        body.note_gone(connection);
        self.free_slot(body, &mut core, connection.slot, &mut effects);
        counters.past_shared_uses.fetch_add(connection.shared_uses(), Ordering::Relaxed);
        counters.past_uses.fetch_add(connection.uses(), Ordering::Release);
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }

    /// The only place where a slot and a permit come back.
    pub(super) fn free_slot(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        slot: u16,
        effects: &mut Effects<C>,
    ) {
        effects.vacated = true;
        self.unoccupy(slot);
        body.slot_locked(slot).store(None);
        self.remove_stale(&mut effects.stale);
        core.vacant |= 1 << slot;
        if core.debt > 0 {
            core.debt -= 1;
        } else {
            body.permits.put_back(1);
        }
    }

    /// The reaper visits a connection whose entry for the tick `due` has come up.
    pub(crate) fn reap(
        &self,
        connection: &Arc<Connection<C>>,
        due: Tick,
        now: Tick,
        max_idle: u64,
        max_held: u64,
    ) -> Reap<C> {
        if connection.next_visit() != due {
            return Reap::Gone;
        }
        // Whenever a leased one is returned, it will have been used after now. By then it may
        // have idle time left and reach its age in it; one past its age does not come back.
        let retire_at = connection.retire_at();
        let leased_until = match now + max_idle {
            until if retire_at > now => until.min(retire_at),
            until => until,
        };
        let mut held = None;
        let idle_until = match connection.word.snapshot().state() {
            ConnectionState::Active => {
                // By a check it is not held for long, and was idle before.
                if !connection.is_checking() {
                    held = connection.held_too_long(now, max_held);
                }
                // Often enough to see in time that nobody came since.
                leased_until.min(now.saturating_add(max_held))
            }
            ConnectionState::Idle => {
                let until = (connection.last_used() + max_idle).min(retire_at);
                if now >= until && connection.word.transition_to_reaped() {
                    let aged = retire_at <= now;
                    connection.note_reason(if aged { CloseReason::Age } else { CloseReason::Idle });
                    return Reap::Expired(self.closing(Arc::clone(connection)));
                }
                // An acquire may have won the race for it: then it was used just now.
                if now >= until { leased_until } else { until }
            }
            ConnectionState::Connecting
            | ConnectionState::Disconnected
            | ConnectionState::Error => {
                return Reap::Gone;
            }
        };
        connection.set_next_visit(idle_until);
        held.map_or(Reap::Again(idle_until), |since| Reap::Held(idle_until, since))
    }

    /// Closes one idle connection of those that may go, the longest idle first, for another account's sake.
    pub(crate) fn evict_idle(&self, may_go: impl Fn(&Connection<C>) -> bool) -> Option<Effects<C>> {
        let body = self.body.get()?;
        // A claim that is lost to an acquire leaves one fewer to try.
        for _ in 0..body.all_slots().count() {
            let idlest = body.idlest_of(&may_go)?;
            if idlest.word.transition_to_reaped() {
                idlest.note_reason(CloseReason::Excess);
                return Some(self.closing(idlest));
            }
        }
        None
    }

    /// Whether a connection lies idle that may go.
    pub(crate) fn has_idle(&self, may_go: impl Fn(&Connection<C>) -> bool) -> bool {
        self.body.get().is_some_and(|body| body.idlest_of(may_go).is_some())
    }

    /// Notes a connection that this caller has made final.
    pub(super) fn closing(&self, connection: Arc<Connection<C>>) -> Effects<C> {
        let mut effects = Effects::none();
        let mut core = self.body().core.lock();
        core.closing += 1;
        self.sync_shrink_flag(&core);
        effects.close.push(connection);
        effects
    }

    /// Retires one connection, for an operator or after an error that another lease reported.
    pub(crate) fn retire(
        &self,
        connection: &Arc<Connection<C>>,
        reason: CloseReason,
        now: Tick,
    ) -> Effects<C> {
        connection.note_reason(reason);
        match connection.word.transition_to_retired(reason.is_fault()) {
            Retired::Close => self.closing(Arc::clone(connection)),
            Retired::Draining { first: true } => {
                let body = self.body();
                let mut effects = Effects::none();
                let mut core = body.core.lock();
                effects.drain.push(Arc::clone(connection));
                self.handle_retired(body, &mut core, now, &mut effects);
                effects
            }
            Retired::Draining { first: false } | Retired::Connecting | Retired::Already => {
                Effects::none()
            }
        }
    }

    /// Ends a draining connection whatever leases it has.
    pub(crate) fn force(&self, connection: &Arc<Connection<C>>) -> Effects<C> {
        let orphans = &self.counters().orphans;
        let forced = connection.word.transition_to_forced(
            |leases| {
                orphans.fetch_add(leases.into(), Ordering::Relaxed);
            },
            |leases| {
                orphans.fetch_sub(leases.into(), Ordering::Relaxed);
            },
        );
        if forced { self.closing(Arc::clone(connection)) } else { Effects::none() }
    }

    /// Replaces every connection: what is idle is closed now, what is leased on its return.
    pub(crate) fn raise_generation(&self, reason: CloseReason, now: Tick) -> Effects<C> {
        self.gate.fetch_add(GENERATION, Ordering::Relaxed);
        self.retire_mismatched(reason, now)
    }

    /// Fails every acquire from now on, and closes what there is.
    pub(crate) fn close(&self, now: Tick) -> Effects<C> {
        self.gate.fetch_or(CLOSED, Ordering::Relaxed);
        Effects { wake_dials: true, ..self.retire_mismatched(CloseReason::Shutdown, now) }
    }

    /// Whether the account has been closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Changes the limits while the account works.
    pub(crate) fn set_limits(&self, cap: u16, leases: u16, now: Tick) -> Effects<C> {
        let before = self.leases();
        self.store_limits(cap, leases);
        let Some(body) = self.body.get() else { return Effects::none() };
        if leases != before {
            // A connection bears the number of leases that it was dialled for.
            return self.raise_generation(CloseReason::Drain, now);
        }
        let mut core = body.core.lock();
        self.reconcile_cap(body, &mut core);
        self.sync_shrink_flag(&core);
        drop(core);
        self.retire_mismatched(CloseReason::Excess, now)
    }

    /// Whether nothing here is worth keeping: no connection, no dial, no waiter, and nothing
    /// that must be remembered of the account's health, nor that it is paused. A closed account
    /// remembers nothing: it was removed, and one that comes in its place starts afresh. Nor do
    /// leases keep it whose connection was closed by force: they may have been forgotten, and hold no
    /// slot.
    pub(crate) fn is_empty(&self, now: Tick) -> bool {
        let Some(body) = self.body.get() else { return true };
        let core = body.core.lock();
        let is_forgettable = self.is_closed()
            || (core.retry_at <= now
                && core.health.is_clean(now)
                && !self.is_paused()
                && !self.has_orphans());
        core.taken() == 0 && core.queue.is_empty() && is_forgettable
    }

    /// Whether leases are held whose connection was closed by force.
    fn has_orphans(&self) -> bool {
        let body = self.body.get();
        body.is_some_and(|body| body.counters.orphans.load(Ordering::Relaxed) > 0)
    }

    /// Whether all there is to know of the account is what it has done: nothing that
    /// [`is_empty`](Self::is_empty) names, in service, a session that may be dialled, and no lease held.
    pub(crate) fn is_at_rest(&self, now: Tick) -> bool {
        let ready = self.gate.load(Ordering::Relaxed) & UNREADY == 0;
        let ready = ready && self.rests_until(now).is_none();
        (ready || self.is_closed()) && self.is_empty(now) && !self.has_orphans()
    }

    /// Retires every connection that does not match the gate any more, then serves those that wait.
    ///
    /// The connections are walked without the lock: each is claimed by its own transition. What
    /// a lowered cap asks for goes under the lock, at the end.
    pub(super) fn retire_mismatched(&self, reason: CloseReason, now: Tick) -> Effects<C> {
        let mut effects = Effects::none();
        let Some(body) = self.body.get() else { return effects };
        let (unready, gone) = {
            let core = body.core.lock();
            (core.unready(self.gate.load(Ordering::Relaxed)), core.health.gone())
        };
        let gate = self.gate.load(Ordering::Relaxed);
        let mut closing = 0;
        for connection in body.all_slots().filter_map(|slot| slot.load()) {
            // A probe is dialled although the account is out of service; it is judged at its end.
            let probes = connection.purpose == Purpose::Probe
                && connection.word.snapshot().state() == ConnectionState::Connecting;
            let outdated = !probes
                && (connection.generation != gate & !FLAGS || gone & (1 << connection.slot) != 0);
            if outdated || !probes && gate & (CLOSED | UNREADY) != 0 {
                connection.note_reason(unready.map_or(reason, CloseReason::from));
                match connection.word.transition_to_retired(false) {
                    Retired::Close => {
                        closing += 1;
                        effects.close.push(connection);
                    }
                    Retired::Draining { first: true } => effects.drain.push(connection),
                    Retired::Draining { first: false } | Retired::Connecting | Retired::Already => {
                    }
                }
            }
        }
        let mut core = body.core.lock();
        core.closing += closing;
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }
}
