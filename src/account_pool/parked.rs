//! Leases that nobody holds and that are kept all the same: what spares threads that share a
//! connection from meeting at its words.
//!
//! Owns the places where they lie, and the uses that were counted there. While threads meet at an
//! account, the lease of a shared connection is not given back: it is parked at a place of the thread
//! that returned it, and the next acquire of that thread takes it over. Neither touches the state word,
//! which goes on counting the lease, nor the count of the `Arc`, nor the entry. Whoever needs to know
//! how many leases are held collects the parked ones first; who only reports takes them off by the
//! marks. A lease that is taken over counts as one beside others, as a rule rightly. So since when a
//! connection has been held without a break is not known while threads meet at it: it may be told to be
//! longer, back to the reaper's last look.
//!
//! # Collecting
//! Under the account's lock. [`AccountPool::dispatch`] collects after it has marked what it marks in the
//! gate, and so does whatever ends with it. Until such a mark is cleared nothing is parked; so whoever else
//! collects finds something only while nobody waits and no connection is one too many, and nothing follows
//! from what it gives back.
//!
//! # Orderings
//! - Whoever collects has changed something before: the gate, the word of a connection, the demand for
//!   a place. It takes the lock of each place, be it empty. Whoever parks looks at the gate and the word
//!   with that lock held, and at the demand afterwards: either its lease is collected, or it sees the
//!   change. Only those who collect, or have found nothing elsewhere, wait for the lock; who finds it held
//!   otherwise goes the way that there is without places.
//! - The places are made with the account's lock held, so that whoever collects and finds none has made
//!   its change before every look of those who park.
//! - The marks are relaxed: hints, and numbers for reports. They are written with the lock held, so that
//!   at rest they are right.
//! - The counts are relaxed. When a connection goes, its uses leave this place before they are added to
//!   its own, which releases; who reads acquires its own first, and so sees none twice.

use std::sync::Arc;

use crate::account_pool::connection::{Connection, Source};
use crate::account_pool::dispatch::Core;
use crate::account_pool::duty::Orders;
use crate::account_pool::idle::CONTENDED;
use crate::account_pool::{AccountPool, Body};
use crate::clock::Tick;
use crate::state::{ConnectionState, Released};
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering, parallelism};

#[cfg(all(test, pool_loom))]
mod model;
#[cfg(all(test, not(pool_loom)))]
mod tests;

/// Of so many leases of a connection one place is made, so that few lie parked beside those that may
/// be held; with two places it begins to be worth while.
const LEASES_PER_PLACE: u16 = 4;
pub(super) const LEASES_MIN: u16 = 2 * LEASES_PER_PLACE;

/// So many slots have their uses counted beside the lease, in the same line of the cache.
const COUNTED: usize = 13;

/// Where leases lie, and the uses of those who took them from there.
#[derive(Debug)]
pub(super) struct Parking<C> {
    places: Box<[CachePadded<Place<C>>]>,
    /// The uses, by slot, that have been added to those of a connection that has gone.
    past: [AtomicU64; COUNTED],
}

/// One place: as a rule of one thread.
#[derive(Debug)]
struct Place<C> {
    lease: Mutex<Option<Arc<Connection<C>>>>,
    /// One more than the slot of the connection whose lease lies here; zero if none does.
    mark: AtomicU64,
    /// The leases that were taken over by threads of this place, by slot.
    uses: [AtomicU64; COUNTED],
}

impl<C> Place<C> {
    fn new() -> Self {
        Self { lease: Mutex::new(None), mark: AtomicU64::new(0), uses: counts() }
    }

    /// Puts a lease down, unless another lies here or the place is in use; with the lock held, looks
    /// first whether it may stay.
    fn put(
        &self,
        lease: Arc<Connection<C>>,
        may_stay: impl FnOnce(&Connection<C>) -> bool,
    ) -> Option<Arc<Connection<C>>> {
        let Some(mut place) = self.lease.try_lock() else { return Some(lease) };
        if place.is_some() || !may_stay(&lease) {
            return Some(lease);
        }
        self.mark.store(u64::from(lease.slot) + 1, Ordering::Relaxed);
        *place = Some(lease);
        None
    }

    fn take_from(&self, place: &mut Option<Arc<Connection<C>>>) -> Option<Arc<Connection<C>>> {
        let lease = place.take()?;
        self.mark.store(0, Ordering::Relaxed);
        Some(lease)
    }

    /// Takes what lies here, unless the place is in use.
    fn take(&self) -> Option<Arc<Connection<C>>> {
        if self.is_empty() {
            return None;
        }
        self.take_from(&mut *self.lease.try_lock()?)
    }

    /// Takes what lies here; if nothing does, whoever parks from now on sees what was changed before.
    fn collect(&self) -> Option<Arc<Connection<C>>> {
        self.take_from(&mut self.lease.lock())
    }

    /// Whether nothing lies here, as was seen a moment ago.
    fn is_empty(&self) -> bool {
        self.mark.load(Ordering::Relaxed) == 0
    }
}

fn counts() -> [AtomicU64; COUNTED] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

impl<C> Parking<C> {
    /// As many places as threads that run at once would have two of, and not too many beside the leases.
    fn new(leases: u16) -> Self {
        let most = usize::from(leases / LEASES_PER_PLACE);
        // Rounded down: the places of a thread are found by a mask.
        let count = (2 * parallelism()).next_power_of_two().min(1 << most.ilog2());
        let places = (0..count).map(|_| CachePadded::new(Place::new())).collect();
        Self { places, past: counts() }
    }

    fn place(&self, thread: u64) -> &Place<C> {
        let mask = self.places.len() as u64 - 1;
        &self.places[usize::try_from(thread & mask).expect("BUG: there are few places")]
    }

    /// How many leases of the connection of a slot lie here.
    fn parked(&self, slot: u16) -> u32 {
        let mark = u64::from(slot) + 1;
        let lies = |place: &Place<C>| place.mark.load(Ordering::Relaxed) == mark;
        self.places.iter().map(|place| u32::from(lies(place))).sum()
    }

    /// The uses that were counted here of the connection that is in a slot.
    fn uses(&self, slot: u16) -> u64 {
        let slot = usize::from(slot);
        let Some(past) = self.past.get(slot) else { return 0 };
        let past = past.load(Ordering::Relaxed);
        let sum: u64 = self.places.iter().map(|it| it.uses[slot].load(Ordering::Relaxed)).sum();
        sum.saturating_sub(past)
    }
}

impl<C, E> Body<C, E> {
    /// Takes over a lease that lies at this thread's place. It may be of a connection that retires.
    #[inline]
    pub(super) fn take_parked(&self, thread: u64) -> Option<Arc<Connection<C>>> {
        self.parking.get()?.place(thread).take()
    }

    pub(super) fn parked(&self, slot: u16) -> u32 {
        self.parking.get().map_or(0, |parking| parking.parked(slot))
    }

    /// How many leases a connection bears that somebody holds, and what it is doing therefore.
    pub(super) fn held(&self, connection: &Connection<C>) -> (u32, ConnectionState) {
        // The word first: what is parked since, by somebody who took it since, is all that may be
        // taken for given back although another one is held.
        let now = connection.word.snapshot();
        match (now.leases().saturating_sub(self.parked(connection.slot)), now.state()) {
            (0, ConnectionState::Active) => (0, ConnectionState::Idle),
            seen => seen,
        }
    }

    /// The uses of a connection that is in its slot: all, and those beside others.
    pub(super) fn uses(&self, connection: &Connection<C>) -> (u64, u64) {
        let (uses, shared) = (connection.uses(), connection.shared_uses());
        let here = self.parking.get().map_or(0, |parking| parking.uses(connection.slot));
        (uses + here, shared + here)
    }

    /// A connection has left its slot, and takes its uses along. Under the lock.
    pub(super) fn hand_over_uses(&self, connection: &Connection<C>) {
        if let Some(parking) = self.parking.get()
            && let Some(past) = parking.past.get(usize::from(connection.slot))
        {
            let uses = parking.uses(connection.slot);
            past.fetch_add(uses, Ordering::Relaxed);
            connection.add_shared_uses(uses);
        }
    }

    /// Whether some connection lies idle but for leases that are parked, for whoever has changed a word
    /// that those look at who have parked them.
    pub(super) fn has_parked_idle(&self) -> bool {
        let Some(parking) = self.parking.get() else { return false };
        for place in &parking.places {
            drop(place.lease.lock());
        }
        let is_idle = |it: &Connection<C>| {
            !it.word.snapshot().is_retiring() && self.held(it).1 == ConnectionState::Idle
        };
        self.all_slots().any(|slot| slot.clone_if(is_idle).is_some())
    }
}

impl<C, E> AccountPool<C, E> {
    /// Returns a lease of a shared connection while threads meet at the account: parks it, if it can be.
    #[inline(never)]
    pub(super) fn release_near(
        &self,
        connection: Arc<Connection<C>>,
        now: Tick,
        thread: u64,
    ) -> Option<Orders<C>> {
        let Some(parking) = self.parking_for(&connection) else {
            return self.release_unusual(connection, now);
        };
        let may_stay = |connection: &Connection<C>| {
            self.gate.load(Ordering::Relaxed) == connection.stamp
                && !connection.word.snapshot().is_retiring()
        };
        let back = parking.place(thread).put(connection, may_stay)?;
        self.release_unusual(back, now)
    }

    /// The places for leases of a connection; `None` if it bears too few for them.
    fn parking_for(&self, connection: &Connection<C>) -> Option<&Parking<C>> {
        if connection.max_leases < LEASES_MIN {
            return None;
        }
        let body = self.body();
        let parking = match body.parking.get() {
            Some(parking) => parking,
            None => Self::make_parking(body, connection.max_leases),
        };
        // Made when connections bore more leases, there may be too many.
        let bears = usize::from(connection.max_leases / LEASES_PER_PLACE) >= parking.places.len();
        bears.then_some(parking)
    }

    #[cold]
    fn make_parking(body: &Body<C, E>, leases: u16) -> &Parking<C> {
        let _core = body.core.lock();
        body.parking.get_or_init(|| Box::new(Parking::new(leases)))
    }

    /// Takes over a lease from any place, when no connection has room for another lease. Waits for a
    /// place that is in use: nobody may be told that there is none because somebody looks at it.
    pub(super) fn lease_any_parked(&self) -> Option<(Arc<Connection<C>>, Source)> {
        let places = &self.body.get()?.parking.get()?.places;
        let parked = places.iter().find_map(|place| place.collect());
        // What was collected meanwhile is found at its connection.
        parked.map(|it| (it, Source::Shared)).or_else(|| self.lease_through_slots())
    }

    /// Whether threads have met here, so that leases may lie parked.
    #[cold]
    pub(crate) fn parks(&self) -> bool {
        self.body.get().is_some_and(|body| body.parking.get().is_some())
    }

    /// Where a lease comes from, while threads meet: it matters only if its connection was not used
    /// since they do.
    pub(super) fn near_source(
        &self,
        connection: &Connection<C>,
        source: Source,
        now: Tick,
    ) -> Source {
        if source == Source::Shared && now.saturating_sub(connection.last_used()) > CONTENDED {
            return self.true_source(connection, source);
        }
        source
    }

    /// Where a lease comes from: others that lie parked are held by nobody.
    pub(super) fn true_source(&self, connection: &Connection<C>, source: Source) -> Source {
        if source == Source::Shared
            && let Some(body) = self.body.get()
            && body.parking.get().is_some()
            && body.held(connection).0 <= 1
        {
            return Source::Idle;
        }
        source
    }

    /// Counts a use of a lease beside others, where this thread's are counted. `None` if its connection
    /// counts it.
    pub(super) fn count_near(&self, connection: &Connection<C>, thread: u64) -> Option<u64> {
        let place = self.body.get()?.parking.get()?.place(thread);
        // If it has left its slot, what is counted here is another connection's.
        if connection.word.snapshot().is_final() {
            return None;
        }
        let uses = place.uses.get(usize::from(connection.slot))?;
        Some(uses.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many leases a connection has served.
    pub(crate) fn uses(&self, connection: &Connection<C>) -> u64 {
        let body = self.body();
        let is_it = |it: &Connection<C>| it.id == connection.id;
        // Those that were counted elsewhere belong to the connection that is in the slot.
        match body.slot(usize::from(connection.slot)).and_then(|slot| slot.clone_if(is_it)) {
            Some(_) => body.uses(connection).0,
            None => connection.uses(),
        }
    }

    /// Ends a lease of a connection that stays unless it retires. Answers whether it takes no more leases.
    pub(super) fn end_lease(
        &self,
        core: &mut Core<C, E>,
        connection: Arc<Connection<C>>,
        orders: &mut Orders<C>,
    ) -> bool {
        let released = connection.word.transition_to_released();
        match released {
            Released::Open { push: true } => self.push(connection),
            Released::Open { push: false } => {}
            Released::Draining => orders.void.push(connection),
            Released::Close => {
                core.closing += 1;
                orders.close.push(connection);
            }
            Released::Orphan => {
                self.counters().orphans.fetch_sub(1, Ordering::Relaxed);
                orders.void.push(connection);
            }
        }
        !matches!(released, Released::Open { .. })
    }

    /// Gives back every lease that lies parked. Under the lock, and after the change for whose sake it is
    /// done.
    pub(super) fn collect(&self, body: &Body<C, E>, core: &mut Core<C, E>, orders: &mut Orders<C>) {
        let Some(parking) = body.parking.get() else { return };
        for lease in parking.places.iter().filter_map(|place| place.collect()) {
            self.end_lease(core, lease, orders);
        }
    }

    /// Has a connection drained that retires since just now: of its leases those that lie parked are no
    /// reason to wait. Under the lock.
    pub(super) fn begin_drain(
        &self,
        core: &mut Core<C, E>,
        connection: Arc<Connection<C>>,
        orders: &mut Orders<C>,
    ) {
        self.collect(self.body(), core, orders);
        if !connection.word.snapshot().is_final() {
            orders.drain.push(connection);
        }
    }

    /// Gives back what lies parked, before somebody looks whether a connection is used.
    pub(crate) fn unpark(&self) -> Option<Orders<C>> {
        let body = self.body.get()?;
        if body.parking.get()?.places.iter().all(|place| place.is_empty()) {
            return None;
        }
        let mut orders = Orders::none();
        self.collect(body, &mut body.core.lock(), &mut orders);
        Some(orders)
    }
}
