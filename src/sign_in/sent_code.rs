//! A code that was sent: where it went, and what else can be done.
//!
//! Owns the reading of what the server says of it, and its words. Never asks anybody.

use std::fmt;
use std::time::Duration;

use grammers_tl_types::{enums, types};
use serde::{Deserialize, Serialize};

use super::{SignInError, SignInInputError};
use crate::base::text::display_safely;

/// A code that somebody has, and what else can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SentCode {
    /// Where it is.
    pub delivery: CodeDelivery,
    /// How many characters it has, if that is known.
    pub length: Option<u32>,
    /// How it would be sent if another were asked for; `None` if none is to be had.
    pub next: Option<CodeDelivery>,
    /// After what time another may be asked for.
    pub next_after: Option<Duration>,
    /// How many may still be tried.
    pub tries_left: u8,
    /// Why it is asked for again.
    pub refusal: Option<CodeRefusal>,
}

/// Why a code is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CodeRefusal {
    /// It was another one.
    Wrong,
    /// It is out of date, or was written into a chat, which ends it: another is to be asked for.
    Expired,
}

/// Where a code goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CodeDelivery {
    /// To the Telegram apps in which the account is signed in, as a message.
    App,
    /// By SMS.
    Sms,
    /// It is read out in a call.
    Call,
    /// By a call that is not to be taken: the number that calls is the code.
    FlashCall {
        /// What the number looks like.
        pattern: String,
    },
    /// By a call that is not to be taken: the last digits of the number that calls are the code.
    MissedCall {
        /// How the number begins.
        prefix: String,
    },
    /// To an e-mail address.
    Email {
        /// What the address looks like.
        pattern: String,
    },
    /// To the owner of an anonymous number, at Fragment.
    Fragment {
        /// Where to look.
        url: String,
    },
    /// By SMS, as a word.
    SmsWord {
        /// How it begins.
        beginning: String,
    },
    /// By SMS, as several words.
    SmsPhrase {
        /// How they begin.
        beginning: String,
    },
}

impl CodeDelivery {
    /// Whether the code goes by e-mail, which the server is told of.
    pub(super) fn is_email(&self) -> bool {
        matches!(self, Self::Email { .. })
    }
}

impl fmt::Display for CodeDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App => f.write_str(
                "as a message of \"Telegram\" in the apps in which the account is signed in",
            ),
            Self::Sms => f.write_str("by SMS"),
            Self::Call => f.write_str("by a call in which it is read out"),
            Self::FlashCall { pattern } => {
                write!(f, "by a call that you do not take: the code is the number ({pattern})")
            }
            Self::MissedCall { prefix } => write!(
                f,
                "by a call that you do not take: the code is the end of the number ({prefix}..)"
            ),
            Self::Email { pattern } => write!(f, "by e-mail to {pattern}"),
            Self::Fragment { url } => write!(f, "at {url}, for the owner of the anonymous number"),
            Self::SmsWord { beginning } => {
                write!(f, "by SMS, as a word that begins with {beginning:?}")
            }
            Self::SmsPhrase { beginning } => {
                write!(f, "by SMS, as words that begin with {beginning:?}")
            }
        }
    }
}

impl SentCode {
    /// A code as the server takes it, from what somebody has typed or pasted.
    pub(super) fn clean(&self, typed: &str) -> Result<String, SignInInputError> {
        if matches!(self.delivery, CodeDelivery::SmsWord { .. } | CodeDelivery::SmsPhrase { .. }) {
            let words: Vec<&str> = typed.split_whitespace().collect();
            return match words.is_empty() {
                true => Err(SignInInputError::new("the code is empty")),
                false => Ok(words.join(" ")),
            };
        }
        let is_between = |letter: &char| letter.is_whitespace() || matches!(letter, '-' | '+');
        let mut code: String = typed.chars().filter(|letter| !is_between(letter)).collect();
        if code.is_empty() {
            return Err(SignInInputError::new("the code is empty"));
        }
        if !self.delivery.is_email() && !code.chars().all(|letter| letter.is_ascii_digit()) {
            return Err(SignInInputError::new("the code has nothing but digits"));
        }
        let Some(length) = self.length.map(|length| length as usize) else { return Ok(code) };
        if matches!(self.delivery, CodeDelivery::MissedCall { .. }) && code.len() > length {
            code.drain(..code.len() - length);
        }
        match code.chars().count() == length {
            true => Ok(code),
            false => Err(SignInInputError::new(format!("the code has {length} characters"))),
        }
    }

    /// Reads what the server says. It fails for what no program of this kind can take.
    pub(super) fn read(sent: &types::auth::SentCode, tries_left: u8) -> Result<Self, SignInError> {
        use enums::auth::SentCodeType as Type;
        let (delivery, length) = match &sent.r#type {
            Type::App(it) => (CodeDelivery::App, Some(it.length)),
            Type::Sms(it) => (CodeDelivery::Sms, Some(it.length)),
            Type::Call(it) => (CodeDelivery::Call, Some(it.length)),
            Type::FlashCall(it) => {
                (CodeDelivery::FlashCall { pattern: display_safely(&it.pattern) }, None)
            }
            Type::MissedCall(it) => {
                (CodeDelivery::MissedCall { prefix: display_safely(&it.prefix) }, Some(it.length))
            }
            Type::EmailCode(it) => (
                CodeDelivery::Email { pattern: display_safely(&it.email_pattern) },
                Some(it.length),
            ),
            Type::FragmentSms(it) => {
                (CodeDelivery::Fragment { url: display_safely(&it.url) }, Some(it.length))
            }
            Type::SmsWord(it) => {
                let beginning = display_safely(&it.beginning.as_deref().unwrap_or_default());
                (CodeDelivery::SmsWord { beginning }, None)
            }
            Type::SmsPhrase(it) => {
                let beginning = display_safely(&it.beginning.as_deref().unwrap_or_default());
                (CodeDelivery::SmsPhrase { beginning }, None)
            }
            Type::SetUpEmailRequired(_) => return Err(SignInError::EMAIL_REQUIRED),
            Type::FirebaseSms(_) => return Err(SignInError::APP_REQUIRED),
        };
        let next = sent.next_type.as_ref().map(|next| match next {
            enums::auth::CodeType::Sms => CodeDelivery::Sms,
            enums::auth::CodeType::Call => CodeDelivery::Call,
            enums::auth::CodeType::FlashCall => CodeDelivery::FlashCall { pattern: "..".into() },
            enums::auth::CodeType::MissedCall => CodeDelivery::MissedCall { prefix: String::new() },
            enums::auth::CodeType::FragmentSms => {
                CodeDelivery::Fragment { url: "https://fragment.com".into() }
            }
        });
        let seconds = sent.timeout.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            delivery,
            length: length.and_then(|length| u32::try_from(length).ok()).filter(|it| *it > 0),
            next,
            next_after: seconds.map(Duration::from_secs),
            tries_left,
            refusal: None,
        })
    }
}
