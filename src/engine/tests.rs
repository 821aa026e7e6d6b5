//! The engine without a runtime: every effect is applied by hand.

#![expect(
    clippy::unwrap_used,
    let_underscore_drop,
    reason = "a test carries out few of the duties"
)]

use crate::connection::{CloseReason, ConnectionId};
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::base::clock::EPOCH;
use crate::error::DialError;
use crate::manager::QuarantineReason;

type Engine = AccountPool<u32, std::io::Error>;

const NOW: Tick = EPOCH;

fn engine(slots: u16, cap: u16, leases: u16) -> Engine {
    AccountPool::new(AccountId::bot(1).unwrap(), slots, 0, cap, leases)
}

fn join(engine: &Engine, fresh: bool) -> (Arc<Waiter<u32, std::io::Error>>, Effects<u32>) {
    let waiter = Waiter::new(fresh, crate::base::clock::now(), None, Location::caller(), None);
    let effects = engine.enqueue_waiter(&waiter, false, NOW).expect("the account is ready");
    let effects = effects.unwrap_or_else(Effects::none);
    (waiter, effects)
}

fn served(waiter: &Waiter<u32, std::io::Error>) -> Option<Arc<Connection<u32>>> {
    match waiter.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(served) => Some(served.expect("served").0),
        Poll::Pending => None,
    }
}

fn dial(
    engine: &Engine,
    order: DialOrder,
    id: u64,
) -> Option<(Arc<Connection<u32>>, Effects<u32>)> {
    let connection = engine.begin_dial(order, ConnectionId(id))?;
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    Some((connection, effects))
}

/// One lease of a new connection.
fn first_lease(engine: &Engine) -> Arc<Connection<u32>> {
    let (waiter, effects) = join(engine, false);
    let (_, done) = dial(engine, effects.dial[0], 1).expect("somebody waits");
    assert!(done.close.is_empty());
    served(&waiter).expect("the dial was for this waiter")
}

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
fn a_session_that_had_to_wait_is_dialled_when_it_may_be_though_nothing_else_happens() {
    let engine = engine(2, 2, 1);
    let (waiter, effects) = join(&engine, false);
    let until = NOW + 1000;
    let failure = Some((DialError::Aborted, String::new()));
    let lost = Lost::Deferred { until };
    let (effects, _) = engine.fail_dial(effects.dial[0], None, lost, failure, NOW);
    // The other session serves, and its only lease is not given back.
    let [order] = effects.dial[..] else { panic!("the other session") };
    assert_eq!((order.slot, effects.look), (1, None), "whoever waits is provided for");
    let _ = dial(&engine, order, 1).unwrap();
    assert!(served(&waiter).is_some());
    let (second, effects) = join(&engine, false);
    assert_eq!((effects.dial.len(), effects.look), (0, Some(until)));
    let (_, effects) = join(&engine, false);
    assert_eq!(effects.look, None, "told once");
    assert!(engine.redispatch(until - 1).dial.is_empty());
    let effects = engine.redispatch(until);
    let _ = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&second).is_some());
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
    let lost = Lost::Failed { retry_at: NOW + 500 };
    let failure = DialError::Connect(std::io::Error::other("refused"));
    let failure = Some((failure, "no".to_owned()));
    let (effects, unheard) = engine.fail_dial(order, Some(&connection), lost, failure, NOW);
    assert!(unheard.is_none());
    assert_eq!(effects.dial[0].not_before, NOW + 500);
    let poll = first.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready(Err(Refusal::Dial(_)))));
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
fn a_dial_that_nobody_wants_any_more_is_not_begun() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    assert!(engine.cancel_waiter(&waiter).unused.is_empty());
    assert!(engine.begin_dial(effects.dial[0], ConnectionId(1)).is_none());
    let (effects, _) = engine.fail_dial(effects.dial[0], None, Lost::Unwanted, None, NOW);
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
    assert!(matches!(poll, Poll::Ready(Err(Refusal::Closed))));
    let effects = engine.release(lease, NOW, Pressure::Calm).unwrap();
    assert!(engine.vacate(&effects.close[0], NOW, 0.0).moves_nothing());
    assert!(engine.is_empty(NOW));
    let late = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
    assert!(matches!(engine.enqueue_waiter(&late, false, NOW), Err(Refusal::Closed)));
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
    assert!(matches!(poll, Poll::Ready(Err(Refusal::Quarantined(_)))));
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
    let look = NOW + 110;
    let Reap::Again(tick) = engine.reap(&record, look, NOW + 110, 100, Tick::MAX) else {
        panic!("used at 50")
    };
    assert_eq!(tick, NOW + 150);
    assert!(matches!(engine.reap(&record, look, tick, 100, Tick::MAX), Reap::Gone), "an old entry");
    let Reap::Expired(effects) = engine.reap(&record, tick, tick, 100, Tick::MAX) else {
        panic!("idle for 100")
    };
    assert_eq!(effects.close[0].reason(), CloseReason::Idle);
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::Empty));
    assert!(engine.vacate(&effects.close[0], tick, 0.0).moves_nothing());
    assert!(matches!(engine.reap(&record, tick, tick, 100, Tick::MAX), Reap::Gone));
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

/// Two connections with two leases each.
fn two_shared(engine: &Engine) -> [Arc<Connection<u32>>; 2] {
    let leases = [0, 1].map(|id| {
        let (waiter, effects) = join(engine, false);
        let _ = dial(engine, effects.dial[0], id).unwrap();
        let lease = served(&waiter).unwrap();
        assert!(matches!(engine.try_lease(NOW, 0), Take::Leased(_, Source::Shared)));
        lease
    });
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::Empty));
    leases
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
fn an_old_failure_does_not_keep_an_acquire_from_its_new_connection() {
    let engine = engine(2, 2, 1);
    let lease = first_lease(&engine);
    let (_, effects) = join(&engine, false);
    let order = effects.dial[0];
    let connection = engine.begin_dial(order, ConnectionId(2)).unwrap();
    // As it goes when the server refuses a session: the account has one less to dial with.
    let _ = engine.quarantine(Some(order.slot), QuarantineReason::KeyDuplicated, NOW);
    let lost = Lost::Failed { retry_at: NOW };
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
    let lost = Lost::Failed { retry_at: NOW };
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
fn the_reaper_comes_back_for_the_age_of_a_connection_that_it_found_leased() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
    let _ = engine.complete_dial(&connection, 7, NOW + 150, NOW);
    let lease = served(&waiter).unwrap();
    let Reap::Again(look) = engine.reap(&connection, 0, NOW + 100, 100, Tick::MAX) else {
        panic!("it is leased")
    };
    assert_eq!(look, NOW + 150, "idle again by then, it has idle time left and no age");
    assert!(engine.release(lease, NOW + 110, Pressure::Calm).is_none());
    let Reap::Expired(effects) = engine.reap(&connection, look, look, 100, Tick::MAX) else {
        panic!("its age is over")
    };
    assert_eq!(effects.close[0].reason(), CloseReason::Age);
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
