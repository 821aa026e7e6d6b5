//! Readings of a process: memory, processor time, latencies, exported numbers.
//!
//! Owns no measurement; the parts do.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use telepool::metrics::Prometheus;

use crate::clock::now;
use crate::failure::Failure;

/// Ten minutes in nanoseconds: longer times count as this.
const LONGEST_NS: u64 = 600_000_000_000;
/// How many texts are made to tell how long one takes.
const RENDERS: usize = 15;

/// The resident memory of this process in bytes, if the system tells.
pub(super) fn resident() -> Option<u64> {
    metrics_process::collector::collect().resident_memory_bytes
}

/// The processor time of this process in seconds, to a hundredth, if the system tells.
pub(super) fn processor_s() -> Option<f64> {
    metrics_process::collector::collect().cpu_seconds_total
}

/// Bytes by which a reading grew, for each of `count`.
pub(super) fn each(before: Option<u64>, after: Option<u64>, count: u64) -> Option<f64> {
    Some(after?.saturating_sub(before?) as f64 / count.max(1) as f64)
}

/// Times of steps, in nanoseconds, to three digits.
pub(super) struct Steps(Histogram<u64>);

/// What they come to, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Percentiles {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("BUG: the bounds are fixed"))
    }

    pub(super) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS);
        self.0.saturating_record(nanos.clamp(1, LONGEST_NS));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let Self(it) = self;
        Percentiles {
            p50: it.value_at_quantile(0.5),
            p99: it.value_at_quantile(0.99),
            max: it.max(),
        }
    }
}

/// The median of some numbers.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// How long the text of `/metrics` takes to make, in milliseconds: the median of some.
pub(super) fn render_ms(exporter: &Prometheus) -> f64 {
    let times = (0..RENDERS).map(|_| {
        let began = now();
        std::hint::black_box(exporter.render());
        began.elapsed().as_secs_f64() * 1000.0
    });
    median(times.collect())
}

/// One number of `/metrics` that has no label.
pub(super) fn exported(exporter: &Prometheus, name: &str) -> Result<f64, Failure> {
    let text = exporter.render();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| Failure::broken(format!("{name} is not exported")))
}

/// A failure of something that a no-op manager cannot fail at.
pub(super) fn broken(error: impl fmt::Display) -> Failure {
    Failure::broken(error.to_string())
}
