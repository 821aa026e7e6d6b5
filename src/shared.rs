//! What every account of a pool shares.
//!
//! Owns the manager, the clock, the configuration, the budget, the lanes, the counters and the
//! way to the worker. Decides nothing: it is the ground that accounts stand on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::account::AccountId;
use crate::budget::Budget;
use crate::caught::asked;
use crate::clock::{Clock, Tick, millis};
use crate::config::Config;
use crate::dialer::{Lane, Lanes};
use crate::entry::Errand;
use crate::events::Events;
use crate::expiry::Expiry;
use crate::manager::{Egress, ErrorKind, Manager, Profile, Reaction};
use crate::occupancy::Occupancy;
use crate::registry::Registry;
use crate::stats::Groups;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The ground of a pool.
pub(crate) struct Shared<M: Manager> {
    pub(crate) manager: M,
    pub(crate) clock: Clock,
    pub(crate) config: ArcSwap<Config>,
    pub(crate) hot: Hot,
    pub(crate) budget: Budget,
    pub(crate) lanes: Lanes,
    pub(crate) groups: Arc<Groups>,
    pub(crate) events: Events,
    pub(crate) expiry: Expiry<M>,
    /// The pool's accounts. Weak: every account holds this, so a strong one would never end.
    pub(crate) registry: std::sync::Weak<Registry<M>>,
    pub(crate) errands: mpsc::UnboundedSender<Errand<M>>,
    /// Where the tasks of the pool run.
    pub(crate) runtime: Handle,
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
pub(crate) struct Hot {
    acquire_timeout_ms: AtomicU64,
    check_after_ms: AtomicU64,
    max_idle_ms: AtomicU64,
    slow_acquire_ms: AtomicU64,
}

impl Hot {
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

impl<M: Manager> Shared<M> {
    pub(crate) fn new(
        manager: M,
        config: Config,
        seed: u64,
        registry: std::sync::Weak<Registry<M>>,
        errands: mpsc::UnboundedSender<Errand<M>>,
        runtime: Handle,
    ) -> Self {
        let clock = Clock::new();
        Self {
            manager,
            hot: Hot::new(&config),
            budget: Budget::new(config.pool.max_connections, config.pool.acquire_timeout),
            lanes: Lanes::default(),
            groups: Arc::new(Groups::new()),
            events: Events::new(),
            expiry: Expiry::new(config.pool.cleanup_interval, clock.tick()),
            registry,
            errands,
            runtime,
            closing: watch::Sender::new(false),
            #[cfg(feature = "metrics")]
            exported: std::sync::OnceLock::new(),
            occupancy: Occupancy::new(),
            lookups_failed: AtomicU64::new(0),
            next_connection: AtomicU64::new(1),
            warned: AtomicU64::new(0),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            config: ArcSwap::from_pointee(config),
            clock,
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
        asked("react", || self.manager.react(error)).unwrap_or(Reaction::Discard)
    }

    /// The kind of an error; of a manager that panics, a breach of its own protocol.
    pub(crate) fn kind(&self, error: &M::Error) -> ErrorKind {
        asked("kind", || self.manager.kind(error)).unwrap_or(ErrorKind::Protocol)
    }

    /// What there is to know of an account. One that the manager panics over is unknown.
    pub(crate) fn profile(&self, account: AccountId) -> Option<Profile> {
        asked("profile", || self.manager.profile(account)).flatten()
    }

    /// The way out by this egress, under the limits in force.
    pub(crate) fn lane(&self, egress: &Egress) -> Arc<Lane> {
        self.lanes.lane(egress, &self.config.load().dial, self.clock.tick())
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

    /// Claims one idle connection of any account for whoever waits under the global cap.
    /// Returns whether there was one.
    pub(crate) fn relieve(&self) -> bool {
        let now = self.clock.tick();
        let Some(registry) = self.registry.upgrade() else { return false };
        let give_up = || match registry.give_up_idle() {
            Some((entry, effects)) => {
                entry.apply(effects);
                true
            }
            None => false,
        };
        self.budget.relieve(now, give_up, || registry.has_idle())
    }
}

impl<M: Manager> std::fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("occupied", &self.occupancy.slots()).finish_non_exhaustive()
    }
}
