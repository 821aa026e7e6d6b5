//! Both sides, each with the other, with one that a real server has answered, and with what nobody should send.

use std::io;
use std::sync::LazyLock;

use grammers_tl_types::{Deserializable as _, Serializable as _, enums, functions, types};
use proptest::prelude::*;

use super::numbers::padded;
use super::server::NoExchange;
use super::*;

const NOW: i32 = 1_700_000_000;

static SANDBOX: LazyLock<std::sync::Arc<ServerPrivateKey>> =
    LazyLock::new(ServerPrivateKey::of_sandboxes);

/// Random numbers that are the same each time.
fn seeded(seed: u64) -> impl FnMut(&mut [u8]) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    move |bytes| {
        random.fill(bytes);
        Ok(())
    }
}

fn sandbox_key() -> Vec<ServerPublicKey> {
    vec![SANDBOX.public().clone()]
}

/// What became of an exchange: the client's key and the server's, if they have one.
#[derive(Debug)]
struct Outcome {
    client: Result<(ExchangedKey, i32), KeyExchangeError>,
    server: Option<ExchangedKey>,
    /// How many requests were made.
    requests: usize,
}

/// Carries an exchange out. `alter` is given each answer before the client has it, and `judge` how many keys the
/// server has had before. A server that ends it makes the client's end one too.
fn exchange(
    seed: u64,
    judge: impl Fn(usize) -> KeyVerdict,
    mut alter: impl FnMut(usize, &mut Vec<u8>),
) -> Outcome {
    let (mut client, mut request) = KeyExchange::begin(sandbox_key(), seeded(seed)).unwrap();
    let mut server = ServerExchange::new(SANDBOX.clone(), seeded(seed ^ 1));
    let (mut requests, mut had) = (0_usize, None);
    loop {
        let step = server.handle(&request, NOW, |_| judge(requests.saturating_sub(2)));
        requests += 1;
        let mut answer = match step {
            Ok(ServerExchangeStep::Answer(answer)) => answer,
            Ok(ServerExchangeStep::Done(answer, key)) => {
                had = Some(key);
                answer
            }
            Err(NoExchange(why)) => {
                let client = Err(KeyExchangeError::Protocol(why));
                return Outcome { client, server: had, requests };
            }
        };
        alter(requests, &mut answer);
        match client.handle(&answer) {
            Ok(ExchangeStep::Send(next)) => request = next,
            Ok(ExchangeStep::Done(key, time)) => {
                return Outcome { client: Ok((key, time)), server: had, requests };
            }
            Err(error) => return Outcome { client: Err(error), server: had, requests },
        }
    }
}

fn taken(_: usize) -> KeyVerdict {
    KeyVerdict::Taken
}

#[test]
fn both_have_the_same_key_and_salt() {
    let mut keys = Vec::new();
    for seed in 0..3 {
        let outcome = exchange(2 * seed, taken, |_, _| {});
        let ((client, time), server) = (outcome.client.unwrap(), outcome.server.unwrap());
        assert!(client.key == server.key && client.salt == server.salt);
        assert_eq!((time, outcome.requests), (NOW, 3));
        assert!(!keys.contains(&client.key.id()), "no key twice");
        keys.push(client.key.id());
    }
}

#[test]
fn a_key_that_is_not_taken_is_made_anew_a_few_times() {
    let after = |tries, then| move |had| if had < tries { KeyVerdict::Again } else { then };
    let outcome = exchange(7, after(4, KeyVerdict::Taken), |_, _| {});
    assert_eq!(outcome.requests, 3 + 4);
    assert!(outcome.client.unwrap().0.key == outcome.server.unwrap().key);
    let outcome = exchange(7, after(5, KeyVerdict::Taken), |_, _| {});
    assert!(matches!(outcome.client, Err(KeyExchangeError::TriesSpent(5))), "{outcome:?}");
    for tries in [0, 2] {
        let outcome = exchange(7, after(tries, KeyVerdict::Refused), |_, _| {});
        assert!(matches!(outcome.client, Err(KeyExchangeError::Refused)), "{outcome:?}");
        assert!(outcome.server.is_none());
    }
}

#[test]
fn a_server_that_is_not_the_one_that_is_meant_gets_nothing() {
    let telegram = vec![ServerPublicKey::of_telegram(false), ServerPublicKey::of_telegram(true)];
    let (mut client, request) = KeyExchange::begin(telegram, seeded(1)).unwrap();
    let mut server = ServerExchange::new(SANDBOX.clone(), seeded(2));
    let step = server.handle(&request, NOW, |_| KeyVerdict::Taken).unwrap();
    let ServerExchangeStep::Answer(answer) = step else { panic!("there is no answer") };
    let error = client.handle(&answer).unwrap_err();
    let fingerprint = format!("{:016x}", SANDBOX.public().fingerprint());
    assert!(error.to_string().contains(&fingerprint), "{error}");
    let after = client.handle(&answer).unwrap_err();
    assert!(matches!(after, KeyExchangeError::Protocol("an answer after the end")), "{after}");
}

#[test]
fn requests_out_of_turn_are_refused_and_an_exchange_may_begin_anew() {
    let judge = |_: &AuthKey| KeyVerdict::Taken;
    let first = functions::ReqPqMulti { nonce: [1; 16] }.to_bytes();
    let half = functions::SetClientDhParams {
        nonce: [1; 16],
        server_nonce: [2; 16],
        encrypted_data: vec![0; 32],
    };
    let mut server = ServerExchange::new(SANDBOX.clone(), seeded(2));
    for request in
        [half.to_bytes(), vec![], vec![1; 3], first[..19].to_vec(), [&first[..], &[0; 4]].concat()]
    {
        assert!(server.handle(&request, NOW, judge).is_err(), "{request:?}");
    }
    for _ in 0..2 {
        assert!(server.handle(&first, NOW, judge).is_ok());
    }
    // What is out of turn ends it.
    assert!(server.handle(&half.to_bytes(), NOW, judge).is_err());
}

/// The lines of a recorded exchange, by what they are.
fn recorded(what: &str) -> Vec<Vec<u8>> {
    let mut parts: Vec<(&str, String)> = Vec::new();
    for line in include_str!("tests/recorded.txt").lines() {
        match (line.parse::<u8>(), parts.last_mut()) {
            (Err(_), _) if ["random", "request", "answer", "key"].contains(&line) => {
                parts.push((line, String::new()));
            }
            (_, Some((_, digits))) => digits.push_str(line),
            _ => panic!("{line}"),
        }
    }
    let bytes = |digits: &str| {
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    };
    parts.iter().filter(|(name, _)| *name == what).map(|(_, digits)| bytes(digits)).collect()
}

#[test]
fn what_one_of_telegrams_test_servers_was_recorded_to_answer_makes_the_key_that_it_made() {
    let mut random = recorded("random").concat();
    let draw = move |bytes: &mut [u8]| {
        bytes.copy_from_slice(&random[..bytes.len()]);
        random.drain(..bytes.len());
        Ok(())
    };
    let telegram = vec![ServerPublicKey::of_telegram(true)];
    let (mut client, first) = KeyExchange::begin(telegram, draw).unwrap();
    let (requests, mut sent) = (recorded("request"), vec![first]);
    for answer in recorded("answer") {
        match client.handle(&answer).unwrap() {
            ExchangeStep::Send(request) => sent.push(request),
            ExchangeStep::Done(key, _) => {
                assert_eq!(key.key.expose()[..], recorded("key")[0]);
                assert_eq!(key.salt, 4_459_407_212_920_268_508);
            }
        }
    }
    assert_eq!(sent, requests);
}

#[test]
fn what_is_encrypted_with_the_older_padding_is_read() {
    let nonce = [5; 16];
    for (is_whole, dc) in [(true, 2), (true, -10_002), (false, 2)] {
        let mut server = ServerExchange::new(SANDBOX.clone(), seeded(3));
        let first = functions::ReqPq { nonce }.to_bytes();
        let step = server.handle(&first, NOW, |_| KeyVerdict::Taken).unwrap();
        let ServerExchangeStep::Answer(answer) = step else { panic!("there is no answer") };
        let enums::ResPq::Pq(told) = enums::ResPq::from_bytes(&answer).unwrap();
        let (p, q) = numbers::factors(&told.pq).unwrap();
        let (p, q) = (numbers::big_endian(p), numbers::big_endian(q));
        let server_nonce = told.server_nonce;
        let inner = types::PQInnerDataDc {
            pq: told.pq,
            p: p.clone(),
            q: q.clone(),
            nonce,
            server_nonce,
            new_nonce: [9; 32],
            dc,
        };
        let message = enums::PQInnerData::Dc(inner).to_bytes();
        let mut block = [&[0][..], &Sha1::digest(&message)[..], &message].concat();
        block.resize(256, 0x5c);
        block[21 + 4 + 1] ^= u8::from(!is_whole);
        let public = SANDBOX.public();
        let number = num_bigint::BigUint::from_bytes_be(&block);
        let request = functions::ReqDhParams {
            nonce,
            server_nonce,
            p,
            q,
            public_key_fingerprint: public.fingerprint(),
            encrypted_data: padded(&number.modpow(&public.exponent, &public.modulus)).to_vec(),
        };
        let step = server.handle(&request.to_bytes(), NOW, |_| KeyVerdict::Taken);
        assert_eq!(step.is_ok(), is_whole, "{step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_that_is_changed_on_the_way_makes_no_other_key(
        seed in any::<u64>(),
        which in 1_usize..=3,
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let outcome = exchange(seed, taken, |number, answer| {
            if number == which {
                let at = at.index(answer.len());
                answer[at] ^= 1_u8 << bit;
            }
        });
        // What fills up a word after a byte string is not read.
        if let Ok((key, _)) = outcome.client {
            prop_assert!(which == 1 && outcome.server.is_some_and(|had| had.key == key.key));
        }
    }

    #[test]
    fn whatever_comes_at_any_place_makes_no_key_and_no_panic(
        seed in any::<u64>(), which in 1_usize..=3, cut in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let outcome = exchange(seed, taken, |number, answer| {
            if number == which {
                answer.truncate(cut.index(answer.len()));
                answer.extend(&more);
            }
        });
        prop_assert!(outcome.client.is_err());
    }

    #[test]
    fn the_fuzzers_way_to_each_place_is_sound(
        place in any::<u8>(), foreign in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        fuzzing::exchange(&[&[place][..], &foreign].concat());
    }
}
