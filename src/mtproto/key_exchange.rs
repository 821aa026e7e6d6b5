//! Exchange of a new authorization key: three requests and their answers, before anything is encrypted.
//!
//! Owns both sides of it, as machines that are given each message and return the next. Neither reads or writes
//! anything, and neither knows what the key is for: a new one is nobody's.
//!
//! # The exchange
//! 1. The client sends a number of its own, the server sends one of its own, a product of two primes, and
//!    which of its RSA keys the client may choose from.
//! 2. The client sends the two primes and, encrypted to the server's key, a second number. From that and the server's
//!    own both derive a cipher, under which the server sends the parameters of a Diffie-Hellman exchange.
//! 3. The client sends its half of that. Both have the key now, and the server proves it by a hash.
//!
//! # What the client checks
//! Every number that the server repeats, each hash, that the group is one that is safe to use and the server's half
//! one that tells nothing of ours, before anything is answered. An answer out of turn, of another exchange or with
//! more than it should have ends the exchange.

#[cfg(feature = "telegram")]
mod client;
#[cfg(feature = "telegram")]
mod error;
#[cfg(all(feature = "sandbox", feature = "telegram", any(test, fuzzing)))]
pub(crate) mod fuzzing;
mod numbers;
mod public_key;
#[cfg(feature = "sandbox")]
mod server;
#[cfg(feature = "telegram")]
mod telegram_keys;

use grammers_crypto::generate_key_data_from_nonce;
use grammers_tl_types::{Cursor, Deserializable};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

#[cfg(feature = "telegram")]
pub(crate) use self::client::{ExchangeStep, KeyExchange};
#[cfg(feature = "telegram")]
pub use self::error::KeyExchangeError;
pub(crate) use self::numbers::Group;
#[cfg(feature = "sandbox")]
pub(crate) use self::numbers::KNOWN_GENERATOR;
#[cfg(any(test, feature = "sandbox"))]
pub(crate) use self::numbers::KNOWN_PRIME;
pub(crate) use self::numbers::padded;
pub use self::public_key::ServerPublicKey;
#[cfg(feature = "sandbox")]
pub(crate) use self::server::{
    KeyVerdict, NoExchange, ServerExchange, ServerExchangeStep, ServerPrivateKey,
};
use crate::session::AuthKey;

/// A number that one side has chosen for this exchange.
type Nonce = [u8; 16];
/// The one that only the server can read.
type NewNonce = Zeroizing<[u8; 32]>;

/// A new key, which nobody is logged in with.
#[derive(Debug)]
pub(crate) struct ExchangedKey {
    pub(crate) key: AuthKey,
    /// What the server's first half hour is salted with.
    pub(crate) salt: i64,
}

impl ExchangedKey {
    fn new(key: AuthKey, server_nonce: &Nonce, new_nonce: &NewNonce) -> Self {
        let mut salt = [0; 8];
        for (byte, (a, b)) in salt.iter_mut().zip(new_nonce.iter().zip(server_nonce)) {
            *byte = a ^ b;
        }
        Self { key, salt: i64::from_le_bytes(salt) }
    }
}

/// The cipher between the second answer and the third request: a key and an initialization vector.
struct TemporaryCipher(Zeroizing<([u8; 32], [u8; 32])>);

impl TemporaryCipher {
    fn new(server_nonce: &Nonce, new_nonce: &NewNonce) -> Self {
        Self(Zeroizing::new(generate_key_data_from_nonce(server_nonce, new_nonce)))
    }

    /// Encrypts a message in front of which its hash stands; `padding` fills the last block.
    fn seal(&self, message: &[u8], padding: &[u8; 16]) -> Vec<u8> {
        let mut sealed = [&Sha1::digest(message)[..], message].concat();
        let missing = sealed.len().next_multiple_of(16) - sealed.len();
        sealed.extend(&padding[..missing]);
        grammers_crypto::aes::ige_encrypt(&mut sealed, &self.0.0, &self.0.1);
        sealed
    }

    /// Decrypts and reads one: its hash is checked, and that nothing follows but the padding.
    fn open<M: Deserializable>(&self, mut sealed: Vec<u8>) -> Option<M> {
        if sealed.is_empty() || !sealed.len().is_multiple_of(16) {
            return None;
        }
        grammers_crypto::aes::ige_decrypt(&mut sealed, &self.0.0, &self.0.1);
        let (hash, rest) = sealed.split_at_checked(HASH_LEN)?;
        let (message, len) = read_first(rest)?;
        let (told, padding) = rest.split_at_checked(len)?;
        (hash == &Sha1::digest(told)[..] && padding.len() < 16).then_some(message)
    }
}

/// Reads what stands first, and how long it is.
fn read_first<M: Deserializable>(bytes: &[u8]) -> Option<(M, usize)> {
    let mut cursor = Cursor::from_slice(bytes);
    let message = M::deserialize(&mut cursor).ok()?;
    Some((message, cursor.pos()))
}

/// Reads what nothing follows.
fn read_whole<M: Deserializable>(bytes: &[u8]) -> Option<M> {
    let (message, len) = read_first(bytes)?;
    (len == bytes.len()).then_some(message)
}

/// How long a hash is.
const HASH_LEN: usize = 20;

/// What a key is known by to both and to nobody else.
fn aux_hash(key: &AuthKey) -> [u8; 8] {
    let hash = Sha1::digest(key.expose());
    let mut aux = [0; 8];
    aux.copy_from_slice(&hash[..8]);
    aux
}

/// What proves to the client that the server has the key. `number` is 1 if it is taken, 2 if another is to be made
/// and 3 if it is refused.
fn proof(new_nonce: &NewNonce, number: u8, key: &AuthKey) -> [u8; 16] {
    tail(
        Sha1::new().chain_update(&new_nonce[..]).chain_update([number]).chain_update(aux_hash(key)),
    )
}

/// What proves that the server has read the new nonce, and refuses it.
#[cfg(feature = "telegram")]
fn refusal(new_nonce: &NewNonce) -> [u8; 16] {
    tail(Sha1::new().chain_update(&new_nonce[..]))
}

fn tail(hash: Sha1) -> [u8; 16] {
    let mut tail = [0; 16];
    tail.copy_from_slice(&hash.finalize()[4..]);
    tail
}

#[cfg(test)]
#[cfg(all(feature = "sandbox", feature = "telegram"))]
mod tests;
