//! Pings, deadlines, and what else time asks for.

use super::*;
use crate::telegram::wire::tests::server::enclose;
use crate::telegram::wire::tl::{ACK, DROP_ANSWER};

const SECOND: Duration = Duration::from_secs(1);

/// Lets the time pass until the layer wants to be called, and calls it.
fn sleep(bench: &mut Bench) -> Result<Duration, WireEnd> {
    let slept = bench.layer.poll_timeout() - bench.now;
    bench.advance(slept);
    bench.layer.handle_timeout(bench.now).map(|()| slept)
}

#[test]
fn an_idle_connection_pings_and_acknowledges_and_does_nothing_else() {
    let mut bench = Bench::opened();
    assert_eq!(sleep(&mut bench).unwrap(), 10 * SECOND);
    assert_eq!(bench.sent().constructors(), [ACK]);
    assert_eq!(sleep(&mut bench).unwrap(), 5 * SECOND);
    for _ in 0..100 {
        let packet = bench.sent();
        assert_eq!(packet.constructors(), [PING_DELAY_DISCONNECT]);
        let id = bench.server.next_id();
        let pong = bench.server.seal(&enclose(id, 0, &pong(packet.id)));
        bench.hear_raw(&pong).unwrap();
        assert_eq!(bench.outcomes(), []);
        assert_eq!(sleep(&mut bench).unwrap(), 15 * SECOND);
    }
    assert_eq!(bench.layer.counts().packets_sent, 102);
}

#[test]
fn a_server_that_leaves_a_ping_unanswered_is_silent() {
    let mut bench = Bench::opened();
    for _ in 0..2 {
        sleep(&mut bench).unwrap();
        bench.sent();
    }
    assert!(matches!(sleep(&mut bench), Err(WireEnd::Silent)));
    let mut unheard = Bench::new();
    unheard.sent();
    assert!(matches!(sleep(&mut unheard), Err(WireEnd::Silent)));
}

#[test]
fn a_call_ends_at_its_deadline_whether_or_not_it_was_sent() {
    let mut bench = Bench::opened_with(|start| start.limits.calls_max = 1);
    bench.layer.call(1, 1, body(1), 3 * SECOND, bench.now);
    bench.layer.call(2, 2, body(2), 2 * SECOND, bench.now);
    bench.layer.call(3, 3, body(3), Duration::MAX, bench.now);
    let sent = bench.sent().messages[0].id;
    assert_eq!(sleep(&mut bench).unwrap(), 2 * SECOND);
    let [(2, error)] = &bench.errors()[..] else { panic!("the shorter one") };
    assert!(
        matches!(error, WireError::TimedOut { was_sent: false, after } if *after == 2 * SECOND)
    );
    sleep(&mut bench).unwrap();
    let [(1, error)] = &bench.errors()[..] else { panic!("the longer one") };
    assert!(error.may_be_carried_out());
    let packet = bench.sent();
    assert_eq!(packet.find(DROP_ANSWER).body[4..], sent.to_le_bytes());
    assert_eq!(calls(&packet), [3], "it has the place now");
}

#[test]
fn what_is_too_old_is_left_out_and_what_is_not_is_taken() {
    let mut bench = Bench::opened();
    let old = bench.server.next_id();
    bench.advance(290 * SECOND);
    let packet = bench.server.seal(&enclose(old, 1, &[7; 8]));
    bench.hear_raw(&packet).unwrap();
    assert_eq!(bench.outcomes().len(), 1);
    let old = bench.server.next_id();
    bench.advance(310 * SECOND);
    let packet = bench.server.seal(&enclose(old, 1, &[7; 8]));
    bench.hear_raw(&packet).unwrap();
    assert_eq!(bench.outcomes(), []);
    assert_eq!(bench.layer.counts().ignored_messages, 1);
}

#[test]
fn a_clock_that_the_server_corrects_takes_no_message_for_old() {
    // This machine is a day ahead, and nobody knew.
    let mut bench = Bench::with(memory(), |start| start.unix_time += 86_400 * SECOND);
    bench.call(1);
    bench.sent();
    bench.hear(&[7; 8]);
    assert_eq!(bench.outcomes().len(), 1);
    let ahead = NOON + 86_400 * SECOND;
    assert_eq!(bench.layer.memory(ahead, bench.now).clock_offset, -86_400);
}
