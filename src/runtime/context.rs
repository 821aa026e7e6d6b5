//! The context of a pool: what all its accounts share, and what knows none of them.
//!
//! Owns the manager, the clock, the configuration, the limits and the counters. Decides nothing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::account_id::AccountId;
use crate::base::clock::{Clock, Tick, millis};
use crate::base::panics::call_manager;
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::config::Config;
use crate::events::Events;
use crate::limits::budget::Budget;
use crate::limits::dialing::{DialLimiter, DialLimiters};
use crate::limits::occupancy::Occupancy;
use crate::manager::{Egress, ErrorKind, Manager, Profile, Reaction};
use crate::stats::Groups;

/// What the accounts of a pool share.
pub(crate) struct PoolContext<M: Manager> {
    pub(crate) manager: M,
    pub(crate) clock: Clock,
    pub(crate) config: ArcSwap<Config>,
    pub(crate) hot: HotSettings,
    pub(crate) budget: Budget,
    pub(crate) dial_limiters: DialLimiters,
    pub(crate) groups: Arc<Groups>,
    pub(crate) events: Events,
    /// Where the tasks of the pool run.
    pub(crate) handle: Handle,
    pub(crate) closing: watch::Sender<bool>,
    /// Set by whoever exports the pool's numbers.
    #[cfg(feature = "metrics")]
    pub(crate) exported: std::sync::OnceLock<()>,
    pub(crate) occupancy: Occupancy,
    /// Acquires that ended before there was an account to count them.
    pub(crate) lookups_failed: AtomicU64,
    next_connection: AtomicU64,
    /// The second in which a slow acquire was last logged.
    warned: AtomicU64,
    random: Mutex<fastrand::Rng>,
}

/// The settings that the hot path reads, each as one word; changed only by a swap of the whole
/// configuration.
#[derive(Debug)]
pub(crate) struct HotSettings {
    acquire_timeout_ms: AtomicU64,
    check_after_ms: AtomicU64,
    max_idle_ms: AtomicU64,
    slow_acquire_ms: AtomicU64,
}

impl HotSettings {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            acquire_timeout_ms: AtomicU64::new(millis(config.pool.acquire_timeout)),
            check_after_ms: AtomicU64::new(millis(config.pool.check_after_idle)),
            max_idle_ms: AtomicU64::new(millis(config.pool.max_idle_time)),
            slow_acquire_ms: AtomicU64::new(millis(config.watch.slow_acquire)),
        }
    }

    pub(crate) fn set(&self, config: &Config) {
        let new = Self::new(config);
        for (word, new) in [
            (&self.acquire_timeout_ms, new.acquire_timeout_ms),
            (&self.check_after_ms, new.check_after_ms),
            (&self.max_idle_ms, new.max_idle_ms),
            (&self.slow_acquire_ms, new.slow_acquire_ms),
        ] {
            word.store(new.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn acquire_timeout_ms(&self) -> u64 {
        self.acquire_timeout_ms.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn check_after_ms(&self) -> u64 {
        self.check_after_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn max_idle_ms(&self) -> u64 {
        self.max_idle_ms.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn slow_acquire_ms(&self) -> u64 {
        self.slow_acquire_ms.load(Ordering::Relaxed)
    }
}

impl<M: Manager> PoolContext<M> {
    pub(crate) fn new(manager: M, config: Config, seed: u64, handle: Handle) -> Self {
        let groups = Arc::new(Groups::new());
        let traffic = Groups::traffic(&groups);
        call_manager("attach_traffic", || manager.metrics().map(|it| it.attach_traffic(traffic)));
        Self {
            manager,
            clock: Clock::new(),
            hot: HotSettings::new(&config),
            budget: Budget::new(config.pool.max_connections, config.pool.acquire_timeout),
            dial_limiters: DialLimiters::default(),
            groups,
            events: Events::new(),
            handle,
            closing: watch::Sender::new(false),
            #[cfg(feature = "metrics")]
            exported: std::sync::OnceLock::new(),
            occupancy: Occupancy::new(),
            lookups_failed: AtomicU64::new(0),
            next_connection: AtomicU64::new(1),
            warned: AtomicU64::new(0),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            config: ArcSwap::from_pointee(config),
        }
    }

    /// The configuration in force. Never hold the answer's fields across a swap.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// A number that no other connection of this pool has.
    pub(crate) fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a warning of a kind that may come in floods may be logged: one in a second.
    pub(crate) fn may_warn(&self) -> bool {
        let second = self.clock.coarse() / 1000;
        self.warned.swap(second, Ordering::Relaxed) != second
    }

    /// What the manager makes of an error; one that panics takes the connection for broken.
    pub(crate) fn react(&self, error: &M::Error) -> Reaction {
        call_manager("react", || self.manager.react(error)).unwrap_or(Reaction::Discard)
    }

    /// The kind of an error; of a manager that panics, a breach of its own protocol.
    pub(crate) fn kind(&self, error: &M::Error) -> ErrorKind {
        call_manager("kind", || self.manager.kind(error)).unwrap_or(ErrorKind::Protocol)
    }

    /// What there is to know of an account. One that the manager panics over is unknown.
    pub(crate) fn profile(&self, account: AccountId) -> Option<Profile> {
        call_manager("profile", || self.manager.profile(account)).flatten()
    }

    /// The way out by this egress, under the limits in force.
    pub(crate) fn dial_limiter(&self, egress: &Egress) -> Arc<DialLimiter> {
        self.dial_limiters.get(egress, &self.config.load().dial, self.clock.tick())
    }

    /// A random share from zero to one.
    pub(crate) fn share(&self) -> f64 {
        self.random.lock().f64()
    }

    /// When a connection that opens now reaches its own age limit.
    pub(crate) fn draw_retirement(&self, now: Tick) -> Tick {
        let config = self.config.load();
        let lowered = 1.0 - config.pool.age_jitter * self.share();
        now + millis(config.pool.max_connection_age.mul_f64(lowered)).max(1)
    }
}

impl<M: Manager> std::fmt::Debug for PoolContext<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slots = self.occupancy.slots();
        f.debug_struct("PoolContext").field("occupied", &slots).finish_non_exhaustive()
    }
}
