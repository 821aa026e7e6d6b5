//! Models of the pause: whoever waits for its end is served, whatever comes back meanwhile.

use super::*;

fn pause(engine: &Engine) {
    apply(engine, engine.pause().0);
}

fn resume(engine: &Engine) {
    apply(engine, engine.resume(NOW).0);
}

#[test]
fn model_a_resume_finds_what_is_being_released_for_one_who_came_during_the_pause() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        pause(&engine);
        let waiter = join(&engine);
        assert!(poll(&waiter).is_none(), "served, and paused");
        prepared(&engine);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        resume(&engine);
        releaser.join().unwrap();
        let served = poll(&waiter).expect("a connection is free and the waiter sleeps");
        release(&engine, served);
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_pause_meets_a_release_and_a_waiter_and_its_end_serves() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        let pauser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || pause(&engine))
        };
        let waiter = join(&engine);
        releaser.join().unwrap();
        pauser.join().unwrap();
        // Served before the pause, or by its end.
        resume(&engine);
        let served = poll(&waiter).expect("a connection is free and the waiter sleeps");
        release(&engine, served);
        at_rest(&engine, 1);
    });
}

#[test]
fn model_an_acquire_that_meets_a_pause_leases_before_it_or_waits_for_its_end() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let pauser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                pause(&engine);
                assert!(matches!(engine.try_lease_any(NOW, 0), Take::NotReady), "it is paused");
                resume(&engine);
            })
        };
        let served = match engine.try_lease_any(NOW, 0) {
            Take::Leased(connection, _) => Ok(connection),
            Take::NotReady | Take::Empty => Err(join(&engine)),
            Take::Outdated(_) => unreachable!("nothing else happens"),
        };
        pauser.join().unwrap();
        let served = served.unwrap_or_else(|waiter| poll(&waiter).expect("the waiter sleeps"));
        release(&engine, served);
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_dial_that_ends_as_the_account_is_resumed_serves_who_waits() {
    model(|| {
        let engine = engine(1, 1);
        let waiter = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
        let effects = engine.enqueue_waiter(&waiter, false, NOW).unwrap().unwrap();
        let connection = engine.begin_dial(effects.dial[0], ConnectionId(9)).unwrap();
        pause(&engine);
        let dialler = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                apply(&engine, engine.complete_dial(&connection, 7, Tick::MAX, NOW));
            })
        };
        resume(&engine);
        dialler.join().unwrap();
        release(&engine, poll(&waiter).expect("the waiter sleeps"));
        at_rest(&engine, 1);
    });
}

#[test]
fn model_a_release_that_sees_neither_pause_nor_waiter_is_seen_by_the_resume() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        let releaser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || release(&engine, lease))
        };
        let pauser = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                pause(&engine);
                join(&engine)
            })
        };
        let waiter = pauser.join().unwrap();
        resume(&engine);
        releaser.join().unwrap();
        release(&engine, poll(&waiter).expect("a connection is free and the waiter sleeps"));
        at_rest(&engine, 1);
    });
}
