//! Packets that the server does not take.

use super::*;
use crate::telegram::wire::tests::server::{bad_salt, refusal, result};
use crate::telegram::wire::tl::{GET_FUTURE_SALTS, RESEND_REQUEST, put_longs};

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
    [20, 21, 99, -1].into_iter().for_each(assert_given_up);
}

fn assert_given_up(code: i32) {
    let mut bench = Bench::opened();
    bench.call(1);
    let packet = bench.sent();
    bench.hear(&refusal(packet.id, code));
    let [(1, error)] = &bench.errors()[..] else { panic!("one call") };
    assert!(matches!(error, WireError::Refused { code: told } if *told == code));
    assert!(error.may_be_carried_out(), "{code}");
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
fn a_session_that_the_server_has_taken_is_not_followed_by_another() {
    for code in [17, 32, 33, 34, 35] {
        let mut bench = Bench::opened();
        bench.call(1);
        bench.sent();
        bench.call(2);
        let refused = bench.sent();
        bench.call(3);
        let end = bench.try_hear(&refusal(refused.id, code)).unwrap_err();
        assert!(matches!(end, WireEnd::Disordered { code: told } if told == code), "{end}");
        assert!(!end.is_confirmed());
        bench.layer.end(&end);
        let mut lost: Vec<(u8, bool)> = bench
            .errors()
            .iter()
            .map(|(number, error)| (*number, error.may_be_carried_out()))
            .collect();
        lost.sort_unstable();
        assert_eq!(lost, [(1, true), (2, false), (3, false)], "{code}");
        assert_eq!(bench.layer.session.number, 0);
    }
}

#[test]
fn a_session_is_begun_anew_while_the_server_has_taken_none() {
    for code in [17, 32, 33, 34, 35] {
        let mut bench = Bench::new();
        bench.call(1);
        let first = bench.sent();
        bench.hear(&refusal(first.id, code));
        let again = bench.sent();
        assert_ne!(again.session, first.session);
        assert_eq!((calls(&again), again.messages[1].sequence), (vec![1], 1));
        assert_eq!(again.messages[0].constructor(), PING_DELAY_DISCONNECT);
        // Whatever it says is heard, but for a refusal: from then on there is a session that it knows.
        bench.hear(&pong(again.messages[0].id));
        assert!(bench.try_hear(&refusal(again.id, code)).is_err(), "{code}");
    }
}

#[test]
fn a_message_that_was_repeated_never_goes_under_another_number() {
    for (code, goes) in [(48, true), (64, true), (16, false), (18, false), (20, false)] {
        let mut bench = Bench::opened();
        bench.call(1);
        let sent = bench.sent().messages[0].clone();
        let mut asked = RESEND_REQUEST.to_le_bytes().to_vec();
        put_longs(&mut asked, &[sent.id]);
        bench.hear(&asked);
        let mut rounds = 0;
        let error = loop {
            let Some(packet) = bench.try_sent() else { panic!("{code}: it is lost") };
            assert_eq!(packet.messages[0], sent, "as it was");
            match code {
                48 => bench.hear(&bad_salt(packet.id, 5)),
                _ => bench.hear(&refusal(packet.id, code)),
            }
            rounds += 1;
            if let Some((1, error)) = bench.errors().pop() {
                break error;
            }
        };
        assert_eq!(rounds, if goes { 6 } else { 1 }, "{code}");
        assert!(error.may_be_carried_out(), "the first copy may have arrived: {error}");
        assert!(bench.layer.is_idle());
    }
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
        (48, true),
    ] {
        // One that has taken nothing.
        let mut bench = Bench::new();
        bench.call(1);
        let mut rounds = 0;
        let error = loop {
            let packet = bench.sent();
            let packet = if calls(&packet).is_empty() { bench.sent() } else { packet };
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
