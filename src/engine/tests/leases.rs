//! Leases: who gets which connection, and what is dialled or closed for it.

use super::*;

#[test]
fn an_acquire_on_a_cold_account_dials_once_and_is_served_by_it() {
    let engine = engine(3, 3, 1);
    assert!(matches!(engine.try_lease(NOW, 0), Take::Empty));
    let (waiter, effects) = join(&engine, false);
    assert_eq!(effects.dial.len(), 1);
    assert!(served(&waiter).is_none());
    let (connection, _) = dial(&engine, effects.dial[0], 1).unwrap();
    assert_eq!(served(&waiter).unwrap().id, connection.id);
    assert!(engine.release(connection, NOW, Pressure::Calm).is_none(), "nobody waits");
    assert!(matches!(engine.try_lease(NOW, 0), Take::Leased(..)));
}

#[test]
fn a_release_serves_waiters_in_order_and_the_cap_bounds_the_dials() {
    let engine = engine(1, 3, 1);
    let lease = first_lease(&engine);
    let (first, effects) = join(&engine, false);
    assert!(effects.dial.is_empty(), "one session, one connection");
    let (second, _) = join(&engine, false);
    let effects = engine.release(lease, NOW, Pressure::Calm).expect("somebody waits");
    assert!(effects.close.is_empty());
    assert!(served(&second).is_none());
    let lease = served(&first).unwrap();
    let _ = engine.release(lease, NOW, Pressure::Calm);
    assert!(served(&second).is_some());
}

#[test]
fn a_waiter_that_leaves_gives_back_what_it_was_given() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let (waiter, _) = join(&engine, false);
    let _ = engine.release(lease, NOW, Pressure::Calm);
    let given = engine.cancel_waiter(&waiter).unused.pop().expect("it was served before it left");
    assert!(engine.release(given, NOW, Pressure::Calm).is_none());
    assert!(matches!(engine.try_lease(NOW, 0), Take::Leased(..)));
}

#[test]
fn a_discard_closes_and_then_dials_for_whoever_waits() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let (waiter, _) = join(&engine, false);
    let effects = engine.release_discarded(lease, CloseReason::Broken, NOW);
    assert!(effects.dial.is_empty(), "the slot is dialled only after the close");
    let effects = engine.vacate(&effects.close[0], NOW, 0.0);
    let (_, _) = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&waiter).is_some());
}

#[test]
fn shared_leases_fill_a_connection_before_a_second_slot_is_dialled() {
    let engine = engine(2, 2, 3);
    let first = first_lease(&engine);
    for _ in 0..2 {
        assert!(matches!(engine.try_lease(NOW, 0), Take::Leased(_, Source::Shared)));
    }
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::Empty), "three leases are the most");
    let (_, effects) = join(&engine, false);
    assert_eq!(effects.dial.len(), 1);
    assert_eq!(first.word.snapshot().leases(), 3);
}

#[test]
fn the_connection_that_was_used_longest_ago_is_used_next() {
    let engine = engine(3, 3, 1);
    let (order, now) = idle_three(&engine);
    // Another thread each time, and in time.
    for (turn, id) in (0..).zip(order.iter().cycle().take(90)) {
        let now = now + turn;
        let lease = leased(engine.try_lease(now, turn));
        assert_eq!(lease.id, *id, "turn {turn}");
        assert!(engine.release(lease, now, Pressure::Calm).is_none());
    }
}

#[test]
fn threads_that_ask_at_the_same_time_each_keep_to_a_connection() {
    let engine = engine(3, 3, 1);
    let (_, now) = idle_three(&engine);
    let mut kept = [None; 2];
    for turn in 0..100 {
        for (thread, kept) in (0..).zip(&mut kept) {
            let lease = leased(engine.try_lease(now, thread));
            if turn >= 50 {
                let kept = *kept.get_or_insert(lease.id);
                assert_eq!(lease.id, kept, "thread {thread} meets the other at turn {turn}");
            }
            assert!(engine.release(lease, now, Pressure::Calm).is_none());
        }
    }
    assert_ne!(kept[0], kept[1]);
    // When it is over, the queue holds all three again, once each.
    let leases = [0; 3].map(|thread| leased(engine.try_lease(now + 1000, thread)));
    assert!(matches!(engine.try_lease_any(now + 1000, 0), Take::Empty));
    drop(leases);
}

#[test]
fn in_order_every_free_connection_comes_up_whoever_asks_at_the_same_time() {
    let engine = engine(3, 3, 1);
    let (mut order, now) = idle_three(&engine);
    engine.fast_path.contention.set_contended(now + 1);
    let mut seen = Vec::new();
    // As somebody who gives each back because it is suspect.
    for _ in 0..3 {
        let lease = leased(engine.try_lease_in_order());
        seen.push(lease.id);
        assert!(engine.release(lease, now, Pressure::Calm).is_none());
    }
    order.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, order);
}

#[test]
fn an_acquire_for_a_new_connection_replaces_an_idle_one_at_the_cap() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let old = lease.id;
    let _ = engine.release(lease, NOW, Pressure::Calm);
    let (waiter, effects) = join(&engine, true);
    assert_eq!(effects.close.len(), 1);
    let effects = engine.vacate(&effects.close[0], NOW, 0.0);
    let _ = dial(&engine, effects.dial[0], 2).unwrap();
    assert_ne!(served(&waiter).unwrap().id, old);
}

#[test]
fn a_leased_connection_makes_way_for_a_new_one_on_its_return() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let (fresh, effects) = join(&engine, true);
    assert!(effects.is_empty());
    let (plain, _) = join(&engine, false);
    let effects = engine.release(lease, NOW, Pressure::Calm).unwrap();
    let effects = engine.vacate(&effects.close[0], NOW, 0.0);
    let (connection, _) = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&fresh).is_some());
    assert!(served(&plain).is_none());
    let _ = engine.release(connection, NOW, Pressure::Calm);
    assert!(served(&plain).is_some());
}

#[test]
fn stale_entries_never_fill_the_queue() {
    let engine = engine(1, 1, 1);
    for id in 0..100 {
        let (waiter, effects) = join(&engine, false);
        let _ = dial(&engine, effects.dial[0], id).unwrap();
        let lease = served(&waiter).unwrap();
        let record = Arc::clone(&lease);
        assert!(engine.release(lease, NOW, Pressure::Calm).is_none());
        let Reap::Expired(effects) = engine.reap(&record, 0, NOW + 100, 100, Tick::MAX) else {
            panic!()
        };
        let _ = engine.vacate(&effects.close[0], NOW, 0.0);
    }
    let lease = first_lease(&engine);
    assert!(engine.release(lease, NOW, Pressure::Calm).is_none());
    assert!(matches!(engine.try_lease(NOW, 0), Take::Leased(..)));
}

#[test]
fn a_connection_that_is_dialled_or_closed_does_not_hide_an_idle_one_that_can_make_room() {
    let engine = engine(3, 3, 1);
    let leases: Vec<_> = (0..2)
        .map(|id| {
            let (waiter, effects) = join(&engine, false);
            let _ = dial(&engine, effects.dial[0], id).unwrap();
            served(&waiter).unwrap()
        })
        .collect();
    for lease in leases {
        let _ = engine.release(lease, NOW + 10, Pressure::Calm);
    }
    let (_first, effects) = join(&engine, true);
    assert!(engine.begin_dial(effects.dial[0], ConnectionId(2)).is_some());
    let (_second, effects) = join(&engine, true);
    assert_eq!(effects.close.len(), 1, "beside one that is being dialled");
    let (_third, effects) = join(&engine, true);
    assert_eq!(effects.close.len(), 1, "beside one that is being closed");
}

#[test]
fn one_acquire_for_a_new_connection_retires_one_shared_connection_and_not_all() {
    let engine = engine(2, 2, 2);
    let [one, two] = two_shared(&engine);
    let (_fresh, _) = join(&engine, true);
    let effects = engine.release(one, NOW, Pressure::Calm).unwrap();
    assert_eq!(effects.drain.len(), 1, "its permit comes with its last lease");
    let effects = engine.release(two, NOW, Pressure::Calm).unwrap();
    assert!(effects.is_empty(), "one permit is enough");
}

#[test]
fn an_old_failure_does_not_keep_an_acquire_from_its_new_connection() {
    let engine = engine(2, 2, 1);
    let lease = first_lease(&engine);
    let (_, effects) = join(&engine, false);
    let order = effects.dial[0];
    let connection = engine.begin_dial(order, ConnectionId(2)).unwrap();
    // As it goes when the server refuses a session: the account has one less to dial with.
    let _ = engine.quarantine(Some(order.slot), QuarantineReason::KeyDuplicated, NOW);
    let lost = DialLoss::Failed { retry_at: NOW };
    let failure = DialError::Connect(std::io::Error::other("refused"));
    let failure = Some((failure, "no".to_owned()));
    let _ = engine.fail_dial(order, Some(&connection), lost, failure, NOW);
    let _ = engine.release(lease, NOW, Pressure::Calm);
    let (fresh, effects) = join(&engine, true);
    assert_eq!(effects.close.len(), 1, "nothing else can make room");
    let effects = engine.vacate(&effects.close[0], NOW, 0.0);
    let _ = dial(&engine, effects.dial[0], 3).unwrap();
    assert!(served(&fresh).is_some());
}

#[test]
fn after_a_failure_fresh_acquires_take_one_connection_at_a_time_out_of_service() {
    let engine = engine(4, 4, 1);
    let mut leases = vec![first_lease(&engine)];
    for id in 2..=3 {
        let (waiter, effects) = join(&engine, false);
        let _ = dial(&engine, effects.dial[0], id).unwrap();
        leases.push(served(&waiter).unwrap());
    }
    let (_, effects) = join(&engine, false);
    let order = effects.dial[0];
    let connection = engine.begin_dial(order, ConnectionId(4)).unwrap();
    let _ = engine.quarantine(Some(order.slot), QuarantineReason::KeyDuplicated, NOW);
    let lost = DialLoss::Failed { retry_at: NOW };
    let failure = DialError::Connect(std::io::Error::other("refused"));
    let failure = Some((failure, "no".to_owned()));
    let _ = engine.fail_dial(order, Some(&connection), lost, failure, NOW);
    for lease in leases {
        let _ = engine.release(lease, NOW, Pressure::Calm);
    }
    let closed = (0..3).map(|_| join(&engine, true).1.close.len()).sum::<usize>();
    assert_eq!(closed, 1, "whether the next dial succeeds is not known yet");
}

#[test]
fn a_connection_that_is_checked_is_neither_lent_nor_held_for_too_long() {
    let engine = engine(1, 1, 2);
    let lease = first_lease(&engine);
    engine.accept(&lease, Source::New, NOW, Location::caller());
    let (checked, later) = (Arc::clone(&lease), NOW + 1000);
    assert!(engine.has_room());
    assert!(engine.begin_check(&lease, NOW));
    checked.set_next_visit(later);
    assert!(matches!(engine.reap(&checked, later, later, 100, 100), Reap::Again(_)));
    assert!(!engine.has_room(), "whoever came would have to wait");
    checked.pass_check();
    let _ = engine.release(lease, later, Pressure::Calm);
    let _ = engine.end_check(later);
    assert!(engine.has_room());
}

/// Three idle connections, in the order of their release; answers a time long after that as well.
fn idle_three(engine: &Engine) -> (Vec<ConnectionId>, Tick) {
    let leases: Vec<_> = (0..3)
        .map(|id| {
            let (waiter, effects) = join(engine, false);
            let _ = dial(engine, effects.dial[0], id).unwrap();
            served(&waiter).unwrap()
        })
        .collect();
    let order = leases.iter().map(|it| it.id).collect();
    for lease in leases {
        assert!(engine.release(lease, NOW, Pressure::Calm).is_none());
    }
    (order, NOW + 1000)
}

fn leased(take: Take<u32>) -> Arc<Connection<u32>> {
    match take {
        Take::Leased(connection, _) => connection,
        other => panic!("no lease: {other:?}"),
    }
}
