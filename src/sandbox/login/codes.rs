//! Codes that are sent to phone numbers.
//!
//! Owns what a code is, by whom it was asked for and how long it is good.

use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};

/// How many digits a code has.
pub(super) const CODE_LEN: usize = 5;
/// How long one is good.
const LASTS: Duration = Duration::from_secs(300);
/// How many others may be tried.
const TRIES_MAX: u8 = 5;

/// What a code comes to that somebody has entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeVerdict {
    Right,
    Wrong,
    Expired,
}

/// A code that one key has asked for. To any other it is nothing.
pub(in crate::sandbox) struct PendingCode {
    pub(super) account: AccountId,
    /// What client and server know it by.
    pub(super) hash: String,
    code: String,
    asked_at: Instant,
    tries: u8,
    /// It was sent again, by another way.
    pub(super) is_resent: bool,
}

impl PendingCode {
    pub(super) fn new(account: AccountId, random: &mut fastrand::Rng) -> Self {
        let digits = account.number().to_string();
        // As on Telegram's test servers: 99966XYYYY gets XXXXX.
        let test = digits.strip_prefix("99966").filter(|rest| rest.len() == 5);
        let code = match test.and_then(|rest| rest.chars().next()) {
            Some(digit) => std::iter::repeat_n(digit, CODE_LEN).collect(),
            None => (0..CODE_LEN).map(|_| char::from(random.u8(b'0'..=b'9'))).collect(),
        };
        let hash = (0..18).map(|_| char::from(random.u8(b'a'..=b'z'))).collect();
        Self { account, hash, code, asked_at: now(), tries: 0, is_resent: false }
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Another code by which the last one is out of date: as long as that is good, it has the same hash.
    pub(super) fn keep_hash_of(&mut self, known: &Self) {
        if known.account == self.account && known.is_good() {
            self.hash.clone_from(&known.hash);
        }
    }

    pub(super) fn is_good(&self) -> bool {
        now() < self.asked_at + LASTS && self.tries < TRIES_MAX
    }

    /// Judges a code. After a few that are wrong none is right.
    pub(super) fn judge(&mut self, account: AccountId, hash: &str, code: &str) -> CodeVerdict {
        if (account, hash) != (self.account, &self.hash) || !self.is_good() {
            return CodeVerdict::Expired;
        }
        if code == self.code {
            return CodeVerdict::Right;
        }
        self.tries += 1;
        CodeVerdict::Wrong
    }
}
