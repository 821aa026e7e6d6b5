//! Dials, expiry, limits and the account's status: what becomes of connections and of those that wait.

use super::*;

#[test]
fn a_session_that_had_to_wait_is_dialled_when_it_may_be_though_nothing_else_happens() {
    let engine = engine(2, 2, 1);
    let (waiter, effects) = join(&engine, false);
    let until = NOW + 1000;
    let failure = Some((DialError::Aborted, String::new()));
    let lost = DialLoss::Deferred { until };
    let (effects, _) = engine.fail_dial(effects.dial[0], None, lost, failure, NOW);
    // The other session serves, and its only lease is not given back.
    let [order] = effects.dial[..] else { panic!("the other session") };
    assert_eq!((order.slot, effects.redispatch), (1, None), "whoever waits is provided for");
    let _ = dial(&engine, order, 1).unwrap();
    assert!(served(&waiter).is_some());
    let (second, effects) = join(&engine, false);
    assert_eq!((effects.dial.len(), effects.redispatch), (0, Some(until)));
    let (_, effects) = join(&engine, false);
    assert_eq!(effects.redispatch, None, "told once");
    assert!(engine.redispatch(until - 1).dial.is_empty());
    let effects = engine.redispatch(until);
    let _ = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&second).is_some());
}

#[test]
fn a_dial_that_nobody_waits_for_any_more_is_told_of_it() {
    let engine = engine(2, 2, 1);
    let lease = first_lease(&engine);
    let waiter = Waiter::new(
        false,
        crate::base::clock::now(),
        None,
        Location::caller(),
        Some(Waker::noop().clone()),
    );
    let effects = engine.enqueue_waiter(&waiter, false, NOW).expect("ready").expect("a dial");
    assert_eq!(effects.dial.len(), 1, "the second session is dialled");
    let effects = engine.release(lease, NOW, Pressure::Calm).expect("somebody waits");
    assert!(effects.wake_dials, "the dial rests, and its waiter has been served");
    assert!(!engine.wants_dial(DialOrder { slot: 1, not_before: NOW, purpose: Purpose::Waiter }));
}

#[test]
fn a_failed_dial_tells_one_waiter_and_the_next_dial_waits_for_its_backoff() {
    let engine = engine(1, 1, 1);
    let (first, effects) = join(&engine, false);
    let (second, more) = join(&engine, false);
    assert!(more.dial.is_empty());
    let order = effects.dial[0];
    let connection = engine.begin_dial(order, ConnectionId(1)).unwrap();
    let lost = DialLoss::Failed { retry_at: NOW + 500 };
    let failure = DialError::Connect(std::io::Error::other("refused"));
    let failure = Some((failure, "no".to_owned()));
    let (effects, unheard) = engine.fail_dial(order, Some(&connection), lost, failure, NOW);
    assert!(unheard.is_none());
    assert_eq!(effects.dial[0].not_before, NOW + 500);
    let poll = first.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready(Err(WaitRefusal::Dial(_)))));
    assert!(served(&second).is_none());
}

#[test]
fn lowering_the_cap_closes_idle_connections_now_and_leased_ones_on_return() {
    let engine = engine(3, 3, 1);
    let leases: Vec<_> = (0..3)
        .map(|id| {
            let (waiter, effects) = join(&engine, false);
            let _ = dial(&engine, effects.dial[0], id).unwrap();
            served(&waiter).unwrap()
        })
        .collect();
    let mut leases = leases.into_iter();
    let _ = engine.release(leases.next().unwrap(), NOW, Pressure::Calm);
    let effects = engine.set_limits(1, 1, NOW);
    assert_eq!(effects.close.len(), 1, "the idle one");
    let mut closed = effects.close;
    let effects = engine.release(leases.next().unwrap(), NOW, Pressure::Calm).unwrap();
    assert_eq!(effects.close.len(), 1, "two of three had to go");
    closed.extend(effects.close);
    for connection in &closed {
        assert!(engine.vacate(connection, NOW, 0.0).moves_nothing());
    }
    assert!(engine.release(leases.next().unwrap(), NOW, Pressure::Calm).is_none(), "one stays");
    assert_eq!(engine.stats(NOW, Default::default()).total_connections, 1);
    let _ = engine.set_limits(3, 1, NOW);
    assert_eq!(engine.body().permits.free(), 2);
}

#[test]
fn shrinking_and_growing_while_empty_keeps_the_number_of_permits() {
    let engine = engine(8, 8, 1);
    let _ = engine.body();
    for cap in [2, 8, 2, 8, 1, 8] {
        assert!(engine.set_limits(cap, 1, NOW).is_empty());
        assert_eq!(engine.body().permits.free(), usize::from(cap));
    }
}

#[test]
fn a_dial_that_nobody_wants_any_more_is_not_begun() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    assert!(engine.cancel_waiter(&waiter).unused.is_empty());
    assert!(engine.begin_dial(effects.dial[0], ConnectionId(1)).is_none());
    let (effects, _) = engine.fail_dial(effects.dial[0], None, DialLoss::Unwanted, None, NOW);
    assert!(effects.moves_nothing());
    assert!(engine.is_empty(NOW));
}

#[test]
fn a_connection_begun_under_an_old_generation_is_not_pooled() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
    assert!(engine.raise_generation(CloseReason::Drain, NOW).is_empty());
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    assert_eq!(effects.close.len(), 1);
    assert!(served(&waiter).is_none());
    let effects = engine.vacate(&connection, NOW, 0.0);
    let _ = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&waiter).is_some());
}

#[test]
fn closing_refuses_waiters_and_closes_what_comes_back() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let (waiter, _) = join(&engine, false);
    let effects = engine.close(NOW);
    assert_eq!((effects.close.len(), effects.drain.len()), (0, 1));
    let poll = waiter.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready(Err(WaitRefusal::Closed))));
    let effects = engine.release(lease, NOW, Pressure::Calm).unwrap();
    assert!(engine.vacate(&effects.close[0], NOW, 0.0).moves_nothing());
    assert!(engine.is_empty(NOW));
    let late = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
    assert!(matches!(engine.enqueue_waiter(&late, false, NOW), Err(WaitRefusal::Closed)));
}

#[test]
fn a_forced_close_frees_the_slot_while_the_lease_is_still_held() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let effects = engine.retire(&lease, CloseReason::Requested, NOW);
    let forced = engine.force(&effects.drain[0]);
    assert!(engine.vacate(&forced.close[0], NOW, 0.0).moves_nothing());
    let stats = engine.stats(NOW, Default::default());
    assert_eq!((stats.total_connections, stats.leases), (0, 1));
    assert!(!engine.is_empty(NOW), "the lease is still out");
    let effects = engine.release(lease, NOW, Pressure::Calm).expect("told that it has ended");
    assert!(effects.is_empty() && effects.ended);
    assert!(engine.is_empty(NOW));
}

#[test]
fn a_quarantined_session_is_not_dialled_and_the_last_one_refuses_waiters() {
    let engine = engine(2, 2, 1);
    let lease = first_lease(&engine);
    let reason = QuarantineReason::KeyDuplicated;
    let effects = engine.quarantine(Some(lease.slot), reason, NOW);
    assert_eq!(effects.drain.len(), 1);
    let (waiter, effects) = join(&engine, false);
    assert_eq!(effects.dial[0].slot, 1, "the other session");
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(2)).unwrap();
    let _ = engine.quarantine(Some(1), reason, NOW);
    let poll = waiter.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready(Err(WaitRefusal::Quarantined(_)))));
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    assert_eq!(effects.close.len(), 1);
    assert!(matches!(engine.try_lease(NOW, 0), Take::NotReady));
}

#[test]
fn the_reaper_closes_what_was_idle_long_enough_and_asks_again_about_the_rest() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let record = Arc::clone(&lease);
    assert!(
        matches!(engine.reap(&record, 0, NOW + 10, 100, Tick::MAX), Reap::Again(_)),
        "it is leased"
    );
    let _ = engine.release(lease, NOW + 50, Pressure::Calm);
    let due = NOW + 110;
    let Reap::Again(tick) = engine.reap(&record, due, NOW + 110, 100, Tick::MAX) else {
        panic!("used at 50")
    };
    assert_eq!(tick, NOW + 150);
    assert!(matches!(engine.reap(&record, due, tick, 100, Tick::MAX), Reap::Gone), "an old entry");
    let Reap::Expired(effects) = engine.reap(&record, tick, tick, 100, Tick::MAX) else {
        panic!("idle for 100")
    };
    assert_eq!(effects.close[0].reason(), CloseReason::Idle);
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::Empty));
    assert!(engine.vacate(&effects.close[0], tick, 0.0).moves_nothing());
    assert!(matches!(engine.reap(&record, tick, tick, 100, Tick::MAX), Reap::Gone));
}

#[test]
fn a_connection_that_is_retired_while_it_is_dialled_is_closed_when_it_opens() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
    assert!(engine.retire(&connection, CloseReason::Requested, NOW).is_empty(), "not open yet");
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    assert_eq!(effects.close.len(), 1);
    assert!(served(&waiter).is_none());
    let effects = engine.vacate(&connection, NOW, 0.0);
    let _ = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&waiter).is_some());
}

#[test]
fn a_quarantine_that_is_lifted_during_a_dial_leaves_no_reason_on_a_live_connection() {
    let engine = engine(1, 1, 1);
    let (_, effects) = join(&engine, false);
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
    let _ = engine.quarantine(None, QuarantineReason::Operator, NOW);
    let _ = engine.reinstate(NOW);
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    assert_eq!(effects.close.len(), 1, "it bears the reason of its end");
    assert_eq!(effects.close[0].reason(), CloseReason::Quarantine);
}

#[test]
fn a_cap_lowered_by_one_retires_one_shared_connection_and_not_all() {
    let engine = engine(2, 2, 2);
    let [one, two] = two_shared(&engine);
    let _ = engine.set_limits(1, 2, NOW);
    let effects = engine.release(Arc::clone(&one), NOW, Pressure::Calm).unwrap();
    assert_eq!(effects.drain.len(), 1);
    let effects = engine.release(two, NOW, Pressure::Calm).unwrap();
    assert!(effects.is_empty(), "one permit is enough");
    let effects = engine.release(one, NOW, Pressure::Calm).unwrap();
    assert!(engine.vacate(&effects.close[0], NOW, 0.0).moves_nothing());
    assert_eq!(engine.stats(NOW, Default::default()).total_connections, 1);
}

#[test]
fn the_reaper_comes_back_for_the_age_of_a_connection_that_it_found_leased() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
    let _ = engine.complete_dial(&connection, 7, NOW + 150, NOW);
    let lease = served(&waiter).unwrap();
    let Reap::Again(due) = engine.reap(&connection, 0, NOW + 100, 100, Tick::MAX) else {
        panic!("it is leased")
    };
    assert_eq!(due, NOW + 150, "idle again by then, it has idle time left and no age");
    assert!(engine.release(lease, NOW + 110, Pressure::Calm).is_none());
    let Reap::Expired(effects) = engine.reap(&connection, due, due, 100, Tick::MAX) else {
        panic!("its age is over")
    };
    assert_eq!(effects.close[0].reason(), CloseReason::Age);
}
