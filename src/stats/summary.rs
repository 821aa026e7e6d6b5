//! The summary of an account: one line of a listing.

use std::sync::Arc;
use std::time::Duration;

use crate::account_health::AccountHealth;
use crate::account_id::AccountId;

/// One account in short, as [`Pool::account_summaries`](crate::Pool::account_summaries) has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountSummary {
    /// The account.
    pub account: AccountId,
    /// The name of its group; `other` for all groups beyond those that have a name.
    pub group: Arc<str>,
    /// Whether it serves, and if not, why. [`Cooling`](AccountHealth::Cooling) without its list of methods:
    /// [`AccountStats::cooldowns`](crate::AccountStats) has that.
    pub health: AccountHealth,
    /// For how much longer it rests: all of it, or the method of it that rests longest.
    pub rests: Option<Duration>,
    /// How many sessions it has.
    pub sessions: u16,
    /// Idle connections.
    pub idle: u32,
    /// Connections that are leased.
    pub active: u32,
    /// Connections that are being opened.
    pub connecting: u32,
    /// Connections that are being closed.
    pub closing: u32,
    /// The most connections that it may have.
    pub max_connections: u32,
    /// Leases held now.
    pub leases: u64,
    /// Acquires that wait now.
    pub waiting: u64,
    /// For how long the first of them has waited.
    pub oldest_wait: Option<Duration>,
    /// Connections opened so far.
    pub total_connections_created: u64,
    /// Acquires that a live connection served.
    pub total_connections_reused: u64,
    /// Connections closed so far.
    pub total_connections_closed: u64,
    /// Errors of its connections so far, and dials that failed.
    pub errors: u64,
    /// The last of them.
    pub last_error: Option<Arc<str>>,
    /// How long ago that was.
    pub last_error_age: Option<Duration>,
    /// How long ago a connection of it was last used, to 10 ms; zero while one is leased, and `None` if none
    /// ever was open.
    pub last_used: Option<Duration>,
}
