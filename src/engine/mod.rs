//! The engine of one account: who gets which connection, and what has to be done for it.
//!
//! Owns the account's gate, its slots, its entries of idle connections, its permits and its wait queue. It is sans-IO: it never dials, closes, sleeps, wakes or reads a clock. Every step returns
//! [`Effects`] that the pool carries out, so the whole engine runs in a test without a runtime.
//!
//! # The gate
//! One word per account. Its low bits are flags: WAIT (somebody waits), CLOSED,
//! UNREADY (quarantined, drained or without a session) and SHRINK (more connections than the
//! cap allows); its high half is the generation. No flag set means that the account is ready
//! and nobody waits, so one load tells an acquire everything. A connection carries the generation that
//! it was begun under, so one comparison with the gate tells a release everything.
//!
//! # The word is the truth
//! The entries order reuse (see `idle`), but a connection may also be leased through its slot: by a
//! waiter, and by an acquire while threads meet. A release makes its state word idle and *then* looks
//! at the gate; a waiter announces itself in the gate and *then* looks at the words. At least one of
//! them sees the other, so no wake-up is lost whatever the entries show at that moment. A waiter that
//! joins others need not look: those before it have, and every release since finds the gate marked.
//!
//! # Permits and slots
//! A dial takes a permit and a vacant slot together, under the lock; both come back together in
//! [`AccountPool::vacate`] or [`AccountPool::fail_dial`], after the connection has been closed.
//! At rest: free permits + dials + live and closing connections - debt = cap.
//!
//! Each slot is a session of the account. How many there are may change (see `sessions`): slots are
//! added, and none is ever taken away, but one whose session has gone is not dialled any more.
//!
//! # Orderings
//! - WAIT and SHRINK are set before connections are looked at; a release makes its connection
//!   idle before it looks at the gate: a pair of `sync`. Both change only under the lock.
//! - CLOSED, UNREADY and the generation are changed relaxed. `retire_mismatched`, which follows, changes
//!   the word of every connection, and takes the lock first: a connection that is released or a
//!   waiter that comes meets either that or, behind its lock, the new gate.
//! - A fast acquire loads the gate relaxed: a stale reading costs nothing, because a waiter
//!   that was overlooked is found by the release that follows. A flag that is cleared relaxed
//!   sends a release or an acquire the long way once more.
//! - Everything behind the lock needs no ordering of its own. The counters are relaxed.

mod backoff;
mod checks;
mod connection;
mod dispatch;
mod effects;
mod handed;
pub(crate) mod health;
mod idle;
mod lifecycle;
mod redispatch;
mod report;
mod room;
mod sessions;
pub(crate) mod state;
mod status;
mod wait_queue;
mod waiters;
mod watches;

#[cfg(all(any(test, fuzzing), not(pool_loom)))]
mod machine;
#[cfg(all(test, pool_loom))]
pub(crate) mod model;
#[cfg(all(test, not(pool_loom)))]
mod tests;

use std::panic::Location;
use std::sync::{Arc, OnceLock};

#[cfg(fuzzing)]
pub(crate) use machine::run_bytes;

pub(crate) use connection::{Connection, Purpose};
use dispatch::Core;
pub(crate) use effects::{DialOrder, Effects, Lost, Reap, Take};
use idle::FastPath;
pub(crate) use room::Pressure;
use sessions::LaterSlots;
use wait_queue::Queued;
use waiters::Cancelled;
pub(crate) use waiters::{Refusal, Served, Waiter, Wakers};
pub(crate) use watches::Watch;

use crate::account_id::AccountId;
use crate::base::clock::{Instant, Tick};
use crate::base::sync::{
    AtomicU64, Cell, IdleQueue, Mutex, Ordering, Permits, load_after_change, set_bits_before_load,
};
use crate::connection::{ConnectionState, Source};
use crate::engine::state::Released;
use crate::manager::SLOTS_MAX;

/// Somebody waits.
const WAIT: u64 = 1;
/// No acquire succeeds any more, and every returning connection is closed.
const CLOSED: u64 = 1 << 1;
/// Acquires fail at once, for a reason that the lock guards.
const UNREADY: u64 = 1 << 2;
/// More connections than the cap allows.
const SHRINK: u64 = 1 << 3;
const FLAGS: u64 = 0xffff_ffff;
const GENERATION: u64 = 1 << 32;

/// One account. What each acquire reads comes first, so that it lies in as few cache lines as possible.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct AccountPool<C, E> {
    gate: AtomicU64,
    fast_path: FastPath<C>,
    /// Made with the first connection, so that an account that is merely known costs little.
    body: OnceLock<Box<Body<C, E>>>,
    account: AccountId,
    /// The index of the account's group.
    group: u16,
    /// In 16 bits each: how many slots there are, how many of them are sessions, the most connections,
    /// and the most leases on one made from now on.
    limits: AtomicU64,
}

/// In this order, so that what each step behind the lock reads lies in adjacent cache lines.
#[derive(Debug)]
#[repr(C)]
struct Body<C, E> {
    /// Made with the second connection.
    idle: OnceLock<Box<IdleQueue<Arc<Connection<C>>>>>,
    slots: Box<[Cell<Connection<C>>]>,
    /// The slots beyond those.
    later_slots: LaterSlots<C>,
    counters: Counters,
    permits: Permits,
    core: Mutex<Core<C, E>>,
}

/// Totals of the account. Relaxed; only the past uses are added with release, after their connection
/// has left its slot. Who reads them looks at what is past first and at the connections then, at
/// the uses before the leases: whatever happens meanwhile, no use or release is seen twice, or
/// before it was one.
#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    /// Leases that were served by the connection dialled for them.
    new_uses: AtomicU64,
    /// Uses of connections that are gone.
    past_uses: AtomicU64,
    past_shared_uses: AtomicU64,
    /// Leases whose connection was closed by force.
    orphans: AtomicU64,
    waiting: AtomicU64,
    /// Until when some method must rest; changed under the lock.
    resting_until: AtomicU64,
}

impl<C, E> AccountPool<C, E> {
    /// An account that may have `cap` connections on its `slots` sessions.
    pub(crate) fn new(account: AccountId, slots: u16, group: u16, cap: u16, leases: u16) -> Self {
        assert!(slots <= SLOTS_MAX, "BUG: the registry bounds the slots");
        let unready = if slots == 0 { UNREADY } else { 0 };
        Self {
            account,
            gate: AtomicU64::new(unready),
            group,
            limits: AtomicU64::new(pack_sessions(slots, slots) | pack_limits(cap, leases)),
            fast_path: FastPath::new(),
            body: OnceLock::new(),
        }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.account
    }

    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    /// The most connections that the account may have on its slots.
    fn cap(&self) -> u16 {
        let [slots, _, cap, _] = unpack_limits(self.limits.load(Ordering::Relaxed));
        cap.min(slots)
    }

    fn leases(&self) -> u16 {
        let [.., leases] = unpack_limits(self.limits.load(Ordering::Relaxed));
        leases
    }

    fn generation(&self) -> u64 {
        self.gate.load(Ordering::Relaxed) & !FLAGS
    }

    #[inline]
    fn body(&self) -> &Body<C, E> {
        match self.body.get() {
            Some(body) => body,
            None => self.make_body(),
        }
    }

    fn counters(&self) -> &Counters {
        &self.body().counters
    }

    #[cold]
    fn make_body(&self) -> &Body<C, E> {
        self.body.get_or_init(|| {
            // Their number changes only where there is a body.
            let [slots, ..] = unpack_limits(self.limits.load(Ordering::Relaxed));
            // Read once: whoever changes it meanwhile finds no body, and leaves it to the next
            // dispatch to see that permits and cap agree.
            let cap = self.cap();
            Box::new(Body {
                idle: OnceLock::new(),
                slots: (0..slots.max(1)).map(|_| Cell::empty()).collect(),
                later_slots: LaterSlots::new(),
                permits: Permits::new(usize::from(cap)),
                counters: Counters::default(),
                core: Mutex::new(Core::new(slots, cap)),
            })
        })
    }

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
    #[inline(never)]
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

    /// Whether somebody waits.
    pub(crate) fn has_waiters(&self) -> bool {
        self.body.get().is_some_and(|body| body.counters.waiting.load(Ordering::Relaxed) > 0)
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

    /// Puts a waiter into the queue. The effects serve or dial for whoever can be helped, this one
    /// included; `None` if nothing is left to do but wait.
    pub(crate) fn enqueue_waiter(
        &self,
        waiter: &Arc<Waiter<C, E>>,
        front: bool,
        now: Tick,
    ) -> Result<Option<Effects<C>>, Refusal<E>>
    where
        C: Send + Sync + 'static,
        E: Send + 'static,
    {
        let queued = Queued::new(waiter);
        let body = self.body();
        let mut core = body.core.lock();
        let gate = self.gate.load(Ordering::Relaxed);
        if let Some(refusal) = core.refusal(gate) {
            return Err(refusal);
        }
        core.queue.push(queued, front);
        let watch = core.watches.ask_for(waiter.deadline());
        // Those that waited before have looked at everything, and every release since finds the gate
        // marked: one more changes nothing, unless it may have something dialled.
        let is_one_more = gate & FLAGS == WAIT && !front && core.queue.waiting_for_fresh() == 0;
        if is_one_more && watch.is_none() && core.can_only_wait(&body.permits) {
            self.sync_wait_flag(&core);
            return Ok(None);
        }
        let mut effects = Effects { watch, ..Effects::none() };
        // Announced before any connection is looked at: a release that does not see this is
        // one whose connection the dispatch sees.
        set_bits_before_load(&self.gate, WAIT);
        self.dispatch(body, &mut core, now, &mut effects);
        // A dial that was begun in advance is now waited for.
        effects.wake_dials |= core.dialing > 0 && effects.dial.is_empty();
        Ok(Some(effects))
    }

    /// What is to be done once the pool knows the account.
    pub(crate) fn admit(&self) -> Effects<C> {
        let is_out = self.gate.load(Ordering::Relaxed) & UNREADY != 0;
        Effects { mark_active: is_out, probe: u64::MAX, vacated: true, ..Effects::none() }
    }

    /// A waiter gives up. What it had been given meanwhile is released unused.
    pub(crate) fn cancel_waiter(&self, waiter: &Arc<Waiter<C, E>>) -> Effects<C> {
        let mut effects = Effects::none();
        let body = self.body();
        let mut core = body.core.lock();
        let cancelled = core.queue.cancel(waiter);
        self.sync_wait_flag(&core);
        effects.wake_dials = core.dialing > 0;
        drop(core);
        match cancelled {
            Cancelled::Served(served) => effects.unused.extend(served.ok().map(|(lease, _)| lease)),
            Cancelled::Waiting(waker) => effects.unheard = waker,
        }
        effects
    }

    /// Refuses the waiters that are due, and says through `watch` when to come back. What was handed
    /// to one that is due, and that it has not taken, is released unused.
    pub(crate) fn expire_waiters(&self, now: Instant) -> Effects<C> {
        let mut effects = Effects::none();
        let Some(body) = self.body.get() else { return effects };
        let mut core = body.core.lock();
        if !core.watches.end(now) {
            return effects;
        }
        let mut next = core.queue.expire(now, &mut effects.wake);
        for slot in body.all_slots() {
            slot.inspect(|connection| {
                let handed = connection.handed().expire(now, |lease, waker| {
                    effects.unused.extend(lease);
                    effects.wake.extend(waker);
                });
                next = [next, handed].into_iter().flatten().min();
            });
        }
        effects.watch = core.watches.ask_for(next);
        self.sync_wait_flag(&core);
        core.wake_dials(&mut effects);
        effects
    }

    /// Whether anything would come of a watch that the pool was told.
    pub(crate) fn is_watched(&self, watch: Watch) -> bool {
        self.body.get().is_some_and(|body| body.core.lock().watches.is_told(watch))
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
    #[inline(never)]
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
}

fn pack_limits(cap: u16, leases: u16) -> u64 {
    u64::from(cap) << 16 | u64::from(leases)
}

fn pack_sessions(slots: u16, sessions: u16) -> u64 {
    pack_limits(slots, sessions) << 32
}

fn unpack_limits(word: u64) -> [u16; 4] {
    let part = |word: u64| u16::try_from(word & 0xffff).expect("BUG: sixteen bits fit");
    [part(word >> 48), part(word >> 32), part(word >> 16), part(word)]
}
