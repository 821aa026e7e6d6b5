//! Models of waiters: no wake-up is lost, whatever they meet.

use super::*;

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
