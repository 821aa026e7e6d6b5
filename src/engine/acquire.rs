//! Acquires of free connections: the fast path, which takes no lock.
//!
//! Owns no state. Whoever finds nothing here joins the wait queue.

use std::panic::Location;
use std::sync::Arc;

use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::{ConnectionState, Source};
use crate::engine::connection::Connection;
use crate::engine::effects::Take;
use crate::engine::{AccountPool, FLAGS};

impl<C, E> AccountPool<C, E> {
    /// A free connection, if there is one and nobody waits. Waits for no lock, and touches no semaphore.
    /// `thread` tells whoever asks from others who ask at the same time.
    #[inline(always)]
    pub(crate) fn try_lease(&self, now: Tick, thread: u64) -> Take<C> {
        let gate = self.gate.load(Ordering::Relaxed);
        if gate & FLAGS != 0 {
            return Take::NotReady;
        }
        if self.fast_path.contention.is_contended(now)
            && let Some((connection, source)) = self.lease_affine(thread)
        {
            return Self::classify(gate, connection, source);
        }
        match self.pop_for_thread(now, thread) {
            Some((connection, source)) => Self::classify(gate, connection, source),
            None => Take::Empty,
        }
    }

    /// The same, looking through the slots as well: there may be no entry although a
    /// connection is free, while somebody is between two steps.
    pub(crate) fn try_lease_any(&self, now: Tick, thread: u64) -> Take<C> {
        match self.try_lease(now, thread) {
            Take::Empty => self.take_from(Self::lease_through_slots),
            other => other,
        }
    }

    /// The same, in the order of reuse whoever asks at the same time: after a lease that was given
    /// back, the next is of another connection, if there is one.
    pub(crate) fn try_lease_in_order(&self) -> Take<C> {
        self.take_from(|pool| pool.pop().or_else(|| pool.lease_through_slots()))
    }

    fn take_from(
        &self,
        lease: impl FnOnce(&Self) -> Option<(Arc<Connection<C>>, Source)>,
    ) -> Take<C> {
        let gate = self.gate.load(Ordering::Relaxed);
        if gate & FLAGS != 0 {
            return Take::NotReady;
        }
        match lease(self) {
            Some((connection, source)) => Self::classify(gate, connection, source),
            None => Take::Empty,
        }
    }

    /// Whether a lease that was taken is of use.
    #[inline(always)]
    fn classify(gate: u64, connection: Arc<Connection<C>>, source: Source) -> Take<C> {
        if connection.generation == gate {
            Take::Leased(connection, source)
        } else {
            Take::Outdated(connection)
        }
    }

    /// Whether some connection could be leased right now.
    pub(crate) fn has_room(&self) -> bool {
        if self.gate.load(Ordering::Relaxed) & FLAGS != 0 {
            return false;
        }
        self.connections().any(|connection| {
            let now = connection.word.snapshot();
            let is_open = matches!(now.state(), ConnectionState::Idle | ConnectionState::Active);
            let has_room = now.leases() < u32::from(connection.max_leases);
            is_open && has_room && !connection.is_checking() && !now.is_retiring()
        })
    }

    /// Counts a lease that reached its borrower, and returns the connection's count.
    #[inline]
    pub(crate) fn accept(
        &self,
        connection: &Connection<C>,
        source: Source,
        now: Tick,
        site: &'static Location<'static>,
    ) -> u64 {
        if source == Source::New {
            self.counters().new_uses.fetch_add(1, Ordering::Relaxed);
        }
        connection.count_use(source, now, site)
    }
}
