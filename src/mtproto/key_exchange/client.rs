//! Client's side of the exchange.
//!
//! Owns its place in the exchange, and the secrets of it, which are wiped but for what the arithmetic leaves behind.
//! Never takes more than one answer to a question.

use std::io;

use grammers_tl_types::{Deserializable, Serializable as _, enums, functions, types};
use num_bigint::BigUint;
use zeroize::Zeroizing;

use super::numbers::{GROUP_LEN, Group, big_endian, factors};
use super::{
    ExchangedKey, KeyExchangeError, NewNonce, Nonce, ServerPublicKey, TemporaryCipher, aux_hash,
    proof, read_whole, refusal,
};
use crate::session::AuthKey;

/// How many keys are made if the server does not take the first.
const TRIES_MAX: u32 = 5;

const NOT_OURS: KeyExchangeError = KeyExchangeError::Protocol("an answer is of another exchange");

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum ExchangeStep {
    /// Send this, and wait for the answer.
    Send(Vec<u8>),
    /// There is a key. The other number is the server's clock, in seconds since 1970.
    Done(ExchangedKey, i32),
}

/// An exchange under way. `random` fills a buffer with what nobody can guess.
pub(crate) struct KeyExchange<R> {
    servers: Vec<ServerPublicKey>,
    random: R,
    nonce: Nonce,
    place: AwaitedAnswer,
}

/// What is waited for.
enum AwaitedAnswer {
    /// The server's number and product.
    Product,
    /// The parameters.
    Parameters { server_nonce: Nonce, new_nonce: NewNonce },
    /// The proof.
    Proof(Box<Candidate>),
    /// Nothing: it is over, with or without a key.
    Over,
}

/// A key that the server has not taken yet.
struct Candidate {
    server_nonce: Nonce,
    new_nonce: NewNonce,
    group: Group,
    server_half: BigUint,
    server_time: i32,
    key: AuthKey,
    /// How many were made.
    tries: u32,
}

impl<R: FnMut(&mut [u8]) -> io::Result<()>> KeyExchange<R> {
    /// Begins with the first request. The server must have one of these keys.
    pub(crate) fn begin(
        servers: Vec<ServerPublicKey>,
        mut random: R,
    ) -> Result<(Self, Vec<u8>), KeyExchangeError> {
        let mut nonce = [0; 16];
        random(&mut nonce)?;
        let request = functions::ReqPqMulti { nonce }.to_bytes();
        Ok((Self { servers, random, nonce, place: AwaitedAnswer::Product }, request))
    }

    /// Takes the answer to what was sent last. After an error, and after the end, nothing more is taken. It takes
    /// some milliseconds of a core.
    pub(crate) fn handle(&mut self, answer: &[u8]) -> Result<ExchangeStep, KeyExchangeError> {
        match std::mem::replace(&mut self.place, AwaitedAnswer::Over) {
            AwaitedAnswer::Product => self.handle_product(read(answer)?),
            AwaitedAnswer::Parameters { server_nonce, new_nonce } => {
                self.handle_parameters(read(answer)?, server_nonce, new_nonce)
            }
            AwaitedAnswer::Proof(candidate) => self.handle_proof(read(answer)?, *candidate),
            AwaitedAnswer::Over => Err(KeyExchangeError::Protocol("an answer after the end")),
        }
    }

    fn handle_product(&mut self, answer: enums::ResPq) -> Result<ExchangeStep, KeyExchangeError> {
        let enums::ResPq::Pq(answer) = answer;
        let types::ResPq { nonce, server_nonce, pq, server_public_key_fingerprints: offered } =
            answer;
        if nonce != self.nonce {
            return Err(NOT_OURS);
        }
        let known = self.servers.iter().find(|it| offered.contains(&it.fingerprint()));
        let Some(server) = known.cloned() else {
            return Err(KeyExchangeError::UnknownServer(offered));
        };
        let (p, q) = factors(&pq)?;
        let (p, q) = (big_endian(p), big_endian(q));
        let mut new_nonce = NewNonce::default();
        (self.random)(&mut new_nonce[..])?;
        let mut padding = Zeroizing::new([0; 224]);
        (self.random)(&mut padding[..])?;
        let secret = enums::PQInnerData::Data(types::PQInnerData {
            pq,
            p: p.clone(),
            q: q.clone(),
            nonce: self.nonce,
            server_nonce,
            new_nonce: *new_nonce,
        });
        let secret = Zeroizing::new(secret.to_bytes());
        let request = functions::ReqDhParams {
            nonce: self.nonce,
            server_nonce,
            p,
            q,
            public_key_fingerprint: server.fingerprint(),
            encrypted_data: server.seal(&secret, &padding),
        };
        self.place = AwaitedAnswer::Parameters { server_nonce, new_nonce };
        Ok(ExchangeStep::Send(request.to_bytes()))
    }

    fn handle_parameters(
        &mut self,
        answer: enums::ServerDhParams,
        server_nonce: Nonce,
        new_nonce: NewNonce,
    ) -> Result<ExchangeStep, KeyExchangeError> {
        let sealed = match answer {
            enums::ServerDhParams::Ok(it)
                if self.is_ours(&it.nonce, &it.server_nonce, &server_nonce) =>
            {
                it.encrypted_answer
            }
            enums::ServerDhParams::Fail(it)
                if self.is_ours(&it.nonce, &it.server_nonce, &server_nonce)
                    && it.new_nonce_hash == refusal(&new_nonce) =>
            {
                return Err(KeyExchangeError::Refused);
            }
            _ => return Err(NOT_OURS),
        };
        let cipher = TemporaryCipher::new(&server_nonce, &new_nonce);
        let Some(enums::ServerDhInnerData::Data(inner)) = cipher.open(sealed) else {
            return Err(KeyExchangeError::Protocol("its parameters were changed on the way"));
        };
        if !self.is_ours(&inner.nonce, &inner.server_nonce, &server_nonce) {
            return Err(NOT_OURS);
        }
        let group = Group::checked(&inner.dh_prime, inner.g)?;
        let server_half = BigUint::from_bytes_be(&inner.g_a);
        if !group.is_safe(&server_half) {
            return Err(KeyExchangeError::Protocol("its half of the key is not safe"));
        }
        let server_time = inner.server_time;
        let key = AuthKey::new([0; AuthKey::LEN]);
        self.propose(
            Candidate { server_nonce, new_nonce, group, server_half, server_time, key, tries: 0 },
            0,
        )
    }

    /// Makes a key, and sends our half of it.
    fn propose(
        &mut self,
        mut candidate: Candidate,
        retry_id: i64,
    ) -> Result<ExchangeStep, KeyExchangeError> {
        let mut secret = Zeroizing::new([0; GROUP_LEN]);
        (self.random)(&mut secret[..])?;
        let mut padding = [0; 16];
        (self.random)(&mut padding)?;
        let group = &candidate.group;
        let half = group.public(&secret);
        if !group.is_safe(&half) {
            // One in 2^63, or random numbers that are none.
            return Err(io::Error::other("they are not random").into());
        }
        candidate.key = AuthKey::new(group.shared(&candidate.server_half, &secret));
        candidate.tries += 1;
        let inner = enums::ClientDhInnerData::Data(types::ClientDhInnerData {
            nonce: self.nonce,
            server_nonce: candidate.server_nonce,
            retry_id,
            g_b: half.to_bytes_be(),
        });
        let cipher = TemporaryCipher::new(&candidate.server_nonce, &candidate.new_nonce);
        let request = functions::SetClientDhParams {
            nonce: self.nonce,
            server_nonce: candidate.server_nonce,
            encrypted_data: cipher.seal(&inner.to_bytes(), &padding),
        };
        self.place = AwaitedAnswer::Proof(Box::new(candidate));
        Ok(ExchangeStep::Send(request.to_bytes()))
    }

    fn handle_proof(
        &mut self,
        answer: enums::SetClientDhParamsAnswer,
        candidate: Candidate,
    ) -> Result<ExchangeStep, KeyExchangeError> {
        use enums::SetClientDhParamsAnswer::{DhGenFail, DhGenOk, DhGenRetry};
        let (number, nonce, server_nonce, hash) = match answer {
            DhGenOk(it) => (1, it.nonce, it.server_nonce, it.new_nonce_hash1),
            DhGenRetry(it) => (2, it.nonce, it.server_nonce, it.new_nonce_hash2),
            DhGenFail(it) => (3, it.nonce, it.server_nonce, it.new_nonce_hash3),
        };
        if !self.is_ours(&nonce, &server_nonce, &candidate.server_nonce)
            || hash != proof(&candidate.new_nonce, number, &candidate.key)
        {
            return Err(NOT_OURS);
        }
        match number {
            1 => {
                let Candidate { server_nonce, new_nonce, server_time, key, .. } = candidate;
                let key = ExchangedKey::new(key, &server_nonce, &new_nonce);
                Ok(ExchangeStep::Done(key, server_time))
            }
            2 if candidate.tries < TRIES_MAX => {
                let retry_id = i64::from_le_bytes(aux_hash(&candidate.key));
                self.propose(candidate, retry_id)
            }
            2 => Err(KeyExchangeError::TriesSpent(TRIES_MAX)),
            _ => Err(KeyExchangeError::Refused),
        }
    }

    fn is_ours(&self, nonce: &Nonce, server_nonce: &Nonce, expected: &Nonce) -> bool {
        *nonce == self.nonce && server_nonce == expected
    }
}

/// Reads an answer, and that nothing follows it.
fn read<T: Deserializable>(answer: &[u8]) -> Result<T, KeyExchangeError> {
    read_whole(answer).ok_or(KeyExchangeError::Protocol("an answer is not one to what was asked"))
}
