//! The statistics of an account, read without any lock.
//!
//! Owns the public views. Each number is right by itself; two of them may be a moment apart.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::ConnectionState;
use crate::engine::connection::{Connection, HeldLease};
use crate::engine::{AccountPool, PAUSED, WAIT};
use crate::stats::{AccountStats, ConnectionStats, Totals};

impl<C, E> AccountPool<C, E> {
    /// Every connection of the account, whatever its state.
    pub(crate) fn connections(&self) -> impl Iterator<Item = Arc<Connection<C>>> + '_ {
        self.body.get().into_iter().flat_map(|body| body.all_slots().filter_map(|slot| slot.load()))
    }

    /// Whether some slot holds a connection, as was seen a moment ago.
    pub(crate) fn has_connections(&self) -> bool {
        self.fast_path.occupied() != 0
    }

    /// Whether some connection of the account stands.
    pub(crate) fn is_open(&self) -> bool {
        let stands = |it: &Connection<C>| {
            let state = it.word.snapshot().state();
            matches!(state, ConnectionState::Active | ConnectionState::Idle)
        };
        let mut is_open = false;
        self.body.get().is_some_and(|body| {
            body.all_slots().any(|slot| {
                slot.inspect(|it| is_open = stands(it));
                is_open
            })
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
        let mut occupied = self.fast_path.occupied();
        while occupied != 0 {
            let slot = body.slot(occupied.trailing_zeros() as usize);
            slot.into_iter().for_each(|slot| {
                slot.inspect(|connection| {
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
        totals.connected_accounts += u64::from(live > 0);
        totals.leases += counters.orphans.load(Ordering::Relaxed);
        totals.waiting += counters.waiting.load(Ordering::Relaxed);
        let waits = self.gate.load(Ordering::Relaxed) & (WAIT | PAUSED) == WAIT;
        totals.saturated += u64::from(waits && live >= u32::from(self.max_connections()));
    }

    /// The account's view, as far as neither its health nor the manager is asked.
    pub(crate) fn stats(&self, now: Tick, idle_timeout: Duration) -> AccountStats {
        let mut totals = Totals::default();
        self.add_to(&mut totals);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let pool_size = small(totals.states[ConnectionState::Idle as usize]);
        let active_connections = small(totals.states[ConnectionState::Active as usize]);
        AccountStats {
            account: self.account,
            pool_size,
            active_connections,
            total_connections: pool_size + active_connections,
            max_connections: self.max_connections().into(),
            leases: totals.leases,
            waiting: totals.waiting,
            total_connections_created: totals.opened,
            total_connections_reused: totals.uses.saturating_sub(totals.new_uses),
            total_connections_closed: totals.closed,
            connections: self.connection_stats(now, idle_timeout),
            quarantines: Vec::new(),
            cooldowns: Vec::new(),
        }
    }

    /// Each connection of the account, in the order of the slots, as far as the manager is not asked.
    pub(crate) fn connection_stats(
        &self,
        now: Tick,
        idle_timeout: Duration,
    ) -> Vec<ConnectionStats> {
        let stats = |connection: Arc<Connection<C>>| connection.stats(now, idle_timeout);
        let mut connections: Vec<_> = self.connections().map(stats).collect();
        connections.sort_by_key(|connection| connection.slot);
        connections
    }

    /// The lease that has been held longest.
    pub(crate) fn oldest_lease(&self) -> Option<HeldLease> {
        self.connections().filter_map(|it| it.held()).min_by_key(|held| held.since)
    }

    /// Why the last dial failed or could not be made, if one did since the last good connection.
    pub(crate) fn last_dial_error(&self) -> Option<String> {
        self.body.get()?.core.lock().last_dial_error.as_deref().map(str::to_owned)
    }
}

impl<C> Connection<C> {
    fn stats(&self, now: Tick, idle_timeout: Duration) -> ConnectionStats {
        let word = self.word.snapshot();
        let ago = |tick: Tick| Duration::from_millis(now.saturating_sub(tick));
        ConnectionStats {
            id: self.id,
            slot: self.slot,
            state: word.state(),
            leases: word.leases(),
            age: self.live().map(|live| ago(live.created)),
            last_used: self.live().map(|_| ago(self.last_used())),
            use_count: self.uses(),
            error_count: self.errors(),
            last_error: self.last_error().map(|text| text.as_ref().clone()),
            idle_timeout,
            dial_class: 0,
        }
    }
}
