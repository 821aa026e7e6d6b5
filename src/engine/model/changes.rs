//! Models of changes to the account while connections are leased, released and opened.

use super::*;

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
