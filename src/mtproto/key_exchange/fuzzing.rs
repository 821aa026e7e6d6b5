//! Fuzz target of the exchange: what either side may be sent at any place.
//!
//! Owns the way to that place, with a sound other side. Compiled for fuzzing, and for a test that tries a few.

use std::io;

use super::{
    ExchangeStep, KeyExchange, KeyVerdict, ServerExchange, ServerExchangeStep, ServerPrivateKey,
};

/// So many messages go to and fro at the most before a foreign one comes: with as many a key is made.
const SOUND_MAX: u8 = 6;

/// The first byte says where in the exchange the rest is sent in place of a message, to whom, and what becomes of the
/// key. Nobody makes one of what is foreign, and without that both make the same.
pub(crate) fn exchange(data: &[u8]) {
    let Some((place, foreign)) = data.split_first() else { return };
    let random = |bytes: &mut [u8]| -> io::Result<()> {
        fastrand::Rng::with_seed(7).fill(bytes);
        Ok(())
    };
    let key = ServerPrivateKey::of_sandboxes();
    let servers = vec![key.public().clone()];
    let (mut client, mut request) =
        KeyExchange::begin(servers, random).expect("there are numbers enough");
    let mut server = ServerExchange::new(key, random);
    let verdicts = [KeyVerdict::Taken, KeyVerdict::Again, KeyVerdict::Refused];
    let sound = place % (SOUND_MAX + 1);
    let verdict = verdicts[usize::from(place / (SOUND_MAX + 1)) % verdicts.len()];
    for turn in (0..=sound).step_by(2) {
        let left = sound - turn;
        if left == 0 {
            request = foreign.to_vec();
        }
        let step = server.handle(&request, 1, |_| verdict);
        let (answer, had) = match step {
            Ok(ServerExchangeStep::Answer(answer)) => (answer, None),
            Ok(ServerExchangeStep::Done(answer, key)) => (answer, Some(key)),
            Err(_) => return assert_eq!(left, 0, "a sound request is taken"),
        };
        match client.handle(if left == 1 { foreign } else { &answer }) {
            Ok(ExchangeStep::Send(next)) => request = next,
            Ok(ExchangeStep::Done(made, _)) => {
                let is_same = had.is_some_and(|had| had.key == made.key && had.salt == made.salt);
                return assert!(left > 1 && is_same, "a key of nobody's");
            }
            Err(_) => {
                let is_sound = left > 1 && verdict != KeyVerdict::Refused;
                return assert!(!is_sound, "a sound answer is taken");
            }
        }
    }
}
