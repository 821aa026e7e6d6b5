//! Limits of dials: for each egress a rate, a circuit breaker, and the handshakes under way to each
//! address.
//!
//! Owns the limiters. A task of the runtime carries out each dial; the account keeps its own backoff. An
//! address that does not answer costs nobody else anything: dials to it wait for handshakes of its own,
//! and for the rate only while it may answer.
//!
//! # Orderings
//! When a limiter or an address was last used is relaxed: the map's lock orders its end and its next use.

mod breaker;
mod rate;
mod reachability;
mod target;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify};

use crate::base::clock::{Clock, Tick, now};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::config::DialConfig;
use crate::error::Unreachable;
use crate::limits::dialing::breaker::Breaker;
use crate::limits::dialing::rate::RateLimiter;
use crate::limits::dialing::target::Target;
pub(crate) use crate::limits::dialing::target::{DEFER_UNREACHABLE_MIN, DialPermit};
use crate::manager::Egress;

/// For so many milliseconds a limiter or an address that nobody uses is remembered: its rate, its
/// breaker, and whether it answers.
const KEPT_UNUSED: u64 = 600_000;

/// So many addresses are told apart by a limiter. A data centre has a handful; those beyond share their
/// handshakes, and nothing that one dial comes to is held against another.
const TARGETS_MAX: usize = 1024;

/// The limiter of every egress that is in use.
#[derive(Debug, Default)]
pub(crate) struct DialLimiters(DashMap<Egress, Arc<DialLimiter>>);

impl DialLimiters {
    /// The limiter of an egress, for use from now on.
    pub(crate) fn get(&self, egress: &Egress, config: &DialConfig, now: Tick) -> Arc<DialLimiter> {
        let limiter = match self.0.get(egress) {
            Some(limiter) => Arc::clone(&limiter),
            None => {
                let new = || Arc::new(DialLimiter::new(config));
                Arc::clone(&self.0.entry(egress.clone()).or_insert_with(new))
            }
        };
        limiter.used.store(now, Ordering::Relaxed);
        // It may have been made by others that are no longer in force.
        limiter.set_limits(config);
        limiter
    }

    /// New limits: what was used of the old ones stays used, dials under way count on, and what the
    /// server has refused stays refused.
    pub(crate) fn set_limits(&self, config: &DialConfig) {
        for limiter in &self.0 {
            limiter.set_limits(config);
        }
    }

    /// Forgets limiters and addresses that nobody has used for long.
    pub(crate) fn prune(&self, now: Tick) {
        self.0.retain(|_, limiter| {
            limiter.prune(now);
            let used = limiter.used.load(Ordering::Relaxed);
            Arc::strong_count(limiter) > 1 || now.saturating_sub(used) < KEPT_UNUSED
        });
    }

    /// How many breakers are open: of the machine's own address, and of proxies.
    pub(crate) fn open_breakers(&self) -> [u64; 2] {
        let mut open = [0, 0];
        for limiter in self.0.iter().filter(|limiter| limiter.breaker.lock().is_open()) {
            open[usize::from(*limiter.key() != Egress::Direct)] += 1;
        }
        open
    }

    /// How many addresses do not answer, as seen from each egress.
    pub(crate) fn addresses_down(&self) -> u64 {
        self.0.iter().map(|limiter| limiter.addresses_down()).sum()
    }
}

/// The limits of the dials by one egress.
#[derive(Debug)]
pub(crate) struct DialLimiter {
    rate: Mutex<RateLimiter>,
    /// Told when the rate is another.
    rate_changed: Notify,
    /// Held by the one dial that waits for the rate, so that dials begin in order.
    queue: AsyncMutex<()>,
    targets: Mutex<Targets>,
    breaker: Mutex<Breaker>,
    /// Told when the breaker has closed, so that nobody waits for it any longer.
    breaker_closed: Notify,
    /// When it was last taken.
    used: AtomicU64,
}

/// The addresses that dials of a limiter go to.
#[derive(Debug)]
struct Targets {
    /// Dials that may be under way to each.
    handshakes: u32,
    of: HashMap<Arc<str>, Arc<Target>>,
    /// Of dials whose address is not named, or one too many.
    other: Arc<Target>,
}

/// What the wait for a limiter came to.
#[derive(Debug)]
pub(crate) enum Admission {
    /// The dial may begin, and is under way as long as this is held.
    Admitted(DialPermit),
    /// Nobody wants it any more.
    Unwanted,
    /// Its address does not answer.
    Unreachable(Unreachable),
}

/// The queue of dials in advance to one address: one of them at a time waits with those that somebody
/// waits for.
pub(crate) struct PrewarmQueue(Arc<Target>);

impl PrewarmQueue {
    /// Waits until no other dial in advance to the same address is before this one.
    pub(crate) async fn turn(&self) -> AsyncMutexGuard<'_, ()> {
        self.0.prewarm.lock().await
    }
}

impl DialLimiter {
    fn new(config: &DialConfig) -> Self {
        let handshakes = config.handshakes;
        let other = Arc::new(Target::new(None, handshakes));
        Self {
            rate: Mutex::new(RateLimiter::new(config.per_second, now())),
            rate_changed: Notify::new(),
            queue: AsyncMutex::new(()),
            targets: Mutex::new(Targets { handshakes, of: HashMap::new(), other }),
            breaker: Mutex::default(),
            breaker_closed: Notify::new(),
            used: AtomicU64::new(0),
        }
    }

    fn set_limits(&self, config: &DialConfig) {
        if self.rate.lock().set(config.per_second) {
            self.rate_changed.notify_waiters();
        }
        let mut targets = self.targets.lock();
        if targets.handshakes != config.handshakes {
            targets.handshakes = config.handshakes;
            for target in targets.of.values().chain([&targets.other]) {
                target.set_handshakes(config.handshakes);
            }
        }
    }

    /// An address that this limiter dials, for use from now on.
    fn target(&self, address: Option<&Arc<str>>, now: Tick) -> Arc<Target> {
        let mut targets = self.targets.lock();
        let Some(address) = address else { return Arc::clone(&targets.other) };
        if targets.of.len() >= TARGETS_MAX && !targets.of.contains_key(address) {
            targets.of.retain(|_, target| Arc::strong_count(target) > 1);
            if targets.of.len() >= TARGETS_MAX {
                return Arc::clone(&targets.other);
            }
        }
        let handshakes = targets.handshakes;
        let target = targets
            .of
            .entry(Arc::clone(address))
            .or_insert_with(|| Arc::new(Target::new(Some(Arc::clone(address)), handshakes)));
        target.use_now(now);
        Arc::clone(target)
    }

    fn prune(&self, now: Tick) {
        let is_kept = |target: &Arc<Target>| {
            Arc::strong_count(target) > 1 || now.saturating_sub(target.used()) < KEPT_UNUSED
        };
        self.targets.lock().of.retain(|_, target| is_kept(target));
    }

    fn addresses_down(&self) -> u64 {
        self.targets.lock().of.values().filter(|target| target.is_down()).count() as u64
    }

    /// Where a dial in advance to an address waits for the others like it.
    pub(crate) fn prewarm_queue(&self, address: Option<&Arc<str>>, now: Tick) -> PrewarmQueue {
        PrewarmQueue(self.target(address, now))
    }

    /// Waits until a dial to an address may begin. Whether somebody wants it is asked before anything
    /// is spent, so that dials whose callers have left take nothing from those behind them. An open
    /// breaker lets so few through that it would be minutes until a wanted one came to its turn.
    pub(crate) async fn admit(
        &self,
        address: Option<&Arc<str>>,
        clock: &Clock,
        is_wanted: impl Fn() -> bool,
    ) -> Admission {
        let target = self.target(address, clock.tick());
        let permit = match target.admit(clock.tick()) {
            Ok(permit) => permit,
            Err(unreachable) => return Admission::Unreachable(unreachable),
        };
        let is_trial = permit.is_trial();
        let down = async {
            if is_trial {
                return std::future::pending().await;
            }
            target.until_down(|| clock.tick()).await
        };
        tokio::select! {
            biased;
            unreachable = down => Admission::Unreachable(unreachable),
            begun = self.wait_admission(permit, clock, is_wanted) => {
                begun.map_or(Admission::Unwanted, Admission::Admitted)
            }
        }
    }

    async fn wait_admission(
        &self,
        mut permit: DialPermit,
        clock: &Clock,
        is_wanted: impl Fn() -> bool,
    ) -> Option<DialPermit> {
        permit.take_handshake().await;
        let _turn = self.queue.lock().await;
        while is_wanted() {
            let mut rate_changed = pin!(self.rate_changed.notified());
            // Registered before the rate is looked at, so that no change is missed.
            rate_changed.as_mut().enable();
            let begins = self.rate.lock().begin(now());
            let Err(until) = begins else { break };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = rate_changed => {}
            }
        }
        while is_wanted() {
            let mut closed = pin!(self.breaker_closed.notified());
            // Registered before the breaker is looked at, so that no success is missed.
            closed.as_mut().enable();
            let begins = self.breaker.lock().begin(clock.tick());
            let Err(until) = begins else { return Some(permit) };
            tokio::select! {
                () = tokio::time::sleep_until(clock.instant_of(until)) => {}
                () = closed => {}
            }
        }
        None
    }

    /// Whether a dial would begin as soon as the rate allows: none waits for its turn, and the
    /// server has not refused the last.
    pub(crate) fn is_free(&self) -> bool {
        self.queue.try_lock().is_ok() && !self.breaker.lock().is_open()
    }

    /// The server refuses dials from here.
    pub(crate) fn trip(&self, now: Tick) {
        self.breaker.lock().trip(now);
    }

    /// A dial succeeded.
    pub(crate) fn reset_breaker(&self) {
        let was_open = self.breaker.lock().reset();
        if was_open {
            self.breaker_closed.notify_waiters();
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limiter(per_second: u32, handshakes: u32) -> DialLimiter {
        DialLimiter::new(&DialConfig { per_second, handshakes })
    }

    async fn admit(limiter: &DialLimiter, clock: &Clock, wanted: bool) -> Option<DialPermit> {
        match limiter.admit(None, clock, || wanted).await {
            Admission::Admitted(permit) => Some(permit),
            Admission::Unwanted => None,
            Admission::Unreachable(unreachable) => panic!("{unreachable}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dials_that_nobody_wants_spend_nothing() {
        let limiter = limiter(1000, 1);
        let clock = Clock::new();
        limiter.trip(clock.tick());
        for _ in 0..100 {
            assert!(admit(&limiter, &clock, false).await.is_none());
        }
        // What an open breaker lets through at first.
        for seconds in [1, 4, 8] {
            assert!(admit(&limiter, &clock, true).await.is_some());
            assert_eq!((clock.tick() - crate::base::clock::EPOCH) / 1000, seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_open_breaker_goes_on_when_another_dial_succeeds() {
        let limiter = limiter(1000, 64);
        let clock = Clock::new();
        for _ in 0..20 {
            assert!(admit(&limiter, &clock, true).await.is_some());
        }
        let began = clock.tick();
        limiter.trip(began);
        let success = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            limiter.reset_breaker();
        };
        let (admitted, ()) = tokio::join!(admit(&limiter, &clock, true), success);
        assert!(admitted.is_some());
        assert!(clock.tick() - began < 400, "{} ms", clock.tick() - began);
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_dials_than_the_limit() {
        for per_second in [1, 10, 250, 2000] {
            let limiter = limiter(per_second, 64);
            let clock = Clock::new();
            let mut begun = Vec::new();
            for _ in 0..per_second * 3 {
                let _permit = admit(&limiter, &clock, true).await;
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
        let limiters = DialLimiters::default();
        let clock = Clock::new();
        let limits = |per_second, handshakes| DialConfig { per_second, handshakes };
        let limiter = limiters.get(&Egress::Direct, &limits(1, 2), clock.tick());
        let began = clock.tick();
        let _first = admit(&limiter, &clock, true).await;
        let change = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            limiters.set_limits(&limits(1000, 64));
        };
        let (second, ()) = tokio::join!(admit(&limiter, &clock, true), change);
        assert!(second.is_some());
        let waited = clock.tick() - began;
        assert_eq!(
            waited, 991,
            "the second that the first took, but for the burst of the new rate"
        );
        let mut held = Vec::new();
        for _ in 0..62 {
            held.push(admit(&limiter, &clock, true).await);
        }
        assert!(clock.tick() - began < 1100, "{} ms", clock.tick() - began);
        let waits = limiter.admit(None, &clock, || true);
        let full = tokio::time::timeout(Duration::from_secs(60), waits).await;
        assert!(full.is_err(), "those that were under way before count as well");
        limiter.trip(clock.tick());
        limiters.set_limits(&limits(1000, 1));
        assert_eq!(limiters.open_breakers(), [1, 0], "the server refuses all the same");
        drop(held);
        let full =
            tokio::time::timeout(Duration::from_secs(60), admit(&limiter, &clock, true)).await;
        assert!(full.is_err(), "one handshake, and two are under way");
        drop((second, _first));
        assert!(admit(&limiter, &clock, true).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_that_are_told_apart_are_bounded_and_forgotten() {
        let limiters = DialLimiters::default();
        let clock = Clock::new();
        let limiter =
            limiters.get(&Egress::Direct, &DialConfig { per_second: 10, handshakes: 1 }, 0);
        let name = |number: usize| -> Arc<str> { Arc::from(format!("address {number}")) };
        let held: Vec<_> = (0..TARGETS_MAX).map(|it| limiter.target(Some(&name(it)), 0)).collect();
        let one_more = limiter.target(Some(&name(TARGETS_MAX)), 0);
        assert!(Arc::ptr_eq(&one_more, &limiter.target(None, 0)));
        drop((held, one_more));
        limiter.target(Some(&name(TARGETS_MAX)), clock.tick());
        assert_eq!(limiter.targets.lock().of.len(), 1, "those that nobody dialled have made room");
        limiters.prune(clock.tick() + KEPT_UNUSED);
        assert_eq!(limiter.targets.lock().of.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limiter_that_nobody_uses_is_forgotten_with_its_breaker() {
        let limiters = DialLimiters::default();
        let config = DialConfig { per_second: 1, handshakes: 1 };
        let egress = |name: &str| Egress::Proxy(Arc::from(name));
        limiters.get(&egress("gone"), &config, 0).trip(0);
        let held = limiters.get(&egress("held"), &config, 0);
        held.trip(0);
        limiters.prune(KEPT_UNUSED - 1);
        assert_eq!(limiters.open_breakers(), [0, 2]);
        limiters.prune(KEPT_UNUSED);
        assert_eq!(limiters.open_breakers(), [0, 1], "one is still in use");
    }
}
