//! Models of the global cap for loom: a dial that comes to wait, and a connection that comes free.

use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use loom::thread;

use super::*;
use crate::connection::ConnectionId;
use crate::engine::model::{Engine, NOW, apply, engine, model, release, warmed};
use crate::engine::{Connection, Waiter};

/// Looks for an idle connection, as the pool does for a dial that waits.
fn evict_idle(budget: &Budget, engine: &Engine) {
    let evict = || match engine.evict_idle(|_| true) {
        Some(effects) => {
            let closed = effects.close.len();
            apply(engine, effects);
            (0..closed).for_each(|_| budget.put_back(NOW));
            true
        }
        None => false,
    };
    budget.evict_idle(NOW, evict, || engine.has_idle(|_| true));
}

#[test]
fn model_a_release_and_a_dial_at_the_global_cap_never_miss_each_other() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        meet_a_dial(engine, lease);
    });
}

#[test]
fn model_a_lease_of_a_shared_connection_and_a_dial_at_the_global_cap_never_miss_each_other() {
    model(|| {
        let (engine, lease) = warmed(1, 2);
        meet_a_dial(engine, lease);
    });
}

/// A dial that needs the only permit comes while the only lease goes back.
fn meet_a_dial(engine: Arc<Engine>, lease: Arc<Connection<u32>>) {
    let budget = Arc::new(Budget::new(1, Duration::from_secs(10)));
    assert!(budget.try_take());
    meet_a_dial_at(budget, engine, lease);
}

fn meet_a_dial_at(budget: Arc<Budget>, engine: Arc<Engine>, lease: Arc<Connection<u32>>) {
    let releaser = {
        let (engine, budget) = (Arc::clone(&engine), Arc::clone(&budget));
        thread::spawn(move || {
            release(&engine, lease);
            if budget.pressure(NOW) != Pressure::Calm {
                evict_idle(&budget, &engine);
            }
        })
    };
    let mut take = pin!(budget.take(NOW, || evict_idle(&budget, &engine)));
    let mut context = Context::from_waker(Waker::noop());
    let served = take.as_mut().poll(&mut context).is_ready();
    drop(releaser.join());
    assert!(
        served || take.as_mut().poll(&mut context).is_ready(),
        "a connection lies idle and the dial waits"
    );
    assert_eq!(budget.pressure(NOW), Pressure::Calm);
}

#[test]
fn model_a_dial_that_nobody_waits_for_any_more_and_one_at_the_global_cap_never_miss_each_other() {
    model(|| {
        let engine = engine(1, 1);
        let waiter = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
        let Ok(Some(effects)) = engine.enqueue_waiter(&waiter, false, NOW) else { return };
        let Some(connection) = engine.begin_dial(effects.dial[0], ConnectionId(1)) else { return };
        assert!(engine.cancel_waiter(&waiter).unused.is_empty());
        let budget = Arc::new(Budget::new(1, Duration::from_secs(10)));
        assert!(budget.try_take());
        let dialler = {
            let (engine, budget) = (Arc::clone(&engine), Arc::clone(&budget));
            thread::spawn(move || {
                apply(&engine, engine.complete_dial(&connection, 7, Tick::MAX, NOW));
                evict_idle(&budget, &engine);
            })
        };
        let mut take = pin!(budget.take(NOW, || evict_idle(&budget, &engine)));
        let mut context = Context::from_waker(Waker::noop());
        let served = take.as_mut().poll(&mut context).is_ready();
        drop(dialler.join());
        assert!(
            served || take.as_mut().poll(&mut context).is_ready(),
            "a connection lies idle and the dial waits"
        );
    });
}

#[test]
fn model_two_dials_at_the_global_cap_are_both_provided_for() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let budget = Arc::new(Budget::new(1, Duration::from_secs(10)));
        assert!(budget.try_take());
        let other = {
            let (engine, budget) = (Arc::clone(&engine), Arc::clone(&budget));
            thread::spawn(move || {
                let mut take = pin!(budget.take(NOW, || evict_idle(&budget, &engine)));
                take.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
            })
        };
        let mut take = pin!(budget.take(NOW, || evict_idle(&budget, &engine)));
        let mut context = Context::from_waker(Waker::noop());
        let first = take.as_mut().poll(&mut context).is_ready();
        let second = other.join().unwrap_or_default();
        // One connection was idle. The other dial has left without it, or has it.
        let late = !first && take.as_mut().poll(&mut context).is_ready();
        assert!(first || second || late, "the idle connection helped nobody");
        assert!(!(second && (first || late)), "one permit for two");
    });
}

#[test]
fn model_a_dial_that_leaves_hides_nobody_behind_what_was_coming_for_it() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let budget = Arc::new(Budget::new(2, Duration::from_secs(10)));
        assert!(budget.try_take() && budget.try_take());
        {
            // A busy connection goes for it, which takes its time.
            let mut leaves = pin!(budget.take(NOW, || assert!(budget.claim_eviction(NOW))));
            assert!(leaves.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        meet_a_dial_at(budget, engine, lease);
    });
}
