//! What is said of a connection: its name, its state, why it was closed, and where a lease got it.

use std::fmt;

use crate::base::labels::labelled;

/// Names one connection of a pool for as long as the pool lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

labelled! {
    /// Why a connection was closed.
    #[non_exhaustive]
    pub enum CloseReason {
        /// Nobody used it for `max_idle_time`.
        Idle = "idle",
        /// It reached `max_connection_age`.
        Age = "age",
        /// It failed.
        Broken = "broken",
        /// It failed the check before reuse.
        CheckFailed = "check_failed",
        /// A cap was lowered, or another account needed its place under the global cap.
        Excess = "excess",
        /// Its session or account was quarantined.
        Quarantine = "quarantine",
        /// Somebody asked for it.
        Requested = "requested",
        /// Its account was drained, its session has gone, or a change of configuration replaced it.
        Drain = "drain",
        /// The pool was closed.
        Shutdown = "shutdown",
    }
}

impl CloseReason {
    /// Whether the connection ends in the ERROR state.
    pub(crate) const fn is_fault(self) -> bool {
        matches!(self, Self::Broken | Self::CheckFailed)
    }
}

labelled! {
    /// What a connection is doing, as the replaced application named it.
    pub enum ConnectionState {
        /// Open, and not leased.
        Idle = "idle",
        /// Open, with one lease or more.
        Active = "active",
        /// Being opened.
        Connecting = "connecting",
        /// Closed, or being closed, in good order.
        Disconnected = "disconnected",
        /// Closed, or being closed, because it failed.
        Error = "error",
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

labelled! {
    /// Where a lease's connection came from.
    pub(crate) enum Source {
        /// Nobody else held it.
        Idle = "idle",
        /// Others hold leases of it as well.
        Shared = "shared",
        /// It was opened for this acquire.
        New = "new",
    }
}

impl Source {
    pub(crate) const fn of_live(shared: bool) -> Self {
        if shared { Self::Shared } else { Self::Idle }
    }
}
