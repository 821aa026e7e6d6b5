//! The number of an account's sessions, which may change while it works.
//!
//! Owns the slots that come later, and the step that follows the number of sessions. A slot that there
//! is stays, with its cell and its permit: one whose session has gone is withheld, like one that is
//! quarantined, and its connection drains. So no two connections are ever of one slot, and what stands
//! in words of bits keeps its meaning.
//!
//! # Orderings
//! Later slots are made under the lock. Who looks without it may not see them yet, and finds nothing
//! there: then it waits, behind the lock. That a session has gone is told as a quarantine is:
//! under the lock, and by the retiring that follows, which meets the word of every connection.

use crate::base::clock::Tick;
use crate::base::sync::{Cell, OnceLock, Ordering};
use crate::connection::CloseReason;
use crate::engine::connection::Connection;
use crate::engine::effects::Effects;
use crate::engine::{AccountPool, Body, Core, UNREADY, pack_limits, pack_sessions, unpack_limits};
use crate::manager::{QuarantineReason, SLOTS_MAX};

#[cfg(all(test, pool_loom))]
mod model;

/// The slots that came later, by their number: the first ones here are not used. Made when the account
/// gets more sessions.
#[derive(Debug)]
pub(super) struct LaterSlots<C>(OnceLock<Box<AllSlots<C>>>);

type AllSlots<C> = [Cell<Connection<C>>; SLOTS_MAX as usize];

impl<C> LaterSlots<C> {
    pub(super) fn new() -> Self {
        Self(OnceLock::new())
    }

    fn get(&self) -> Option<&AllSlots<C>> {
        self.0.get().map(|slots| &**slots)
    }

    fn make(&self) {
        self.0.get_or_init(|| Box::new(std::array::from_fn(|_| Cell::empty())));
    }
}

/// So many slots from the first on, as bits.
pub(super) fn bits_of(slots: u16) -> u64 {
    if slots >= SLOTS_MAX { u64::MAX } else { (1 << slots) - 1 }
}

impl<C, E> Body<C, E> {
    /// The cell of a slot's connection; `None` only without the lock, of one that was made just now.
    #[inline]
    pub(super) fn slot(&self, slot: usize) -> Option<&Cell<Connection<C>>> {
        self.slots.get(slot).or_else(|| self.later_slot(slot))
    }

    #[cold]
    fn later_slot(&self, slot: usize) -> Option<&Cell<Connection<C>>> {
        self.later_slots.get()?.get(slot)
    }

    /// The cell of a slot, for whoever holds the lock.
    pub(super) fn slot_locked(&self, slot: u16) -> &Cell<Connection<C>> {
        self.slot(usize::from(slot)).expect("BUG: a slot was made without a cell")
    }

    /// The cell of every slot.
    pub(super) fn all_slots(&self) -> impl Iterator<Item = &Cell<Connection<C>>> {
        let later = self.later_slots.get().into_iter().flatten();
        self.slots.iter().chain(later.skip(self.slots.len()))
    }
}

impl<C, E> AccountPool<C, E> {
    /// How many entries the queue of idle connections has room for. One that was made before the account
    /// got more sessions may have too little: what has no entry is found through its slot.
    pub(super) fn queue_len(&self) -> usize {
        let [slots, ..] = unpack_limits(self.limits.load(Ordering::Relaxed));
        let has_grown = self.body().later_slots.get().is_some();
        usize::from(if has_grown { SLOTS_MAX } else { slots.max(1) })
    }

    /// How many sessions the account has.
    pub(crate) fn sessions(&self) -> u16 {
        let [_, sessions, ..] = unpack_limits(self.limits.load(Ordering::Relaxed));
        sessions
    }

    /// The most connections that the account may have on the sessions that it has.
    pub(crate) fn max_connections(&self) -> u16 {
        self.cap().min(self.sessions())
    }

    /// Changes the most connections, and the most leases on one.
    pub(super) fn store_limits(&self, cap: u16, leases: u16) {
        self.change_limits(pack_limits(u16::MAX, u16::MAX), pack_limits(cap, leases));
    }

    fn change_limits(&self, bits: u64, to: u64) {
        let change = |word: u64| Some(word & !bits | to);
        let changed = self.limits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        debug_assert!(changed.is_ok(), "it is always changed");
    }

    /// The account has so many sessions from now on; of those that are new `quarantines` tells which are
    /// quarantined. Those that wait are served by new ones, the connections of others drain. `None` if
    /// it was closed, or has as many.
    pub(crate) fn set_sessions(
        &self,
        sessions: u16,
        quarantines: &[(u16, QuarantineReason)],
        now: Tick,
    ) -> Option<Effects<C>> {
        let body = self.body();
        let (before, is_out) = {
            let mut core = body.core.lock();
            let before = self.sessions();
            if self.is_closed() || sessions == before {
                return None;
            }
            self.provide_slots(body, &mut core, sessions);
            self.change_limits(
                pack_sessions(u16::MAX, u16::MAX),
                pack_sessions(core.slots, sessions),
            );
            core.health.set_sessions(sessions);
            for (slot, reason) in quarantines.iter().filter(|(slot, _)| *slot >= before) {
                core.health.quarantine(Some(*slot), *reason);
            }
            let is_out = core.health.unready().is_some();
            match is_out {
                true => self.gate.fetch_or(UNREADY, Ordering::Relaxed),
                false => self.gate.fetch_and(!UNREADY, Ordering::Relaxed),
            };
            (before, is_out)
        };
        let swept = self.retire_mismatched(CloseReason::Drain, now);
        let probe = !bits_of(before);
        Some(Effects { mark_active: is_out, wake_dials: true, probe, ..swept })
    }

    /// Sees that there are so many slots. Under the lock.
    fn provide_slots(&self, body: &Body<C, E>, core: &mut Core<C, E>, slots: u16) {
        if slots <= core.slots {
            return;
        }
        if usize::from(slots) > body.slots.len() {
            body.later_slots.make();
        }
        core.vacant |= bits_of(slots) & !bits_of(core.slots);
        core.slots = slots;
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::account_id::AccountId;
    use crate::base::clock::EPOCH;
    use crate::connection::ConnectionId;

    type Engine = AccountPool<u32, std::io::Error>;

    /// Nothing but its end tells what becomes of a probe.
    #[test]
    fn a_probe_of_a_session_that_goes_meanwhile_brings_no_connection() {
        let engine: Engine = AccountPool::new(AccountId::bot(1).unwrap(), 2, 0, 2, 1);
        let effects = engine.quarantine(Some(1), QuarantineReason::Suspect, EPOCH);
        assert!(effects.moves_nothing());
        assert_eq!((effects.persist, effects.probe, effects.mark_active), (0b10, 0b10, true));
        let effects = engine.probe(1, EPOCH);
        assert_eq!((effects.dial.len(), effects.probe), (1, 0), "it is suspect");
        let probe = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
        assert!(engine.reinstate(EPOCH).1);
        assert!(engine.set_sessions(1, &[], EPOCH).unwrap().moves_nothing());
        let ended = engine.complete_dial(&probe, 7, Tick::MAX, EPOCH);
        assert_eq!((ended.close.len(), probe.reason()), (1, CloseReason::Drain));
        assert!(engine.vacate(&probe, EPOCH, 0.0).moves_nothing());
        assert_eq!((engine.sessions(), engine.max_connections()), (1, 1));
    }
}
