//! How dials leave: one lane per egress, which paces them, bounds how many are under way, and
//! slows down when the server refuses them.
//!
//! Owns the lanes. `attempt` carries out one dial; the account keeps its own pauses.

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
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore};

pub(crate) use attempt::dial;

use crate::clock::{Clock, Instant, Tick, now};
use crate::config::DialConfig;
use crate::dialer::breaker::Breaker;
use crate::manager::Egress;
use crate::sync::Mutex;

/// Every lane that is in use.
#[derive(Debug, Default)]
pub(crate) struct Lanes(DashMap<Egress, Arc<Lane>>);

impl Lanes {
    pub(crate) fn lane(&self, egress: &Egress, config: &DialConfig) -> Arc<Lane> {
        if let Some(lane) = self.0.get(egress) {
            return Arc::clone(&lane);
        }
        let lane = self.0.entry(egress.clone()).or_insert_with(|| Arc::new(Lane::new(config)));
        Arc::clone(&lane)
    }

    /// New limits: dials under way end on the old lanes, later ones take new lanes.
    pub(crate) fn reset(&self) {
        self.0.clear();
    }

    /// How many breakers are open: of the machine's own address, and of proxies.
    pub(crate) fn open_breakers(&self) -> [u64; 2] {
        let mut open = [0, 0];
        for lane in self.0.iter().filter(|lane| lane.breaker.lock().is_open()) {
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
    breaker: Mutex<Breaker>,
    /// Told when the breaker has closed, so that nobody waits for it any longer.
    closed: Notify,
}

impl Lane {
    fn new(config: &DialConfig) -> Self {
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
            breaker: Mutex::new(Breaker::default()),
            closed: Notify::new(),
        }
    }

    /// Waits until a dial may begin; the dial is under way as long as the permit is held. `None`
    /// if nobody wants it any more: it is asked before anything is spent, so that dials whose
    /// callers have left take nothing from those behind them. An open breaker lets so few
    /// through that it would be minutes until a wanted one came to its turn.
    pub(crate) async fn enter(
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
            let mut closed = pin!(self.closed.notified());
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
        self.breaker.lock().begin(now)
    }

    /// The server refuses dials from here.
    pub(crate) fn trip(&self, now: Tick) {
        self.breaker.lock().trip(now);
    }

    /// A dial succeeded.
    pub(crate) fn reset_breaker(&self) {
        if self.breaker.lock().reset() {
            self.closed.notify_waiters();
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

    #[tokio::test(start_paused = true)]
    async fn dials_that_nobody_wants_spend_nothing() {
        let lane = Lane::new(&DialConfig { per_second: 1000, handshakes: 1 });
        let clock = Clock::new();
        lane.trip(clock.tick());
        for _ in 0..100 {
            assert!(lane.enter(&clock, || false).await.is_none());
        }
        // What an open breaker lets through at first.
        for seconds in [1, 4, 8] {
            assert!(lane.enter(&clock, || true).await.is_some());
            assert_eq!((clock.tick() - crate::clock::EPOCH) / 1000, seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_open_breaker_goes_on_when_another_dial_succeeds() {
        let lane = Lane::new(&DialConfig { per_second: 1000, handshakes: 64 });
        let clock = Clock::new();
        for _ in 0..20 {
            assert!(lane.enter(&clock, || true).await.is_some());
        }
        let began = clock.tick();
        lane.trip(began);
        let success = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            lane.reset_breaker();
        };
        let (entered, ()) = tokio::join!(lane.enter(&clock, || true), success);
        assert!(entered.is_some());
        assert!(clock.tick() - began < 400, "{} ms", clock.tick() - began);
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_dials_than_the_limit() {
        for per_second in [1, 10, 250, 2000] {
            let lane = Lane::new(&DialConfig { per_second, handshakes: 64 });
            let clock = Clock::new();
            let mut begun = Vec::new();
            for _ in 0..per_second * 3 {
                let _permit = lane.enter(&clock, || true).await;
                begun.push(clock.tick());
            }
            let limit = per_second as usize;
            for window in begun.windows(limit + 1) {
                assert!(window[limit] - window[0] >= 990, "{per_second}/s: {window:?}");
            }
        }
    }
}
