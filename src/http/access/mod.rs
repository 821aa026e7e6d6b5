//! Access: who asks, and what they may do and see.
//!
//! Owns the scopes and the [`Access`] that every handler judges by. A request has one once it has passed the
//! middleware (`guard`, as `policy` has it); without it nothing is allowed. Tokens come from a file (`token_file`,
//! `tokens`), cookies from a token (`sign_in`).

mod answer;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod grant;
mod guard;
mod headers;
mod host;
mod peer;
mod policy;
mod rates;
mod refusal;
mod sign_in;
#[cfg(test)]
mod tests;
mod token;
mod token_file;
mod tokens;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::base::labels::labelled;
pub(crate) use answer::is_stream;
pub use grant::{GrantError, TokenGrant};
pub(crate) use guard::SESSION;
pub(crate) use headers::COOKIE;
pub use host::HostNameError;
pub use peer::Peer;
pub use policy::AccessPolicy;
pub(crate) use sign_in::SessionDescription;
pub use token::{ParseTokenIdError, Token, TokenId};
pub use token_file::{TokenFile, TokenFileError, TokenRecord};
pub use tokens::Tokens;

labelled! {
    /// What a token is for. Each scope is granted by itself: none contains another.
    pub enum Scope {
        /// Reads the numbers, the accounts, the events and the configuration.
        Read = "read",
        /// Closes, drains, pauses, reinstates and reconfigures.
        Operate = "operate",
        /// Calls methods of Telegram.
        Call = "call",
    }
}

/// What whoever asks may do and see. By default nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Access {
    /// Who it is, for the audit: the name of the token, or where they come from.
    pub name: Arc<str>,
    /// What they may do.
    pub scopes: Vec<Scope>,
    /// The groups whose accounts and numbers they see; `None` means all.
    pub groups: Option<Arc<[Arc<str>]>>,
    /// Whether they see phone numbers in full.
    pub phones: bool,
}

impl Access {
    /// Whether they may do this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the accounts and the numbers of a group are theirs to see.
    #[must_use]
    pub fn sees_group(&self, group: &str) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.iter().any(|it| **it == *group))
    }
}

impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
