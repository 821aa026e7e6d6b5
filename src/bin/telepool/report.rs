//! What a run came to.
//!
//! Owns the counts and the times of a run, and their two forms: a table and a JSON object.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use telepool::{AccountId, PoolStats};

/// The longest time that is told apart, in microseconds.
const LONGEST_US: u64 = 600_000_000;
/// Over how many places the times of callers are spread, so that those of several threads seldom meet. One
/// for each caller would be 48 kB each.
const PLACES: usize = 16;
/// How many failures are kept to be shown.
const EXAMPLES_MAX: usize = 5;

/// Times in microseconds, to two significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 2).expect("BUG: the bounds are fixed"))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(micros.clamp(1, LONGEST_US));
    }

    /// The time within which so much of it passed, in milliseconds.
    #[cfg(feature = "bench")]
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// What percentage passed within so many milliseconds, in ascending order.
    #[cfg(feature = "bench")]
    pub(crate) fn within_ms(&self) -> Vec<(f64, f64)> {
        let points = self.0.iter_recorded();
        let points = points.map(|it| (it.percentile(), it.value_iterated_to() as f64 / 1000.0));
        points.collect()
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("BUG: all times have the same bounds");
    }
}

/// The counts of a run, which all callers share, and their times. Relaxed: counts guard nothing.
#[derive(Debug)]
pub(crate) struct Tally {
    calls: AtomicU64,
    failed: AtomicU64,
    faulted: AtomicU64,
    acquires_failed: AtomicU64,
    /// How long callers waited for a lease, and how long their calls took.
    times: Vec<Mutex<(Times, Times)>>,
    examples: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            acquires_failed: AtomicU64::new(0),
            times: (0..PLACES).map(|_| Mutex::new((Times::new(), Times::new()))).collect(),
            examples: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn faulted(&self) -> u64 {
        self.faulted.load(Ordering::Relaxed)
    }

    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failed_acquire(&self) {
        self.acquires_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A call or its acquire failed, because of a fault that was injected.
    pub(crate) fn count_faulted(&self) {
        self.faulted.fetch_add(1, Ordering::Relaxed);
    }

    /// A call or its acquire failed for no reason that anybody injected.
    pub(crate) fn count_failed(&self, account: AccountId, error: &dyn fmt::Display) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut examples = self.examples.lock().expect("BUG: nobody panics with this lock");
        if examples.len() < EXAMPLES_MAX {
            let example = format!("{account}: {error}");
            if !examples.contains(&example) {
                examples.push(example);
            }
        }
    }

    /// A caller, by its number, has waited so long for a lease.
    pub(crate) fn add_wait(&self, caller: u32, wait: Duration) {
        self.place_of(caller).lock().expect("BUG: nobody panics with this lock").0.record(wait);
    }

    /// A call of a caller took so long.
    pub(crate) fn add_call(&self, caller: u32, took: Duration) {
        self.place_of(caller).lock().expect("BUG: nobody panics with this lock").1.record(took);
    }

    fn place_of(&self, caller: u32) -> &Mutex<(Times, Times)> {
        &self.times[caller as usize % PLACES]
    }

    /// The waits and the calls of all callers.
    fn times(&self) -> (Times, Times) {
        let (mut waits, mut calls) = (Times::new(), Times::new());
        for place in &self.times {
            let place = place.lock().expect("BUG: nobody panics with this lock");
            waits.add(&place.0);
            calls.add(&place.1);
        }
        (waits, calls)
    }

    /// Some of the failures.
    pub(crate) fn examples(&self) -> Vec<String> {
        self.examples.lock().expect("BUG: nobody panics with this lock").clone()
    }
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    accounts: u64,
    sessions: u64,
    duration_s: f64,
    worked_s: f64,
    acquires: u64,
    acquires_failed: u64,
    calls: u64,
    calls_failed: u64,
    calls_faulted: u64,
    calls_per_s: f64,
    connections_created: u64,
    connections_reused: u64,
    connections_closed: u64,
    connections_left: u64,
    reuse_ratio: f64,
    acquire_wait_us: Wait,
    call_ms: Call,
    flood_waits: u64,
    quarantines: u64,
    quarantined_before: u64,
    resting_before: u64,
    dials_failed: u64,
    key_violations: u64,
    key_duplicated: u64,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Wait {
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Call {
    p50: f64,
    p99: f64,
}

/// What is not in the pool's own numbers.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) accounts: u64,
    pub(crate) sessions: u64,
    /// The sessions that earlier runs have quarantined.
    pub(crate) quarantined_before: u64,
    /// The sessions that rested at the start because of a process that ended without closing them.
    pub(crate) resting_before: u64,
    /// How long the run took, its end included.
    pub(crate) took: Duration,
    /// How long it worked before the end was asked for, and the calls that it made by then.
    pub(crate) worked: (Duration, u64),
    pub(crate) left: u64,
    pub(crate) key_violations: u64,
    /// The sessions that were quarantined because they were told `AUTH_KEY_DUPLICATED`.
    pub(crate) key_duplicated: u64,
    /// Whose dial failed last, and why.
    pub(crate) last_failure: Option<String>,
    pub(crate) seed: u64,
}

impl Summary {
    pub(crate) fn new(run: &Run, stats: &PoolStats, tally: &Tally) -> Self {
        let (Times(waits), Times(calls)) = tally.times();
        let millis = |quantile| calls.value_at_quantile(quantile) as f64 / 1000.0;
        let seconds = run.took.as_secs_f64().max(0.001);
        let worked = run.worked.0.as_secs_f64().max(0.001);
        Self {
            accounts: run.accounts,
            sessions: run.sessions,
            duration_s: rounded(seconds),
            worked_s: rounded(worked),
            acquires: stats.acquires,
            acquires_failed: tally.acquires_failed.load(Ordering::Relaxed),
            calls: tally.calls(),
            calls_failed: tally.failed(),
            calls_faulted: tally.faulted(),
            calls_per_s: (run.worked.1 as f64 / worked).round(),
            connections_created: stats.total_connections_created,
            connections_reused: stats.total_connections_reused,
            connections_closed: stats.total_connections_closed,
            connections_left: run.left,
            reuse_ratio: stats.total_connections_reused as f64 / stats.acquires.max(1) as f64,
            acquire_wait_us: Wait {
                p50: waits.value_at_quantile(0.5),
                p99: waits.value_at_quantile(0.99),
                max: waits.max(),
            },
            call_ms: Call { p50: millis(0.5), p99: millis(0.99) },
            flood_waits: stats.flood_waits,
            quarantines: stats.quarantines,
            quarantined_before: run.quarantined_before,
            resting_before: run.resting_before,
            dials_failed: stats.dials_failed,
            key_violations: run.key_violations,
            key_duplicated: run.key_duplicated,
            seed: run.seed,
        }
    }

    fn sessions_told(&self) -> String {
        match self.resting_before {
            0 => format!("{}, with sessions: {}", self.accounts, self.sessions),
            resting => format!(
                "{}, with sessions: {}, of which {resting} rested at the start",
                self.accounts, self.sessions
            ),
        }
    }

    fn quarantines_told(&self) -> String {
        match self.quarantined_before {
            0 => self.quarantines.to_string(),
            before => format!("{}, and {before} sessions from before", self.quarantines),
        }
    }

    /// How often a key was on two connections. Where nobody has seen that, and sessions were told so
    /// all the same, a fault was injected.
    fn violations_told(&self) -> String {
        match (self.key_violations, self.key_duplicated) {
            (0, told @ 1..) => {
                format!("0; AUTH_KEY_DUPLICATED was injected, which cost {told} sessions")
            }
            (violations, _) => violations.to_string(),
        }
    }

    /// How long it was at work, and how long it took to end after that.
    fn duration_told(&self) -> String {
        let ending = (self.duration_s - self.worked_s).max(0.0);
        format!("{:.1} s of work, {ending:.1} s to end (seed {})", self.worked_s, self.seed)
    }

    /// Whether the run was as it should be.
    pub(crate) fn is_good(&self) -> bool {
        self.calls_failed == 0
            && self.key_violations == 0
            && self.connections_left == 0
            && !self.reached_nobody()
    }

    /// Whether somebody was to be reached, and nobody was.
    pub(crate) fn reached_nobody(&self) -> bool {
        self.connections_created == 0 && (self.dials_failed > 0 || self.acquires_failed > 0)
    }

    /// Whether sessions rested at the start.
    pub(crate) fn has_rested(&self) -> bool {
        self.resting_before > 0
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acquire_wait_us: wait, call_ms: call, .. } = self;
        let millis = |micros: u64| micros as f64 / 1000.0;
        for (name, value) in [
            ("accounts", self.sessions_told()),
            ("duration", self.duration_told()),
            ("acquires", format!("{} got a lease, {} failed", self.acquires, self.acquires_failed)),
            ("calls", format!("{} ({:.0}/s at work)", self.calls, self.calls_per_s)),
            (
                "failures",
                format!(
                    "{}, and {} by injected faults (acquires and calls)",
                    self.calls_failed, self.calls_faulted
                ),
            ),
            (
                "connections",
                format!(
                    "{} created, {} closed, {} left open; {} dials failed",
                    self.connections_created,
                    self.connections_closed,
                    self.connections_left,
                    self.dials_failed
                ),
            ),
            (
                "reuse",
                format!(
                    "{} acquires by a live connection ({:.2} %)",
                    self.connections_reused,
                    self.reuse_ratio * 100.0
                ),
            ),
            (
                "acquire wait",
                format!(
                    "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
                    millis(wait.p50),
                    millis(wait.p99),
                    millis(wait.max)
                ),
            ),
            ("call", format!("p50 {:.3} ms, p99 {:.3} ms", call.p50, call.p99)),
            ("flood waits", self.flood_waits.to_string()),
            ("quarantines", self.quarantines_told()),
            ("key violations", self.violations_told()),
        ] {
            writeln!(f, "{name:<15} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            accounts: 4,
            sessions: 7,
            quarantined_before: 2,
            resting_before: 0,
            took: Duration::from_millis(13_200),
            worked: (Duration::from_secs(8), 800),
            left: 0,
            key_violations: 0,
            key_duplicated: 3,
            last_failure: None,
            seed: 7,
        }
    }

    fn told(run: &Run) -> String {
        Summary::new(run, &PoolStats::default(), &Tally::new()).to_string()
    }

    #[test]
    fn the_times_of_every_caller_are_told() {
        let tally = Tally::new();
        for caller in 0..100 {
            tally.add_wait(caller, Duration::from_millis(1));
            tally.add_call(caller, Duration::from_millis(if caller < 99 { 10 } else { 5_000 }));
        }
        tally.add_wait(100, Duration::from_secs(2));
        let summary = Summary::new(&run(), &PoolStats::default(), &tally);
        let Wait { p50, max, .. } = summary.acquire_wait_us;
        assert!((1_000..1_020).contains(&p50) && (2_000_000..2_020_000).contains(&max));
        let Call { p50, p99 } = summary.call_ms;
        assert!((10.0..10.2).contains(&p50) && (10.0..10.2).contains(&p99));
    }

    #[test]
    fn work_and_end_are_told_apart_and_the_rate_is_that_of_the_work() {
        let told = told(&run());
        assert!(told.contains("8.0 s of work, 5.2 s to end (seed 7)"), "{told}");
        assert!(told.contains("(100/s at work)"), "{told}");
    }

    #[test]
    fn sessions_out_of_service_are_told_also_those_of_earlier_runs() {
        assert!(told(&run()).contains("quarantines     0, and 2 sessions from before"));
    }

    #[test]
    fn a_violation_that_was_injected_is_not_one_that_was_seen() {
        let mut run = run();
        assert!(told(&run).contains("0; AUTH_KEY_DUPLICATED was injected, which cost 3 sessions"));
        run.key_violations = 3;
        assert!(told(&run).contains("key violations  3\n"));
        (run.key_violations, run.key_duplicated) = (0, 0);
        assert!(told(&run).contains("key violations  0\n"));
    }
}
