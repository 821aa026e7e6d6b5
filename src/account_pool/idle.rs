//! Which free connection is leased next: the order of reuse.
//!
//! Owns the ways to an idle connection: by the queue, and through the slots. Decides nothing about
//! who may have it.
//!
//! # Orderings
//! The state word decides every claim. The user of a connection and the time of contention are hints
//! that choose between two right ways, so that they are relaxed.

use std::sync::Arc;

use crate::account_pool::Body;
use crate::account_pool::connection::{Connection, Source};
use crate::clock::Tick;
use crate::state::Leased;
use crate::sync::{AtomicU64, Cell, Ordering};

/// How often within a step of the coarse clock, which is 10 ms, a connection must pass from thread to
/// thread for these to be in each other's way: less often it costs less than it takes to mend it.
const CHANGES: u64 = 64;
/// The number of changes, in the low bits of a word; the tick that they are of is above.
const COUNT_BITS: u32 = 16;
/// For how long it is taken to last, in milliseconds: until then the order of reuse is given up.
const CONTENDED: Tick = 50;
/// For how long threads that have met at an account are taken to meet there again: ten steps of the
/// coarse clock.
const MET: Tick = 100;

/// How threads meet at an account.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Until when they are expected to meet, be it seldom.
    met_until: AtomicU64,
    /// Until when they count as getting into each other's way.
    contended_until: AtomicU64,
    /// How often connections have passed from thread to thread in the step that is above the count.
    changes: AtomicU64,
}

impl Traffic {
    #[inline]
    fn is_met(&self, now: Tick) -> bool {
        now < self.met_until.load(Ordering::Relaxed)
    }

    fn is_contended(&self, now: Tick) -> bool {
        now < self.contended_until.load(Ordering::Relaxed)
    }

    /// A connection has passed from one thread to another. A change that is lost to another thread
    /// at the same time is not missed.
    #[inline(never)]
    fn note_change(&self, now: Tick) {
        self.met_until.store(now + MET, Ordering::Relaxed);
        let changes = self.changes.load(Ordering::Relaxed);
        let is_same_step = changes >> COUNT_BITS == now;
        let changes = if is_same_step { changes + 1 } else { now << COUNT_BITS };
        self.changes.store(changes, Ordering::Relaxed);
        if changes & ((1 << COUNT_BITS) - 1) >= CHANGES {
            self.set_contended(now + CONTENDED);
        }
    }

    pub(super) fn set_contended(&self, until: Tick) {
        self.met_until.fetch_max(until, Ordering::Relaxed);
        self.contended_until.store(until, Ordering::Relaxed);
    }
}

impl<C, E> Body<C, E> {
    /// The connection that was used longest ago; or, while several threads ask at the same time, the
    /// one nearest to this thread. Its entry stays where it is, so that the threads meet neither in
    /// the queue nor at a connection, as long as there are enough of these. Where there is only one,
    /// threads that take turns need not pass the queue on as well.
    #[inline(always)]
    pub(super) fn pop_or_near(
        &self,
        traffic: &Traffic,
        now: Tick,
        thread: u64,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        if traffic.is_met(now) {
            let near = self.lease_near(traffic, now, thread);
            if near.is_some() {
                return near;
            }
        }
        let (connection, source) = self.pop()?;
        if connection.user.load(Ordering::Relaxed) != thread {
            connection.user.store(thread, Ordering::Relaxed);
            traffic.note_change(now);
        }
        Some((connection, source))
    }

    /// Leases the connection nearest to a thread, if it has room and the order of reuse does not
    /// matter.
    fn lease_near(
        &self,
        traffic: &Traffic,
        now: Tick,
        thread: u64,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        let mut occupied = self.counters.occupied.load(Ordering::Relaxed);
        let count = u64::from(occupied.count_ones());
        if count == 0 || count > 1 && !traffic.is_contended(now) {
            return None;
        }
        for _ in 0..thread % count {
            occupied &= occupied - 1;
        }
        self.lease_through(&self.slots[occupied.trailing_zeros() as usize])
    }

    /// Pops until an entry can be leased.
    #[inline]
    pub(super) fn pop(&self) -> Option<(Arc<Connection<C>>, Source)> {
        let connection = self.idle.pop()?;
        if connection.max_leases == 1 && connection.word.transition_from_idle() {
            return Some((connection, Source::Idle));
        }
        self.pop_from(connection)
    }

    /// The same for an entry that was popped and is shared or void, and those behind it.
    #[inline(never)]
    fn pop_from(&self, mut connection: Arc<Connection<C>>) -> Option<(Arc<Connection<C>>, Source)> {
        // Each turn drops a void entry for good; at most `capacity` of them exist at a time. None is
        // popped that is not looked at: its connection would count as queued for ever.
        for turn in 0..=2 * self.idle.capacity() {
            match connection.word.transition_to_leased(connection.max_leases) {
                Leased::Taken { requeue, shared } => {
                    if requeue {
                        self.push(Arc::clone(&connection));
                    }
                    return Some((connection, Source::of_live(shared)));
                }
                Leased::No if turn == 2 * self.idle.capacity() => return None,
                Leased::No => connection = self.idle.pop()?,
            }
        }
        None
    }

    /// Leases any connection with room, whatever the queue shows.
    pub(super) fn lease_through_slots(&self) -> Option<(Arc<Connection<C>>, Source)> {
        self.slots.iter().find_map(|slot| self.lease_through(slot))
    }

    fn lease_through(&self, slot: &Cell<Connection<C>>) -> Option<(Arc<Connection<C>>, Source)> {
        let mut source = Source::Idle;
        let connection = slot.clone_if(|connection| {
            match connection.word.transition_to_leased_in_place(connection.max_leases) {
                Some(shared) => {
                    source = Source::of_live(shared);
                    true
                }
                None => false,
            }
        })?;
        Some((connection, source))
    }

    /// Pushes an entry. A full queue holds void entries of closed connections: the oldest
    /// goes, or if it is a live one, it goes to the end.
    #[inline]
    pub(super) fn push(&self, connection: Arc<Connection<C>>) {
        if let Some(evicted) = self.idle.force_push(connection) {
            self.push_evicted(evicted);
        }
    }

    #[cold]
    fn push_evicted(&self, mut evicted: Arc<Connection<C>>) {
        for _ in 0..self.idle.capacity() {
            let state = evicted.word.snapshot();
            if state.is_final() || state.is_retiring() {
                return;
            }
            match self.idle.force_push(evicted) {
                None => return,
                Some(another) => evicted = another,
            }
        }
        // The one left over is live: it is found through its slot, and queued again on its return.
        evicted.word.transition_to_unqueued();
    }
}
