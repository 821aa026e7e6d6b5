//! Models of reuse: entries, slots and the reaper leave each connection to one, and to be found.

use super::*;

#[test]
fn model_exactly_one_of_reaper_and_acquire_gets_an_idle_connection() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let reaper = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || engine.evict_idle(|_| true))
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

#[test]
fn model_a_reaped_connection_is_replaced_for_a_waiter_that_comes_meanwhile() {
    model(|| {
        let (engine, lease) = warmed(1, 1);
        release(&engine, lease);
        let reaper = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                if let Some(effects) = engine.evict_idle(|_| true) {
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
