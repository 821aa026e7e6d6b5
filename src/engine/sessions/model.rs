//! Models of sessions that come and go, for loom.

#![expect(clippy::unwrap_used, reason = "a model may panic")]

use std::sync::Arc;

use loom::thread;

use crate::account_id::AccountId;
use crate::engine::model::{
    Engine, NOW, apply, at_rest, join, lease, model, poll, prepared, release, warmed,
};
use crate::engine::{AccountPool, Connection, Take};

/// An account of one session, which is leased, that may have two connections.
fn with_one() -> (Arc<Engine>, Arc<Connection<u32>>) {
    let engine = Arc::new(AccountPool::new(AccountId::bot(1).unwrap(), 1, 0, 2, 1));
    let held = poll(&join(&engine)).unwrap();
    prepared(&engine);
    (engine, held)
}

fn set_sessions(engine: &Engine, sessions: u16) {
    let effects = engine.set_sessions(sessions, &[], NOW);
    apply(engine, effects.unwrap());
}

#[test]
fn model_a_session_that_comes_serves_whoever_waits() {
    model(|| {
        let (engine, held) = with_one();
        let source = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || set_sessions(&engine, 2))
        };
        let waiter = join(&engine);
        source.join().unwrap();
        let served = poll(&waiter).expect("a session may be dialled and the waiter sleeps");
        assert_eq!(served.slot, 1);
        release(&engine, served);
        release(&engine, held);
        at_rest(&engine, 2);
    });
}

#[test]
fn model_the_connection_of_a_session_that_goes_ends_with_its_lease() {
    model(|| {
        let (engine, stays) = warmed(2, 1);
        let goes = poll(&join(&engine)).unwrap();
        prepared(&engine);
        let (kept, gone) = (Arc::clone(&stays), Arc::clone(&goes));
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                release(&engine, goes);
                release(&engine, stays);
            })
        };
        set_sessions(&engine, 1);
        releaser.join().unwrap();
        assert!(gone.word.snapshot().is_final(), "it is neither closed nor leased");
        assert!(engine.body().slot(1).unwrap().load().is_none(), "its slot does not come back");
        let leased = lease(&engine);
        assert_eq!(leased.id, kept.id, "the other session serves");
        release(&engine, leased);
        at_rest(&engine, 2);
    });
}

#[test]
fn model_an_acquire_that_meets_the_end_of_the_last_session_loses_nothing() {
    model(|| {
        let (engine, held) = with_one();
        release(&engine, held);
        prepared(&engine);
        let source = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || set_sessions(&engine, 0))
        };
        match engine.try_lease_any(NOW, 0) {
            Take::Leased(connection, _) | Take::Outdated(connection) => {
                release(&engine, connection);
            }
            Take::Empty | Take::NotReady => {}
        }
        source.join().unwrap();
        assert!(engine.connections().next().is_none(), "a connection without a session");
        assert!(matches!(engine.try_lease_any(NOW, 0), Take::NotReady));
        at_rest(&engine, 1);
    });
}

#[test]
fn model_whoever_looks_while_a_slot_is_made_finds_it_or_nothing() {
    model(|| {
        let engine = Arc::new(AccountPool::new(AccountId::bot(1).unwrap(), 1, 0, 2, 2));
        let held = [poll(&join(&engine)).unwrap(), lease(&engine)];
        let waiter = join(&engine);
        prepared(&engine);
        let source = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || set_sessions(&engine, 2))
        };
        // The second connection that it sees.
        let found = engine.lease_affine(1).map(|(connection, _)| connection);
        source.join().unwrap();
        let served = poll(&waiter).expect("a session may be dialled and the waiter sleeps");
        for leased in found.into_iter().chain([served]) {
            assert_eq!(leased.slot, 1);
            release(&engine, leased);
        }
        held.into_iter().for_each(|leased| release(&engine, leased));
        at_rest(&engine, 2);
    });
}
