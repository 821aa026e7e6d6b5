//! Account identities.
//!
//! Owns [`AccountId`], its parsing and its masked output. Never looks an account up, and never
//! prints a whole phone number unless [`AccountId::reveal`] asks for it.

mod phone;
mod plan;

use std::fmt;
use std::str::FromStr;

pub(crate) use phone::is_invisible;

/// The top bits tell ids of bots and of users from phone numbers.
const BOT: u64 = 1 << 63;
const USER: u64 = 1 << 62;
/// Telegram's own limit for the ids of users, of which bots are some (core.telegram.org/api/bots/ids).
/// Only ids of all kinds of peers together take up to 52 bits. Clients panic over a larger one.
pub(crate) const USER_ID_MAX: i64 = (1 << 40) - 1;

/// Who a connection speaks for: a phone number (E.164), a bot, or a user whose number nobody has told.
///
/// A `Copy` value of one word, so that a map lookup hashes eight bytes. Parsing accepts the
/// spellings people use and normalises them, and refuses what could be another account's number: a
/// zero kept from national form (`+33 06 ..`), a code that no country has, a spreadsheet's decimals.
/// `Debug` and `Display` hide the middle of a phone number, so that an id may stand in a log line or
/// an error.
///
/// ```
/// use telepool::AccountId;
///
/// let account: AccountId = "+44 20 7946-0958".parse()?;
/// assert_eq!(account, AccountId::phone(442079460958)?);
/// assert_eq!(account.to_string(), "+4420******58");
/// assert_eq!(account.reveal().to_string(), "+442079460958");
/// assert_eq!("+44 (0) 20 7946 0958".parse::<AccountId>()?, account);
/// assert_eq!("bot:123456".parse::<AccountId>()?, AccountId::bot(123456)?);
/// assert_eq!("user:777000".parse::<AccountId>()?, AccountId::user(777000)?);
/// # Ok::<(), telepool::ParseAccountError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(u64);

impl AccountId {
    /// The account with this phone number, without the leading `+`. The number is taken as it is: only
    /// a text is held against the world's numbering plans.
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
    /// The id must be between 1 and 2^40 - 1, the largest that Telegram gives to a user.
    pub const fn bot(id: u64) -> Result<Self, ParseAccountError> {
        if id == 0 || id > USER_ID_MAX.unsigned_abs() {
            return Err(ParseAccountError::BotId);
        }
        Ok(Self(id | BOT))
    }

    /// The user with this id, which is no bot: for an account whose phone number is not known.
    ///
    /// # Errors
    /// The id must be between 1 and 2^40 - 1, the largest that Telegram gives to a user.
    pub const fn user(id: u64) -> Result<Self, ParseAccountError> {
        if id == 0 || id > USER_ID_MAX.unsigned_abs() {
            return Err(ParseAccountError::UserId);
        }
        Ok(Self(id | USER))
    }

    /// Whether this is a bot.
    #[must_use]
    pub const fn is_bot(self) -> bool {
        self.0 & BOT != 0
    }

    /// Whether this is a phone number, which is masked wherever it is shown.
    #[must_use]
    pub const fn is_phone(self) -> bool {
        self.0 & (BOT | USER) == 0
    }

    /// The phone number, or the id of the bot or user, as a plain number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & !(BOT | USER)
    }

    /// Reads what [`reveal`](Self::reveal) has written, also a number that no country has: a program may
    /// have made it by [`phone`](Self::phone).
    #[cfg(feature = "telegram")]
    pub(crate) fn from_revealed(text: &str) -> Result<Self, ParseAccountError> {
        let digits = text.strip_prefix('+').unwrap_or_default();
        match digits.parse() {
            Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Self::phone(number),
            _ => text.parse(),
        }
    }

    /// The whole id for display, nothing hidden: `+442079460958`, `bot:123456` or `user:777000`.
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
        let prefix = match self.0 {
            it if it.is_phone() => "+",
            it if it.is_bot() => "bot:",
            _ => "user:",
        };
        write!(f, "{prefix}{}", self.0.number())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An id is public (anybody who writes with the bot or the user sees it); a phone number is not.
        if !self.is_phone() {
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
        let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
        if let Some(id) = text.strip_prefix("bot") {
            return Self::bot(bot_id(id.strip_prefix(':').unwrap_or(id))?);
        }
        match text.strip_prefix("user:") {
            Some(id) => Self::user(plain_id(id).ok_or(ParseAccountError::UserId)?),
            None => Self::phone(phone::number(text)?),
        }
    }
}

/// Reads a bot's id as Telegram writes it: in digits alone, so that no two texts are one bot.
pub(crate) fn bot_id(text: &str) -> Result<u64, ParseAccountError> {
    plain_id(text).ok_or(ParseAccountError::BotId)
}

fn plain_id(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// Why a text is no account id. The messages never repeat the text: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAccountError {
    /// Something other than digits and the usual separators.
    #[error(
        "not a phone number: use digits in international form, such as +442079460958, or bot:ID or user:ID"
    )]
    NotANumber,
    /// A national number.
    #[error("the number starts with 0: write it with its country code, such as +442079460958")]
    NoCountryCode,
    /// A zero behind the country code, where no number of the country has one.
    #[error(
        "a 0 stands behind the country code, as it is dialled within the country: leave it out, as in \
         +442079460958"
    )]
    TrunkZero,
    /// A code of no country.
    #[error(
        "no country has the code that the number begins with: write it in international form, such as \
         +442079460958 (a Russian number with +7 in place of the 8)"
    )]
    NoSuchCountry,
    /// A quantity with decimals.
    #[error(
        "a number with a decimal point, as spreadsheets make of phone numbers: format the column as \
         text, and write it as +442079460958"
    )]
    Decimal,
    /// A number of a plan whose numbers have ten digits, with more or fewer.
    #[error(
        "a number with +1 or +7 has ten digits behind that: leave out the 8 or the 1 that is dialled \
         within the country"
    )]
    NationalLength,
    /// Too short or too long.
    #[error("a phone number has 7 to 15 digits, country code included")]
    PhoneLength,
    /// Not a bot id.
    #[error(
        "a bot id is a number from 1 to 1099511627775: the digits before the colon of its token"
    )]
    BotId,
    /// Not a user id.
    #[error("a user id is a number from 1 to 1099511627775, as in user:777000")]
    UserId,
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
    fn a_bot_a_user_and_a_phone_of_the_same_digits_differ() {
        let bot = AccountId::bot(1_234_567).unwrap();
        let user = AccountId::user(1_234_567).unwrap();
        let phone = AccountId::phone(1_234_567).unwrap();
        assert!(bot != phone && bot != user && user != phone);
        assert!([bot, user, phone].iter().all(|it| it.number() == 1_234_567));
        assert!(bot.is_bot() && !user.is_bot() && !phone.is_bot());
        assert!(phone.is_phone() && !user.is_phone() && !bot.is_phone());
        for (id, shown) in [(bot, "bot:1234567"), (user, "user:1234567")] {
            assert_eq!((id.to_string().as_str(), shown.parse()), (shown, Ok(id)));
            assert_eq!(id.reveal().to_string(), shown);
        }
    }

    #[test]
    fn the_largest_bot_is_the_largest_user() {
        let largest = AccountId::bot(1_099_511_627_775).unwrap();
        assert_eq!("bot:1099511627775".parse(), Ok(largest));
        assert_eq!(AccountId::bot(1_099_511_627_776), Err(ParseAccountError::BotId));
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
            ("bot:1099511627776", ParseAccountError::BotId),
            ("bot:x", ParseAccountError::BotId),
            ("bot:+5", ParseAccountError::BotId),
            ("bot+5", ParseAccountError::BotId),
            ("bot:00005", ParseAccountError::BotId),
            ("bot: 5", ParseAccountError::BotId),
            ("bot:", ParseAccountError::BotId),
            ("bot:5:AAsecret", ParseAccountError::BotId),
            ("user:0", ParseAccountError::UserId),
            ("user:", ParseAccountError::UserId),
            ("user:05", ParseAccountError::UserId),
            ("user:1099511627776", ParseAccountError::UserId),
            ("user5", ParseAccountError::NotANumber),
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
