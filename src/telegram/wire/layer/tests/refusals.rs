//! Packets that the server does not take.

use super::*;
use crate::telegram::wire::tests::server::{bad_salt, refusal, result};
use crate::telegram::wire::tl::{DESTROY_SESSION, GET_FUTURE_SALTS};

#[test]
fn all_of_a_refused_container_goes_again_in_its_order_and_before_the_rest() {
    let mut bench = Bench::opened();
    (1..=3).for_each(|number| bench.call(number));
    let packet = bench.sent();
    (4..=5).for_each(|number| bench.call(number));
    bench.hear(&bad_salt(packet.id, 9));
    let again = bench.sent();
    assert_eq!((again.salt, calls(&again)), (9, vec![1, 2, 3, 4, 5]));
    assert!(again.messages[0].id > packet.id, "under other numbers");
    assert!(again.constructors().contains(&GET_FUTURE_SALTS), "the known ones were wrong");
    assert_eq!(bench.layer.counts().resends, 3);
    // A refusal that comes twice finds nothing any more.
    bench.hear(&bad_salt(packet.id, 9));
    assert!(bench.try_sent().is_none());
}

#[test]
fn nothing_goes_again_that_the_server_may_have_taken() {
    let mut bench = Bench::opened();
    bench.call(1);
    let packet = bench.sent();
    bench.hear(&refusal(packet.id, 20));
    let [(1, error)] = &bench.errors()[..] else { panic!("one call") };
    assert!(matches!(error, WireError::Refused { code: 20 }) && error.may_be_carried_out());
    assert!(bench.try_sent().is_none());
}

#[test]
fn a_clock_that_is_behind_is_put_right() {
    // What an earlier connection has told of it is wrong by an hour.
    let mut memory = memory();
    memory.clock_offset = -3600;
    let mut bench = Bench::with(memory, |_| {});
    bench.call(1);
    let packet = bench.sent();
    assert_eq!(packet.messages[0].id >> 32, 1_700_000_000 - 3600);
    bench.hear(&refusal(packet.id, 16));
    let again = bench.sent();
    assert_eq!((calls(&again), again.session), (vec![1], packet.session));
    assert_eq!(again.messages[0].id >> 32, 1_700_000_000);
    assert_eq!(bench.layer.memory(NOON, bench.now).clock_offset, 0);
}

#[test]
fn a_clock_that_is_ahead_costs_one_session_and_one_resend() {
    let mut memory = memory();
    memory.clock_offset = 3600;
    let mut bench = Bench::with(memory, |_| {});
    bench.call(1);
    let first = bench.sent();
    bench.call(2);
    let second = bench.sent();
    bench.hear(&refusal(first.id, 17));
    // The other one of the session before goes again as well, without another session.
    bench.server.session = first.session;
    bench.hear(&refusal(second.id, 17));
    let again = bench.sent();
    assert_ne!(again.session, first.session);
    let mut numbers = calls(&again);
    numbers.sort_unstable();
    assert_eq!((numbers, again.messages[0].id >> 32), (vec![1, 2], 1_700_000_000));
    assert_eq!(again.messages[0].constructor(), PING_DELAY_DISCONNECT);
    assert_eq!(bench.layer.session.number, 1);
    let call = again.messages[1].id;
    bench.hear(&result(call, &ANSWER));
    assert_eq!(bench.outcomes().len(), 1);
    assert_eq!(bench.layer.counts().resends, 2);
}

#[test]
fn answers_of_the_session_before_still_count_and_without_any_it_is_destroyed() {
    let mut bench = Bench::opened();
    bench.call(1);
    let former = bench.sent();
    bench.call(2);
    let packet = bench.sent();
    bench.hear(&refusal(packet.id, 32));
    let again = bench.sent();
    assert_eq!(again.messages.iter().find(|it| call_number(it) == Some(2)).unwrap().sequence, 1);
    assert!(!again.constructors().contains(&DESTROY_SESSION), "a call of it has no answer yet");
    bench.server.session = former.session;
    bench.hear(&result(former.messages[0].id, &ANSWER));
    assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);

    let mut bench = Bench::opened();
    bench.call(1);
    let packet = bench.sent();
    bench.hear(&refusal(packet.id, 33));
    let again = bench.sent();
    assert_eq!(again.find(DESTROY_SESSION).body[4..], packet.session.to_le_bytes());
}

#[test]
fn a_server_without_containers_gets_one_message_at_a_time() {
    let mut bench = Bench::opened();
    (1..=3).for_each(|number| bench.call(number));
    let packet = bench.sent();
    bench.hear(&refusal(packet.id, 64));
    let mut seen = Vec::new();
    while let Some(packet) = bench.try_sent() {
        assert_eq!(packet.messages.len(), 1);
        seen.extend(calls(&packet));
    }
    assert_eq!(seen, [1, 2, 3]);
}

#[test]
fn a_call_that_is_always_refused_is_given_up() {
    for (code, has_salt) in [
        (16, false),
        (17, false),
        (18, false),
        (19, false),
        (32, false),
        (34, false),
        (64, false),
        (99, false),
        (48, true),
    ] {
        let mut bench = Bench::opened();
        bench.call(1);
        let mut rounds = 0;
        let error = loop {
            let packet = bench.sent();
            match has_salt {
                true => bench.hear(&bad_salt(packet.id, rounds)),
                false => bench.hear(&refusal(packet.id, code)),
            }
            rounds += 1;
            if let Some((1, error)) = bench.errors().pop() {
                break error;
            }
        };
        assert_eq!(rounds, 6, "{code}: {error}");
        assert!(!error.may_be_carried_out(), "{error}");
    }
}

#[test]
fn a_server_that_refuses_everything_is_left() {
    let mut bench = Bench::new();
    let mut rounds = 0;
    let end = loop {
        let packet = bench.sent();
        rounds += 1;
        if let Err(end) = bench.try_hear(&bad_salt(packet.id, rounds)) {
            break end;
        }
    };
    assert!(matches!(end, WireEnd::Protocol(_)) && rounds < 20, "{end} after {rounds}");
}
