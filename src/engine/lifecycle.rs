//! How connections come and go: dials, closes, expiry, and every way to take an account's
//! connections out of service.
//!
//! Owns the steps that end with a slot and a permit given back. Each change of the gate is made
//! first, then [`AccountPool::retire_mismatched`] retires what does not match; a connection that is leased
//! or being dialled meets the new gate at its next transition.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "metrics")]
use crate::base::clock::Instant;
use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::{CloseReason, ConnectionId, ConnectionState};
use crate::engine::connection::{Connection, Purpose};
use crate::engine::effects::{DialOrder, Effects, Lost, Reap, Stale};
use crate::engine::state::{Opened, Retired};
use crate::engine::waiters::Refusal;
use crate::engine::{AccountPool, Body, CLOSED, Core, FLAGS, GENERATION, UNREADY, WAIT};
use crate::error::DialError;

impl<C, E> AccountPool<C, E> {
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

    /// Publishes the connection of a dial that begins now. `None`: nobody wants it any more, or
    /// the account is out of service; the order is then to be given back as [`Lost::Unwanted`].
    pub(crate) fn begin_dial(
        &self,
        order: DialOrder,
        id: ConnectionId,
    ) -> Option<Arc<Connection<C>>> {
        let body = self.body();
        // Let go of after the lock.
        let mut stale = Stale::new();
        let core = body.core.lock();
        let gate = self.gate.load(Ordering::Relaxed);
        if !is_wanted(&core, gate, order) || core.excess() > 0 {
            return None;
        }
        let generation = gate & !FLAGS;
        let connection = Connection::new(id, order.slot, self.leases(), generation, order.purpose);
        let connection = Arc::new(connection);
        body.slot_locked(order.slot).store(Some(Arc::clone(&connection)));
        self.occupy(order.slot, &mut stale);
        Some(connection)
    }

    /// Whether anybody still wants what a dial order would bring, and may have it.
    pub(crate) fn wants_dial(&self, order: DialOrder) -> bool {
        is_wanted(&self.body().core.lock(), self.gate.load(Ordering::Relaxed), order)
    }

    /// When an ordered dial may begin: as the order says, or earlier if the account's pause has
    /// been ended meanwhile.
    pub(crate) fn resting_until(&self, order: DialOrder) -> Tick {
        order.not_before.min(self.body().core.lock().retry_at)
    }

    /// The dial succeeded: the connection goes to the first waiter, or into the pool. If the
    /// account has moved on meanwhile, it is closed instead.
    pub(crate) fn complete_dial(
        &self,
        connection: &Arc<Connection<C>>,
        opened: C,
        retire_at: Tick,
        now: Tick,
    ) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        connection.open(opened, now, retire_at);
        self.counters().opened.fetch_add(1, Ordering::Relaxed);
        let mut guard = body.core.lock();
        let core = &mut *guard;
        core.dialing -= 1;
        core.failures = 0;
        core.last_dial_error = None;
        core.retry_at = 0;
        if connection.purpose == Purpose::Probe && core.health.is_suspect(connection.slot) {
            core.health.clear(connection.slot);
            effects.cleared = true;
            effects.persist = 1 << connection.slot;
            self.sync_unready_flag(core);
        }
        let gate = self.gate.load(Ordering::Relaxed);
        let is_among = |sessions: u64| sessions & (1 << connection.slot) != 0;
        let reason = match core.unready(gate) {
            Some(unready) => Some(unready.into()),
            None if is_among(core.health.barred()) => Some(CloseReason::Quarantine),
            None if is_among(core.health.gone()) => Some(CloseReason::Drain),
            None if connection.generation != gate & !FLAGS => Some(CloseReason::Drain),
            None if core.excess() > 0 => Some(CloseReason::Excess),
            None => None,
        };
        let waited_for = !core.queue.is_empty();
        let opened = if let Some(reason) = reason {
            connection.note_reason(reason);
            connection.word.transition_to_not_opened(false);
            Opened::Close
        } else {
            // Before it is handed over: its waiter may look at once.
            connection.word.transition_to_opened(waited_for, connection.max_leases)
        };
        match opened {
            Opened::Close => {
                core.closing += 1;
                effects.close.push(Arc::clone(connection));
            }
            Opened::Open { push } => {
                self.enqueue_single(&mut effects.stale);
                if push {
                    self.push(Arc::clone(connection));
                }
                if waited_for {
                    effects.wake.extend(core.queue.serve_first(connection, now));
                }
            }
        }
        self.dispatch(body, core, now, &mut effects);
        effects
    }

    /// The dial is over without a connection; its slot and permit come back. A failure, which
    /// comes with its text, goes to the first waiter; it is given back if nobody waits.
    pub(crate) fn fail_dial(
        &self,
        order: DialOrder,
        connection: Option<&Connection<C>>,
        lost: Lost,
        failure: Option<(DialError<E>, String)>,
        now: Tick,
    ) -> (Effects<C>, Option<DialError<E>>) {
        let body = self.body();
        let mut effects = Effects::none();
        let mut unheard = None;
        let mut core = body.core.lock();
        core.dialing -= 1;
        if let Some(connection) = connection {
            connection.word.transition_to_not_opened(lost != Lost::Unwanted);
        }
        if let Lost::Failed { retry_at } = lost {
            core.failures = core.failures.saturating_add(1);
            core.retry_at = retry_at;
        }
        let goes_on = match lost {
            Lost::Deferred { until } => {
                core.health.defer(order.slot, until);
                self.has_another(&core, order.slot, now)
            }
            Lost::Failed { .. } | Lost::Unwanted => false,
        };
        // Whoever waits may be served by another session yet.
        if let Some((failure, text)) = failure.filter(|_| !goes_on) {
            core.last_dial_error = Some(text);
            match core.queue.refuse_first(Refusal::Dial(failure)) {
                Ok(waker) => effects.wake.extend(waker),
                Err(Refusal::Dial(failure)) => unheard = Some(failure),
                Err(_) => unreachable!("BUG: a refusal changed its kind"),
            }
        }
        if order.purpose == Purpose::Probe {
            // It is as suspect as before: the dial failed for another reason.
            effects.probe = 1 << order.slot;
        }
        self.free_slot(body, &mut core, order.slot, &mut effects);
        self.dispatch(body, &mut core, now, &mut effects);
        let was_deferred = matches!(lost, Lost::Deferred { .. });
        if was_deferred && order.purpose == Purpose::WarmUp && core.has_due_session(now) {
            // Another session may be dialled in its place. Each that is tried is one fewer.
            self.warm_locked(body, &mut core, now, &mut effects);
        }
        (effects, unheard)
    }

    /// Whether another session than that of a slot serves, is dialled, or may be dialled now.
    fn has_another(&self, core: &Core<C, E>, slot: u16, now: Tick) -> bool {
        // Its own is not vacant yet.
        let others = core.usable() & !(1_u64 << slot);
        core.taken() > 1 || others & !core.health.deferred(now) != 0
    }

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
        self.free_slot(body, &mut core, connection.slot, &mut effects);
        counters.past_shared_uses.fetch_add(connection.shared_uses(), Ordering::Relaxed);
        counters.past_uses.fetch_add(connection.uses(), Ordering::Release);
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }

    /// The only place where a slot and a permit come back.
    fn free_slot(
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

    /// A dial has failed: until when the account's dials are to wait, at least for what the server
    /// asks for.
    pub(crate) fn pause_after_failure(&self, now: Tick, share: f64, at_least: Duration) -> Tick {
        self.body().core.lock().backoff.after_failure(now, share, at_least)
    }

    /// Orders one dial that nobody waits for, unless the account has a connection or a dial.
    pub(crate) fn warm(&self, now: Tick) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        self.warm_locked(body, &mut core, now, &mut effects);
        effects
    }

    fn warm_locked(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        now: Tick,
        effects: &mut Effects<C>,
    ) {
        if core.taken() == 0 && core.unready(self.gate.load(Ordering::Relaxed)).is_none() {
            effects.dial.extend(self.take_slot(body, core, now, Purpose::WarmUp));
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

    /// Closes one idle connection, the longest idle first, for another account's sake.
    pub(crate) fn evict_idle(&self) -> Option<Effects<C>> {
        let body = self.body.get()?;
        // A claim that is lost to an acquire leaves one fewer to try.
        for _ in 0..body.all_slots().count() {
            let idlest = body.idlest()?;
            if idlest.word.transition_to_reaped() {
                idlest.note_reason(CloseReason::Excess);
                return Some(self.closing(idlest));
            }
        }
        None
    }

    /// Whether a connection lies idle.
    pub(crate) fn has_idle(&self) -> bool {
        self.body.get().is_some_and(|body| body.idlest().is_some())
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

    /// Refuses everybody who waits: there is no runtime left that could serve them.
    pub(crate) fn refuse_waiters(&self) -> Effects<C> {
        let mut effects = Effects::none();
        let Some(body) = self.body.get() else { return effects };
        let mut core = body.core.lock();
        core.queue.refuse_all(|| Refusal::Closed, &mut effects.wake);
        core.watches.clear();
        self.sync_wait_flag(&core);
        core.wake_dials(&mut effects);
        effects
    }

    /// Whether the account has been closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Since when the first waiter has waited.
    #[cfg(feature = "metrics")]
    pub(crate) fn waited_since(&self) -> Option<Instant> {
        if self.gate.load(Ordering::Relaxed) & WAIT == 0 {
            return None;
        }
        self.body.get()?.core.lock().queue.first_since()
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
    /// that must be remembered of the account's health. A closed account remembers nothing: it
    /// was removed, and one that comes in its place starts afresh. Nor do leases keep it whose
    /// connection was closed by force: they may have been forgotten, and hold no slot.
    pub(crate) fn is_empty(&self, now: Tick) -> bool {
        let Some(body) = self.body.get() else { return true };
        let core = body.core.lock();
        let is_forgettable = self.is_closed()
            || (core.retry_at <= now && core.health.is_clean(now) && !self.has_orphans());
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

/// Whether somebody waits for a dial, and the account may be dialled.
fn is_wanted<C, E>(core: &Core<C, E>, gate: u64, order: DialOrder) -> bool {
    if order.purpose == Purpose::Probe {
        return core.may_probe(gate, order.slot);
    }
    let is_asked_for = order.purpose == Purpose::WarmUp || !core.queue.is_empty();
    let is_withheld = core.health.withheld() & (1 << order.slot) != 0;
    is_asked_for && !is_withheld && core.unready(gate).is_none()
}
