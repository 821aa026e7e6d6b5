//! The views of an account for whoever lists accounts, or looks at one.
//!
//! Owns none of the numbers. A listing takes the account's lock only if somebody waits, if it is out of
//! service, or if it had a connection and has none.

use std::sync::Arc;
use std::time::Duration;

use super::AccountInner;
use crate::account_health::AccountHealth;
use crate::base::clock::{Instant, Tick};
use crate::base::panics::call_manager;
use crate::connection::ConnectionState;
use crate::manager::Manager;
use crate::stats::{AccountStats, AccountSummary, ConnectionStats, Totals};

impl<M: Manager> AccountInner<M> {
    /// The account in short, as a member of a group of this name.
    pub(crate) fn summary(&self, group: Arc<str>, now: Instant) -> AccountSummary {
        let tick = self.context().clock.tick_at(now);
        let ago = |then: Tick| Duration::from_millis(tick.saturating_sub(then));
        let mut totals = Totals::default();
        self.pool.add_to(&mut totals);
        let count = |state: ConnectionState| {
            u32::try_from(totals.states[state as usize]).unwrap_or(u32::MAX)
        };
        let health = self.health_in_short(tick);
        let rests = match &health {
            AccountHealth::Resting { remaining } => Some(*remaining),
            _ => {
                let until = self.pool.cooling_for_any(tick);
                until.map(|until| Duration::from_millis(until.saturating_sub(tick)))
            }
        };
        let oldest = self.pool.waited_since().map(|since| now.saturating_duration_since(since));
        let past = self.pool.past();
        let last_error = past.as_ref().and_then(|past| past.last_error.as_ref());
        AccountSummary {
            account: self.pool.account(),
            group,
            health,
            rests,
            sessions: self.pool.sessions(),
            idle: count(ConnectionState::Idle),
            active: count(ConnectionState::Active),
            connecting: count(ConnectionState::Connecting),
            closing: count(ConnectionState::Disconnected) + count(ConnectionState::Error),
            max_connections: self.pool.max_connections().into(),
            leases: totals.leases,
            waiting: totals.waiting,
            oldest_wait: oldest,
            total_connections_created: totals.opened,
            total_connections_reused: totals.uses.saturating_sub(totals.new_uses),
            total_connections_closed: totals.closed,
            errors: past.as_ref().map_or(0, |past| past.errors),
            last_error: last_error.map(|error| Arc::clone(&error.text)),
            last_error_age: last_error.map(|error| ago(error.at)),
            last_used: self.pool.last_used(tick).map(ago),
        }
    }

    /// All there is to know of the account now.
    pub(crate) fn stats(&self) -> AccountStats {
        let context = self.context();
        let tick = context.clock.tick();
        let idle_timeout = Duration::from_millis(context.hot.max_idle_ms());
        let mut stats = self.pool.stats(tick, idle_timeout);
        stats.quarantines = self.pool.quarantines();
        stats.quarantines.sort_unstable_by_key(|(slot, _)| *slot);
        stats.cooldowns = self.cooldowns(tick);
        self.note_dial_classes(&mut stats.connections);
        stats
    }

    /// Each connection of the account, in the order of the slots. Takes no lock.
    #[cfg(feature = "http")]
    pub(crate) fn connection_stats(&self, now: Tick) -> Vec<ConnectionStats> {
        let idle_timeout = Duration::from_millis(self.context().hot.max_idle_ms());
        let mut connections = self.pool.connection_stats(now, idle_timeout);
        self.note_dial_classes(&mut connections);
        connections
    }

    fn note_dial_classes(&self, connections: &mut [ConnectionStats]) {
        for connection in connections {
            connection.dial_class = self.dial_class(connection.slot);
        }
    }

    /// The class that the dials of a slot are counted in.
    pub(crate) fn dial_class(&self, slot: u16) -> u8 {
        let account = self.pool.account();
        let class = || self.context().manager.metrics().map(|it| it.dial_class(account, slot));
        call_manager("metrics", class).flatten().unwrap_or_default()
    }
}
