//! The engine of one account: who gets which connection, and what has to be done for it.
//!
//! Owns the account's gate, its slots, its entries of idle connections, its permits and its wait queue.
//! It is sans-IO: it never dials, closes, sleeps, wakes or reads a clock. Every step returns
//! [`Effects`] that the pool carries out, so the whole engine runs in a test without a runtime.
//!
//! # The gate
//! One word per account. Its low bits are flags: WAIT (somebody waits), CLOSED,
//! UNREADY (quarantined, drained or without a session), SHRINK (more connections than the
//! cap allows) and PAUSED (nobody is served until it is resumed); its high half is the generation. No
//! flag set means that the account is ready and nobody waits, so one load tells an acquire everything. A
//! connection carries the generation that it was begun under, so one comparison with the gate tells a
//! release everything.
//!
//! # The word is the truth
//! The entries order reuse (see `idle`), but a connection may also be leased through its slot: by a
//! waiter, and by an acquire while threads meet. A release makes its state word idle and *then* looks
//! at the gate; a waiter announces itself in the gate and *then* looks at the words. At least one of
//! them sees the other, so no wake-up is lost whatever the entries show at that moment. A waiter that
//! joins others need not look: those before it have, and every release since finds the gate marked.
//! While the account is paused nobody looks for those that wait. Whoever resumes it announces them once
//! more, and then looks for all of them.
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
//! - PAUSED is changed relaxed, under the lock: an acquire that overlooks it came before the pause, and
//!   a release that finds it goes the long way, to the lock.
//! - CLOSED, UNREADY and the generation are changed relaxed. `retire_mismatched`, which follows, changes
//!   the word of every connection, and takes the lock first: a connection that is released or a
//!   waiter that comes meets either that or, behind its lock, the new gate.
//! - A fast acquire loads the gate relaxed: a stale reading costs nothing, because a waiter
//!   that was overlooked is found by the release that follows. A flag that is cleared relaxed
//!   sends a release or an acquire the long way once more.
//! - Everything behind the lock needs no ordering of its own. The counters are relaxed.

mod acquire;
mod backoff;
mod checks;
mod connection;
mod dials;
mod dispatch;
mod effects;
mod handed;
pub(crate) mod health;
mod idle;
mod lifecycle;
mod past;
mod pause;
mod pressure;
mod redispatch;
mod release;
mod report;
mod sessions;
pub(crate) mod state;
mod status;
mod wait_queue;
mod waiters;
mod waiting;
mod watches;

#[cfg(all(any(test, fuzzing), not(pool_loom)))]
mod machine;
#[cfg(all(test, pool_loom))]
pub(crate) mod model;
#[cfg(all(test, not(pool_loom)))]
mod tests;

use std::sync::{Arc, OnceLock};

#[cfg(fuzzing)]
pub(crate) use machine::run_bytes;

pub(crate) use connection::{Connection, Purpose};
use dispatch::Core;
pub(crate) use effects::{DialLoss, DialOrder, Effects, Reap, Take};
use idle::FastPath;
use past::Past;
pub(crate) use pressure::Pressure;
use sessions::LaterSlots;
pub(crate) use waiters::{Served, WaitRefusal, Waiter, Wakers};
pub(crate) use watches::Watch;

use crate::account_id::AccountId;
use crate::base::sync::{AtomicU64, Cell, IdleQueue, Mutex, Ordering, Permits};
use crate::manager::SLOTS_MAX;

/// Somebody waits.
const WAIT: u64 = 1;
/// No acquire succeeds any more, and every returning connection is closed.
const CLOSED: u64 = 1 << 1;
/// Acquires fail at once, for a reason that the lock guards.
const UNREADY: u64 = 1 << 2;
/// More connections than the cap allows.
const SHRINK: u64 = 1 << 3;
/// Acquires wait until the account is resumed. The flag is all that says so.
const PAUSED: u64 = 1 << 4;
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
    counters: AccountCounters,
    /// Changed under the lock.
    past: Cell<Past>,
    permits: Permits,
    core: Mutex<Core<C, E>>,
}

/// Totals of the account. Relaxed; only the past uses are added with release, after their connection
/// has left its slot. Who reads them looks at what is past first and at the connections then, at
/// the uses before the leases: whatever happens meanwhile, no use or release is seen twice, or
/// before it was one.
#[derive(Debug, Default)]
struct AccountCounters {
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

    fn counters(&self) -> &AccountCounters {
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
                counters: AccountCounters::default(),
                past: Cell::empty(),
                core: Mutex::new(Core::new(slots, cap)),
            })
        })
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
