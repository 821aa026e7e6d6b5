//! The dispatch of an account, behind its lock: who is served next, and what is dialled.
//!
//! Owns [`Core`]. Everything here runs with the lock held, does a bounded amount of work, and
//! calls no waker.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::base::sync::{Ordering, Permits, set_bits_before_load};
use crate::connection::{CloseReason, ConnectionState};
use crate::engine::backoff::Backoff;
use crate::engine::connection::{Connection, Purpose};
use crate::engine::effects::{DialOrder, Effects};
use crate::engine::health::{Health, Unready};
use crate::engine::sessions::bits_of;
use crate::engine::wait_queue::WaitQueue;
use crate::engine::waiters::WaitRefusal;
use crate::engine::watches::Watches;
use crate::engine::{AccountPool, Body, CLOSED, PAUSED, SHRINK, UNREADY, WAIT};

/// What the account's lock guards.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Core<C, E> {
    /// The slots that hold no connection, as bits.
    pub(super) vacant: u64,
    /// Dials ordered and not yet ended.
    pub(super) dialing: u32,
    /// Connections that are being checked.
    pub(super) checking: u32,
    /// Since when a connection must have been used that needs no check, as of the last that began.
    pub(super) checked_since: Tick,
    /// Connections on their way through the closer.
    pub(super) closing: u32,
    /// The number of permits there are, as last reconciled with the limits.
    pub(super) cap: u32,
    /// Permits above the cap that could not be destroyed yet, because connections hold them.
    pub(super) debt: u32,
    pub(super) queue: WaitQueue<C, E>,
    /// No dial before this tick.
    pub(super) retry_at: Tick,
    pub(super) backoff: Backoff,
    pub(super) last_dial_error: Option<Box<str>>,
    pub(super) watches: Watches,
    pub(super) health: Health,
    /// When the pool was told to dispatch again, the end of time if it was not.
    pub(super) redispatch_at: Tick,
    /// Failed dials since the last good connection.
    pub(super) failures: u32,
    /// How many slots there are.
    pub(super) slots: u16,
}

impl<C, E> Core<C, E> {
    pub(super) fn new(slots: u16, cap: u16) -> Self {
        Self {
            queue: WaitQueue::new(),
            vacant: bits_of(slots),
            slots,
            dialing: 0,
            checking: 0,
            checked_since: 0,
            closing: 0,
            cap: u32::from(cap),
            debt: 0,
            failures: 0,
            retry_at: 0,
            backoff: Backoff::default(),
            last_dial_error: None,
            watches: Watches::default(),
            health: Health::new(slots),
            redispatch_at: Tick::MAX,
        }
    }

    /// Why the account cannot serve, if the gate says that it cannot.
    pub(super) fn unready(&self, gate: u64) -> Option<Unready> {
        if gate & CLOSED != 0 {
            return Some(Unready::Closed);
        }
        (gate & UNREADY != 0).then(|| self.health.unready().unwrap_or(Unready::NoSession))
    }

    /// Whether those that wait can be served, or dialled for.
    pub(super) fn serves(&self, gate: u64) -> bool {
        gate & PAUSED == 0 && self.unready(gate).is_none()
    }

    /// Whether a session is suspect, and nothing else keeps it from being dialled.
    pub(super) fn may_probe(&self, gate: u64, slot: u16) -> bool {
        let serves = !matches!(self.unready(gate), Some(Unready::Closed | Unready::Draining));
        serves && self.health.is_suspect(slot)
    }

    pub(super) fn refusal(&self, gate: u64) -> Option<WaitRefusal<E>> {
        self.unready(gate).map(WaitRefusal::from)
    }

    /// Has the dials under way looked at again, if anybody has left the queue: fewer may be wanted.
    pub(super) fn wake_dials(&self, effects: &mut Effects<C>) {
        effects.wake_dials |= self.dialing > 0 && !effects.wake.is_empty();
    }

    /// How many slots are dialled, live or being closed.
    pub(super) fn taken(&self) -> u32 {
        u32::from(self.slots) - self.vacant.count_ones()
    }

    /// Whether a vacant session may be dialled at once.
    pub(super) fn has_due_session(&self, now: Tick) -> bool {
        self.usable() & !self.health.deferred(now) != 0
    }

    /// The slots that hold no connection and whose sessions are in service, as bits.
    pub(super) fn usable(&self) -> u64 {
        self.vacant & !self.health.withheld()
    }

    /// Whether one more waiter could only wait: no dial could be ordered, none is under way, and nothing is
    /// kept from the others for a check's sake.
    pub(super) fn can_only_wait(&self, permits: &Permits) -> bool {
        let no_room = self.usable() == 0 || permits.free() == 0;
        no_room && self.dialing == 0 && self.checking == 0
    }

    /// Connections that have to go before the cap holds, and are not on their way yet.
    pub(super) fn excess(&self) -> u32 {
        self.debt.saturating_sub(self.closing)
    }

    /// Waiting fresh acquires that neither a dial nor a close under way provides for, although there
    /// is no room for a dial.
    pub(super) fn unprovided_fresh(&self, permits: &Permits) -> u32 {
        if permits.free() > 0 && self.usable() != 0 {
            return 0;
        }
        let fresh = u32::try_from(self.queue.waiting_for_fresh()).unwrap_or(u32::MAX);
        // After a failure one at a time, as dials go. Not none: nothing but a dial ends the
        // failures, and without room there is none.
        let fresh = if self.failures > 0 { fresh.min(1) } else { fresh };
        fresh.saturating_sub(self.dialing + self.closing)
    }
}

impl<C, E> Body<C, E> {
    /// The connection that has been idle for longest.
    pub(super) fn idlest(&self) -> Option<Arc<Connection<C>>> {
        self.idlest_of(|_| true)
    }

    /// The one of these that has been idle for longest.
    pub(super) fn idlest_of(
        &self,
        is_meant: impl Fn(&Connection<C>) -> bool,
    ) -> Option<Arc<Connection<C>>> {
        // Not any without leases: one that is being dialled or closed would seem the idlest,
        // cannot be claimed, and would hide the idle ones.
        let is_idle = |it: &Connection<C>| {
            it.word.snapshot_after_change().state() == ConnectionState::Idle && is_meant(it)
        };
        let idle = self.all_slots().filter_map(|slot| slot.clone_if(is_idle));
        idle.min_by_key(|connection| connection.last_used())
    }
}

impl<C, E> AccountPool<C, E> {
    /// Serves, dials and makes room until nothing more can be done for those that wait.
    pub(super) fn dispatch(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        now: Tick,
        effects: &mut Effects<C>,
    ) {
        self.reconcile_cap(body, core);
        // Marked before idle connections are looked at: a release that does not see the mark is
        // one whose connection is seen here.
        self.sync_shrink_flag(core);
        self.reap_excess(body, core, effects);
        if let Some(unready) = core.unready(self.gate.load(Ordering::Relaxed)) {
            core.queue.refuse_all(|| WaitRefusal::from(unready), &mut effects.wake);
        } else if !self.is_paused() {
            let fresh = core.queue.waiting_for_fresh();
            self.order_dials(body, core, fresh, now, effects);
            self.hand_out(body, core, now, effects);
            let unprovided = core
                .queue
                .waiting_for_any()
                .saturating_sub(body.coming_back(core, self.generation()));
            let wanted =
                core.queue.waiting_for_fresh() + unprovided.div_ceil(usize::from(self.leases()));
            self.order_dials(body, core, wanted, now, effects);
            self.make_room_for_fresh(body, core, effects);
            self.schedule_redispatch(body, core, wanted, now, effects);
        }
        self.sync_shrink_flag(core);
        self.sync_wait_flag(core);
        core.wake_dials(effects);
    }

    /// Closes idle connections above a lowered cap, the longest idle first.
    fn reap_excess(&self, body: &Body<C, E>, core: &mut Core<C, E>, effects: &mut Effects<C>) {
        while core.excess() > 0 {
            // Losing the claim to an acquire ends the loop: its release comes by here again.
            let Some(connection) = body.idlest().filter(|it| it.word.transition_to_reaped()) else {
                return;
            };
            connection.note_reason(CloseReason::Excess);
            core.closing += 1;
            effects.close.push(connection);
        }
    }

    /// Gives free connections to those that wait, first come, first served.
    fn hand_out(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        now: Tick,
        effects: &mut Effects<C>,
    ) {
        let coming_back = body.coming_back(core, self.generation());
        // Every iteration serves a waiter or takes a connection out of circulation.
        while core.queue.waiting_for_any() > 0 {
            let next = if core.checking == 0 {
                self.pop_locked(&mut effects.stale).or_else(|| self.lease_through_slots())
            } else {
                // Whoever waits for a check gets what comes of it, or what needs none.
                self.lease_beside_checks(core, core.queue.waiting_for_any() <= coming_back)
            };
            let Some((connection, source)) = next else { return };
            if connection.generation != self.generation() {
                self.discard(core, connection, CloseReason::Drain, effects);
            } else if self.must_yield_to_fresh(body, core, &connection) {
                self.discard(core, connection, CloseReason::Requested, effects);
            } else {
                effects.wake.extend(core.queue.serve_any(connection, source, now));
            }
        }
    }

    /// Orders dials until `wanted` are under way, or permits, slots or the backoff end it.
    fn order_dials(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        wanted: usize,
        now: Tick,
        effects: &mut Effects<C>,
    ) {
        // After a failure one dial at a time feels its way.
        let wanted = if core.failures > 0 { wanted.min(1) } else { wanted };
        while (core.dialing as usize) < wanted {
            let Some(order) = self.take_slot(body, core, now, Purpose::Waiter) else { return };
            effects.dial.push(order);
        }
    }

    /// Takes a vacant slot and a permit for a dial.
    pub(super) fn take_slot(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        now: Tick,
        purpose: Purpose,
    ) -> Option<DialOrder> {
        let usable = core.usable();
        let due = usable & !core.health.deferred(now);
        let slots = match due {
            // Whoever waits is told why no session can be dialled, unless there is one that serves.
            0 if core.taken() == 0 => usable,
            due => due,
        };
        if slots == 0 {
            return None;
        }
        let slot = u16::try_from(slots.trailing_zeros()).expect("BUG: there are 64 slots at most");
        self.take_this_slot(body, core, slot, now, purpose)
    }

    /// Takes a vacant slot of the caller's choice, and a permit, for a dial.
    pub(super) fn take_this_slot(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        slot: u16,
        now: Tick,
        purpose: Purpose,
    ) -> Option<DialOrder> {
        if !body.permits.try_take() {
            return None;
        }
        core.vacant &= !(1 << slot);
        core.dialing += 1;
        Some(DialOrder { slot, not_before: core.retry_at.max(now), purpose })
    }

    /// Closes the longest-idle connection for a waiter that takes only a new one.
    fn make_room_for_fresh(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        effects: &mut Effects<C>,
    ) {
        while core.unprovided_fresh(&body.permits) > 0 {
            // Losing the claim to an acquire ends the loop: its release comes by here again.
            let Some(connection) = body.idlest().filter(|it| it.word.transition_to_reaped()) else {
                return;
            };
            connection.note_reason(CloseReason::Requested);
            core.closing += 1;
            effects.close.push(connection);
        }
    }

    /// Makes the number of permits agree with the limits.
    pub(super) fn reconcile_cap(&self, body: &Body<C, E>, core: &mut Core<C, E>) {
        let cap = u32::from(self.cap());
        if cap > core.cap {
            let more = cap - core.cap;
            let forgiven = more.min(core.debt);
            core.debt -= forgiven;
            body.permits.put_back((more - forgiven) as usize);
        } else if cap < core.cap {
            let fewer = core.cap - cap;
            let destroyed = body.permits.destroy(fewer as usize);
            core.debt += fewer - u32::try_from(destroyed).expect("BUG: destroyed more than asked");
        }
        core.cap = cap;
    }

    pub(super) fn sync_shrink_flag(&self, core: &Core<C, E>) {
        let marked = self.gate.load(Ordering::Relaxed) & SHRINK != 0;
        match (core.excess() > 0, marked) {
            (true, false) => {
                set_bits_before_load(&self.gate, SHRINK);
            }
            (false, true) => {
                self.gate.fetch_and(!SHRINK, Ordering::Relaxed);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Clears WAIT when the queue is empty, before the lock is given up.
    pub(super) fn sync_wait_flag(&self, core: &Core<C, E>) {
        self.counters().waiting.store(core.queue.len() as u64, Ordering::Relaxed);
        if core.queue.is_empty() && self.gate.load(Ordering::Relaxed) & WAIT != 0 {
            self.gate.fetch_and(!WAIT, Ordering::Relaxed);
        }
    }
}
