//! Sign-in of an account: from a phone number, a bot's token or a code to be scanned, to a session.
//!
//! [`SignIn`] is a machine without any I/O: it says which call is to be made or what a person is to be asked
//! ([`SignInStep`]), and is told what came of it. Whoever drives it has connections, keys and a place to keep things.
//!
//! Owns the order of the calls and what each refusal means. Never dials, and never keeps a password past the call that
//! it is for.
//!
//! # A sign-in belongs to a key
//! Whatever has been asked for is asked for by one key, at one data centre: a code that was sent to one is nothing to
//! another. So each step names its data centre, and a driver keeps a key for each, which it makes when it is first
//! needed and puts where the session will be **before** it makes the call. [`SignIn::save`] is everything else that an
//! interrupted sign-in needs; it is to be kept before a person is asked.
//!
//! # Nothing is lost in between
//! A call whose answer never came may have been carried out. [`SignIn::lost`] and [`SavedSignIn::resume`] ask the
//! server who is logged in before anything is repeated, so that a code that was taken is not taken for refused.
//! A sign-in that is given up after the server has taken it is logged out ([`SignIn::cancel`]).
//!
//! ```
//! use telepool::sign_in::{Application, SignIn, SignInStep, SignInWay};
//!
//! let application = Application::new(12345, "0123456789abcdef0123456789abcdef");
//! let way = SignInWay::phone("+9996620001".parse()?);
//! let (mut sign_in, step) = SignIn::begin(application, way, 2)?;
//! let SignInStep::Call { dc: 2, .. } = step else { unreachable!("it begins with a call") };
//! // The driver makes the call, and hears that the number lives elsewhere.
//! let step = sign_in.refused(303, "PHONE_MIGRATE_4")?;
//! assert!(matches!(step, SignInStep::Call { dc: 4, .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calls;
mod error;
mod password;
mod saved;
mod sent_code;
mod under_way;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

pub use self::error::{SignInError, SignInInputError};
pub use self::password::PasswordQuestion;
pub use self::saved::SavedSignIn;
pub use self::sent_code::{CodeDelivery, CodeRefusal, SentCode};
pub use self::under_way::SignIn;
use crate::account_id::AccountId;

/// As which application one signs in: what <https://my.telegram.org> gives its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Application {
    id: i32,
    hash: Zeroizing<String>,
}

impl Application {
    /// The number and the hash of it.
    #[must_use]
    pub fn new(id: i32, hash: &str) -> Self {
        Self { id, hash: Zeroizing::new(hash.to_owned()) }
    }

    /// The number of it.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whose token this is, as far as it looks as a bot's does: its number, a colon and what is secret.
///
/// ```
/// # use telepool::{AccountId, sign_in::bot_of_token};
/// assert_eq!(bot_of_token("12345:AAH-x_y"), AccountId::bot(12345).ok());
/// assert_eq!(bot_of_token("12345"), None);
/// ```
#[must_use]
pub fn bot_of_token(token: &str) -> Option<AccountId> {
    let (number, secret) = token.split_once(':')?;
    let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if secret.is_empty() || !secret.bytes().all(is_secret) {
        return None;
    }
    AccountId::bot(number.parse().ok()?).ok()
}

/// How one signs in.
#[derive(Clone, PartialEq, Eq)]
pub enum SignInWay {
    /// With a code that is sent to whoever has the phone number.
    Phone {
        /// The phone number.
        number: AccountId,
        /// What the account was given when it was last logged out ([`SignedOut`](crate::telegram::SignedOut)): with one of them it needs no code.
        logout_tokens: Vec<Zeroizing<Vec<u8>>>,
    },
    /// With the token of a bot, as BotFather gives it.
    Bot(Zeroizing<String>),
    /// With a code to be scanned, by somebody who is signed in elsewhere.
    Scan {
        /// Whose sessions are not to be offered: those that are known already.
        except: Vec<i64>,
    },
}

impl SignInWay {
    /// With a code.
    #[must_use]
    pub fn phone(number: AccountId) -> Self {
        Self::Phone { number, logout_tokens: Vec::new() }
    }

    /// Whether the first call may be all that there is to it.
    fn may_need_no_more(&self) -> bool {
        !matches!(self, Self::Phone { logout_tokens, .. } if logout_tokens.is_empty())
    }
}

impl fmt::Debug for SignInWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone { number, .. } => write!(f, "Phone({number})"),
            Self::Bot(_) => f.write_str("Bot(hidden)"),
            Self::Scan { .. } => f.write_str("Scan"),
        }
    }
}

/// What is to be done next.
#[non_exhaustive]
pub enum SignInStep {
    /// Make this call with the key of this sign-in at this data centre, and pass on what comes of it:
    /// [`SignIn::answered`], [`SignIn::refused`] or [`SignIn::lost`].
    Call {
        /// The number of the data centre.
        dc: i32,
        /// The body of the request.
        request: Vec<u8>,
    },
    /// Keep [`SignIn::save`], then ask for the code: [`SignIn::enter_code`], or another one: [`SignIn::resend`].
    AskCode(SentCode),
    /// Keep [`SignIn::save`], then ask for the password: [`SignIn::enter_password`].
    AskPassword(PasswordQuestion),
    /// Show this to be scanned, and call [`SignIn::poll`] after a while.
    Show(LoginLink),
    /// The server has taken it: keep the session, then tell.
    Done(Box<SignedIn>),
    /// It was given up, and nothing is left of it.
    Cancelled,
}

/// Requests hold secrets: of them only the method is shown.
impl fmt::Debug for SignInStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { dc, request } => {
                let method = request.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
                let method = grammers_tl_types::name_for_id(method);
                f.debug_struct("Call")
                    .field("dc", dc)
                    .field("method", &method)
                    .finish_non_exhaustive()
            }
            Self::AskCode(sent) => f.debug_tuple("AskCode").field(sent).finish(),
            Self::AskPassword(question) => f.debug_tuple("AskPassword").field(question).finish(),
            Self::Show(link) => f.debug_tuple("Show").field(link).finish(),
            Self::Done(done) => f.debug_tuple("Done").field(done).finish(),
            Self::Cancelled => f.write_str("Cancelled"),
        }
    }
}

/// What somebody who is signed in elsewhere scans or opens.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginLink {
    token: Zeroizing<Vec<u8>>,
    /// Until when it is of use, in seconds since 1970 by the server's clock.
    pub expires: i32,
    /// After what time the server is to be asked whether it was.
    pub poll_after: Duration,
}

impl LoginLink {
    /// `tg://login?token=..`
    #[must_use]
    pub fn url(&self) -> Zeroizing<String> {
        use base64::Engine as _;
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&*self.token);
        Zeroizing::new(format!("tg://login?token={token}"))
    }

    /// What another session of the same account accepts.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }
}

impl fmt::Debug for LoginLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginLink").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Whoever has signed in.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedIn {
    /// At which data centre the session is.
    pub dc: i32,
    /// The number of the user.
    pub user_id: i64,
    /// Whether it is a bot.
    pub is_bot: bool,
    /// Its phone number, if the server says so.
    pub phone: Option<AccountId>,
    /// After how many days it has to sign in again, unless it sets a password.
    pub otherwise_relogin_days: Option<u32>,
    /// How many sessions the account may have until then.
    pub temporary_sessions: Option<u32>,
    /// What spares the next sign-in its code.
    pub future_token: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("dc", &self.dc)
            .field("is_bot", &self.is_bot)
            .field("phone", &self.phone)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
