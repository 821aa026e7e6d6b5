//! What can be seen of an account from outside, read without any lock.
//!
//! Owns the public views. Each number is right by itself; two of them may be a moment apart.

use std::sync::Arc;
use std::time::Duration;

use crate::account::AccountId;
use crate::account_pool::connection::{Connection, ConnectionId, Held};
use crate::account_pool::{AccountPool, WAIT};
use crate::clock::Tick;
use crate::state::ConnectionState;
use crate::sync::Ordering;

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
    /// Acquires in line now.
    pub waiting: u64,
    /// Connections opened so far.
    pub total_connections_created: u64,
    /// Acquires that a live connection served.
    pub total_connections_reused: u64,
    /// Connections closed so far.
    pub total_connections_closed: u64,
    /// Each connection.
    pub connections: Vec<ConnectionStats>,
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
}

/// Sums over accounts, read without a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// By state, in the order of `ConnectionState::ALL`.
    pub(crate) states: [u64; 5],
    pub(crate) leases: u64,
    pub(crate) waiting: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) uses: u64,
    pub(crate) shared_uses: u64,
    pub(crate) new_uses: u64,
    /// Accounts at their cap with somebody in line.
    pub(crate) saturated: u64,
    /// Accounts that have connections now.
    pub(crate) peopled: u64,
}

impl<C, E> AccountPool<C, E> {
    /// Every connection of the account, whatever its state.
    pub(crate) fn connections(&self) -> impl Iterator<Item = Arc<Connection<C>>> + '_ {
        self.body.get().into_iter().flat_map(|body| body.all_slots().filter_map(|slot| slot.load()))
    }

    /// Whether some slot holds a connection, as was seen a moment ago.
    pub(crate) fn has_connections(&self) -> bool {
        self.front.occupied() != 0
    }

    /// Whether some connection of the account stands.
    pub(crate) fn is_open(&self) -> bool {
        self.connections().any(|it| {
            let state = it.word.snapshot().state();
            matches!(state, ConnectionState::Active | ConnectionState::Idle)
        })
    }

    /// Adds this account's numbers to a sum.
    pub(crate) fn add_to(&self, totals: &mut Totals) {
        let Some(body) = self.body.get() else { return };
        let counters = &body.counters;
        // What is past first: it is added to after its connection has left its slot.
        totals.uses += counters.past_uses.load(Ordering::Acquire);
        totals.shared_uses += counters.past_shared_uses.load(Ordering::Relaxed);
        self.add_present_to(totals);
        totals.opened += counters.opened.load(Ordering::Relaxed);
        totals.closed += counters.closed.load(Ordering::Relaxed);
        totals.new_uses += counters.new_uses.load(Ordering::Relaxed);
    }

    /// The same without what is past: what the account has now, and what its connections have
    /// done so far.
    pub(crate) fn add_present_to(&self, totals: &mut Totals) {
        let Some(body) = self.body.get() else { return };
        let counters = &body.counters;
        let mut live = 0;
        let mut occupied = self.front.occupied();
        while occupied != 0 {
            let slot = body.slot(occupied.trailing_zeros() as usize);
            slot.into_iter().for_each(|slot| {
                slot.look(|connection| {
                    totals.uses += connection.uses();
                    totals.shared_uses += connection.shared_uses();
                    let now = connection.word.snapshot();
                    let state = now.state();
                    totals.states[state as usize] += 1;
                    if !matches!(state, ConnectionState::Disconnected | ConnectionState::Error) {
                        totals.leases += u64::from(now.leases());
                        live += 1;
                    }
                })
            });
            occupied &= occupied - 1;
        }
        totals.peopled += u64::from(live > 0);
        totals.leases += counters.orphans.load(Ordering::Relaxed);
        totals.waiting += counters.waiting.load(Ordering::Relaxed);
        let waits = self.gate.load(Ordering::Relaxed) & WAIT != 0;
        totals.saturated += u64::from(waits && live >= u32::from(self.reach()));
    }

    /// The account's view.
    pub(crate) fn stats(&self, now: Tick, idle_timeout: Duration) -> AccountStats {
        let mut totals = Totals::default();
        self.add_to(&mut totals);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let pool_size = small(totals.states[ConnectionState::Idle as usize]);
        let active_connections = small(totals.states[ConnectionState::Active as usize]);
        let mut connections: Vec<_> =
            self.connections().map(|it| self.connection_stats(&it, now, idle_timeout)).collect();
        connections.sort_by_key(|connection| connection.slot);
        AccountStats {
            account: self.account,
            pool_size,
            active_connections,
            total_connections: pool_size + active_connections,
            max_connections: self.reach().into(),
            leases: totals.leases,
            waiting: totals.waiting,
            total_connections_created: totals.opened,
            total_connections_reused: totals.uses.saturating_sub(totals.new_uses),
            total_connections_closed: totals.closed,
            connections,
        }
    }

    fn connection_stats(
        &self,
        connection: &Connection<C>,
        now: Tick,
        idle_timeout: Duration,
    ) -> ConnectionStats {
        let word = connection.word.snapshot();
        let ago = |tick: Tick| Duration::from_millis(now.saturating_sub(tick));
        ConnectionStats {
            id: connection.id,
            slot: connection.slot,
            state: word.state(),
            leases: word.leases(),
            age: connection.live().map(|live| ago(live.created)),
            last_used: connection.live().map(|_| ago(connection.last_used())),
            use_count: connection.uses(),
            error_count: connection.errors(),
            last_error: connection.last_error().map(|text| text.as_ref().clone()),
            idle_timeout,
        }
    }

    /// The lease that has been held longest.
    pub(crate) fn oldest_lease(&self) -> Option<Held> {
        self.connections().filter_map(|it| it.held()).min_by_key(|held| held.since)
    }

    /// Why the last dial failed or could not be made, if one did since the last good connection.
    pub(crate) fn last_dial_error(&self) -> Option<String> {
        self.body.get()?.core.lock().last_dial_error.clone()
    }
}
