//! Counts and times of a run, which all its callers share.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use telepool::AccountId;

/// The longest time that is recorded as such, in microseconds.
const LONGEST_US: u64 = 600_000_000;
/// Over how many shards the times of callers are spread, so that threads seldom contend for one. One
/// for each caller would be 48 kB each.
const SHARDS: usize = 16;
/// How many failures are kept to be shown.
const EXAMPLES_MAX: usize = 5;

/// A histogram of times in microseconds, to two significant digits.
#[derive(Clone, Debug)]
pub(crate) struct LatencyHistogram(Histogram<u64>);

impl LatencyHistogram {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 2).expect("BUG: the bounds are fixed"))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(micros.clamp(1, LONGEST_US));
    }

    /// The time within which so much of it passed, in milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.quantile_us(quantile) as f64 / 1000.0
    }

    /// What percentage passed within so many milliseconds, in ascending order.
    #[cfg(feature = "bench")]
    pub(crate) fn within_ms(&self) -> Vec<(f64, f64)> {
        let points = self.0.iter_recorded();
        let points = points.map(|it| (it.percentile(), it.value_iterated_to() as f64 / 1000.0));
        points.collect()
    }

    /// The time within which so much of it passed, in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(crate) fn max_us(&self) -> u64 {
        self.0.max()
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("BUG: all times have the same bounds");
    }
}

/// The counts of a run, which all callers share, and their times. Relaxed: counts guard nothing.
#[derive(Debug)]
pub(crate) struct RunCounts {
    calls: AtomicU64,
    failed: AtomicU64,
    faulted: AtomicU64,
    acquires_failed: AtomicU64,
    /// How long callers waited for a lease, and how long their calls took.
    latencies: Vec<Mutex<(LatencyHistogram, LatencyHistogram)>>,
    examples: Mutex<Vec<String>>,
}

impl RunCounts {
    pub(crate) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            acquires_failed: AtomicU64::new(0),
            latencies: (0..SHARDS)
                .map(|_| Mutex::new((LatencyHistogram::new(), LatencyHistogram::new())))
                .collect(),
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

    pub(crate) fn failed_acquires(&self) -> u64 {
        self.acquires_failed.load(Ordering::Relaxed)
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
        self.shard(caller).lock().expect("BUG: nobody panics with this lock").0.record(wait);
    }

    /// A call of a caller took so long.
    pub(crate) fn add_call(&self, caller: u32, took: Duration) {
        self.shard(caller).lock().expect("BUG: nobody panics with this lock").1.record(took);
    }

    fn shard(&self, caller: u32) -> &Mutex<(LatencyHistogram, LatencyHistogram)> {
        &self.latencies[caller as usize % SHARDS]
    }

    /// The waits and the calls of all callers.
    pub(crate) fn latencies(&self) -> (LatencyHistogram, LatencyHistogram) {
        let (mut waits, mut calls) = (LatencyHistogram::new(), LatencyHistogram::new());
        for shard in &self.latencies {
            let shard = shard.lock().expect("BUG: nobody panics with this lock");
            waits.add(&shard.0);
            calls.add(&shard.1);
        }
        (waits, calls)
    }

    /// Some of the failures.
    pub(crate) fn examples(&self) -> Vec<String> {
        self.examples.lock().expect("BUG: nobody panics with this lock").clone()
    }
}
