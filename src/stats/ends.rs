//! How acquires, dials and accounts end.
//!
//! Owns these values and their labels. Never counts one.

use crate::base::labels::labelled;
use crate::manager::ErrorKind;

labelled! {
    /// How an acquire ended, other than well.
    pub(crate) enum AcquireEnd {
        Timeout = "timeout",
        Cancelled = "cancelled",
        Rejected = "rejected",
        Closed = "closed",
        Error = "error",
    }
}

labelled! {
    /// How a dial ended.
    pub(crate) enum OpenEnd {
        Ok = "ok",
        Timeout = "timeout",
        Refused = "refused",
        Auth = "auth",
        Handshake = "handshake",
        Io = "io",
        Cancelled = "cancelled",
    }
}

impl OpenEnd {
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Io => Self::Io,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Protocol | ErrorKind::Rpc => Self::Handshake,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Auth => Self::Auth,
        }
    }
}

labelled! {
    /// Why the pool forgot an account.
    pub(crate) enum AccountEnd {
        /// It had nothing left, and nobody held a handle of it.
        Idle = "idle",
        /// An operator removed it.
        Removed = "removed",
        /// The pool closes.
        Shutdown = "shutdown",
    }
}
