//! Dials of an account: when one is wanted, begins, succeeds, fails or is put off.
//!
//! Owns the steps from an order to an open connection, or to a slot and a permit given back.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::{CloseReason, ConnectionId};
use crate::engine::connection::{Connection, Purpose};
use crate::engine::effects::{DialLoss, DialOrder, Effects, Stale};
use crate::engine::state::Opened;
use crate::engine::waiters::WaitRefusal;
use crate::engine::{AccountPool, Body, Core, FLAGS};
use crate::error::DialError;

impl<C, E> AccountPool<C, E> {
    /// Publishes the connection of a dial that begins now. `None`: nobody wants it any more, or
    /// the account is out of service; the order is then to be given back as [`DialLoss::Unwanted`].
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

    /// When an ordered dial may begin: as the order says, or earlier if the account's rest has
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
        let waited_for = self.is_waited_for(core);
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
        lost: DialLoss,
        failure: Option<(DialError<E>, String)>,
        now: Tick,
    ) -> (Effects<C>, Option<DialError<E>>) {
        let body = self.body();
        let mut effects = Effects::none();
        let mut unheard = None;
        let mut core = body.core.lock();
        core.dialing -= 1;
        if let Some(connection) = connection {
            connection.word.transition_to_not_opened(lost != DialLoss::Unwanted);
        }
        if let DialLoss::Failed { retry_at } = lost {
            core.failures = core.failures.saturating_add(1);
            core.retry_at = retry_at;
        }
        let goes_on = match lost {
            DialLoss::Deferred { until } => {
                core.health.defer(order.slot, until);
                self.has_another(&core, order.slot, now)
            }
            DialLoss::Failed { .. } | DialLoss::Unwanted => false,
        };
        // Whoever waits may be served by another session yet.
        if let Some((failure, text)) = failure.filter(|_| !goes_on) {
            core.last_dial_error = Some(text.into());
            let refusal = WaitRefusal::Dial(failure);
            // Who waits for the account to be resumed does not wait for this dial.
            let told = match self.is_paused() {
                true => Err(refusal),
                false => core.queue.refuse_first(refusal),
            };
            match told {
                Ok(waker) => effects.wake.extend(waker),
                Err(WaitRefusal::Dial(failure)) => unheard = Some(failure),
                Err(_) => unreachable!("BUG: a refusal changed its kind"),
            }
        }
        if order.purpose == Purpose::Probe {
            // It is as suspect as before: the dial failed for another reason.
            effects.probe = 1 << order.slot;
        }
        self.free_slot(body, &mut core, order.slot, &mut effects);
        self.dispatch(body, &mut core, now, &mut effects);
        let was_deferred = matches!(lost, DialLoss::Deferred { .. });
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

    /// A dial has failed: until when the account's dials are to wait, at least for what the server
    /// asks for.
    pub(crate) fn rest_after_failure(&self, now: Tick, share: f64, at_least: Duration) -> Tick {
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
        let gate = self.gate.load(Ordering::Relaxed);
        if core.taken() == 0 && core.serves(gate) {
            effects.dial.extend(self.take_slot(body, core, now, Purpose::WarmUp));
        }
    }

    /// What the account's last dial failed with.
    pub(crate) fn note_dial_error(&self, text: String) {
        self.body().core.lock().last_dial_error = Some(text.into());
    }

    /// A session may not be dialled yet, for a reason that is noted: its dial waits. Returns whether
    /// another may be dialled now.
    pub(crate) fn note_deferred(&self, slot: u16, until: Tick, why: String, now: Tick) -> bool {
        let mut core = self.body().core.lock();
        core.health.defer(slot, until);
        core.last_dial_error = Some(why.into());
        core.has_due_session(now)
    }
}

/// Whether somebody waits for a dial, and the account may be dialled: not while it is paused.
fn is_wanted<C, E>(core: &Core<C, E>, gate: u64, order: DialOrder) -> bool {
    if order.purpose == Purpose::Probe {
        return core.may_probe(gate, order.slot);
    }
    let is_asked_for = order.purpose == Purpose::WarmUp || !core.queue.is_empty();
    let is_withheld = core.health.withheld() & (1 << order.slot) != 0;
    is_asked_for && !is_withheld && core.serves(gate)
}
