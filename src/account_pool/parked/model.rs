//! Models of parked leases for loom: each change after which somebody collects, and a lease that is put
//! down meanwhile.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::account_pool::model::{
    Engine, NOW, at_rest, carry_out, join, lease, model, poll, prepared, release, shared,
};
use crate::account_pool::{CloseReason, Take};

type Lease = Arc<Connection<u32>>;

/// The rest of the leases of its only connection.
fn fill(engine: &Engine) -> Vec<Lease> {
    let rest = (1..LEASES_MIN).map(|_| lease(engine)).collect();
    prepared(engine);
    rest
}

fn spawn(engine: &Arc<Engine>, run: impl FnOnce(&Engine) + 'static) -> thread::JoinHandle<()> {
    let engine = Arc::clone(engine);
    thread::spawn(move || run(&engine))
}

/// Nothing is left of a connection but what the model holds of it.
fn is_gone(engine: &Engine, gone: &Lease) {
    assert!(gone.word.snapshot().is_final(), "it is still open");
    assert_eq!(engine.connections().count(), 0, "its slot has not come back");
    assert_eq!(Arc::strong_count(gone), 1, "something of it is left");
    at_rest(engine, 1);
}

/// A waiter comes while the last lease but those that are held goes back.
fn meet_a_waiter(with_places: bool) {
    let (engine, held) = shared(1, with_places);
    let _rest = fill(&engine);
    let parker = spawn(&engine, |engine| release(engine, held));
    let waiter = join(&engine);
    parker.join().expect("a release does not panic");
    assert!(poll(&waiter).is_some(), "a lease lies parked and the waiter sleeps");
}

/// The only connection is taken out of service while its only lease goes back.
fn meet_an_end(with_places: bool, end: impl FnOnce(&Engine, &Lease) -> Orders<u32>) {
    let (engine, held) = shared(1, with_places);
    let gone = Arc::clone(&held);
    let parker = spawn(&engine, |engine| release(engine, held));
    carry_out(&engine, end(&engine, &gone));
    parker.join().expect("a release does not panic");
    is_gone(&engine, &gone);
}

#[test]
fn model_a_lease_that_is_parked_and_a_waiter_never_miss_each_other() {
    model(|| meet_a_waiter(true));
}

#[test]
fn model_a_lease_for_which_places_are_made_and_a_waiter_never_miss_each_other() {
    model(|| meet_a_waiter(false));
}

#[test]
fn model_a_retirement_meets_a_lease_that_is_parked() {
    model(|| meet_an_end(true, |engine, gone| engine.retire(gone, CloseReason::Requested, NOW)));
}

#[test]
fn model_a_retirement_meets_a_lease_for_which_places_are_made() {
    model(|| meet_an_end(false, |engine, gone| engine.retire(gone, CloseReason::Requested, NOW)));
}

#[test]
fn model_a_discard_meets_a_lease_of_the_same_connection_that_is_parked() {
    model(|| {
        let (engine, held) = shared(1, true);
        let (other, gone) = (lease(&engine), Arc::clone(&held));
        prepared(&engine);
        let parker = spawn(&engine, |engine| release(engine, held));
        carry_out(&engine, engine.release_discarded(other, CloseReason::Broken, NOW));
        parker.join().unwrap();
        is_gone(&engine, &gone);
    });
}

#[test]
fn model_a_lease_that_is_taken_over_while_its_connection_retires_does_not_keep_it() {
    model(|| {
        let (engine, held) = shared(1, true);
        let gone = Arc::clone(&held);
        release(&engine, held);
        prepared(&engine);
        let taker = spawn(&engine, |engine| match engine.try_lease(NOW, 0) {
            Take::Leased(lease, _) | Take::Outdated(lease) => release(engine, lease),
            Take::Empty | Take::NotReady => {}
        });
        carry_out(&engine, engine.retire(&gone, CloseReason::Requested, NOW));
        taker.join().unwrap();
        is_gone(&engine, &gone);
    });
}

#[test]
fn model_closing_meets_a_lease_that_is_parked() {
    model(|| meet_an_end(true, |engine, _| engine.close(NOW)));
}

#[test]
fn model_closing_meets_a_lease_for_which_places_are_made() {
    model(|| meet_an_end(false, |engine, _| engine.close(NOW)));
}

#[test]
fn model_a_lowered_cap_meets_a_lease_that_is_parked() {
    model(|| {
        let (engine, held) = shared(2, true);
        let order = {
            let body = engine.body();
            let mut core = body.core.lock();
            engine.take_slot(body, &mut core, NOW, crate::account_pool::Purpose::WarmUp).unwrap()
        };
        let other = engine.begin_dial(order, crate::account_pool::ConnectionId(1)).unwrap();
        carry_out(&engine, engine.complete_dial(&other, 7, Tick::MAX, NOW));
        // The other one is leased as well, so that none can go at once.
        let Take::Leased(busy, _) = engine.try_lease(NOW, 1) else { panic!("it has room") };
        assert_eq!(busy.id, other.id, "the one of the other place");
        prepared(&engine);
        let parker = spawn(&engine, |engine| release(engine, held));
        carry_out(&engine, engine.set_limits(1, LEASES_MIN, NOW));
        parker.join().unwrap();
        release(&engine, busy);
        if let Some(orders) = engine.unpark() {
            carry_out(&engine, orders);
        }
        assert_eq!(engine.connections().count(), 1, "the cap is one");
        at_rest(&engine, 2);
    });
}

#[test]
fn model_two_who_use_one_place_leave_every_lease_counted_once() {
    model(|| {
        let (engine, held) = shared(1, true);
        let other = lease(&engine);
        prepared(&engine);
        let parker = spawn(&engine, |engine| release(engine, held));
        release(&engine, other);
        if let Take::Leased(lease, _) = engine.try_lease(NOW, 0) {
            release(&engine, lease);
        }
        parker.join().unwrap();
        let body = engine.body();
        let shown = body.slots[0].load().map(|it| body.held(&it));
        assert_eq!(shown, Some((0, ConnectionState::Idle)), "a mark is off");
        carry_out(&engine, engine.give_up_idle().expect("nobody holds it"));
        at_rest(&engine, 1);
    });
}
