//! Password of an account, as a server knows it: not at all.
//!
//! Owns the server's side of <https://core.telegram.org/api/srp>: what a password comes to is kept, and each trial
//! has numbers of its own.

use grammers_tl_types::{enums, types};
use num_bigint::BigUint;
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest as _, Sha256, Sha512};

use crate::mtproto::key_exchange::{Group, KNOWN_GENERATOR, KNOWN_PRIME, padded};

/// How often the hash is repeated that makes guessing slow.
const ROUNDS: u32 = 100_000;
const SALT_LEN: usize = 16;

/// What is kept of a password.
pub(in crate::sandbox) struct AccountPassword {
    salts: [Vec<u8>; 2],
    /// The generator to the power of what the password comes to.
    verifier: BigUint,
    hint: Option<String>,
}

/// A trial: good for one password.
pub(in crate::sandbox) struct PasswordTrial {
    id: i64,
    secret: [u8; 256],
    half: [u8; 256],
}

impl AccountPassword {
    /// Takes a tenth of a second or more.
    pub(in crate::sandbox) fn new(
        password: &str,
        hint: Option<&str>,
        random: &mut fastrand::Rng,
    ) -> Self {
        let mut salt = || (0..SALT_LEN).map(|_| random.u8(..)).collect::<Vec<_>>();
        let salts = [salt(), salt()];
        let secret = padded(&BigUint::from_bytes_be(&slow_hash(password, &salts)));
        let verifier = Group::known().public(&secret);
        Self { salts, verifier, hint: hint.map(str::to_owned) }
    }

    /// Begins a trial.
    pub(in crate::sandbox) fn begin(&self, random: &mut fastrand::Rng) -> PasswordTrial {
        let secret: [u8; 256] = std::array::from_fn(|_| random.u8(..));
        let half = (multiplier() * &self.verifier + Group::known().public(&secret)) % prime();
        PasswordTrial { id: random.i64(..), secret, half: padded(&half) }
    }

    /// What a client is told of it, for a trial.
    pub(in crate::sandbox) fn told(
        &self,
        trial: &PasswordTrial,
        random: &mut fastrand::Rng,
    ) -> types::account::Password {
        let [salt1, salt2] = self.salts.clone();
        let algorithm = types::PasswordKdfAlgoSha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow {
            salt1,
            salt2,
            g: KNOWN_GENERATOR,
            p: KNOWN_PRIME.to_vec(),
        };
        types::account::Password {
            has_password: true,
            current_algo: Some(enums::PasswordKdfAlgo::from(algorithm)),
            srp_b: Some(trial.half.to_vec()),
            srp_id: Some(trial.id),
            hint: self.hint.clone(),
            ..no_password(random)
        }
    }

    /// Whether somebody has proved that he has the password. `None`: it is of another trial.
    pub(in crate::sandbox) fn is_proved(
        &self,
        trial: &PasswordTrial,
        proof: &types::InputCheckPasswordSrp,
    ) -> Option<bool> {
        let half = BigUint::from_bytes_be(&proof.a);
        if proof.srp_id != trial.id || !Group::known().is_safe(&half) {
            return None;
        }
        let (a, b) = (padded(&half), trial.half);
        let mix = BigUint::from_bytes_be(&hash(&[&a, &b]));
        let base = half * self.verifier.modpow(&mix, &prime()) % prime();
        let shared = base.modpow(&BigUint::from_bytes_be(&trial.secret), &prime());
        let key = hash(&[&padded(&shared)]);
        let mut group = hash(&[&KNOWN_PRIME]);
        group.iter_mut().zip(hash(&[&generator()])).for_each(|(byte, mask)| *byte ^= mask);
        let [first, second] = self.salts.each_ref().map(|salt| hash(&[salt]));
        Some(proof.m1 == hash(&[&group, &first, &second, &a, &b, &key]))
    }
}

/// What is told of an account that has none.
pub(in crate::sandbox) fn no_password(random: &mut fastrand::Rng) -> types::account::Password {
    types::account::Password {
        has_recovery: false,
        has_secure_values: false,
        has_password: false,
        current_algo: None,
        srp_b: None,
        srp_id: None,
        hint: None,
        email_unconfirmed_pattern: None,
        new_algo: enums::PasswordKdfAlgo::Unknown,
        new_secure_algo: enums::SecurePasswordKdfAlgo::Unknown,
        secure_random: (0..SALT_LEN).map(|_| random.u8(..)).collect(),
        pending_reset_date: None,
        login_email_pattern: None,
    }
}

fn prime() -> BigUint {
    BigUint::from_bytes_be(&KNOWN_PRIME)
}

fn generator() -> [u8; 256] {
    padded(&BigUint::from(KNOWN_GENERATOR.unsigned_abs()))
}

fn multiplier() -> BigUint {
    BigUint::from_bytes_be(&hash(&[&KNOWN_PRIME, &generator()]))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    hash.finalize().into()
}

/// What a password comes to.
fn slow_hash(password: &str, [first, second]: &[Vec<u8>; 2]) -> [u8; 32] {
    let salted = |bytes: &[u8], salt: &[u8]| hash(&[salt, bytes, salt]);
    let once = salted(&salted(password.as_bytes(), first), second);
    let slow = pbkdf2_hmac_array::<Sha512, 64>(&once, first, ROUNDS);
    salted(&slow, second)
}
