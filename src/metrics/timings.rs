//! The histograms: what is measured in seconds.
//!
//! Owns the two ways out of the pool's own buckets. A recorder takes samples and no counts, so
//! that it gets, for each that was counted, the mean of its bucket. Prometheus' text is written
//! from the buckets themselves: its recorder would keep each sample until the next scrape.

#[cfg(feature = "metrics")]
use std::fmt::Write as _;
#[cfg(feature = "metrics")]
use std::sync::Arc;

use metrics::Histogram;
#[cfg(feature = "metrics")]
use metrics_exporter_prometheus::formatting::{
    sanitize_label_value, write_help_line, write_type_line,
};

use crate::base::histogram::{self, Bounds, Counts};
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
    /// What all times so far add up to, in nanoseconds. The pool's own sums begin again at 2^64, which
    /// is 5 hours of the ages of a million connections.
    totals: [u128; 4],
    /// Where they are recorded as well; without, they are written as text.
    recorded: Option<[Histogram; 4]>,
    /// What is read first was counted before anybody asked, and is not recorded.
    has_past: bool,
}

impl Timings {
    /// For a recorder, if there is one that is given them. `has_past`: not what was counted so far.
    pub(super) fn new(recorder: Option<&Registrar<'_>>, has_past: bool) -> Self {
        let recorded = recorder.map(|recorder| METRICS.map(|metric| recorder.histogram(metric)));
        Self { read: Default::default(), totals: [0; 4], recorded, has_past }
    }

    pub(super) fn set(&mut self, histograms: &[histogram::Histogram; 4]) {
        for (index, histogram) in histograms.iter().enumerate() {
            let (bounds, now) = (histogram.bounds(), histogram.read());
            let before = &self.read[index].1;
            if let Some(handles) = self.recorded.as_ref().filter(|_| !self.has_past) {
                record(&handles[index], bounds, before, &now);
            }
            for (now, before) in now.sums.iter().zip(before.sums) {
                self.totals[index] += u128::from(now.wrapping_sub(before));
            }
            self.read[index] = (bounds, now);
        }
        self.has_past = false;
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
#[cfg(feature = "metrics")]
pub(super) fn write(text: &mut String, groups: &[(&Arc<str>, &Timings)]) {
    for (index, metric) in METRICS.iter().enumerate() {
        if !groups.is_empty() {
            write_help_line(text, metric.name, None, None, metric.meaning);
            write_type_line(text, metric.name, None, None, "histogram");
        }
        for (group, timings) in groups {
            let (bounds, counts) = &timings.read[index];
            let group = sanitize_label_value(group);
            write_one(text, metric.name, &group, bounds, (&counts.counts, timings.totals[index]));
        }
        text.push('\n');
    }
}

#[cfg(feature = "metrics")]
fn write_one(
    text: &mut String,
    name: &str,
    group: &str,
    bounds: Bounds,
    (counts, sum): (&[u64], u128),
) {
    let mut line = |rest: std::fmt::Arguments<'_>| {
        writeln!(text, "{name}{rest}").expect("BUG: a string takes any text");
    };
    let mut total = 0;
    for (bucket, count) in counts.iter().enumerate().take(bounds.len() + 1) {
        total += count;
        match bounds.get(bucket).map(|bound| *bound as f64 / 1e6) {
            Some(le) => line(format_args!("_bucket{{group=\"{group}\",le=\"{le}\"}} {total}")),
            None => line(format_args!("_bucket{{group=\"{group}\",le=\"+Inf\"}} {total}")),
        }
    }
    let sum = sum as f64 / 1e9;
    line(format_args!("_sum{{group=\"{group}\"}} {sum}"));
    line(format_args!("_count{{group=\"{group}\"}} {total}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::histogram::TIMES_US;

    #[cfg(feature = "metrics")]
    #[test]
    fn the_text_counts_upwards_and_escapes_its_label() {
        let counters = crate::stats::GroupCounters::default();
        for millis in [1, 2, 700, 60_000] {
            let time = std::time::Duration::from_millis(millis);
            counters.observe(crate::stats::Measure::AcquireWait, time);
        }
        let mut timings = Timings::new(None, true);
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
    fn a_sum_goes_on_where_that_of_the_pool_begins_again() {
        let counters = crate::stats::GroupCounters::default();
        let mut timings = Timings::new(None, true);
        let day = std::time::Duration::from_secs(1 << 33);
        for _ in 0..5 {
            counters.observe(crate::stats::Measure::ConnectionAge, day);
            timings.set(counters.timings());
        }
        assert_eq!(timings.totals[3], 5 * day.as_nanos());
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
