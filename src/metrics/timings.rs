//! The histograms: what is measured in seconds.
//!
//! Owns the two ways out of the pool's own buckets. A recorder takes samples and no counts, so
//! that it gets, for each that was counted, the mean of its bucket. Prometheus' text is written
//! from the buckets themselves: its recorder would keep each sample until the next scrape.

#[cfg(feature = "prometheus")]
use std::fmt::Write as _;
#[cfg(feature = "prometheus")]
use std::sync::Arc;

use metrics::Histogram;

use crate::histogram::{self, Bounds, Counts};
use crate::metrics::catalogue::{self, Metric};
use crate::metrics::handles::Registrar;

/// In the order of `stats::Measure`.
const METRICS: [Metric; 4] = [
    catalogue::ACQUIRE_WAIT,
    catalogue::CONNECTION_OPEN,
    catalogue::LEASE_USE,
    catalogue::CONNECTION_AGE,
];

/// The histograms of a group, as last read.
pub(super) struct Timings {
    read: [(Bounds, Counts); 4],
    /// Where they are recorded as well; without, they are written as text.
    recorded: Option<[Histogram; 4]>,
}

impl Timings {
    /// For a recorder, if there is one that is given them.
    pub(super) fn new(recorder: Option<&Registrar<'_>>) -> Self {
        let recorded = recorder.map(|recorder| METRICS.map(|metric| recorder.histogram(metric)));
        Self { read: Default::default(), recorded }
    }

    pub(super) fn set(&mut self, histograms: &[histogram::Histogram; 4]) {
        for (index, histogram) in histograms.iter().enumerate() {
            let (bounds, now) = (histogram.bounds(), histogram.read());
            if let Some(handles) = &self.recorded {
                record(&handles[index], bounds, &self.read[index].1, &now);
            }
            self.read[index] = (bounds, now);
        }
    }
}

/// Records what has been counted since.
fn record(handle: &Histogram, bounds: Bounds, before: &Counts, now: &Counts) {
    for bucket in 0..=bounds.len() {
        let count = now.counts[bucket].saturating_sub(before.counts[bucket]);
        let Ok(count) = usize::try_from(count) else { continue };
        if count > 0 {
            let sum = now.sums[bucket].wrapping_sub(before.sums[bucket]);
            handle.record_many(mean(bounds, bucket, sum, count), count);
        }
    }
}

/// The mean in seconds. Within the bucket, even if the count was seen before its share of the sum.
fn mean(bounds: Bounds, bucket: usize, sum: u64, count: usize) -> f64 {
    let bound = |index: usize| bounds.get(index).map(|bound| *bound as f64 / 1e6);
    let mean = sum as f64 / count as f64 / 1e9;
    let low = bucket.checked_sub(1).and_then(bound).map_or(0.0, f64::next_up);
    mean.max(low).min(bound(bucket).unwrap_or(f64::MAX))
}

/// Adds the families to a text in Prometheus' format.
#[cfg(feature = "prometheus")]
pub(super) fn write(text: &mut String, groups: &[(&Arc<str>, &Timings)]) {
    for (index, metric) in METRICS.iter().enumerate() {
        let (name, meaning) = (metric.name, metric.meaning);
        let head = format!("# HELP {name} {meaning}\n# TYPE {name} histogram\n");
        text.push_str(if groups.is_empty() { "" } else { &head });
        for (group, timings) in groups {
            let (bounds, counts) = &timings.read[index];
            write_one(text, name, &escaped(group), bounds, counts);
        }
        text.push('\n');
    }
}

#[cfg(feature = "prometheus")]
fn write_one(text: &mut String, name: &str, group: &str, bounds: Bounds, counts: &Counts) {
    let mut line = |rest: std::fmt::Arguments<'_>| {
        writeln!(text, "{name}{rest}").expect("BUG: a string takes any text");
    };
    let mut total = 0;
    for bucket in 0..=bounds.len() {
        total += counts.counts[bucket];
        match bounds.get(bucket).map(|bound| *bound as f64 / 1e6) {
            Some(le) => line(format_args!("_bucket{{group=\"{group}\",le=\"{le}\"}} {total}")),
            None => line(format_args!("_bucket{{group=\"{group}\",le=\"+Inf\"}} {total}")),
        }
    }
    let sum = counts.sums.iter().fold(0, |all: u64, sum| all.wrapping_add(*sum)) as f64 / 1e9;
    line(format_args!("_sum{{group=\"{group}\"}} {sum}"));
    line(format_args!("_count{{group=\"{group}\"}} {total}"));
}

/// A label's value as the format wants it.
#[cfg(feature = "prometheus")]
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::TIMES_US;

    #[cfg(feature = "prometheus")]
    #[test]
    fn the_text_counts_upwards_and_escapes_its_label() {
        let counters = crate::stats::GroupCounters::default();
        for millis in [1, 2, 700, 60_000] {
            let time = std::time::Duration::from_millis(millis);
            counters.observe(crate::stats::Measure::AcquireWait, time);
        }
        let mut timings = Timings::new(None);
        timings.set(counters.timings());
        let mut text = String::new();
        write(&mut text, &[(&Arc::from("a\"b\\c\n"), &timings)]);
        for line in [
            "# TYPE telepool_acquire_wait_seconds histogram",
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="0.0005"} 0"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="0.001"} 1"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="1"} 3"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="+Inf"} 4"#,
            r#"telepool_acquire_wait_seconds_sum{group="a\"b\\c\n"} 60.703"#,
            r#"telepool_acquire_wait_seconds_count{group="a\"b\\c\n"} 4"#,
            r#"telepool_connection_age_seconds_bucket{group="a\"b\\c\n",le="86400"} 0"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_mean_stays_within_its_bucket() {
        let mean = |bucket, sum, count| mean(TIMES_US, bucket, sum, count);
        assert_eq!(mean(1, 400_000, 2), 0.0002);
        assert!(mean(1, 0, 1) > 0.0001, "the sum comes later");
        assert_eq!(mean(1, 10_000_000, 1), 0.000_25);
        assert_eq!(mean(17, 62_000_000_000, 2), 31.0);
    }

    #[test]
    fn the_bounds_that_recorders_are_told_are_those_that_are_counted_by() {
        let in_seconds = |bounds: Bounds| -> Vec<f64> {
            bounds.iter().map(|bound| *bound as f64 / 1e6).collect()
        };
        let all = catalogue::buckets();
        let histograms = crate::stats::GroupCounters::default();
        for (histogram, metric) in histograms.timings().iter().zip(METRICS) {
            let told = all.iter().find(|(name, _)| *name == metric.name).unwrap();
            assert_eq!(told.1, in_seconds(histogram.bounds()), "{}", metric.name);
        }
    }
}
