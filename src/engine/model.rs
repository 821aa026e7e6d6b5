//! Models of the engine for loom: every interleaving of two or three threads, and every value
//! that the memory model lets them read.
//!
//! Run with `RUSTFLAGS="--cfg pool_loom" cargo test --release --no-default-features --lib model`.
//! The stand-ins in `sync` are deliberately weak: one queue forgets all its entries, and permits
//! carry no visibility. What holds here does not rely on either. Each acquire, release and pair
//! of the engine is needed by a model here, or by one of those in `state`, `budget`, `registry`
//! and `occupancy`: weaken one, and its model fails.

#![expect(clippy::unwrap_used, reason = "a model may panic")]

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::thread;

use super::*;
use crate::base::clock::EPOCH;
use crate::base::sync::forget_entries;
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
        None => engine.fail_dial(order, None, Lost::Unwanted, None, NOW).0,
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

#[test]
fn model_a_release_and_a_waiter_never_miss_each_other() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        let waiter = join(&engine);
        releaser.join().unwrap();
        let served = poll(&waiter).expect("a connection is free and the waiter sleeps");
        release(&engine, served);
        at_rest(&engine, 1);
    });
}

#[test]
fn model_two_releases_serve_two_waiters() {
    model(|| {
        let (engine, one) = warmed(2, 1);
        let two = poll(&join(&engine)).unwrap();
        prepared(&engine);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, one))
        };
        let first = join(&engine);
        release(&engine, two);
        let second = join(&engine);
        releaser.join().unwrap();
        assert!(poll(&first).is_some() && poll(&second).is_some());
    });
}

#[test]
fn model_a_waiter_that_leaves_while_it_is_served_loses_nothing() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let leaver = join(&engine);
        let stayer = join(&engine);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        if let Some(given) = engine.cancel_waiter(&leaver).unused.pop() {
            release(&engine, given);
        }
        releaser.join().unwrap();
        assert!(poll(&stayer).is_some(), "the connection is lost or the waiter sleeps");
    });
}

#[test]
fn model_exactly_one_of_reaper_and_acquire_gets_an_idle_connection() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let reaper = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || engine.evict_idle())
        };
        let taken = engine.try_lease_any(NOW, 0);
        let reaped = reaper.join().unwrap();
        match taken {
            Take::Leased(connection, _) => {
                assert!(reaped.is_none(), "both have it");
                release(&engine, connection);
            }
            Take::Empty => {
                apply(&engine, reaped.expect("nobody has it"));
            }
            Take::Outdated(_) | Take::NotReady => unreachable!("nothing else happens"),
        }
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_lease_in_place_and_one_by_its_entry_leave_the_connection_to_be_found() {
    // What is at stake is the entry, so that the queue must keep it.
    forget_entries(false);
    explore(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        engine.fast_path.contention.set_contended(NOW + 1);
        let other = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || lease_and_release(&engine, NOW))
        };
        lease_and_release(&engine, NOW + 1);
        other.join().unwrap();
        let found = engine.try_lease(NOW + 1, 0);
        assert!(matches!(found, Take::Leased(..)), "the queue has lost a connection");
    });
}

#[test]
fn model_the_only_connection_is_found_by_its_entry_whenever_the_second_one_comes() {
    // What is at stake is the entry, which moves from beside the gate to the queue.
    forget_entries(false);
    explore(|| {
        let engine = engine(2, 1);
        let waiter = join(&engine);
        let first = poll(&waiter).unwrap();
        prepared(&engine);
        let returns = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, first))
        };
        let order = {
            let body = engine.body();
            engine.take_slot(body, &mut body.core.lock(), NOW, Purpose::WarmUp).unwrap()
        };
        apply(&engine, dial(&engine, order));
        returns.join().unwrap();
        let found = [engine.pop(), engine.pop()].map(|entry| entry.map(|(it, _)| it.slot));
        assert!(found == [Some(0), Some(1)] || found == [Some(1), Some(0)], "{found:?}");
        at_rest(&engine, 2);
    });
}

#[test]
fn model_the_connection_that_is_left_is_found_by_its_entry_when_the_other_one_goes() {
    forget_entries(false);
    explore(|| {
        let engine = engine(2, 1);
        let (first, second) = (join(&engine), join(&engine));
        let (first, second) = (poll(&first).unwrap(), poll(&second).unwrap());
        let (slot, gone) = (first.slot, Arc::clone(&second));
        release(&engine, second);
        prepared(&engine);
        let returns = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, first))
        };
        apply(&engine, engine.retire(&gone, CloseReason::Requested, NOW));
        returns.join().unwrap();
        let found = engine.pop().map(|(entry, _)| entry.slot);
        assert_eq!(found, Some(slot), "its entry is lost");
        assert_eq!(Arc::strong_count(&gone), 1, "an entry of the closed one is left");
        at_rest(&engine, 2);
    });
}

#[test]
fn model_connections_whose_entries_made_room_for_stale_ones_come_back_to_the_queue() {
    forget_entries(false);
    explore(|| {
        let engine = engine(2, 1);
        let stale = [open(&engine, 1), open(&engine, 2)];
        for closed in &stale {
            apply(&engine, engine.retire(closed, CloseReason::Requested, NOW));
        }
        let live = [open(&engine, 3), open(&engine, 4)];
        prepared(&engine);
        // As by releases that were held up between their two steps, until their slots were taken anew.
        let [one, other] = stale;
        let pusher = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || engine.push(one))
        };
        engine.push(other);
        pusher.join().unwrap();
        let leases = [lease(&engine), lease(&engine)];
        for lease in leases {
            release(&engine, lease);
        }
        let found = [engine.pop(), engine.pop()].map(|entry| entry.map(|(it, _)| it.id));
        let [one, other] = live.map(|it| Some(it.id));
        assert!(found == [one, other] || found == [other, one], "an entry is lost: {found:?}");
        at_rest(&engine, 2);
    });
}

/// Opens one more connection, which lies idle then.
fn open(engine: &Engine, id: u64) -> Arc<Connection<u32>> {
    let body = engine.body();
    let order =
        engine.take_slot(body, &mut body.core.lock(), NOW, Purpose::WarmUp).expect("a slot");
    let connection = engine.begin_dial(order, ConnectionId(id)).unwrap();
    apply(engine, engine.complete_dial(&connection, 7, Tick::MAX, NOW));
    connection
}

/// Leases what is free, if anything is, and gives it back.
fn lease_and_release(engine: &Engine, now: Tick) {
    match engine.try_lease(now, 0) {
        Take::Leased(connection, _) => release(engine, connection),
        Take::Empty => {}
        Take::Outdated(_) | Take::NotReady => unreachable!("nothing else happens"),
    }
}

#[test]
fn model_a_reaped_connection_is_replaced_for_a_waiter_that_comes_meanwhile() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let reaper = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                if let Some(effects) = engine.evict_idle() {
                    apply(&engine, effects);
                }
            })
        };
        let waiter = join(&engine);
        reaper.join().unwrap();
        assert!(poll(&waiter).is_some());
        at_rest(&engine, 1);
    });
}

#[test]
fn model_shared_leases_are_never_more_than_the_connection_bears_and_none_is_lost() {
    model(|| {
        let (engine, lease) = warmed(1, 2);
        let other = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                let waiter = join(&engine);
                if let Some(lease) = poll(&waiter) {
                    assert!(lease.word.snapshot().leases() <= 2);
                    release(&engine, lease);
                } else if let Some(given) = engine.cancel_waiter(&waiter).unused.pop() {
                    release(&engine, given);
                }
            })
        };
        let second = join(&engine);
        release(&engine, lease);
        other.join().unwrap();
        let second = poll(&second).expect("there is room and the waiter sleeps");
        assert_eq!(second.word.snapshot().leases(), 1);
        release(&engine, second);
        at_rest(&engine, 1);
    });
}

#[test]
fn model_closing_meets_every_connection_and_every_waiter() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        let effects = engine.close(NOW);
        apply(&engine, effects);
        releaser.join().unwrap();
        assert_eq!(engine.connections().count(), 0, "a connection outlived the close");
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_lowered_cap_meets_a_connection_that_is_being_released() {
    model(|| {
        let (engine, one) = warmed(2, 1);
        let two = poll(&join(&engine)).unwrap();
        prepared(&engine);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, one))
        };
        let effects = engine.set_limits(1, 1, NOW);
        apply(&engine, effects);
        releaser.join().unwrap();
        assert_eq!(engine.connections().count(), 1, "the cap is one");
        release(&engine, two);
        at_rest(&engine, 2);
    });
}

#[test]
fn model_a_new_generation_leaves_no_old_connection_idle() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        let effects = engine.raise_generation(CloseReason::Drain, NOW);
        apply(&engine, effects);
        releaser.join().unwrap();
        assert_eq!(engine.connections().count(), 0, "an old connection is still pooled");
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_retirement_meets_a_connection_that_is_being_opened() {
    model(|| {
        let engine = engine(1, 1);
        let waiter = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
        let effects = engine.enqueue_waiter(&waiter, false, NOW).unwrap().unwrap();
        let connection = engine.begin_dial(effects.dial[0], ConnectionId(9)).unwrap();
        let retirer = {
            let (engine, connection) = (Arc::clone(&engine), Arc::clone(&connection));
            thread::spawn(move || {
                let effects = engine.retire(&connection, CloseReason::Requested, NOW);
                apply(&engine, effects);
            })
        };
        apply(&engine, engine.complete_dial(&connection, 7, Tick::MAX, NOW));
        retirer.join().unwrap();
        // Leased before it was retired, or replaced.
        release(&engine, poll(&waiter).expect("the waiter sleeps"));
        assert!(connection.word.snapshot().is_final(), "retired, and pooled");
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_quarantine_and_its_end_leave_the_gate_as_the_health_has_it() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let other = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                let effects = engine.quarantine(None, QuarantineReason::Suspect, NOW);
                apply(&engine, effects);
            })
        };
        let (effects, _) = engine.reinstate(NOW);
        apply(&engine, effects);
        other.join().unwrap();
        let barred = engine.body().core.lock().health.unready().is_some();
        assert_eq!(engine.gate.load(Ordering::Relaxed) & UNREADY != 0, barred);
    });
}

#[test]
fn model_a_lowered_cap_leaves_nothing_idle_above_it() {
    model(|| {
        let (engine, one) = warmed(3, 1);
        let two = poll(&join(&engine)).unwrap();
        let three = poll(&join(&engine)).unwrap();
        prepared(&engine);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                release(&engine, two);
                release(&engine, three);
            })
        };
        let effects = engine.set_limits(1, 1, NOW);
        apply(&engine, effects);
        releaser.join().unwrap();
        apply(&engine, engine.release_discarded(one, CloseReason::Broken, NOW));
        assert!(engine.connections().count() <= 1);
    });
}

#[test]
fn model_a_lease_that_is_handed_over_at_a_deadline_is_taken_back_or_watched() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let now = crate::base::clock::now();
        let site = Location::caller();
        let waiter = Waiter::new(false, now, Some(now), site, None);
        let effects = engine.enqueue_waiter(&waiter, false, NOW).unwrap().unwrap();
        assert_eq!(effects.watch.map(|watch| watch.at), Some(now));
        prepared(&engine);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        let mut effects = engine.expire_waiters(now);
        let leases = std::mem::take(&mut effects.unused);
        apply(&engine, effects);
        for lease in leases {
            release(&engine, lease);
        }
        releaser.join().unwrap();
        assert!(poll(&waiter).is_none(), "taken after its deadline had come");
        let connections: Vec<_> = engine.connections().collect();
        assert_eq!(connections.len(), 1);
        assert_eq!(connections[0].word.snapshot().leases(), 0, "a lease is lost");
        at_rest(&engine, 1);
    });
}
