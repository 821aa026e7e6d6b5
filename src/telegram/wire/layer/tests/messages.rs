//! Messages about messages.

use super::*;
use crate::telegram::wire::tests::server::{enclose, longs};
use crate::telegram::wire::tl::{
    ACK, DETAILED_INFO, NEW_DETAILED_INFO, PING, PONG, RESEND_REQUEST, STATE_INFO, STATE_REQUEST,
    WireReader, put_bytes, put_longs,
};

fn listing(constructor: u32, ids: &[i64]) -> Vec<u8> {
    let mut body = constructor.to_le_bytes().to_vec();
    put_longs(&mut body, ids);
    body
}

fn ids_of(sent: &Sent) -> Vec<i64> {
    WireReader(&sent.body[4..]).longs().unwrap().collect()
}

#[test]
fn a_message_that_comes_twice_is_acknowledged_twice_and_taken_once() {
    let mut bench = Bench::opened();
    bench.call(1);
    let call = bench.sent().messages[0].id;
    let id = bench.server.next_id();
    let packet = bench.server.seal(&enclose(id, 1, &result(call, &ANSWER)));
    bench.hear_raw(&packet).unwrap();
    bench.hear_raw(&packet).unwrap();
    assert_eq!(bench.outcomes().len(), 1);
    bench.call(2);
    assert_eq!(ids_of(bench.sent().find(ACK)), [id, id]);
    assert_eq!(bench.layer.counts().ignored_messages, 1);
}

#[test]
fn the_server_learns_what_has_come_of_its_messages() {
    let mut bench = Bench::opened();
    let known = bench.server.next_id();
    let packet = bench.server.seal(&enclose(known, 1, &[7; 8]));
    bench.hear_raw(&packet).unwrap();
    let (missing, request) = (known - 2, bench.server.next_id());
    let asked = listing(STATE_REQUEST, &[known, missing, request + 400]);
    let packet = bench.server.seal(&enclose(request, 0, &asked));
    bench.hear_raw(&packet).unwrap();
    let packet = bench.sent();
    let mut reader = WireReader(&packet.find(STATE_INFO).body[4..]);
    assert_eq!(reader.long().unwrap(), request);
    assert_eq!(reader.bytes().unwrap(), [4, 2, 3]);
    bench.hear(&longs(PING, &[44]));
    assert_eq!(bench.sent().find(PONG).body[12..], 44_i64.to_le_bytes());
}

#[test]
fn what_the_server_asks_for_goes_again_as_it_was() {
    let mut bench = Bench::opened();
    bench.call(1);
    let sent = bench.sent().messages[0].clone();
    bench.hear(&listing(RESEND_REQUEST, &[sent.id]));
    let packet = bench.sent();
    assert_eq!(packet.messages[0], sent);
    assert!(!packet.constructors().contains(&STATE_INFO));
    assert_eq!(bench.layer.counts().resends, 0, "it is the same message");
    // Of what is not known the server is told so.
    bench.hear(&listing(RESEND_REQUEST, &[sent.id - 400]));
    let packet = bench.sent();
    let mut reader = WireReader(&packet.find(STATE_INFO).body[12..]);
    assert_eq!(reader.bytes().unwrap(), [1]);
}

#[test]
fn an_answer_that_is_only_announced_is_asked_for_if_anybody_waits() {
    let mut bench = Bench::opened();
    bench.call(1);
    let call = bench.sent().messages[0].id;
    let answer = bench.server.next_id();
    let announced = |call: i64| [&longs(DETAILED_INFO, &[call, answer])[..], &[0; 8]].concat();
    bench.hear(&announced(call - 4));
    bench.call(2);
    let packet = bench.sent();
    assert!(ids_of(packet.find(ACK)).contains(&answer), "it need not come");
    bench.hear(&announced(call));
    bench.hear(&announced(call));
    assert_eq!(ids_of(bench.sent().find(RESEND_REQUEST)), [answer]);
    let packet = bench.server.seal(&enclose(answer, 1, &result(call, &ANSWER)));
    bench.hear_raw(&packet).unwrap();
    assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);
    bench.hear(&announced(call));
    bench.call(3);
    let packet = bench.sent();
    assert!(ids_of(packet.find(ACK)).contains(&answer));
    assert!(!packet.constructors().contains(&RESEND_REQUEST), "it has come");
    let update = bench.server.next_id();
    bench.hear(&[&longs(NEW_DETAILED_INFO, &[update])[..], &[0; 8]].concat());
    assert_eq!(ids_of(bench.sent().find(RESEND_REQUEST)), [update]);
}

#[test]
fn an_answer_that_was_asked_for_is_taken_however_old_it_is_and_once() {
    let mut bench = Bench::opened_with(|start| start.limits.seen_max = 4);
    bench.call(1);
    let call = bench.sent().messages[0].id;
    let answer = bench.server.next_id();
    bench.advance(Duration::from_secs(400));
    for _ in 0..9 {
        bench.hear(&[7; 8]);
    }
    bench.outcomes();
    bench.layer.call(2, 2, body(2), Duration::from_secs(900), bench.now);
    bench.hear(&[&longs(DETAILED_INFO, &[call, answer])[..], &[0; 8]].concat());
    assert_eq!(ids_of(bench.sent().find(RESEND_REQUEST)), [answer]);
    let packet = bench.server.seal(&enclose(answer, 1, &result(call, &ANSWER)));
    bench.hear_raw(&packet).unwrap();
    assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);
    let ignored = bench.layer.counts().ignored_messages;
    bench.hear_raw(&packet).unwrap();
    assert_eq!(bench.layer.counts().ignored_messages, ignored + 1);
}

#[test]
fn what_went_again_after_the_question_is_not_meant_by_its_answer() {
    for state in [1, 2, 3] {
        let mut bench = Bench::opened();
        bench.call(1);
        let sent = bench.sent().messages[0].clone();
        bench.call(2);
        let later = bench.sent();
        bench.hear(&new_session(later.id, SALT));
        let asked = bench.sent().find(STATE_REQUEST).clone();
        assert_eq!(ids_of(&asked), [sent.id]);
        bench.hear(&listing(RESEND_REQUEST, &[sent.id]));
        assert_eq!(bench.sent().messages[0], sent);
        let mut told = longs(STATE_INFO, &[asked.id]);
        put_bytes(&mut told, &[state]);
        bench.hear(&told);
        assert!(bench.try_sent().is_none(), "state {state}: the repeated one is on its way");
        assert_eq!(bench.outcomes(), [Outcome::Gap]);
        bench.hear(&result(sent.id, &ANSWER));
        assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);
    }
}

#[test]
fn a_ping_is_known_however_much_else_was_asked() {
    let mut bench = Bench::opened();
    bench.advance(Duration::from_secs(15));
    bench.layer.handle_timeout(bench.now).unwrap();
    let ping = bench.sent().find(PING_DELAY_DISCONNECT).id;
    for round in 0..200 {
        let missing = bench.server.next_id() + 40_000_000 + 4 * round;
        bench.hear(&[&longs(NEW_DETAILED_INFO, &[missing])[..], &[0; 8]].concat());
        bench.sent();
    }
    bench.hear(&pong(ping));
    bench.advance(Duration::from_secs(14));
    bench.layer.handle_timeout(bench.now).unwrap();
    assert_eq!(bench.layer.poll_timeout(), bench.now + Duration::from_secs(1), "none is owed");
}

#[test]
fn after_a_session_that_was_lost_the_server_is_asked_and_only_what_it_has_not_goes_again() {
    let mut bench = Bench::opened();
    let mut ids = Vec::new();
    for number in 1..=4 {
        bench.call(number);
        ids.push(bench.sent().messages[0].id);
    }
    bench.call(5);
    let later = bench.sent().id;
    bench.hear(&new_session(later, SALT));
    let packet = bench.sent();
    let asked = packet.find(STATE_REQUEST).clone();
    assert_eq!(ids_of(&asked), ids, "and not of the one that has begun the session");
    assert_eq!(calls(&packet), [] as [u8; 0], "nothing goes again by itself");
    let mut told = longs(STATE_INFO, &[asked.id]);
    // Nothing known, not received, not received yet, received.
    put_bytes(&mut told, &[1, 2, 3, 4]);
    bench.hear(&told);
    let forgotten = WireError::Forgotten.to_string();
    assert_eq!(bench.outcomes(), [Outcome::Gap, Outcome::Failed(1, forgotten)]);
    let packet = bench.sent();
    assert_eq!(calls(&packet), [2, 3]);
    assert!(packet.messages[0].body.starts_with(&INTRODUCTION), "it may have forgotten that, too");
    bench.hear(&result(ids[3], &ANSWER));
    assert_eq!(bench.outcomes(), [Outcome::Answer(4, ANSWER.to_vec())]);
}
