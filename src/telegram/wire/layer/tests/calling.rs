//! Calls and their answers, introductions, acknowledgements and updates.

use super::*;
use crate::telegram::wire::tests::server::{future_salts, gzip, longs, rpc_error};
use crate::telegram::wire::tl::{
    ACK, DROP_ANSWER, FUTURE_SALTS, GET_FUTURE_SALTS, PING, PONG, WireReader,
};
use grammers_tl_types::{Identifiable as _, types};

#[test]
fn a_connection_begins_with_a_ping_that_ends_it_and_introduces_itself_until_it_is_known() {
    let mut bench = Bench::new();
    bench.call(1);
    bench.call(2);
    let packet = bench.sent();
    assert_eq!((packet.salt, packet.messages.len()), (SALT, 3));
    let ping = &packet.messages[0];
    assert_eq!((ping.constructor(), ping.sequence), (PING_DELAY_DISCONNECT, 0));
    assert_eq!(ping.body[12..], 30_i32.to_le_bytes());
    for (number, sent) in (1..).zip(&packet.messages[1..]) {
        assert_eq!(sent.body, [&INTRODUCTION[..], &body(number)].concat());
        assert_eq!(sent.sequence, u32::from(number) * 2 - 1);
    }
    // Nobody has answered yet.
    bench.call(3);
    assert!(bench.sent().messages[0].body.starts_with(&INTRODUCTION));
    bench.hear(&result(packet.messages[1].id, &ANSWER));
    assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);
    bench.call(4);
    let packet = bench.sent();
    assert_eq!(packet.messages[0].body, body(4));
    assert!(bench.try_sent().is_none());
}

#[test]
fn a_known_salt_makes_one_round_trip_and_an_unknown_one_two() {
    let mut bench = Bench::opened();
    assert_eq!(bench.layer.counts().opening_round_trips, 1);
    assert!(bench.try_sent().is_none(), "acknowledgements wait for company");

    bench = Bench::with(KeyMemory::default(), |_| {});
    bench.call(1);
    let packet = bench.sent();
    assert_eq!((packet.salt, packet.constructors().len()), (0, 2), "no salts are asked for yet");
    bench.hear(&crate::telegram::wire::tests::server::bad_salt(packet.id, 5));
    let packet = bench.sent();
    assert_eq!((packet.salt, calls(&packet)), (5, vec![1]));
    assert_eq!(packet.messages[0].constructor(), PING_DELAY_DISCONNECT, "it is still the first");
    let asked = packet.find(GET_FUTURE_SALTS).id;
    bench.hear_all(&[result(packet.messages[1].id, &ANSWER), future_salts(asked, &[5, 6, 7])]);
    assert_eq!(bench.known_salts(), [5, 6, 7]);
    let counts = *bench.layer.counts();
    assert_eq!((counts.opening_round_trips, counts.resends, counts.refused_packets), (2, 1, 1));
    let memory = bench.layer.memory(NOON, bench.now);
    assert_eq!((memory.salts.len(), memory.clock_offset), (3, 0));
}

#[test]
fn answers_come_bare_or_compressed_and_errors_word_for_word() {
    let mut bench = Bench::opened();
    (1..=4).for_each(|number| bench.call(number));
    let ids: Vec<i64> = bench.sent().messages.iter().map(|sent| sent.id).collect();
    let large: Vec<u8> = (0..100_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    bench.hear_all(&[
        result(ids[1], &gzip(&large)),
        result(ids[0], &ANSWER),
        result(ids[2], &rpc_error(420, "FLOOD_WAIT_0300")),
    ]);
    // And a compressed message with a compressed error in it.
    bench.hear(&gzip(&result(ids[3], &gzip(&rpc_error(400, "INPUT_LAYER_12_3_45")))));
    assert_eq!(
        bench.outcomes(),
        [
            Outcome::Answer(2, large),
            Outcome::Answer(1, ANSWER.to_vec()),
            Outcome::Failed(3, "FLOOD_WAIT_0300 (code 420)".to_owned()),
            Outcome::Failed(4, "INPUT_LAYER_12_3_45 (code 400)".to_owned()),
        ]
    );
}

#[test]
fn pongs_and_salts_that_a_caller_has_asked_for_are_its_answers() {
    let mut bench = Bench::opened();
    let ping = longs(PING, &[5]);
    bench.layer.call(1, 1, ping.clone(), LIMIT, bench.now);
    bench.layer.call(
        2,
        2,
        [GET_FUTURE_SALTS.to_le_bytes(), [2, 0, 0, 0]].concat(),
        LIMIT,
        bench.now,
    );
    let packet = bench.sent();
    assert_eq!((packet.messages[0].body.clone(), packet.messages[0].sequence % 2), (ping, 0));
    bench.hear(&pong(packet.messages[0].id));
    bench.hear(&future_salts(packet.messages[1].id, &[3, 4]));
    let answers: Vec<(u8, u32)> = bench
        .outcomes()
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Answer(number, body) => (number, WireReader(&body).word().unwrap()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answers, [(1, PONG), (2, FUTURE_SALTS)]);
    assert_eq!(bench.known_salts(), [3, 4]);
}

#[test]
fn acknowledgements_go_with_the_next_packet_or_when_there_are_many() {
    let mut bench = Bench::opened();
    bench.call(1);
    let packet = bench.sent();
    let acked = |packet: &SentPacket| {
        let mut reader = WireReader(&packet.find(ACK).body[4..]);
        reader.longs().unwrap().count()
    };
    assert_eq!(acked(&packet), 3);
    assert_eq!(packet.find(ACK).sequence % 2, 0);
    for round in 0..64 {
        assert!(bench.try_sent().is_none(), "{round}");
        bench.hear(&[7; 8]);
    }
    assert_eq!(acked(&bench.sent()), 64);
    assert_eq!(bench.layer.counts().acks_sent, 67);
}

#[test]
fn no_more_calls_are_in_flight_than_the_limit_allows() {
    let mut bench = Bench::opened_with(|start| start.limits.calls_max = 3);
    (1..=8).for_each(|number| bench.call(number));
    let packet = bench.sent();
    assert_eq!(calls(&packet), [1, 2, 3]);
    assert!(bench.try_sent().is_none() && !bench.layer.wants_transmit());
    bench.hear(&result(packet.messages[1].id, &ANSWER));
    assert_eq!(calls(&bench.sent()), [4]);
    let end = WireEnd::HungUp;
    bench.layer.end(&end);
    let mut sent: Vec<(u8, bool)> = bench
        .errors()
        .iter()
        .map(|(number, error)| (*number, error.may_be_carried_out()))
        .collect();
    sent.sort_unstable();
    let expected = [1, 3, 4].map(|number| (number, true)).into_iter();
    let mut expected: Vec<(u8, bool)> =
        expected.chain([5, 6, 7, 8].map(|it| (it, false))).collect();
    expected.sort_unstable();
    assert_eq!(sent, expected);
}

#[test]
fn packets_are_no_larger_than_servers_take() {
    let mut bench = Bench::opened();
    let large = |number| [&METHOD.to_le_bytes()[..], &[number; 4], &vec![0; 500_000]].concat();
    for number in 1..=5 {
        bench.layer.call(number.into(), number, large(number), LIMIT, bench.now);
    }
    let packets: Vec<Vec<u8>> =
        std::iter::from_fn(|| bench.try_sent()).map(|it| calls(&it)).collect();
    assert_eq!(packets, [[1], [2], [3], [4], [5]], "none waits for the whole of another");
    // Short ones go with it, and so does what is to be told.
    bench.hear(&[7; 8]);
    bench.call(6);
    bench.layer.call(7, 7, large(7), LIMIT, bench.now);
    bench.call(8);
    let packet = bench.sent();
    assert_eq!(calls(&packet), [6, 7]);
    packet.find(ACK);
    assert_eq!(calls(&bench.sent()), [8]);
    let several = |number| [&METHOD.to_le_bytes()[..], &[number; 4], &vec![0; 30_000]].concat();
    for number in 1..=9 {
        bench.layer.call(number.into(), number, several(number), LIMIT, bench.now);
    }
    let packets: Vec<usize> =
        std::iter::from_fn(|| bench.try_sent()).map(|it| calls(&it).len()).collect();
    assert_eq!(packets, [4, 4, 1]);
}

#[test]
fn a_call_that_nobody_waits_for_is_forgotten_and_the_server_told_so() {
    let mut bench = Bench::opened();
    bench.call(1);
    assert_eq!(bench.layer.cancel(1), Some(1), "it was not sent");
    assert!(bench.try_sent().is_none());
    bench.call(2);
    let sent = bench.sent().messages[0].id;
    assert_eq!((bench.layer.cancel(2), bench.layer.cancel(2)), (Some(2), None));
    let packet = bench.sent();
    let dropped = packet.find(DROP_ANSWER);
    assert_eq!(
        (dropped.body[4..].to_vec(), dropped.sequence % 2),
        (sent.to_le_bytes().to_vec(), 1)
    );
    bench.hear(&result(sent, &ANSWER));
    assert_eq!(bench.outcomes(), []);
    assert_eq!(bench.layer.counts().unclaimed_answers, 1);
}

#[test]
fn calls_are_given_up_wherever_they_are_and_in_whatever_order_they_wait() {
    let mut bench = Bench::opened();
    bench.call(1);
    let first = bench.sent();
    bench.call(2);
    let second = bench.sent();
    (3..=5).for_each(|number| bench.call(number));
    // The first one goes after the second, and then the second is put before it.
    for packet in [&first, &second] {
        bench.hear(&crate::telegram::wire::tests::server::bad_salt(packet.id, 5));
    }
    for number in [1, 4, 2, 5, 3] {
        assert_eq!(bench.layer.cancel(number.into()), Some(number));
        assert_eq!(bench.layer.cancel(number.into()), None);
    }
    assert!(bench.layer.is_idle());
}

#[test]
fn a_server_that_has_forgotten_who_calls_is_told_and_the_call_goes_again() {
    let mut bench = Bench::opened();
    bench.call(1);
    let id = bench.sent().messages[0].id;
    bench.hear(&result(id, &rpc_error(400, "CONNECTION_NOT_INITED")));
    let packet = bench.sent();
    assert!(packet.messages[0].body.starts_with(&INTRODUCTION));
    bench.hear(&result(packet.messages[0].id, &rpc_error(400, "CONNECTION_NOT_INITED")));
    let failed = Outcome::Failed(1, "CONNECTION_NOT_INITED (code 400)".to_owned());
    assert_eq!(bench.outcomes(), [failed], "it was told already");
}

#[test]
fn a_server_that_never_learns_who_calls_is_told_no_more_often_than_allowed() {
    let mut bench = Bench::opened_with(|start| start.limits.resends_max = 0);
    bench.call(1);
    let id = bench.sent().messages[0].id;
    bench.hear(&result(id, &rpc_error(400, "CONNECTION_NOT_INITED")));
    let [(1, WireError::Rpc { code: 400, message })] = &bench.errors()[..] else { panic!("words") };
    assert_eq!(&**message, "CONNECTION_NOT_INITED");
}

#[test]
fn what_is_said_of_the_key_is_told_though_nobody_waits_for_it() {
    let mut bench = Bench::opened_with(|start| start.wants_updates = false);
    for (words, code) in [("AUTH_KEY_DUPLICATED", 406), ("SESSION_REVOKED", 401), ("OTHER", 400)] {
        for packed in [false, true] {
            bench.call(1);
            let packet = bench.sent();
            let id = packet.messages.iter().find(|it| call_number(it) == Some(1)).unwrap().id;
            assert!(bench.layer.cancel(1).is_some());
            let error = rpc_error(code, words);
            bench.hear(&result(id, &if packed { gzip(&error) } else { error }));
            let expected = (code != 400).then(|| Outcome::Rejected(code, words.into()));
            assert_eq!(bench.outcomes(), Vec::from_iter(expected));
        }
    }
}

#[test]
fn updates_come_as_they_are_and_those_of_an_answer_with_its_call() {
    let mut bench = Bench::opened();
    let pushed = longs(types::UpdatesTooLong::CONSTRUCTOR_ID, &[]);
    bench.call(1);
    let id = bench.sent().messages[0].id;
    let own = longs(types::UpdateShortSentMessage::CONSTRUCTOR_ID, &[4]);
    bench.hear_all(&[pushed.clone(), result(id, &own)]);
    let expected =
        [Outcome::Updates(pushed), Outcome::Own(body(1), own.clone()), Outcome::Answer(1, own)];
    assert_eq!(bench.outcomes(), expected);
    bench.hear(&new_session(0, SALT));
    assert_eq!(bench.outcomes(), [Outcome::Gap]);
    let mut deaf = Bench::opened_with(|start| start.wants_updates = false);
    deaf.hear(&longs(types::UpdatesTooLong::CONSTRUCTOR_ID, &[]));
    assert_eq!(deaf.outcomes(), []);
}
