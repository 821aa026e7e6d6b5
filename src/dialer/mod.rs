//! How dials leave: one lane per egress, which paces them, bounds how many are under way, and
//! slows down when the server refuses them.
//!
//! Owns the lanes. `attempt` carries out one dial; the account keeps its own pauses.
//!
//! # Orderings
//! When a lane was last used is relaxed: the map's lock orders its end and its next use.

mod attempt;
mod breaker;

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(crate) use attempt::dial;

use crate::clock::{Clock, Instant, Tick, now};
use crate::config::DialConfig;
use crate::dialer::breaker::Breaker;
use crate::manager::Egress;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// For so many milliseconds a lane that nobody uses is remembered: its pace, and its breaker.
const KEPT_UNUSED: u64 = 600_000;

/// Every lane that is in use.
#[derive(Debug, Default)]
pub(crate) struct Lanes(DashMap<Egress, Arc<Lane>>);

impl Lanes {
    /// The lane of an egress, for use from now on.
    pub(crate) fn lane(&self, egress: &Egress, config: &DialConfig, now: Tick) -> Arc<Lane> {
        let lane = match self.0.get(egress) {
            Some(lane) => Arc::clone(&lane),
            None => {
                let new = || Arc::new(Lane::new(config, Arc::default()));
                Arc::clone(&self.0.entry(egress.clone()).or_insert_with(new))
            }
        };
        lane.used.store(now, Ordering::Relaxed);
        lane
    }

    /// New limits: dials under way end on the old lanes, all others take new lanes. What the
    /// server has refused stays refused.
    pub(crate) fn reset(&self, config: &DialConfig) {
        self.0.alter_all(|_, old| {
            let new = Lane::new(config, Arc::clone(&old.breaker));
            new.used.store(old.used.load(Ordering::Relaxed), Ordering::Relaxed);
            old.replaced.send_replace(true);
            Arc::new(new)
        });
    }

    /// Forgets lanes that nobody has used for long.
    pub(crate) fn prune(&self, now: Tick) {
        self.0.retain(|_, lane| {
            let used = lane.used.load(Ordering::Relaxed);
            Arc::strong_count(lane) > 1 || now.saturating_sub(used) < KEPT_UNUSED
        });
    }

    /// How many breakers are open: of the machine's own address, and of proxies.
    pub(crate) fn open_breakers(&self) -> [u64; 2] {
        let mut open = [0, 0];
        for lane in self.0.iter().filter(|lane| lane.breaker.state.lock().is_open()) {
            open[usize::from(*lane.key() != Egress::Direct)] += 1;
        }
        open
    }
}

/// One egress.
#[derive(Debug)]
pub(crate) struct Lane {
    pace_clock: PaceClock,
    pace: RateLimiter<NotKeyed, InMemoryState, PaceClock, NoOpMiddleware<Nanos>>,
    /// Held by the one dial that waits for the pace, so that dials begin in order.
    turn: AsyncMutex<()>,
    handshakes: Arc<Semaphore>,
    /// Held by the one dial that is made in advance: it stands in line with those that somebody
    /// waits for, and all others like it stand behind it.
    advance: AsyncMutex<()>,
    breaker: Arc<SharedBreaker>,
    /// Set when other limits are in force, on another lane.
    replaced: watch::Sender<bool>,
    /// When it was last taken.
    used: AtomicU64,
}

/// The breaker of an egress, which outlasts a change of the limits.
#[derive(Debug, Default)]
struct SharedBreaker {
    state: Mutex<Breaker>,
    /// Told when it has closed, so that nobody waits for it any longer.
    closed: Notify,
}

/// How the way into a lane ended.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The dial may begin, and is under way as long as the permit is held.
    Begin(OwnedSemaphorePermit),
    /// Nobody wants it any more.
    Unwanted,
    /// Other limits are in force: take the lane anew.
    Replaced,
}

impl Lane {
    fn new(config: &DialConfig, breaker: Arc<SharedBreaker>) -> Self {
        // Timers are good to a millisecond, so that a fast pace needs small bursts; they are
        // taken out of the rate, so that no second sees more than the limit.
        let burst = (config.per_second / 100).max(1);
        let steady = (config.per_second - burst).max(1);
        let quota = Quota::with_period(Duration::from_secs(1) / steady)
            .expect("BUG: the limits of the configuration keep the period above zero")
            .allow_burst(NonZeroU32::new(burst).expect("BUG: at least one"));
        let pace_clock = PaceClock { started: now() };
        Self {
            pace: RateLimiter::direct_with_clock(quota, pace_clock.clone()),
            pace_clock,
            turn: AsyncMutex::new(()),
            handshakes: Arc::new(Semaphore::new(config.handshakes as usize)),
            advance: AsyncMutex::new(()),
            breaker,
            replaced: watch::Sender::new(false),
            used: AtomicU64::new(0),
        }
    }

    /// Waits until no other dial in advance stands in line.
    pub(crate) async fn in_advance(&self) -> AsyncMutexGuard<'_, ()> {
        self.advance.lock().await
    }

    /// Returns when other limits are in force.
    pub(crate) async fn until_replaced(&self) {
        // The sender lives in the lane that is borrowed here, so this ends by its being replaced.
        drop(self.replaced.subscribe().wait_for(|replaced| *replaced).await);
    }

    /// Waits until a dial may begin. Whether somebody wants it is asked before anything is spent,
    /// so that dials whose callers have left take nothing from those behind them. An open breaker
    /// lets so few through that it would be minutes until a wanted one came to its turn.
    pub(crate) async fn enter(&self, clock: &Clock, is_wanted: impl Fn() -> bool) -> Entered {
        tokio::select! {
            biased;
            () = self.until_replaced() => Entered::Replaced,
            permit = self.wait_turn(clock, is_wanted) => {
                permit.map_or(Entered::Unwanted, Entered::Begin)
            }
        }
    }

    async fn wait_turn(
        &self,
        clock: &Clock,
        is_wanted: impl Fn() -> bool,
    ) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.handshakes).acquire_owned().await;
        let permit = permit.expect("BUG: the semaphore is never closed");
        let _turn = self.turn.lock().await;
        while is_wanted() {
            let Err(not_until) = self.pace.check() else { break };
            tokio::time::sleep(not_until.wait_time_from(self.pace_clock.now())).await;
        }
        while is_wanted() {
            let mut closed = pin!(self.breaker.closed.notified());
            // Registered before the breaker is looked at, so that no success is missed.
            closed.as_mut().enable();
            let Err(until) = self.try_begin(clock.tick()) else { return Some(permit) };
            tokio::select! {
                () = tokio::time::sleep_until(clock.instant_of(until)) => {}
                () = closed => {}
            }
        }
        None
    }

    fn try_begin(&self, now: Tick) -> Result<(), Tick> {
        self.breaker.state.lock().begin(now)
    }

    /// The server refuses dials from here.
    pub(crate) fn trip(&self, now: Tick) {
        self.breaker.state.lock().trip(now);
    }

    /// A dial succeeded.
    pub(crate) fn reset_breaker(&self) {
        if self.breaker.state.lock().reset() {
            self.breaker.closed.notify_waiters();
        }
    }
}

/// The pool's time in the form that `governor` takes, so that a paused clock paces too.
#[derive(Clone, Debug)]
struct PaceClock {
    started: Instant,
}

impl GovernorClock for PaceClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        now().saturating_duration_since(self.started).into()
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    fn lane(per_second: u32, handshakes: u32) -> Lane {
        Lane::new(&DialConfig { per_second, handshakes }, Arc::default())
    }

    async fn enter(lane: &Lane, clock: &Clock, wanted: bool) -> Option<OwnedSemaphorePermit> {
        match lane.enter(clock, || wanted).await {
            Entered::Begin(permit) => Some(permit),
            Entered::Unwanted => None,
            Entered::Replaced => panic!("nobody changed the limits"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dials_that_nobody_wants_spend_nothing() {
        let lane = lane(1000, 1);
        let clock = Clock::new();
        lane.trip(clock.tick());
        for _ in 0..100 {
            assert!(enter(&lane, &clock, false).await.is_none());
        }
        // What an open breaker lets through at first.
        for seconds in [1, 4, 8] {
            assert!(enter(&lane, &clock, true).await.is_some());
            assert_eq!((clock.tick() - crate::clock::EPOCH) / 1000, seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_open_breaker_goes_on_when_another_dial_succeeds() {
        let lane = lane(1000, 64);
        let clock = Clock::new();
        for _ in 0..20 {
            assert!(enter(&lane, &clock, true).await.is_some());
        }
        let began = clock.tick();
        lane.trip(began);
        let success = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            lane.reset_breaker();
        };
        let (entered, ()) = tokio::join!(enter(&lane, &clock, true), success);
        assert!(entered.is_some());
        assert!(clock.tick() - began < 400, "{} ms", clock.tick() - began);
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_dials_than_the_limit() {
        for per_second in [1, 10, 250, 2000] {
            let lane = lane(per_second, 64);
            let clock = Clock::new();
            let mut begun = Vec::new();
            for _ in 0..per_second * 3 {
                let _permit = enter(&lane, &clock, true).await;
                begun.push(clock.tick());
            }
            let limit = per_second as usize;
            for window in begun.windows(limit + 1) {
                assert!(window[limit] - window[0] >= 990, "{per_second}/s: {window:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn new_limits_reach_whoever_waits_and_forgive_nothing() {
        let lanes = Lanes::default();
        let clock = Clock::new();
        let slow = DialConfig { per_second: 1, handshakes: 1 };
        let old = lanes.lane(&Egress::Direct, &slow, clock.tick());
        let _first = enter(&old, &clock, true).await;
        old.trip(clock.tick());
        let waits = old.enter(&clock, || true);
        let change = async {
            lanes.reset(&DialConfig { per_second: 1000, handshakes: 64 });
        };
        let (waited, ()) = tokio::join!(waits, change);
        assert!(matches!(waited, Entered::Replaced), "{waited:?}");
        let new = lanes.lane(&Egress::Direct, &slow, clock.tick());
        assert_eq!(lanes.open_breakers(), [1, 0], "the server refuses all the same");
        let began = clock.tick();
        assert!(enter(&new, &clock, true).await.is_some());
        assert!(clock.tick() - began >= 999, "the first that an open breaker lets through");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_nobody_uses_is_forgotten_with_its_breaker() {
        let lanes = Lanes::default();
        let config = DialConfig { per_second: 1, handshakes: 1 };
        let egress = |name: &str| Egress::Proxy(Arc::from(name));
        lanes.lane(&egress("gone"), &config, 0).trip(0);
        let held = lanes.lane(&egress("held"), &config, 0);
        held.trip(0);
        lanes.prune(KEPT_UNUSED - 1);
        assert_eq!(lanes.open_breakers(), [0, 2]);
        lanes.prune(KEPT_UNUSED);
        assert_eq!(lanes.open_breakers(), [0, 1], "one is still in use");
    }
}
