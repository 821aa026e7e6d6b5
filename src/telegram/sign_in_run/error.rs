//! Why a sign-in does not go on.
//!
//! Owns the error, and whether it may go on later. Never holds a key, a code or a token.

use std::io;
use std::time::Duration;

use crate::ownership::{ClaimError, Fenced};
use crate::sign_in::SignInError;
use crate::telegram::wire::{NewKeyError, WireEnd, WireError};
use crate::telegram::{BoxError, ProxyError, TelegramError};

/// Why a sign-in does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInRunError {
    /// The server refuses it, or wants to be left alone for a while.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// Nobody knows where the account's data centre listens.
    #[error("no address is known of data centre {dc}: add it to the settings (data_centres.{dc})")]
    NoAddress {
        /// The number of the data centre.
        dc: i32,
    },
    /// The data centre can not be reached.
    #[error("data centre {dc} can not be reached: {error}")]
    Unreachable {
        /// The number of the data centre.
        dc: i32,
        /// What the network says.
        error: io::Error,
    },
    /// The data centre can not be reached by the proxy, and is dialled in no other way.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// No key was made.
    #[error("no key was agreed on with data centre {dc}: {error}")]
    NoKey {
        /// The number of the data centre.
        dc: i32,
        /// Why.
        error: NewKeyError,
    },
    /// The server does not know the key by which the sign-in is pending.
    #[error(
        "Telegram does not know the key of this sign-in, which may pass; if it does not, give it up and begin anew"
    )]
    KeyUnknown,
    /// It was given up before, and nothing is left of it.
    #[error("the sign-in was given up, and nothing is left of it")]
    GivenUp,
    /// Connections end before they answer.
    #[error("data centre {dc} does not answer: {error}")]
    Lost {
        /// The number of the data centre.
        dc: i32,
        /// How the last one ended.
        error: WireError,
    },
    /// Another process goes on with this sign-in.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The process did not run for too long, or can not note that it dials.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The server may not have noticed the end of the last connection, and would void the key at a second one.
    #[error(
        "Telegram may not have noticed the end of the last connection: it goes on in {} s",
        .remaining.as_secs() + 1
    )]
    Resting {
        /// For how much longer.
        remaining: Duration,
    },
    /// What is to be kept could not be kept, so that nothing more was sent.
    #[error("the sign-in could not be kept, and waits until it can: {0}")]
    Keep(#[source] BoxError),
    /// There is nothing to be done for it in this state.
    #[error("{0}")]
    OutOfTurn(&'static str),
}

impl SignInRunError {
    /// Whether the sign-in is where it was, and goes on with the next call, and after what time that makes sense.
    /// `None`: it is over.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SignIn(SignInError::Flood { after, .. }) => Some(*after),
            Self::Resting { remaining } => Some(*remaining),
            Self::SignIn(SignInError::Trouble { .. }) => Some(Duration::from_secs(60)),
            Self::Unreachable { .. } | Self::Proxy(_) | Self::Lost { .. } | Self::KeyUnknown => {
                Some(Duration::from_secs(5))
            }
            Self::NoKey { error: NewKeyError::Lost(_) | NewKeyError::TimedOut { .. }, .. } => {
                Some(Duration::from_secs(5))
            }
            Self::Keep(_) | Self::Fenced(_) | Self::OutOfTurn(_) => Some(Duration::ZERO),
            Self::SignIn(_)
            | Self::NoAddress { .. }
            | Self::NoKey { .. }
            | Self::GivenUp
            | Self::Claim(_) => None,
        }
    }
}

impl SignInRunError {
    /// What a call comes to that is no part of a sign-in, and has no answer.
    pub(super) fn of_call(dc: i32, error: WireError) -> Self {
        match error {
            WireError::Rpc { code, message } => SignInError::of(code, &message).into(),
            error => Self::Lost { dc, error },
        }
    }
}

impl From<TelegramError> for SignInRunError {
    /// What taking a key comes to.
    fn from(error: TelegramError) -> Self {
        match error {
            TelegramError::KeyResting { remaining } => Self::Resting { remaining },
            TelegramError::Fenced(fenced) => Self::Fenced(fenced),
            TelegramError::Claim(error) => Self::Claim(error),
            _ => Self::OutOfTurn("another sign-in of this process has the key: end it first"),
        }
    }
}

/// Whether a connection has ended since the server knows no such key.
pub(super) fn is_unknown_key(error: &WireError) -> bool {
    matches!(error, WireError::Lost { end: WireEnd::Transport { code: 404 }, .. })
}
