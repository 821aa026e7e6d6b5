//! What a manager makes of an error: the reaction, the reason of a quarantine, and the class.
//!
//! Owns these values and their labels. Never acts on one.

use std::fmt;
use std::time::Duration;

use crate::base::labels::labelled;

/// What the pool does about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// The connection is healthy; the error belongs to the caller alone.
    Keep,
    /// The connection may be dead: check it before anybody else gets it.
    Check,
    /// Close the connection; the slot is dialled again with backoff when it is needed.
    Discard,
    /// The account may not use the method `key` for a time; the connection is healthy.
    CoolDown {
        /// The method, by any number that names it.
        key: u32,
        /// For how long.
        wait: Duration,
    },
    /// The server limits the account in a way no waiting mends: tell the operator, change
    /// nothing.
    Restricted,
    /// Close the connection, and stop dialling by this egress for a while.
    TripBreaker,
    /// This machine has no room for another connection: no file descriptor, port or buffer is left.
    /// The dial waits for a place as if the pool were full, and nothing is held against the account.
    Exhausted,
    /// Close the connection and never dial its session again until an operator reinstates it.
    QuarantineSession(QuarantineReason),
    /// The same for every session of the account.
    QuarantineAccount(QuarantineReason),
}

labelled! {
    /// Why a session or an account is quarantined.
    #[non_exhaustive]
    pub enum QuarantineReason {
        /// The session's key was used by two connections at once, and the server has voided it.
        KeyDuplicated = "key_duplicated",
        /// The session was revoked or has expired; a new login is needed.
        NeedsLogin = "needs_login",
        /// The account was deactivated or banned.
        Deactivated = "deactivated",
        /// The server does not know the key; at times it is mistaken, so that the session is dialled
        /// once more after a while.
        Suspect = "suspect",
        /// The server did not know the key then either.
        Dead = "dead",
        /// The session's settings are wrong for its server.
        Misconfigured = "misconfigured",
        /// This process lacks what the session needs, such as an application id.
        Unsupported = "unsupported",
        /// An operator asked for it.
        Operator = "operator",
    }
}

impl QuarantineReason {
    /// Returns what an operator can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::KeyDuplicated => "log in again: the server has voided this authorization",
            Self::NeedsLogin => "log in again: the session was revoked or has expired",
            Self::Deactivated => "nothing here helps: the server has deactivated the account",
            Self::Suspect => "wait: it is dialled once more by itself, or reinstate it sooner",
            Self::Dead => "log in again: the server does not know this authorization",
            Self::Misconfigured => {
                "correct the session's data centre or address, then reinstate it (telepool session set and \
                 reinstate, or telepool state reinstate)"
            }
            Self::Unsupported => {
                "give what the session lacks, which its last error tells, then reinstate it"
            }
            Self::Operator => "reinstate it when it is wanted again",
        }
    }

    /// Returns whether it is to be kept past the process. What no server and no operator has said is not:
    /// it is found out again without a dial, or is no longer so.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        match self {
            Self::Unsupported => false,
            Self::KeyDuplicated
            | Self::NeedsLogin
            | Self::Deactivated
            | Self::Suspect
            | Self::Dead
            | Self::Misconfigured
            | Self::Operator => true,
        }
    }
}

impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

labelled! {
    /// The class of an error, for the counters.
    #[non_exhaustive]
    pub enum ErrorKind {
        /// The network failed.
        Io = "io",
        /// The peer refused the connection.
        Refused = "refused",
        /// The peer and we disagree on the protocol.
        Protocol = "protocol",
        /// No answer in time.
        Timeout = "timeout",
        /// The server answered with an error.
        Rpc = "rpc",
        /// The server does not accept the authorization.
        Auth = "auth",
    }
}
