//! How long acquires waited, as a histogram.
//!
//! Owns the two ways out of the pool's own buckets. A recorder takes samples and no counts, so
//! that it gets, for each that was counted, the mean of its bucket. Prometheus' text is written
//! from the buckets themselves: its recorder would keep each sample until the next scrape.

#[cfg(feature = "prometheus")]
use std::fmt::Write as _;
#[cfg(feature = "prometheus")]
use std::sync::Arc;

use metrics::Histogram;

use crate::histogram::{BOUNDS_US, Counts};
#[cfg(feature = "prometheus")]
use crate::metrics::catalogue::ACQUIRE_WAIT;

/// Where the waits of a group go.
pub(super) enum Waits {
    /// To a recorder's handle; what it has been given is kept.
    Recorder(Histogram, Counts),
    /// Into a text; the last reading is kept.
    Text(Counts),
}

impl Waits {
    pub(super) fn set(&mut self, now: Counts) {
        match self {
            Self::Text(counts) => *counts = now,
            Self::Recorder(handle, given) => {
                for bucket in 0..now.counts.len() {
                    let count = now.counts[bucket].saturating_sub(given.counts[bucket]);
                    let Ok(count) = usize::try_from(count) else { continue };
                    if count > 0 {
                        let sum = now.sums[bucket].wrapping_sub(given.sums[bucket]);
                        handle.record_many(mean(bucket, sum, count), count);
                    }
                }
                *given = now;
            }
        }
    }
}

/// The mean in seconds. Within the bucket, even if the count was seen before its share of the sum.
fn mean(bucket: usize, sum: u64, count: usize) -> f64 {
    let bound = |index: usize| BOUNDS_US.get(index).map(|bound| *bound as f64 / 1e6);
    let mean = sum as f64 / count as f64 / 1e9;
    let low = bucket.checked_sub(1).and_then(bound).map_or(0.0, f64::next_up);
    mean.max(low).min(bound(bucket).unwrap_or(f64::MAX))
}

/// Adds the family to a text in Prometheus' format.
#[cfg(feature = "prometheus")]
pub(super) fn write<'a>(
    text: &mut String,
    groups: impl Iterator<Item = (&'a Arc<str>, &'a Waits)>,
) {
    let name = ACQUIRE_WAIT.name;
    let mut lines = String::new();
    for (group, waits) in groups {
        let Waits::Text(Counts { counts, sums }) = waits else { continue };
        let group = escaped(group);
        let mut total = 0;
        for (bucket, count) in counts.iter().enumerate() {
            total += count;
            let bound = BOUNDS_US.get(bucket).map(|bound| (*bound as f64 / 1e6).to_string());
            let bound = bound.as_deref().unwrap_or("+Inf");
            line(&mut lines, &format!("_bucket{{group=\"{group}\",le=\"{bound}\"}} {total}"));
        }
        let sum = sums.iter().fold(0, |all: u64, sum| all.wrapping_add(*sum)) as f64 / 1e9;
        line(&mut lines, &format!("_sum{{group=\"{group}\"}} {sum}"));
        line(&mut lines, &format!("_count{{group=\"{group}\"}} {total}"));
    }
    if !lines.is_empty() {
        let meaning = ACQUIRE_WAIT.meaning;
        let head = format!("# HELP {name} {meaning}\n# TYPE {name} histogram\n");
        text.push_str(&head);
        text.push_str(&lines);
        text.push('\n');
    }
}

#[cfg(feature = "prometheus")]
fn line(lines: &mut String, rest: &str) {
    writeln!(lines, "{}{rest}", ACQUIRE_WAIT.name).expect("BUG: a string takes any text");
}

/// A label's value as the format wants it.
#[cfg(feature = "prometheus")]
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "prometheus")]
    #[test]
    fn the_text_counts_upwards_and_escapes_its_label() {
        let waits = crate::histogram::Histogram::default();
        for millis in [1, 2, 700, 60_000] {
            waits.record(std::time::Duration::from_millis(millis));
        }
        let (group, waits) = (Arc::from("a\"b\\c\n"), Waits::Text(waits.read()));
        let mut text = String::new();
        write(&mut text, [(&group, &waits)].into_iter());
        for line in [
            "# TYPE telepool_acquire_wait_seconds histogram",
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="0.0005"} 0"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="0.001"} 1"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="1"} 3"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="+Inf"} 4"#,
            r#"telepool_acquire_wait_seconds_sum{group="a\"b\\c\n"} 60.703"#,
            r#"telepool_acquire_wait_seconds_count{group="a\"b\\c\n"} 4"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_mean_stays_within_its_bucket() {
        assert_eq!(mean(1, 400_000, 2), 0.0002);
        assert!(mean(1, 0, 1) > 0.0001, "the sum comes later");
        assert_eq!(mean(1, 10_000_000, 1), 0.000_25);
        assert_eq!(mean(17, 62_000_000_000, 2), 31.0);
    }
}
