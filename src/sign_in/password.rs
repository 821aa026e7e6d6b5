//! Password of an account: what it is checked by, without it ever being sent.
//!
//! Owns the checks of the server's numbers and the proof (<https://core.telegram.org/api/srp>). Making a proof takes
//! some tenths of a second of a core.

use grammers_tl_types::{enums, types};
use num_bigint::BigUint;
use zeroize::Zeroizing;

use super::SignInError;
use crate::base::text::display_safely;
use crate::mtproto::key_exchange::{Group, padded};

const NO_CHALLENGE: SignInError =
    SignInError::Protocol("what it has a password checked by is not safe");

/// What a person is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordQuestion {
    /// What its owner has noted to remember it by.
    pub hint: Option<String>,
    /// Whether it can be reset by e-mail, in an official app.
    pub can_be_recovered: bool,
    /// How many may still be tried.
    pub tries_left: u8,
    /// Whether the last one was wrong.
    pub was_wrong: bool,
}

/// What the next password is checked by. It is good for one.
pub(super) struct PasswordChallenge {
    id: i64,
    salts: [Vec<u8>; 2],
    generator: i32,
    prime: Vec<u8>,
    half: Vec<u8>,
}

impl PasswordChallenge {
    /// Reads what the server says of an account's password.
    pub(super) fn read(
        told: types::account::Password,
        (tries_left, was_wrong): (u8, bool),
    ) -> Result<(Self, PasswordQuestion), SignInError> {
        use enums::PasswordKdfAlgo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow as Known;
        let question = PasswordQuestion {
            hint: told.hint.filter(|hint| !hint.is_empty()).map(|hint| display_safely(&hint)),
            can_be_recovered: told.has_recovery,
            tries_left,
            was_wrong,
        };
        if !told.has_password {
            return Err(SignInError::Elsewhere {
                what: "the account has no password any more",
                remedy: "begin anew",
            });
        }
        let (Some(id), Some(half)) = (told.srp_id, told.srp_b) else { return Err(NO_CHALLENGE) };
        let Some(Known(algorithm)) = told.current_algo else {
            return Err(SignInError::Elsewhere {
                what: "the password is checked in a way that this client does not know",
                remedy: "update telepool; until then sign in by a code to be scanned",
            });
        };
        // Another group, or a half that tells nothing, would let the server learn the password by trying.
        let group = Group::checked(&algorithm.p, algorithm.g).map_err(|_| NO_CHALLENGE)?;
        let half = BigUint::from_bytes_be(&half);
        if algorithm.p.len() != 256 || !group.is_safe(&half) {
            return Err(NO_CHALLENGE);
        }
        // However long it came.
        let half = padded(&half).to_vec();
        let salts = [algorithm.salt1, algorithm.salt2];
        let (generator, prime) = (algorithm.g, algorithm.p);
        Ok((Self { id, salts, generator, prime, half }, question))
    }

    /// The proof that somebody has this password. `None` without random numbers: by one that can be guessed the
    /// password could be.
    pub(super) fn prove(self, password: &str) -> Option<types::InputCheckPasswordSrp> {
        let Self { id, salts: [first, second], generator, prime, half } = self;
        let mut secret = Zeroizing::new(vec![0; 256]);
        getrandom::fill(&mut secret).ok()?;
        let (m1, a) = grammers_crypto::two_factor_auth::calculate_2fa(
            &first,
            &second,
            &prime,
            &generator,
            half,
            secret.to_vec(),
            password,
        );
        Some(types::InputCheckPasswordSrp { srp_id: id, a: a.to_vec(), m1: m1.to_vec() })
    }
}
