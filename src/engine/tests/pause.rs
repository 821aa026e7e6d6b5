//! The pause of an account: who waits, what goes on, and who is served in the end.

use super::*;

/// Nobody is served; what the engine says to do is nothing.
fn paused(slots: u16) -> Engine {
    let engine = engine(slots, slots, 1);
    assert!(engine.pause().1, "it was not paused before");
    assert!(!engine.pause().1, "it is now");
    engine
}

#[test]
fn a_pause_dials_for_nobody_and_its_end_for_all() {
    let engine = paused(2);
    let (first, effects) = join(&engine, false);
    assert!(effects.moves_nothing() && effects.watch.is_none());
    let (second, effects) = join(&engine, true);
    assert!(effects.moves_nothing());
    assert!(engine.warm(NOW).moves_nothing());
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::NotReady));
    let (effects, was_paused) = engine.resume(NOW);
    assert!(was_paused && effects.wake_dials);
    assert_eq!(effects.dial.len(), 2, "each waits for one");
    for (id, order) in (0..).zip(effects.dial) {
        let _ = dial(&engine, order, id).unwrap();
    }
    assert!(served(&first).is_some() && served(&second).is_some());
    assert!(!engine.resume(NOW).1, "it is over");
}

#[test]
fn a_lease_that_comes_back_meanwhile_lies_idle_until_the_first_in_line_gets_it() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    assert!(engine.pause().0.wake_dials);
    let waiters = [join(&engine, false).0, join(&engine, false).0];
    let effects = engine.release(lease, NOW, Pressure::Calm).expect("the gate has changed");
    assert!(effects.moves_nothing() && !effects.ended);
    assert_eq!(engine.stats(NOW, Default::default()).pool_size, 1, "kept");
    assert!(matches!(engine.try_lease(NOW, 0), Take::NotReady));
    assert!(engine.resume(NOW).0.dial.is_empty(), "it is at its cap");
    let lease = served(&waiters[0]).expect("it came first");
    assert!(served(&waiters[1]).is_none());
    assert!(engine.release(lease, NOW, Pressure::Calm).is_some());
    assert!(served(&waiters[1]).is_some());
}

#[test]
fn a_lease_that_comes_back_meanwhile_makes_no_room_for_a_new_connection_before_the_end() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    assert!(engine.pause().1);
    let (fresh, effects) = join(&engine, true);
    assert!(effects.moves_nothing());
    let effects = engine.release(lease, NOW, Pressure::Calm).unwrap();
    assert!(effects.moves_nothing(), "it stays");
    let (effects, _) = engine.resume(NOW);
    assert_eq!(effects.close[0].reason(), CloseReason::Requested, "it makes room now");
    let effects = engine.vacate(&effects.close[0], NOW, 0.0);
    let _ = dial(&engine, effects.dial[0], 2).unwrap();
    assert!(served(&fresh).is_some());
}

#[test]
fn a_dial_under_way_ends_and_serves_nobody_yet() {
    let engine = engine(2, 2, 1);
    let (waiter, effects) = join(&engine, false);
    let connection = engine.begin_dial(effects.dial[0], ConnectionId(1)).unwrap();
    assert!(engine.pause().1);
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    assert!(effects.moves_nothing() && served(&waiter).is_none());
    assert!(engine.resume(NOW).0.dial.is_empty(), "there is one to be had");
    assert!(served(&waiter).is_some());
}

#[test]
fn a_dial_that_fails_meanwhile_is_told_to_nobody_and_made_again_after_its_rest() {
    let engine = engine(1, 1, 1);
    let (waiter, effects) = join(&engine, false);
    let order = effects.dial[0];
    let connection = engine.begin_dial(order, ConnectionId(1)).unwrap();
    assert!(engine.pause().1);
    let failure = Some((DialError::Aborted, "refused".to_owned()));
    let lost = DialLoss::Failed { retry_at: NOW + 500 };
    let (effects, unheard) = engine.fail_dial(order, Some(&connection), lost, failure, NOW);
    assert!(effects.moves_nothing() && unheard.is_some());
    assert!(engine.refuse_impatient(crate::base::clock::now(), NOW + 500).moves_nothing());
    assert!(served(&waiter).is_none());
    assert_eq!(engine.last_dial_error().as_deref(), Some("refused"));
    assert_eq!(engine.resume(NOW).0.dial[0].not_before, NOW + 500);
}

#[test]
fn a_dial_that_waits_for_its_turn_is_given_back() {
    let engine = engine(1, 1, 1);
    let (_waiter, effects) = join(&engine, false);
    let order = effects.dial[0];
    assert!(engine.wants_dial(order));
    assert!(engine.pause().0.wake_dials);
    assert!(!engine.wants_dial(order));
    assert!(engine.begin_dial(order, ConnectionId(1)).is_none());
    let (effects, _) = engine.fail_dial(order, None, DialLoss::Unwanted, None, NOW);
    assert!(effects.moves_nothing());
    assert_eq!(engine.resume(NOW).0.dial.len(), 1, "it is ordered anew");
}

#[test]
fn whoever_has_no_patience_left_leaves_a_paused_account_as_any_other() {
    let engine = paused(1);
    let now = crate::base::clock::now();
    let waiter = Waiter::new(false, now, Some(now), Location::caller(), None);
    let effects = engine.enqueue_waiter(&waiter, false, NOW).unwrap().unwrap();
    assert_eq!(effects.watch.map(|watch| watch.at), Some(now));
    let _ = engine.expire_waiters(now);
    let poll = waiter.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready(Err(WaitRefusal::Timeout))));
    assert!(!engine.is_empty(NOW), "its pause must be remembered");
    assert!(!engine.is_at_rest(NOW));
    assert!(engine.resume(NOW).1 && engine.is_empty(NOW) && engine.is_at_rest(NOW));
}

#[test]
fn what_takes_a_paused_account_out_of_service_refuses_those_that_wait_and_leaves_it_paused() {
    let refused = |waiter: &Waiter<u32, std::io::Error>| {
        let poll = waiter.poll(&mut Context::from_waker(Waker::noop()));
        matches!(poll, Poll::Ready(Err(refusal)) if !matches!(refusal, WaitRefusal::Timeout))
    };
    let engine = paused(1);
    let (waiter, _) = join(&engine, false);
    let _ = engine.drain(NOW);
    assert!(refused(&waiter) && engine.is_paused());
    assert!(engine.resume(NOW).1 && engine.unready().is_some(), "it is still drained");
    assert!(engine.pause().1 && engine.reinstate(NOW).1);
    assert!(!engine.is_paused() && engine.unready().is_none(), "fully back");
    assert!(engine.pause().1);
    let (waiter, _) = join(&engine, false);
    let _ = engine.quarantine(None, QuarantineReason::Operator, NOW);
    assert!(refused(&waiter));
    assert!(engine.reinstate(NOW).1 && engine.pause().1);
    let (waiter, _) = join(&engine, false);
    let _ = engine.close(NOW);
    assert!(refused(&waiter) && engine.is_empty(NOW), "a closed account remembers nothing");
    assert!(!engine.resume(NOW).1 && !engine.pause().1);
}

#[test]
fn a_pause_outlasts_a_new_generation_other_limits_and_other_sessions() {
    let engine = paused(2);
    let _ = engine.raise_generation(CloseReason::Requested, NOW);
    let _ = engine.set_limits(1, 2, NOW);
    let _ = engine.set_sessions(3, &[], NOW).unwrap();
    assert!(engine.is_paused());
    assert!(join(&engine, false).1.moves_nothing());
}

#[test]
fn a_connection_of_a_paused_account_ages_and_gives_way_as_any_other() {
    let engine = engine(1, 1, 1);
    let lease = first_lease(&engine);
    let record = Arc::clone(&lease);
    assert!(engine.pause().1);
    assert!(engine.release(lease, NOW, Pressure::Calm).unwrap().moves_nothing());
    let Reap::Again(due) = engine.reap(&record, 0, NOW, 100, Tick::MAX) else { panic!("in use") };
    let Reap::Expired(effects) = engine.reap(&record, due, due, 100, Tick::MAX) else {
        panic!("idle for 100")
    };
    assert_eq!(effects.close[0].reason(), CloseReason::Idle);
    assert!(engine.vacate(&effects.close[0], due, 0.0).moves_nothing());
}

#[test]
fn a_suspect_session_is_looked_at_while_the_account_is_paused() {
    let engine = engine(2, 2, 1);
    assert!(engine.pause().1);
    let _ = engine.quarantine(Some(0), QuarantineReason::Suspect, NOW);
    let effects = engine.probe(0, NOW);
    let probe = engine.begin_dial(effects.dial[0], ConnectionId(1)).expect("it is in doubt");
    let effects = engine.complete_dial(&probe, 7, Tick::MAX, NOW);
    assert!(effects.cleared && engine.is_paused());
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::NotReady));
}
