//! What no sound server sends.

use proptest::prelude::*;

use super::*;
use crate::telegram::wire::fuzzing;
use crate::telegram::wire::session::id_at;
use crate::telegram::wire::tests::server::{
    bad_salt, container, enclose, gzip, longs, refusal, rpc_error,
};
use crate::telegram::wire::tl::{
    ACK, ALL_INFO, BAD_MESSAGE, BAD_SALT, CONTAINER, COPY, DETAILED_INFO, FUTURE_SALTS,
    GZIP_PACKED, HTTP_WAIT, NEW_DETAILED_INFO, NEW_SESSION, PING, PONG, RESEND_REQUEST, RPC_ERROR,
    RPC_RESULT, STATE_INFO, STATE_REQUEST, put_bytes, put_longs,
};

/// A message with an id of now.
fn message(bench: &mut Bench, body: &[u8]) -> Vec<u8> {
    let id = bench.server.next_id();
    enclose(id, 1, body)
}

#[test]
fn a_packet_that_was_tampered_with_is_the_end() {
    let mut bench = Bench::opened();
    let whole = bench.server.say(&[7; 8]);
    for at in [0, 9, 30, whole.len() - 1] {
        let mut packet = whole.clone();
        packet[at] ^= 1;
        assert!(matches!(bench.hear_raw(&packet), Err(WireEnd::Protocol(_))), "byte {at}");
    }
    for len in [0, 7, 24, 40, whole.len() - 1] {
        assert!(bench.hear_raw(&whole[..len]).is_err(), "{len} bytes");
    }
    assert!(bench.hear_raw(&whole).is_ok());
}

#[test]
fn what_is_malformed_is_the_end_and_what_is_of_another_session_is_left_out() {
    let mut bench = Bench::opened();
    let id = bench.server.next_id();
    let even = enclose(id - 1, 1, &[7; 8]);
    let ragged = enclose(id, 1, &[7; 7]);
    let short = enclose(id, 1, &[]);
    let mut negative = enclose(id, 1, &[7; 8]);
    negative[12..16].copy_from_slice(&(-4_i32).to_le_bytes());
    let mut long = enclose(id, 1, &[7; 8]);
    long[12..16].copy_from_slice(&i32::MAX.to_le_bytes());
    let mut crowded = container(&[]);
    crowded[4..8].copy_from_slice(&2_u32.to_le_bytes());
    let crowded = enclose(id, 1, &crowded);
    // The whole of the message lies in its padding.
    let padded = [enclose(id, 1, &[7; 8]), vec![0; 1024]].concat();
    for (what, message) in [
        ("even", even),
        ("ragged", ragged),
        ("short", short),
        ("negative", negative),
        ("long", long),
        ("crowded", crowded),
        ("padded", padded),
    ] {
        let packet = bench.server.seal(&message);
        let end = bench.hear_raw(&packet).unwrap_err();
        assert!(matches!(end, WireEnd::Protocol(_)), "{what}: {end}");
    }
    bench.server.session ^= 1;
    bench.hear(&[7; 8]);
    assert_eq!(bench.outcomes(), []);
}

#[test]
fn bombs_cost_an_answer_or_the_connection_and_neither_memory_nor_time() {
    let limits = |start: &mut LayerStart<'_>| {
        start.limits.unpacked_message_max = 1_000_000;
        start.limits.unpacked_packet_max = 2_500_000;
        start.limits.messages_max = 100;
    };
    let mut bench = Bench::opened_with(limits);
    (1..=4).for_each(|number| bench.call(number));
    let ids: Vec<i64> = bench.sent().messages.iter().map(|sent| sent.id).collect();
    let large = gzip(&vec![7; 1_000_000]);
    let answers: Vec<Vec<u8>> = ids.iter().map(|id| result(*id, &large)).collect();
    bench.hear_all(&answers);
    let kinds: Vec<bool> =
        bench.outcomes().iter().map(|it| matches!(it, Outcome::Answer(..))).collect();
    assert_eq!(kinds, [true, true, false, false], "the packet's allowance is spent");
    bench.call(1);
    let id = bench.sent().messages[0].id;
    bench.hear(&result(id, &gzip(&vec![7; 1_000_001])));
    let [(1, error)] = &bench.errors()[..] else { panic!("one call") };
    assert!(matches!(error, WireError::Answer(_)) && error.may_be_carried_out(), "{error}");

    let bomb = gzip(&vec![7; 1_000_004]);
    assert!(matches!(bench.try_hear(&bomb), Err(WireEnd::Protocol(_))));
    let mut bench = Bench::opened_with(limits);
    let many: Vec<Vec<u8>> = (0..101).map(|_| message(&mut bench, &[7; 4])).collect();
    assert!(matches!(bench.try_hear(&container(&many)), Err(WireEnd::Protocol(_))));
}

#[test]
fn messages_lie_in_each_other_only_as_deep_as_allowed() {
    // A compressed container of compressed answers is what sound servers may come to.
    let mut bench = Bench::opened();
    bench.call(1);
    let id = bench.sent().messages[0].id;
    let inner = message(&mut bench, &gzip(&result(id, &gzip(&ANSWER))));
    bench.hear(&gzip(&container(&[inner])));
    assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);
    type Wrap = fn(&mut Bench, Vec<u8>) -> Vec<u8>;
    let wraps: [Wrap; 3] = [
        |bench, body| container(&[message(bench, &body)]),
        |_, body| gzip(&body),
        |bench, body| [&COPY.to_le_bytes()[..], &message(bench, &body)].concat(),
    ];
    for wrap in wraps {
        let mut bench = Bench::opened();
        let mut body = longs(PING, &[4]);
        for _ in 0..50 {
            body = wrap(&mut bench, body);
        }
        assert!(matches!(bench.try_hear(&body), Err(WireEnd::Protocol(_))));
    }
}

#[test]
fn a_server_that_never_stops_asking_gets_no_more_than_fits() {
    let mut bench = Bench::opened();
    let asked: Vec<i64> = (0..8_192).collect();
    for _ in 0..300 {
        for constructor in [STATE_REQUEST, RESEND_REQUEST] {
            let mut body = constructor.to_le_bytes().to_vec();
            put_longs(&mut body, &asked);
            bench.hear(&body);
        }
        let next = bench.server.next_id() + 4_000_000;
        bench.hear(&[&longs(NEW_DETAILED_INFO, &[next])[..], &[0; 8]].concat());
    }
    let packets: usize = std::iter::from_fn(|| bench.try_sent()).count();
    assert!(packets <= 5, "{packets} packets");
}

#[test]
fn what_a_fuzzer_may_find_is_looked_for_a_little() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..8_000 {
        let (mut data, mut id) = (Vec::new(), NOON_ID | 1);
        for _ in 0..random.usize(1..64) {
            let kind = random.u8(..);
            data.push(kind);
            if kind % 4 > 1 {
                // What is unsound ends most connections.
                let body = match random.u8(..40) {
                    0 => unsound(&mut random),
                    _ => sound(&mut random),
                };
                id += random.i64(0..40) * 2;
                let message = enclose(id, 1, &body);
                data.extend(u16::try_from(message.len()).unwrap().to_le_bytes());
                data.extend(message);
            }
        }
        fuzzing::wire(&data);
    }
}

/// What a server may say about a message that it got.
fn sound(random: &mut fastrand::Rng) -> Vec<u8> {
    const CODES: [i32; 9] = [16, 17, 18, 19, 20, 32, 48, 64, 99];
    let back = random.u32(1..10);
    let id = fuzzing::mark(random.u32(..back));
    let mut body = Vec::new();
    match random.u8(..15) {
        0 => body = refusal(id, CODES[random.usize(..CODES.len())]),
        1 => body = bad_salt(id, random.i64(1..4)),
        2 => body = result(id, &rpc_error(400, "CONNECTION_NOT_INITED")),
        3 => body = result(id, &ANSWER),
        4 | 9 | 10 => body = new_session(id, 3),
        5 | 11..=13 => {
            body = longs(STATE_INFO, &[id]);
            put_bytes(&mut body, &[(); 9].map(|()| random.u8(1..5)));
        }
        6 | 14 => {
            body.extend(RESEND_REQUEST.to_le_bytes());
            put_longs(&mut body, &[id, fuzzing::mark(random.u32(..back))]);
        }
        7 => body = pong(id),
        _ => body = [&longs(DETAILED_INFO, &[id, NOON_ID | 1])[..], &[0; 8]].concat(),
    }
    body
}

/// And what it may not.
fn unsound(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = CONSTRUCTORS[random.usize(..CONSTRUCTORS.len())].to_le_bytes().to_vec();
    body.extend((0..random.usize(..12)).flat_map(|_| match random.u8(..6) {
        0 => 0x1cb5_c415_u32.to_le_bytes(),
        1 => random.u32(..).to_le_bytes(),
        2 => CONSTRUCTORS[random.usize(..CONSTRUCTORS.len())].to_le_bytes(),
        _ => random.u32(..9).to_le_bytes(),
    }));
    body
}

const CONSTRUCTORS: [u32; 18] = [
    ACK,
    ALL_INFO,
    BAD_MESSAGE,
    BAD_SALT,
    CONTAINER,
    COPY,
    DETAILED_INFO,
    FUTURE_SALTS,
    GZIP_PACKED,
    HTTP_WAIT,
    NEW_DETAILED_INFO,
    NEW_SESSION,
    PONG,
    RESEND_REQUEST,
    RPC_ERROR,
    RPC_RESULT,
    STATE_INFO,
    STATE_REQUEST,
];

/// Something like a message: words that mean something here, and such as do not.
fn words(ids: &'static [i64]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => proptest::sample::select(&CONSTRUCTORS[..]).prop_map(|it| it.to_le_bytes().to_vec()),
        2 => proptest::sample::select(ids).prop_map(|it| it.to_le_bytes().to_vec()),
        3 => (0_u32..70).prop_map(|it| it.to_le_bytes().to_vec()),
        1 => any::<u32>().prop_map(|it| it.to_le_bytes().to_vec()),
        1 => Just(0x1cb5_c415_u32.to_le_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            let mut out = Vec::new();
            put_bytes(&mut out, &bytes);
            out
        }),
    ];
    let leaf = proptest::collection::vec(word, 1..12).prop_map(|words| words.concat());
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|body| gzip(&body)),
            inner.clone().prop_map(|body| result(LATELY[1], &body)),
            proptest::collection::vec((0_i64..9, inner), 1..4).prop_map(|bodies| {
                let each = bodies.iter().map(|(at, body)| enclose((NOON_ID | 1) + 4 * at, 1, body));
                container(&each.collect::<Vec<_>>())
            }),
        ]
    })
}

const NOON_ID: i64 = 1_700_000_000 << 32;
/// The ids of what was sent lately, as marks in their place, and of what was not.
static LATELY: std::sync::LazyLock<[i64; 5]> = std::sync::LazyLock::new(|| {
    [fuzzing::mark(0), fuzzing::mark(1), fuzzing::mark(2), fuzzing::mark(5), i64::MIN]
});

proptest! {
    #[test]
    fn whatever_a_server_says_ends_the_connection_or_leaves_it_working(
        said in proptest::collection::vec((words(&*LATELY), 0_u64..20), 1..8)
    ) {
        assert_eq!(id_at(NOON), NOON_ID);
        let mut bench = Bench::opened();
        let mut sent = Vec::new();
        for (number, (body, pause)) in (0_u8..).zip(said) {
            bench.call(number);
            while let Some(packet) = bench.try_sent() {
                sent.extend(packet.messages.iter().map(|it| it.id).chain([packet.id]));
            }
            let mut body = body;
            body.resize(body.len().next_multiple_of(4), 0);
            fuzzing::put_ids(&mut body, &sent);
            if bench.try_hear(&body).is_err() {
                return Ok(());
            }
            bench.outcomes();
            bench.advance(Duration::from_secs(pause));
            if bench.layer.handle_timeout(bench.now).is_err() {
                return Ok(());
            }
        }
        // It ends all the same.
        bench.layer.end(&WireEnd::HungUp);
        bench.outcomes();
        prop_assert!(bench.layer.is_idle());
    }

    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut bench = Bench::opened();
        bench.hear_raw(&bytes).unwrap_err();
        let mut plain = [[0; 8], bench.server.session.to_le_bytes()].concat();
        plain.extend(bytes);
        let packet = bench.server.seal_plain(&plain);
        bench.hear_raw(&packet).ok();
        bench.outcomes();
    }
}
