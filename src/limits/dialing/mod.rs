//! How dials leave: one lane per egress, which paces them, bounds how many are under way to each
//! address, and slows down when the server refuses them.
//!
//! Owns the lanes. `attempt` carries out one dial; the account keeps its own pauses. An address that
//! does not answer costs nobody else anything: dials to it wait for places of its own, and stand in line
//! for the pace only while it may answer.
//!
//! # Orderings
//! When a lane or an address was last used is relaxed: the map's lock orders its end and its next use.

mod breaker;
mod pace;
mod reach;
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
use crate::limits::dialing::pace::Pace;
use crate::limits::dialing::target::Target;
pub(crate) use crate::limits::dialing::target::{PASSED_OVER, Underway};
use crate::manager::Egress;

/// For so many milliseconds a lane or an address that nobody uses is remembered: its pace, its
/// breaker, and whether it answers.
const KEPT_UNUSED: u64 = 600_000;

/// So many addresses are told apart in a lane. A data centre has a handful; those beyond share their
/// places, and nothing that one dial comes to is held against another.
const TARGETS_MAX: usize = 1024;

/// Every lane that is in use.
#[derive(Debug, Default)]
pub(crate) struct Lanes(DashMap<Egress, Arc<Lane>>);

impl Lanes {
    /// The lane of an egress, for use from now on.
    pub(crate) fn lane(&self, egress: &Egress, config: &DialConfig, now: Tick) -> Arc<Lane> {
        let lane = match self.0.get(egress) {
            Some(lane) => Arc::clone(&lane),
            None => {
                let new = || Arc::new(Lane::new(config));
                Arc::clone(&self.0.entry(egress.clone()).or_insert_with(new))
            }
        };
        lane.used.store(now, Ordering::Relaxed);
        // It may have been made by others that are no longer in force.
        lane.set_limits(config);
        lane
    }

    /// New limits: what was used of the old ones stays used, dials under way count on, and what the
    /// server has refused stays refused.
    pub(crate) fn set_limits(&self, config: &DialConfig) {
        for lane in &self.0 {
            lane.set_limits(config);
        }
    }

    /// Forgets lanes and addresses that nobody has used for long.
    pub(crate) fn prune(&self, now: Tick) {
        self.0.retain(|_, lane| {
            lane.prune(now);
            let used = lane.used.load(Ordering::Relaxed);
            Arc::strong_count(lane) > 1 || now.saturating_sub(used) < KEPT_UNUSED
        });
    }

    /// How many breakers are open: of the machine's own address, and of proxies.
    pub(crate) fn open_breakers(&self) -> [u64; 2] {
        let mut open = [0, 0];
        for lane in self.0.iter().filter(|lane| lane.breaker.lock().is_open()) {
            open[usize::from(*lane.key() != Egress::Direct)] += 1;
        }
        open
    }

    /// How many addresses do not answer, as seen from each egress.
    pub(crate) fn addresses_down(&self) -> u64 {
        self.0.iter().map(|lane| lane.addresses_down()).sum()
    }
}

/// One egress.
#[derive(Debug)]
pub(crate) struct Lane {
    pace: Mutex<Pace>,
    /// Told when the pace is another.
    repaced: Notify,
    /// Held by the one dial that waits for the pace, so that dials begin in order.
    turn: AsyncMutex<()>,
    targets: Mutex<Targets>,
    breaker: Mutex<Breaker>,
    /// Told when the breaker has closed, so that nobody waits for it any longer.
    breaker_closed: Notify,
    /// When it was last taken.
    used: AtomicU64,
}

/// The addresses that dials of a lane go to.
#[derive(Debug)]
struct Targets {
    /// Dials that may be under way to each.
    places: u32,
    of: HashMap<Arc<str>, Arc<Target>>,
    /// Of dials whose address is not named, or one too many.
    other: Arc<Target>,
}

/// How the way into a lane ended.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The dial may begin, and is under way as long as this is held.
    Begin(Underway),
    /// Nobody wants it any more.
    Unwanted,
    /// Its address does not answer.
    Unreachable(Unreachable),
}

/// A place in line for a dial in advance.
pub(crate) struct Advance(Arc<Target>);

impl Advance {
    /// Waits until no other dial in advance to the same address stands in line.
    pub(crate) async fn turn(&self) -> AsyncMutexGuard<'_, ()> {
        self.0.advance.lock().await
    }
}

impl Lane {
    fn new(config: &DialConfig) -> Self {
        let places = config.handshakes;
        let other = Arc::new(Target::new(None, places));
        Self {
            pace: Mutex::new(Pace::new(config.per_second, now())),
            repaced: Notify::new(),
            turn: AsyncMutex::new(()),
            targets: Mutex::new(Targets { places, of: HashMap::new(), other }),
            breaker: Mutex::default(),
            breaker_closed: Notify::new(),
            used: AtomicU64::new(0),
        }
    }

    fn set_limits(&self, config: &DialConfig) {
        if self.pace.lock().set(config.per_second) {
            self.repaced.notify_waiters();
        }
        let mut targets = self.targets.lock();
        if targets.places != config.handshakes {
            targets.places = config.handshakes;
            for target in targets.of.values().chain([&targets.other]) {
                target.set_places(config.handshakes);
            }
        }
    }

    /// An address that this lane dials, for use from now on.
    fn target(&self, address: Option<&Arc<str>>, now: Tick) -> Arc<Target> {
        let mut targets = self.targets.lock();
        let Some(address) = address else { return Arc::clone(&targets.other) };
        if targets.of.len() >= TARGETS_MAX && !targets.of.contains_key(address) {
            targets.of.retain(|_, target| Arc::strong_count(target) > 1);
            if targets.of.len() >= TARGETS_MAX {
                return Arc::clone(&targets.other);
            }
        }
        let places = targets.places;
        let target = targets
            .of
            .entry(Arc::clone(address))
            .or_insert_with(|| Arc::new(Target::new(Some(Arc::clone(address)), places)));
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
        self.targets.lock().of.values().filter(|target| target.is_silent()).count() as u64
    }

    /// Where a dial in advance to an address stands in line.
    pub(crate) fn in_advance(&self, address: Option<&Arc<str>>, now: Tick) -> Advance {
        Advance(self.target(address, now))
    }

    /// Waits until a dial to an address may begin. Whether somebody wants it is asked before anything
    /// is spent, so that dials whose callers have left take nothing from those behind them. An open
    /// breaker lets so few through that it would be minutes until a wanted one came to its turn.
    pub(crate) async fn enter(
        &self,
        address: Option<&Arc<str>>,
        clock: &Clock,
        is_wanted: impl Fn() -> bool,
    ) -> Entered {
        let target = self.target(address, clock.tick());
        let underway = match target.approach(clock.tick()) {
            Ok(underway) => underway,
            Err(unreachable) => return Entered::Unreachable(unreachable),
        };
        let looks = underway.looks();
        let silent = async {
            if looks {
                return std::future::pending().await;
            }
            target.until_silent(|| clock.tick()).await
        };
        tokio::select! {
            biased;
            unreachable = silent => Entered::Unreachable(unreachable),
            begun = self.wait_turn(underway, clock, is_wanted) => {
                begun.map_or(Entered::Unwanted, Entered::Begin)
            }
        }
    }

    async fn wait_turn(
        &self,
        mut underway: Underway,
        clock: &Clock,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Underway> {
        underway.take_place().await;
        let _turn = self.turn.lock().await;
        while is_wanted() {
            let mut repaced = pin!(self.repaced.notified());
            // Registered before the pace is looked at, so that no change is missed.
            repaced.as_mut().enable();
            let begins = self.pace.lock().begin(now());
            let Err(until) = begins else { break };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = repaced => {}
            }
        }
        while is_wanted() {
            let mut closed = pin!(self.breaker_closed.notified());
            // Registered before the breaker is looked at, so that no success is missed.
            closed.as_mut().enable();
            let begins = self.breaker.lock().begin(clock.tick());
            let Err(until) = begins else { return Some(underway) };
            tokio::select! {
                () = tokio::time::sleep_until(clock.instant_of(until)) => {}
                () = closed => {}
            }
        }
        None
    }

    /// Whether a dial would begin as soon as the pace allows: none waits for its turn, and the
    /// server has not refused the last.
    pub(crate) fn is_free(&self) -> bool {
        self.turn.try_lock().is_ok() && !self.breaker.lock().is_open()
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

    fn lane(per_second: u32, handshakes: u32) -> Lane {
        Lane::new(&DialConfig { per_second, handshakes })
    }

    async fn enter(lane: &Lane, clock: &Clock, wanted: bool) -> Option<Underway> {
        match lane.enter(None, clock, || wanted).await {
            Entered::Begin(underway) => Some(underway),
            Entered::Unwanted => None,
            Entered::Unreachable(unreachable) => panic!("{unreachable}"),
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
            assert_eq!((clock.tick() - crate::base::clock::EPOCH) / 1000, seconds);
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
        let limits = |per_second, handshakes| DialConfig { per_second, handshakes };
        let lane = lanes.lane(&Egress::Direct, &limits(1, 2), clock.tick());
        let began = clock.tick();
        let _first = enter(&lane, &clock, true).await;
        let change = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            lanes.set_limits(&limits(1000, 64));
        };
        let (second, ()) = tokio::join!(enter(&lane, &clock, true), change);
        assert!(second.is_some());
        let waited = clock.tick() - began;
        assert_eq!(
            waited, 991,
            "the second that the first took, but for the burst of the new pace"
        );
        let mut held = Vec::new();
        for _ in 0..62 {
            held.push(enter(&lane, &clock, true).await);
        }
        assert!(clock.tick() - began < 1100, "{} ms", clock.tick() - began);
        let waits = lane.enter(None, &clock, || true);
        let full = tokio::time::timeout(Duration::from_secs(60), waits).await;
        assert!(full.is_err(), "those that were under way before count as well");
        lane.trip(clock.tick());
        lanes.set_limits(&limits(1000, 1));
        assert_eq!(lanes.open_breakers(), [1, 0], "the server refuses all the same");
        drop(held);
        let full = tokio::time::timeout(Duration::from_secs(60), enter(&lane, &clock, true)).await;
        assert!(full.is_err(), "one place, and two are under way");
        drop((second, _first));
        assert!(enter(&lane, &clock, true).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_that_are_told_apart_are_bounded_and_forgotten() {
        let lanes = Lanes::default();
        let clock = Clock::new();
        let lane = lanes.lane(&Egress::Direct, &DialConfig { per_second: 10, handshakes: 1 }, 0);
        let name = |number: usize| -> Arc<str> { Arc::from(format!("address {number}")) };
        let held: Vec<_> = (0..TARGETS_MAX).map(|it| lane.target(Some(&name(it)), 0)).collect();
        let one_more = lane.target(Some(&name(TARGETS_MAX)), 0);
        assert!(Arc::ptr_eq(&one_more, &lane.target(None, 0)));
        drop((held, one_more));
        lane.target(Some(&name(TARGETS_MAX)), clock.tick());
        assert_eq!(lane.targets.lock().of.len(), 1, "those that nobody dialled have made room");
        lanes.prune(clock.tick() + KEPT_UNUSED);
        assert_eq!(lane.targets.lock().of.len(), 0);
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
