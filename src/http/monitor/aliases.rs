//! Aliases: names of accounts that tell nothing of their phone numbers.
//!
//! Owns the key, which is drawn when the monitor starts and leaves the process never: an alias stays the same
//! for as long as that, and means nothing to another process.

use std::hash::{BuildHasher, RandomState};

use crate::account_id::AccountId;

/// What an alias begins with.
const PREFIX: &str = "p-";

/// The keyed hash that makes aliases: SipHash under a random key. From aliases and numbers that belong
/// together nobody learns the key, nor without it the number of an alias.
#[derive(Debug, Default)]
pub(crate) struct Aliases(RandomState);

impl Aliases {
    /// The alias of an account, as a number.
    pub(crate) fn of(&self, account: AccountId) -> u64 {
        self.0.hash_one(account)
    }

    /// The alias as a text.
    pub(crate) fn text(alias: u64) -> String {
        format!("{PREFIX}{alias:016x}")
    }

    /// Reads the text of an alias.
    pub(crate) fn parse(text: &str) -> Option<u64> {
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
        let is_plain = digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(digits, 16).ok().filter(|_| is_plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_kept_by_one_key_and_told_by_none_other() {
        let (one, other) = (Aliases::default(), Aliases::default());
        let account = AccountId::phone(442_079_460_958).unwrap();
        assert_eq!(one.of(account), one.of(account));
        assert_ne!(one.of(account), other.of(account));
        assert_ne!(one.of(account), one.of(AccountId::phone(442_079_460_959).unwrap()));
    }

    #[test]
    fn its_text_is_read_back_and_no_other() {
        for alias in [0, 1, u64::MAX] {
            assert_eq!(Aliases::parse(&Aliases::text(alias)), Some(alias));
        }
        for text in
            ["", "p-", "p-1", "p-000000000000000G", "p-00000000000000AB", "p-+000000000000001"]
        {
            assert_eq!(Aliases::parse(text), None, "{text}");
        }
    }
}
