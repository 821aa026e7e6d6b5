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
use crate::sync::{Cell, Ordering};

/// How soon after the last use the use by another thread tells that both ask at the same time: a
/// step of the coarse clock, and one for its delay. In milliseconds.
const CLOSE_UPON: Tick = 20;
/// For how long that is taken to last, in milliseconds: until then the order of reuse is given up.
const CONTENDED: Tick = 50;

impl<C, E> Body<C, E> {
    /// The connection that was used longest ago; or, while several threads ask at the same time, the
    /// one nearest to this thread. Its entry stays where it is, so that the threads meet neither in
    /// the queue nor at a connection, as long as there are enough of these.
    #[inline(always)]
    pub(super) fn pop_or_near(
        &self,
        now: Tick,
        thread: u64,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        if now < self.contended_until.load(Ordering::Relaxed) {
            let near = self.lease_near(thread);
            if near.is_some() {
                return near;
            }
        }
        let (connection, source) = self.pop()?;
        if connection.user.load(Ordering::Relaxed) != thread {
            self.change_user(&connection, now, thread);
        }
        Some((connection, source))
    }

    /// Leases the connection nearest to a thread, if it has room.
    fn lease_near(&self, thread: u64) -> Option<(Arc<Connection<C>>, Source)> {
        let index = usize::try_from(thread % self.slots.len() as u64);
        self.lease_through(&self.slots[index.expect("BUG: there are 64 slots at most")])
    }

    /// Notes that another thread uses a connection now, and whether it comes close upon the last.
    #[inline(never)]
    fn change_user(&self, connection: &Connection<C>, now: Tick, thread: u64) {
        connection.user.store(thread, Ordering::Relaxed);
        if now <= connection.last_used() + CLOSE_UPON {
            self.contended_until.store(now + CONTENDED, Ordering::Relaxed);
        }
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
        // Each turn drops a void entry for good; at most `capacity` of them exist at a time.
        for _ in 0..=2 * self.idle.capacity() {
            match connection.word.transition_to_leased(connection.max_leases) {
                Leased::Taken { requeue, shared } => {
                    if requeue {
                        self.push(Arc::clone(&connection));
                    }
                    return Some((connection, Source::of_live(shared)));
                }
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
        // The one left over is live and still found through its slot.
    }
}
