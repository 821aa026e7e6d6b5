//! Account identities.
//!
//! Owns [`AccountId`], its parsing and its masked output. Never looks an account up, and never
//! prints a whole phone number unless [`AccountId::reveal`] asks for it.

use std::fmt;
use std::str::FromStr;

/// The top bit tells a bot id from a phone number.
const BOT: u64 = 1 << 63;
/// E.164 allows fifteen digits; no number plan in use has fewer than seven.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Telegram's own limit for user ids (2^52 - 1, core.telegram.org/api/bots/ids).
const BOT_ID_MAX: u64 = (1 << 52) - 1;

/// Who a connection speaks for: a phone number (E.164) or a bot.
///
/// A `Copy` value of one word, so that a map lookup hashes eight bytes. Parsing accepts the
/// spellings people use and normalises them; `Debug` and `Display` hide the middle of a phone
/// number, so that an id may stand in a log line or an error.
///
/// ```
/// use telepool::AccountId;
///
/// let account: AccountId = "+44 20 7946-0958".parse()?;
/// assert_eq!(account, AccountId::phone(442079460958)?);
/// assert_eq!(account.to_string(), "+4420******58");
/// assert_eq!(account.reveal().to_string(), "+442079460958");
/// assert_eq!("bot:123456".parse::<AccountId>()?, AccountId::bot(123456)?);
/// # Ok::<(), telepool::ParseAccountError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(u64);

impl AccountId {
    /// The account with this phone number, without the leading `+`.
    ///
    /// # Errors
    /// The number must have 7 to 15 digits.
    pub const fn phone(number: u64) -> Result<Self, ParseAccountError> {
        if number < 1_000_000 || number > 999_999_999_999_999 {
            return Err(ParseAccountError::PhoneLength);
        }
        Ok(Self(number))
    }

    /// The bot with this user id (the digits before the colon of its token).
    ///
    /// # Errors
    /// The id must be between 1 and 2^52 - 1.
    pub const fn bot(id: u64) -> Result<Self, ParseAccountError> {
        if id == 0 || id > BOT_ID_MAX {
            return Err(ParseAccountError::BotId);
        }
        Ok(Self(id | BOT))
    }

    /// Whether this is a bot rather than a phone number.
    #[must_use]
    pub const fn is_bot(self) -> bool {
        self.0 & BOT != 0
    }

    /// The phone number or bot id as a plain number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & !BOT
    }

    /// The whole id for display, nothing hidden: `+442079460958` or `bot:123456`.
    #[must_use]
    pub const fn reveal(self) -> RevealedAccount {
        RevealedAccount(self)
    }
}

/// An [`AccountId`] that prints in full; see [`AccountId::reveal`].
#[derive(Clone, Copy, Debug)]
pub struct RevealedAccount(AccountId);

impl fmt::Display for RevealedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.0.is_bot() { "bot:" } else { "+" };
        write!(f, "{prefix}{}", self.0.number())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A bot id is public (anybody who writes to the bot sees it); a phone number is not.
        if self.is_bot() {
            return write!(f, "{}", self.reveal());
        }
        let digits = self.number().to_string();
        let shown = if digits.len() > 8 { 4 } else { 2 };
        let hidden = digits.len() - shown - 2;
        write!(f, "+{}{:*<hidden$}{}", &digits[..shown], "", &digits[digits.len() - 2..])
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AccountId {
    type Err = ParseAccountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(id) = text.strip_prefix("bot") {
            let id = id.strip_prefix(':').unwrap_or(id);
            return Self::bot(id.parse().map_err(|_| ParseAccountError::BotId)?);
        }
        let digits: String = text
            .strip_prefix('+')
            .or_else(|| text.strip_prefix("00"))
            .unwrap_or(text)
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')'))
            .collect();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseAccountError::NotANumber);
        }
        if digits.starts_with('0') {
            return Err(ParseAccountError::NoCountryCode);
        }
        if !PHONE_DIGITS.contains(&digits.len()) {
            return Err(ParseAccountError::PhoneLength);
        }
        Self::phone(digits.parse().map_err(|_| ParseAccountError::PhoneLength)?)
    }
}

/// Why a text is no account id. The messages never repeat the text: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAccountError {
    /// Something other than digits and the usual separators.
    #[error(
        "not a phone number: use digits in international form, such as +442079460958, or bot:ID"
    )]
    NotANumber,
    /// A national number.
    #[error("the number starts with 0: write it with its country code, such as +442079460958")]
    NoCountryCode,
    /// Too short or too long.
    #[error("a phone number has 7 to 15 digits, country code included")]
    PhoneLength,
    /// Not a bot id.
    #[error(
        "a bot id is a number from 1 to 4503599627370495: the digits before the colon of its token"
    )]
    BotId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_are_one_account() {
        let id = AccountId::phone(442_079_460_958).unwrap();
        for text in ["+442079460958", "442079460958", "0044 20 7946 0958", "+44 (20) 7946-0958"] {
            assert_eq!(text.parse::<AccountId>(), Ok(id), "{text}");
        }
    }

    #[test]
    fn a_bot_and_a_phone_of_the_same_digits_differ() {
        let bot = AccountId::bot(1_234_567).unwrap();
        let phone = AccountId::phone(1_234_567).unwrap();
        assert_ne!(bot, phone);
        assert_eq!(bot.number(), phone.number());
        assert!(bot.is_bot() && !phone.is_bot());
    }

    #[test]
    fn what_is_no_account_says_why() {
        for (text, why) in [
            ("", ParseAccountError::NotANumber),
            ("hello", ParseAccountError::NotANumber),
            ("020 7946 0958", ParseAccountError::NoCountryCode),
            ("+12345", ParseAccountError::PhoneLength),
            ("+1234567890123456", ParseAccountError::PhoneLength),
            ("bot:0", ParseAccountError::BotId),
            ("bot:99999999999999999999", ParseAccountError::BotId),
            ("bot:x", ParseAccountError::BotId),
        ] {
            assert_eq!(text.parse::<AccountId>(), Err(why), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_middle_of_every_length() {
        for number in [1_234_567, 12_345_678, 123_456_789, 123_456_789_012_345] {
            let id = AccountId::phone(number).unwrap();
            let (shown, whole) = (format!("{id:?}"), id.reveal().to_string());
            assert_eq!(shown.len(), whole.len());
            assert!(shown.matches('*').count() >= 3, "{shown}");
        }
    }
}
