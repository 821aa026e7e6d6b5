//! Models of the engine for loom: every interleaving of two or three threads, and every value
//! that the memory model lets them read.
//!
//! Run with `RUSTFLAGS="--cfg pool_loom" cargo test --release --no-default-features --lib model`.
//! The stand-ins in `sync` are deliberately weak: one queue forgets all its entries, and permits
//! carry no visibility. What holds here does not rely on either. Each acquire, release and pair
//! of the engine is needed by a model here, or by one of those in `state`, `budget`, `registry`
//! and `occupancy`: weaken one, and its model fails.

#![expect(clippy::unwrap_used, reason = "a model may panic")]

mod changes;
mod pause;
mod reuse;
mod waiting;

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::thread;

use super::*;
use crate::base::clock::{EPOCH, Tick};
use crate::base::sync::{forget_entries, load_after_change};
use crate::connection::{CloseReason, ConnectionId};
use crate::manager::QuarantineReason;

pub(crate) type Engine = AccountPool<u32, std::io::Error>;
pub(crate) type ArcWaiter = Arc<Waiter<u32, std::io::Error>>;

pub(crate) const NOW: Tick = EPOCH;

/// Runs a model with a queue that keeps its entries and with one that forgets them.
pub(crate) fn model(run: fn()) {
    for forgetful in [true, false] {
        forget_entries(forgetful);
        explore(run);
    }
}

fn explore(run: fn()) {
    let mut builder = loom::model::Builder::new();
    // Four preemptions take a few seconds, six half a minute, eight some minutes: the environment
    // variable LOOM_MAX_PREEMPTIONS sets another number.
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(4);
    }
    builder.check(run);
}

pub(crate) fn engine(slots: u16, leases: u16) -> Arc<Engine> {
    Arc::new(AccountPool::new(AccountId::bot(1).unwrap(), slots, 0, slots, leases))
}

fn dial(engine: &Engine, order: DialOrder) -> Effects<u32> {
    let id = ConnectionId(u64::from(order.slot));
    match engine.begin_dial(order, id) {
        Some(connection) => engine.complete_dial(&connection, 7, Tick::MAX, NOW),
        None => engine.fail_dial(order, None, DialLoss::Unwanted, None, NOW).0,
    }
}

/// Applies effects on the spot, until there are none.
pub(crate) fn apply(engine: &Engine, effects: Effects<u32>) {
    let mut pending = vec![effects];
    while let Some(effects) = pending.pop() {
        pending.extend(effects.close.iter().map(|connection| engine.vacate(connection, NOW, 0.0)));
        pending.extend(effects.dial.iter().map(|order| dial(engine, *order)));
    }
}

pub(crate) fn poll(waiter: &ArcWaiter) -> Option<Arc<Connection<u32>>> {
    match waiter.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(served) => served.ok().map(|(connection, _)| connection),
        Poll::Pending => None,
    }
}

pub(crate) fn release(engine: &Engine, connection: Arc<Connection<u32>>) {
    if let Some(effects) = engine.release(connection, NOW, Pressure::Calm) {
        apply(engine, effects);
    }
}

pub(crate) fn join(engine: &Engine) -> ArcWaiter {
    let waiter = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
    if let Ok(Some(effects)) = engine.enqueue_waiter(&waiter, false, NOW) {
        apply(engine, effects);
    }
    waiter
}

/// An engine whose connections all exist, the first of them leased.
pub(crate) fn warmed(slots: u16, leases: u16) -> (Arc<Engine>, Arc<Connection<u32>>) {
    let engine = engine(slots, leases);
    let waiter = join(&engine);
    let lease = poll(&waiter).unwrap();
    prepared(&engine);
    (engine, lease)
}

/// One more lease, of any connection.
pub(crate) fn lease(engine: &Engine) -> Arc<Connection<u32>> {
    match engine.try_lease_any(NOW, 0) {
        Take::Leased(connection, _) => connection,
        other => panic!("{other:?}"),
    }
}

/// Ends the preparation of a model: a change that was made in it must not stand in for one that is
/// missing later.
pub(crate) fn prepared(engine: &Engine) {
    let _gate = load_after_change(&engine.gate);
}

/// At rest every slot and permit is accounted for.
pub(crate) fn at_rest(engine: &Engine, slots: u16) {
    let core = engine.body().core.lock();
    let taken = u32::from(slots) - core.vacant.count_ones();
    assert_eq!((core.dialing, core.closing), (0, 0));
    let free = u32::try_from(engine.body().permits.free()).unwrap();
    assert_eq!(free + taken - core.debt, core.cap, "permits were minted or burnt");
}
