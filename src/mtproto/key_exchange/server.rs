//! Server's side of the exchange.
//!
//! Owns its place in the exchange and the server's RSA key. Never knows which keys exist: it is told whether one is
//! taken as a new one.

use std::io;
use std::sync::{Arc, LazyLock};

use grammers_tl_types::{Deserializable, Identifiable as _, Serializable as _};
use grammers_tl_types::{enums, functions, types};
use num_bigint::BigUint;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::numbers::{GROUP_LEN, Group, KNOWN_GENERATOR, KNOWN_PRIME, big_endian, hex, padded};
use super::{
    ExchangedKey, HASH_LEN, NewNonce, Nonce, ServerPublicKey, TemporaryCipher, aux_hash, proof,
    read_first, read_whole,
};
use crate::session::AuthKey;

/// Primes of 31 bits, of which a product is made for the client to show that it can count.
const PRIMES: [u64; 6] =
    [1_206_429_347, 1_218_991_343, 1_518_968_219, 1_555_252_417, 1_556_064_227, 1_803_100_129];

/// What the sandbox's key is made of: it is written here, so that it protects nothing, and whoever has a client point
/// at a sandbox gives it the same public key each time.
const SANDBOX_PRIMES: [[u8; 128]; 2] = [
    hex(concat!(
        "dc4dc8c142280cd7224aaa57263a5d6f978090aef09b94b9f3713dcc38f038bc",
        "b7946bc244212bc3d1c6652c72c8a176232ef2d6b1a37e6b2d100ca3402b86a7",
        "51a99c2223634c323b35e71f34895138df2994e06a893057fb9219bb6e0cd554",
        "1abf3d57720572951fd67498df55a6ca52b0af34c7c5e7f38874aec942c7fa69",
    )),
    hex(concat!(
        "c1f4e0e63e60d00e176f5082262f3c3469cdab8976597fbae2e51aa106a2d3d8",
        "b00231bf47f352c9e18366ae26d161d3515f84c93dc41cf9517fadd24ff03b43",
        "56a27b876ee2ff54800786d579bcf1ae35394636307d49a783a1999706a0fce5",
        "cd38670f81680581e7d769888fea3729d6a805f0a9c44bebf72cd08b13434e2f",
    )),
];
const EXPONENT: u32 = 65_537;

/// Key by which a server shows that it is the one that a client means.
pub(crate) struct ServerPrivateKey {
    public: ServerPublicKey,
    exponent: BigUint,
}

impl ServerPrivateKey {
    /// That of every sandbox.
    pub(crate) fn of_sandboxes() -> Arc<Self> {
        static KEY: LazyLock<Arc<ServerPrivateKey>> =
            LazyLock::new(|| Arc::new(ServerPrivateKey::written_here()));
        Arc::clone(&KEY)
    }

    fn written_here() -> Self {
        let [p, q] = SANDBOX_PRIMES.map(|prime| BigUint::from_bytes_be(&prime));
        let (exponent, order) = (BigUint::from(EXPONENT), (&p - 1_u8) * (&q - 1_u8));
        let private = exponent.modinv(&order).expect("BUG: it has an inverse");
        let public = ServerPublicKey::new(p * q, exponent).expect("BUG: it is sound");
        Self { public, exponent: private }
    }

    pub(crate) fn public(&self) -> &ServerPublicKey {
        &self.public
    }

    /// Reads what a client has encrypted to the key, padded in either of the ways that clients have.
    fn open(&self, sealed: &[u8]) -> Option<enums::PQInnerData> {
        let number = BigUint::from_bytes_be(sealed);
        if sealed.len() != GROUP_LEN || number >= self.public.modulus {
            return None;
        }
        let block = Zeroizing::new(padded(&number.modpow(&self.exponent, &self.public.modulus)));
        if let Some(message) = padded_message(&block) {
            return read_first(&message).map(|(inner, _)| inner);
        }
        let (hash, rest) = block.strip_prefix(&[0])?.split_at(HASH_LEN);
        let (inner, len) = read_first(rest)?;
        (hash == &Sha1::digest(&rest[..len])[..]).then_some(inner)
    }
}

/// Undoes the newer padding: a key that is masked by the hash of what it encrypts, and under it the message, turned
/// round, and the hash of both. `None` if that is none.
fn padded_message(block: &[u8; GROUP_LEN]) -> Option<Zeroizing<Vec<u8>>> {
    let (masked, sealed) = block.split_first_chunk::<32>()?;
    let mut key = Zeroizing::new(*masked);
    key.iter_mut().zip(Sha256::digest(sealed)).for_each(|(byte, mask)| *byte ^= mask);
    let mut opened = Zeroizing::new(sealed.to_vec());
    grammers_crypto::aes::ige_decrypt(&mut opened, &key, &[0; 32]);
    let (reversed, hash) = opened.split_at(192);
    let message: Zeroizing<Vec<u8>> = Zeroizing::new(reversed.iter().rev().copied().collect());
    let expected = Sha256::new().chain_update(&key[..]).chain_update(&message[..]).finalize();
    (hash == &expected[..]).then_some(message)
}

/// A request that no client of good faith makes here, or one that is not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no exchange of keys: {0}")]
pub(crate) struct NoExchange(pub(crate) &'static str);

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum ServerExchangeStep {
    /// Send this.
    Answer(Vec<u8>),
    /// The same, by which the client has the key.
    Done(Vec<u8>, ExchangedKey),
}

/// What becomes of a key that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyVerdict {
    Taken,
    /// Another has the same id.
    Again,
    #[cfg(any(test, fuzzing))]
    Refused,
}

/// An exchange under way, or one that may begin. `random` fills a buffer with random numbers.
pub(crate) struct ServerExchange<R> {
    key: Arc<ServerPrivateKey>,
    random: R,
    place: AwaitedRequest,
}

enum AwaitedRequest {
    /// Whatever has been, the first request is waited for.
    Start,
    /// Whether the client finds the factors.
    Factors { nonce: Nonce, server_nonce: Nonce, primes: [u64; 2] },
    /// Its half of the key.
    Half(Box<Half>),
}

struct Half {
    nonce: Nonce,
    server_nonce: Nonce,
    new_nonce: NewNonce,
    secret: Zeroizing<[u8; GROUP_LEN]>,
    /// What the last key that was not taken is known by.
    retry_id: i64,
}

impl<R: FnMut(&mut [u8]) -> io::Result<()>> ServerExchange<R> {
    pub(crate) fn new(key: Arc<ServerPrivateKey>, random: R) -> Self {
        Self { key, random, place: AwaitedRequest::Start }
    }

    /// Takes a request. `judge` is asked about the key. It takes some milliseconds of a core.
    pub(crate) fn handle(
        &mut self,
        request: &[u8],
        unix_time: i32,
        judge: impl FnOnce(&AuthKey) -> KeyVerdict,
    ) -> Result<ServerExchangeStep, NoExchange> {
        let place = std::mem::replace(&mut self.place, AwaitedRequest::Start);
        let constructor = request.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        match (constructor, place) {
            // A client may begin anew at any time.
            (functions::ReqPq::CONSTRUCTOR_ID, _) => {
                self.begin(read::<functions::ReqPq>(request)?.nonce)
            }
            (functions::ReqPqMulti::CONSTRUCTOR_ID, _) => {
                self.begin(read::<functions::ReqPqMulti>(request)?.nonce)
            }
            (
                functions::ReqDhParams::CONSTRUCTOR_ID,
                AwaitedRequest::Factors { nonce, server_nonce, primes },
            ) => self.offer(read(request)?, (nonce, server_nonce), primes, unix_time),
            (functions::SetClientDhParams::CONSTRUCTOR_ID, AwaitedRequest::Half(half)) => {
                self.finish(read(request)?, *half, judge)
            }
            _ => Err(NoExchange("a request out of turn")),
        }
    }

    fn begin(&mut self, nonce: Nonce) -> Result<ServerExchangeStep, NoExchange> {
        let (mut server_nonce, mut choice) = ([0; 16], [0; 2]);
        self.fill(&mut server_nonce)?;
        self.fill(&mut choice)?;
        let first = usize::from(choice[0]) % PRIMES.len();
        let second = (first + 1 + usize::from(choice[1]) % (PRIMES.len() - 1)) % PRIMES.len();
        let mut primes = [PRIMES[first], PRIMES[second]];
        primes.sort_unstable();
        let answer = enums::ResPq::Pq(types::ResPq {
            nonce,
            server_nonce,
            pq: big_endian(primes[0] * primes[1]),
            server_public_key_fingerprints: vec![self.key.public.fingerprint()],
        });
        self.place = AwaitedRequest::Factors { nonce, server_nonce, primes };
        Ok(ServerExchangeStep::Answer(answer.to_bytes()))
    }

    fn offer(
        &mut self,
        request: functions::ReqDhParams,
        (nonce, server_nonce): (Nonce, Nonce),
        primes: [u64; 2],
        server_time: i32,
    ) -> Result<ServerExchangeStep, NoExchange> {
        let [p, q] = primes.map(big_endian);
        let is_ours = (request.nonce, request.server_nonce) == (nonce, server_nonce);
        if !is_ours || (&request.p, &request.q) != (&p, &q) {
            return Err(NoExchange("other numbers than it was given"));
        }
        if request.public_key_fingerprint != self.key.public.fingerprint() {
            return Err(NoExchange("encrypted to another server"));
        }
        let inner = self.key.open(&request.encrypted_data);
        let (told, new_nonce) = match inner
            .ok_or(NoExchange("what is encrypted can not be read"))?
        {
            enums::PQInnerData::Data(it) => ((it.p, it.q, it.nonce, it.server_nonce), it.new_nonce),
            enums::PQInnerData::Dc(it) => ((it.p, it.q, it.nonce, it.server_nonce), it.new_nonce),
            enums::PQInnerData::Temp(_) | enums::PQInnerData::TempDc(_) => {
                return Err(NoExchange("keys that expire are not served"));
            }
        };
        if told != (p, q, nonce, server_nonce) {
            return Err(NoExchange("other numbers are encrypted than are sent"));
        }
        let new_nonce = Zeroizing::new(new_nonce);
        let mut secret = Zeroizing::new([0; GROUP_LEN]);
        self.fill(&mut secret[..])?;
        let mut padding = [0; 16];
        self.fill(&mut padding)?;
        let inner = enums::ServerDhInnerData::Data(types::ServerDhInnerData {
            nonce,
            server_nonce,
            g: KNOWN_GENERATOR,
            dh_prime: KNOWN_PRIME.to_vec(),
            g_a: padded(&Group::known().public(&secret)).to_vec(),
            server_time,
        });
        let cipher = TemporaryCipher::new(&server_nonce, &new_nonce);
        let answer = enums::ServerDhParams::Ok(types::ServerDhParamsOk {
            nonce,
            server_nonce,
            encrypted_answer: cipher.seal(&inner.to_bytes(), &padding),
        });
        let half = Half { nonce, server_nonce, new_nonce, secret, retry_id: 0 };
        self.place = AwaitedRequest::Half(Box::new(half));
        Ok(ServerExchangeStep::Answer(answer.to_bytes()))
    }

    fn finish(
        &mut self,
        request: functions::SetClientDhParams,
        mut half: Half,
        judge: impl FnOnce(&AuthKey) -> KeyVerdict,
    ) -> Result<ServerExchangeStep, NoExchange> {
        let (nonce, server_nonce) = (half.nonce, half.server_nonce);
        let cipher = TemporaryCipher::new(&server_nonce, &half.new_nonce);
        let opened = cipher.open(request.encrypted_data);
        let opened = opened.ok_or(NoExchange("its half can not be read"))?;
        let enums::ClientDhInnerData::Data(inner) = opened;
        let is_ours = (request.nonce, request.server_nonce) == (nonce, server_nonce)
            && (inner.nonce, inner.server_nonce) == (nonce, server_nonce);
        let (group, client_half) = (Group::known(), BigUint::from_bytes_be(&inner.g_b));
        if !is_ours || inner.retry_id != half.retry_id || !group.is_safe(&client_half) {
            return Err(NoExchange("its half is of another exchange, or not safe"));
        }
        let key = AuthKey::new(group.shared(&client_half, &half.secret));
        let hash = |number| proof(&half.new_nonce, number, &key);
        let answer = match judge(&key) {
            KeyVerdict::Taken => {
                let new_nonce_hash1 = hash(1);
                let answer = types::DhGenOk { nonce, server_nonce, new_nonce_hash1 };
                let answer = enums::SetClientDhParamsAnswer::DhGenOk(answer).to_bytes();
                let key = ExchangedKey::new(key, &server_nonce, &half.new_nonce);
                return Ok(ServerExchangeStep::Done(answer, key));
            }
            KeyVerdict::Again => {
                let new_nonce_hash2 = hash(2);
                half.retry_id = i64::from_le_bytes(aux_hash(&key));
                self.place = AwaitedRequest::Half(Box::new(half));
                let answer = types::DhGenRetry { nonce, server_nonce, new_nonce_hash2 };
                enums::SetClientDhParamsAnswer::DhGenRetry(answer)
            }
            #[cfg(any(test, fuzzing))]
            KeyVerdict::Refused => {
                let new_nonce_hash3 = hash(3);
                let answer = types::DhGenFail { nonce, server_nonce, new_nonce_hash3 };
                enums::SetClientDhParamsAnswer::DhGenFail(answer)
            }
        };
        Ok(ServerExchangeStep::Answer(answer.to_bytes()))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoExchange> {
        (self.random)(bytes).map_err(|_| NoExchange("there are no random numbers"))
    }
}

/// Reads a request, and that nothing follows it. Its constructor has been looked at.
fn read<T: Deserializable>(request: &[u8]) -> Result<T, NoExchange> {
    let arguments = request.get(4..).unwrap_or_default();
    read_whole(arguments).ok_or(NoExchange("a request that can not be read"))
}
