//! The numbers of a pool and of an account, as a caller sees them, and what is counted by group.

mod ends;
mod groups;
mod summary;

use std::time::Duration;

use crate::account_health::Cooldown;
use crate::account_id::AccountId;
use crate::connection::{ConnectionId, ConnectionState};
use crate::manager::QuarantineReason;
pub(crate) use crate::stats::ends::{AccountEnd, AcquireEnd, OpenEnd};
pub(crate) use crate::stats::groups::*;
pub use crate::stats::summary::AccountSummary;

/// The pool as a whole, as `Pool::stats` sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Accounts that the pool knows.
    pub accounts: u64,
    /// Connections opened so far.
    pub total_connections_created: u64,
    /// Acquires that a live connection served.
    pub total_connections_reused: u64,
    /// Connections closed so far.
    pub total_connections_closed: u64,
    /// Idle connections.
    pub current_pool_size: u64,
    /// Connections that are leased.
    pub current_active_connections: u64,
    /// Connections that are being opened.
    pub current_connecting: u64,
    /// The most connections that the pool may have.
    pub max_connections: u64,
    /// Acquires that got a lease so far.
    pub acquires: u64,
    /// Acquires that got none: by the deadline.
    pub acquires_timed_out: u64,
    /// Acquires that got none: for any other reason than the deadline or the caller's leaving.
    pub acquires_failed: u64,
    /// Acquires whose caller left.
    pub acquires_cancelled: u64,
    /// Leases held now.
    pub leases: u64,
    /// Acquires that wait now.
    pub waiting: u64,
    /// Dials that failed so far, without those that were called off.
    pub dials_failed: u64,
    /// Errors reported of connections so far.
    pub connection_errors: u64,
    /// Flood waits that the server imposed so far.
    pub flood_waits: u64,
    /// Sessions and accounts quarantined so far.
    pub quarantines: u64,
    /// Egresses whose breaker is open.
    pub breakers_open: u64,
    /// Addresses that do not answer, counted for each egress: one dial at a time tries them.
    pub addresses_down: u64,
    /// Runs of the reaper so far.
    pub reaper_runs: u64,
    /// Looks that the reaper has before it.
    pub reaper_scheduled: u64,
    /// Accounts whose group found no name left and is counted as `other`.
    pub groups_overflowed: u64,
}

impl PoolStats {
    /// Adds what a group has and has done.
    pub(crate) fn add(&mut self, totals: &Totals, group: &GroupCounters) {
        self.total_connections_created += totals.opened;
        self.total_connections_reused += totals.uses.saturating_sub(totals.new_uses);
        self.total_connections_closed += totals.closed;
        self.current_pool_size += totals.states[ConnectionState::Idle as usize];
        self.current_active_connections += totals.states[ConnectionState::Active as usize];
        self.current_connecting += totals.states[ConnectionState::Connecting as usize];
        self.acquires += totals.uses;
        self.leases += totals.leases;
        self.waiting += totals.waiting;
        let acquires = group.acquires.read();
        self.acquires_timed_out += acquires[AcquireEnd::Timeout as usize];
        self.acquires_cancelled += acquires[AcquireEnd::Cancelled as usize];
        self.acquires_failed += acquires[AcquireEnd::Rejected as usize]
            + acquires[AcquireEnd::Closed as usize]
            + acquires[AcquireEnd::Error as usize];
        self.dials_failed += group.opens_failed();
        self.connection_errors += group.errors.read().iter().sum::<u64>();
        self.flood_waits += group.flood_waits.read().iter().sum::<u64>();
        self.quarantines += group.quarantines.read().iter().sum::<u64>();
    }
}

/// One account, as `Pool::account_stats` sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountStats {
    /// The account.
    pub account: AccountId,
    /// Idle connections.
    pub pool_size: u32,
    /// Connections that are leased.
    pub active_connections: u32,
    /// Idle and leased connections together.
    pub total_connections: u32,
    /// The most connections the account may have.
    pub max_connections: u32,
    /// Leases held now.
    pub leases: u64,
    /// Acquires that wait now.
    pub waiting: u64,
    /// Connections opened so far.
    pub total_connections_created: u64,
    /// Acquires that a live connection served.
    pub total_connections_reused: u64,
    /// Connections closed so far.
    pub total_connections_closed: u64,
    /// Each connection.
    pub connections: Vec<ConnectionStats>,
    /// Each session that is out of service, by its slot, and why.
    pub quarantines: Vec<(u16, QuarantineReason)>,
    /// Each method that must rest.
    pub cooldowns: Vec<Cooldown>,
}

/// One connection, as `Pool::account_stats` sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Its name, for `Pool::close_connection`.
    pub id: ConnectionId,
    /// The account's session that it belongs to.
    pub slot: u16,
    /// What it is doing.
    pub state: ConnectionState,
    /// How many leases it bears.
    pub leases: u32,
    /// How long ago it was opened; `None` while it is being opened.
    pub age: Option<Duration>,
    /// How long ago it was last released, to 10 ms; `None` while it is being opened.
    pub last_used: Option<Duration>,
    /// How many leases it has served.
    pub use_count: u64,
    /// How many errors were reported of it.
    pub error_count: u64,
    /// The last of them.
    pub last_error: Option<String>,
    /// After how much idle time it is closed.
    pub idle_timeout: Duration,
    /// The class of its dial ([`MetricsSource::dial_class`](crate::MetricsSource::dial_class); Telegram: the
    /// data centre of its session), 0 if the manager has none.
    pub dial_class: u8,
}

/// Sums over accounts, read without a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// By state, in the order of `ConnectionState::ALL`.
    pub(crate) states: [u64; ConnectionState::ALL.len()],
    pub(crate) leases: u64,
    pub(crate) waiting: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) uses: u64,
    pub(crate) shared_uses: u64,
    pub(crate) new_uses: u64,
    /// Accounts at their cap for which somebody waits.
    pub(crate) saturated: u64,
    /// Accounts that have connections now.
    pub(crate) connected_accounts: u64,
}
