//! The error of a dial by a proxy, or from an address of this machine.
//!
//! Owns the wording: what is wrong with it and what would do. Never holds more of a proxy than its label.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::session::Proxy;

/// Why a session could not be dialled by its proxy, or from its address. The session is not to blame: nothing
/// of it was sent.
#[derive(Debug)]
pub struct ProxyError {
    label: Arc<str>,
    is_bound: bool,
    problem: ProxyProblem,
}

/// What is wrong with a proxy, or with an address to dial from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyProblem {
    /// Its name has no address.
    #[error("has a name without an address ({0}): correct its host, or see to the resolver")]
    Unresolved(#[source] io::Error),
    /// Nothing answers there.
    #[error("cannot be reached ({0}): see whether it runs, and lets this machine in")]
    Unreachable(#[source] io::Error),
    /// The connection was not there in time.
    #[error(
        "made no connection within {after:?}: see whether it works and reaches Telegram, or raise \
         pool.dial_timeout (in the library TelegramSettings::proxy_timeout as well)"
    )]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// It does not let this user in.
    #[error("does not accept the user and the password: correct them in the session's proxy")]
    Credentials,
    /// It lets nobody in who does not say who he is.
    #[error("wants a user and a password: write them before its host, as user:password@host:port")]
    CredentialsWanted,
    /// It does not make connections to the data centre, by its rules.
    #[error(
        "forbids connections to the data centre: allow its address and port in the proxy's rules"
    )]
    Forbidden,
    /// It could not reach the data centre.
    #[error("cannot reach the data centre ({0}): see to the proxy's own network")]
    Target(Box<str>),
    /// The data centre could not be reached from this address.
    #[error("leads to no data centre ({0}): see to the routes of that address")]
    NoRoute(#[source] io::Error),
    /// It closed the connection instead of answering.
    #[error("closed the connection before it answered: see whether it lets this machine in")]
    Closed,
    /// What it says is not of the protocol.
    #[error("does not answer as such a proxy does: see whether its scheme and its port are right")]
    Nonsense,
    /// The machine does not have the address.
    #[error(
        "is none of this machine's: correct bind:// in the session's proxy, or give it to an interface"
    )]
    NotOurs,
    /// The address is of another family than the data centre's.
    #[error("is not of the same family (IPv4 or IPv6) as the data centre's: bind to one that is")]
    Family,
}

impl ProxyError {
    pub(in crate::telegram) fn new(proxy: &Proxy, problem: ProxyProblem) -> Self {
        let is_bound = proxy.is_of_this_machine();
        Self { label: proxy.label().into(), is_bound, problem }
    }

    /// What the proxy is called: its host and port, or the address that is dialled from.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &ProxyProblem {
        &self.problem
    }

    /// What this machine said, if it was this machine.
    pub(in crate::telegram) fn io(&self) -> Option<&io::Error> {
        match &self.problem {
            ProxyProblem::Unresolved(error)
            | ProxyProblem::Unreachable(error)
            | ProxyProblem::NoRoute(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_bound { "the address to dial from," } else { "the proxy" };
        let comma = if self.is_bound { "," } else { "" };
        write!(f, "{what} {}{comma} {}", self.label, self.problem)
    }
}

impl std::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The problem is told already.
        self.problem.source()
    }
}
