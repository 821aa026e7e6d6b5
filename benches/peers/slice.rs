//! Measurement of one slice: a pool at work for a short time.

use std::time::Duration;

/// What one slice came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    /// Nanoseconds for each acquire and release.
    pub(crate) cost: f64,
    /// The least served task's share of the most served one's.
    pub(crate) fairness: f64,
    /// The wait that one in a hundred exceeds, in microseconds.
    pub(crate) p99: f64,
}

impl Slice {
    pub(crate) fn of(tasks: &[(u64, Vec<u64>)], took: Duration) -> Self {
        let counts = || tasks.iter().map(|(count, _)| *count);
        let total: u64 = counts().sum();
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        let mut waits: Vec<u64> = tasks.iter().flat_map(|(_, waits)| waits).copied().collect();
        waits.sort_unstable();
        let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or(0);
        Self {
            cost: took.as_nanos() as f64 / total.max(1) as f64,
            fairness: least as f64 / most.max(1) as f64,
            p99: p99 as f64 / 1000.0,
        }
    }
}
