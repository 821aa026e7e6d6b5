//! Histograms as they are exported: what the pool's own have counted, in all and since the last scrape.
//!
//! Owns the sums that go on where those of the pool begin again. Costs nothing for each sample: the pool
//! counts into buckets, and these are copied.

use crate::base::histogram::{Bounds, BucketCounts, Histogram};

/// A histogram as of the last scrape.
#[derive(Default)]
pub(super) struct HistogramSample {
    pub(super) bounds: Bounds,
    pub(super) counts: BucketCounts,
    /// What has come since the scrape before that.
    pub(super) since: BucketCounts,
    /// What all times so far add up to, in nanoseconds. The pool's own sums begin again at 2^64, which
    /// is 5 hours of the ages of a million connections.
    pub(super) sum: u128,
}

impl HistogramSample {
    pub(super) fn update(&mut self, histogram: &Histogram) {
        let now = histogram.read();
        self.bounds = histogram.bounds();
        for bucket in 0..=self.bounds.len() {
            let before = &self.counts;
            self.since.counts[bucket] = now.counts[bucket].saturating_sub(before.counts[bucket]);
            self.since.sums[bucket] = now.sums[bucket].wrapping_sub(before.sums[bucket]);
            self.sum += u128::from(self.since.sums[bucket]);
        }
        self.counts = now;
    }

    /// The upper bound of a bucket in seconds; the last has none.
    pub(super) fn bound(&self, bucket: usize) -> Option<f64> {
        self.bounds.get(bucket).map(|bound| *bound as f64 / 1e6)
    }

    /// How often each bucket was counted since the scrape before, and the mean in seconds of that.
    pub(super) fn means(&self) -> impl Iterator<Item = (f64, usize)> {
        (0..=self.bounds.len()).filter_map(|bucket| {
            let count = usize::try_from(self.since.counts[bucket]).ok().filter(|it| *it > 0)?;
            Some((self.mean(bucket, count), count))
        })
    }

    /// Within the bucket, even if the count was seen before its share of the sum.
    fn mean(&self, bucket: usize, count: usize) -> f64 {
        let mean = self.since.sums[bucket] as f64 / count as f64 / 1e9;
        let below = bucket.checked_sub(1).and_then(|below| self.bound(below));
        let low = below.map_or(0.0, f64::next_up);
        mean.max(low).min(self.bound(bucket).unwrap_or(f64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::histogram::{AGES_US, TIMES_US};

    #[test]
    fn a_sum_goes_on_where_that_of_the_pool_begins_again() {
        let histogram = Histogram::seldom(AGES_US);
        let mut sample = HistogramSample::default();
        let long = Duration::from_secs(1 << 33);
        for _ in 0..5 {
            histogram.record(long);
            sample.update(&histogram);
        }
        assert_eq!(sample.sum, 5 * long.as_nanos());
    }

    #[test]
    fn each_sample_is_told_once_as_the_mean_of_its_bucket() {
        let histogram = Histogram::seldom(TIMES_US);
        let mut sample = HistogramSample::default();
        for millis in [600, 800, 60_000] {
            histogram.record(Duration::from_millis(millis));
        }
        sample.update(&histogram);
        assert_eq!(sample.means().collect::<Vec<_>>(), [(0.7, 2), (60.0, 1)]);
        sample.update(&histogram);
        assert_eq!(sample.means().count(), 0);
    }

    #[test]
    fn a_mean_stays_within_its_bucket() {
        let mean = |bucket: usize, sum: u64, count: usize| {
            let mut sample = HistogramSample { bounds: TIMES_US, ..Default::default() };
            sample.since.sums[bucket] = sum;
            sample.mean(bucket, count)
        };
        assert_eq!(mean(1, 400_000, 2), 0.0002);
        assert!(mean(1, 0, 1) > 0.0001, "the sum comes later");
        assert_eq!(mean(1, 10_000_000, 1), 0.000_25);
        assert_eq!(mean(17, 62_000_000_000, 2), 31.0);
    }
}
