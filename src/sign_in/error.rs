//! Why a sign-in ends without a session, and what to do about it.
//!
//! Owns the table of refusals, in plain words. Never decides what comes next: the machine does.

use std::borrow::Cow;
use std::time::Duration;

use crate::base::text::display_safely;

/// Why a sign-in has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The server refuses.
    #[error("{words} ({name}): {remedy}")]
    Refused {
        /// The code of the error.
        code: i32,
        /// Its name.
        name: Box<str>,
        /// What it means.
        words: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The server wants to be left alone for a while.
    #[error("too many attempts ({name}): try again in {after:?}")]
    Flood {
        /// The name of the error.
        name: Box<str>,
        /// For how long.
        after: Duration,
    },
    /// The server has trouble of its own.
    #[error("Telegram has trouble of its own (code {code}): try again in some minutes")]
    Trouble {
        /// The code of the error.
        code: i32,
    },
    /// What the account needs first can only be done elsewhere.
    #[error("{what}: {remedy}")]
    Elsewhere {
        /// What is wanted.
        what: &'static str,
        /// Where it is done.
        remedy: &'static str,
    },
    /// It was tried too often.
    #[error("{what} was wrong {tries} times: begin anew")]
    TriesSpent {
        /// What was wrong.
        what: &'static str,
        /// How often.
        tries: u8,
    },
    /// What the server says is not what this sign-in has at this place.
    #[error("the server does not keep to the sign-in: {0}")]
    Protocol(&'static str),
}

/// What was entered is not what was asked for; the sign-in is where it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignInInputError(Cow<'static, str>);

impl SignInInputError {
    pub(super) fn new(words: impl Into<Cow<'static, str>>) -> Self {
        Self(words.into())
    }
}

/// A refusal: how its name begins, what it means, and what to do about it.
type Row = (&'static str, &'static str, &'static str);

/// Every refusal that ends a sign-in. Those that ask for something else are the machine's.
pub(super) const REFUSALS: [Row; 27] = [
    (
        "PHONE_NUMBER_INVALID",
        "no such phone number",
        "write it with + and the code of the country, as in +442079460958",
    ),
    (
        "PHONE_NUMBER_BANNED",
        "the phone number is banned from Telegram",
        "write to recover@telegram.org; no program can sign it in",
    ),
    (
        "PHONE_NUMBER_FLOOD",
        "codes for this number were asked for too often",
        "wait for a day, and sign in by a code to be scanned meanwhile",
    ),
    (
        "PHONE_PASSWORD_FLOOD",
        "the password was tried too often",
        "wait for a day: each further attempt makes it longer",
    ),
    (
        "PHONE_NUMBER_UNOCCUPIED",
        "nobody has an account with this number",
        "make one in an official app first",
    ),
    (
        "PHONE_NUMBER_APP_SIGNUP_FORBIDDEN",
        "accounts can not be made with this application",
        "make it in an official app first",
    ),
    (
        "PHONE_PASSWORD_PROTECTED",
        "the account has a password",
        "remove what is pending in an official app, and sign in again",
    ),
    (
        "API_ID_INVALID",
        "the number and the hash of the application do not belong together",
        "copy both from https://my.telegram.org",
    ),
    (
        "API_ID_PUBLISHED_FLOOD",
        "the application's number is known to everybody, and refused for that",
        "take one of your own from https://my.telegram.org",
    ),
    (
        "ACCESS_TOKEN_INVALID",
        "no such bot",
        "copy the token from @BotFather, with the number and the colon",
    ),
    ("ACCESS_TOKEN_EXPIRED", "the bot's token was revoked", "ask @BotFather for the new one"),
    ("BOT_METHOD_INVALID", "this session is a bot's", "sign in with the bot's token"),
    (
        "UPDATE_APP_TO_LOGIN",
        "Telegram wants a newer client for this account",
        "update telepool; until then sign in by a code to be scanned",
    ),
    ("SIGN_IN_FAILED", "Telegram could not sign in", "try again in some minutes"),
    ("AUTH_TOKEN_EXCEPTION", "the login could not be taken over", "begin anew"),
    ("SESSION_REVOKED", "the session was ended elsewhere", "begin anew"),
    (
        "USER_DEACTIVATED",
        "the account is deleted or banned",
        "write to recover@telegram.org if it is yours",
    ),
    (
        "AUTH_KEY_DUPLICATED",
        "the key of this sign-in was used twice at once",
        "begin anew, with one program at a time",
    ),
    ("AUTH_KEY_PERM_EMPTY", "the key of this sign-in is not known any more", "begin anew"),
    ("AUTH_KEY_INVALID", "the key of this sign-in is not known any more", "begin anew"),
    ("AUTH_KEY_UNREGISTERED", "the key of this sign-in is not signed in", "begin anew"),
    (
        "SEND_CODE_UNAVAILABLE",
        "no other way is left to send a code",
        "use the one that was sent, or begin anew in some hours",
    ),
    ("EMAIL_NOT_ALLOWED", "no code is sent to this e-mail address", "change it in an official app"),
    (
        "EMAIL_UNCONFIRMED",
        "the e-mail address of the account is not confirmed",
        "confirm it in an official app",
    ),
    (
        "PASSWORD_RECOVERY_NA",
        "the password can not be recovered by e-mail",
        "it takes an official app",
    ),
    ("CONNECTION_LAYER_INVALID", "the client is too old for the server", "update telepool"),
    ("INPUT_METHOD_INVALID", "the server has no such method", "update telepool"),
];

const UNKNOWN: (&str, &str) =
    ("Telegram refuses", "look the name up at https://core.telegram.org/api/errors");

impl SignInError {
    pub(super) const NO_RANDOM_NUMBERS: Self = Self::Elsewhere {
        what: "the system has no random numbers",
        remedy: "try again once it has",
    };
    pub(super) const SIGN_UP_REQUIRED: Self = Self::Elsewhere {
        what: "nobody has an account with this number",
        remedy: "make one in an official app first",
    };
    pub(super) const EMAIL_REQUIRED: Self = Self::Elsewhere {
        what: "Telegram wants an e-mail address for this account before it sends a code",
        remedy: "sign in once in an official app and set one",
    };
    pub(super) const APP_REQUIRED: Self = Self::Elsewhere {
        what: "Telegram sends the code for this number to official apps only",
        remedy: "sign in once in an official app, and then here: the code goes there",
    };
    pub(super) const PAYMENT_REQUIRED: Self = Self::Elsewhere {
        what: "Telegram wants to be paid for a code to this number",
        remedy: "sign in once in an official app, and then here: the code goes there",
    };

    /// What a refusal means that ends a sign-in.
    pub(crate) fn of(code: i32, name: &str) -> Self {
        let seconds = |prefix: &str| name.strip_prefix(prefix)?.parse().ok();
        let flood = ["FLOOD_WAIT_", "FLOOD_PREMIUM_WAIT_", "SLOWMODE_WAIT_"];
        if let Some(seconds) = flood.into_iter().find_map(seconds) {
            return Self::Flood { name: shown(name), after: Duration::from_secs(seconds) };
        }
        let row = REFUSALS.iter().find(|(known, ..)| name.starts_with(known));
        let (words, remedy) = row.map_or(UNKNOWN, |(_, words, remedy)| (words, remedy));
        Self::Refused { code, name: shown(name), words, remedy }
    }
}

impl SignInError {
    /// Whether all but the password was taken.
    pub(super) fn wants_password(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if &**name == "SESSION_PASSWORD_NEEDED")
    }

    /// Whether the server has trouble of its own, by which nothing is known of the call.
    pub(super) fn is_trouble(&self) -> bool {
        matches!(self, Self::Refused { code, words, .. }
            if !(0..500).contains(code) && *words == UNKNOWN.0)
    }
}

/// A name that a server has sent.
fn shown(name: &str) -> Box<str> {
    let short: String = name.chars().take(80).collect();
    display_safely(&short).into()
}
