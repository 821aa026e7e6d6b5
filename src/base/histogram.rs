//! Histograms of durations, striped over threads.
//!
//! Owns the buckets. A recorder of metrics keeps each sample until somebody asks, for some twenty
//! bytes and a hundred nanoseconds; whoever waits in a busy pool cannot pay that for each wait.
//! Knows nothing of what is timed, and reads no clock.
//!
//! # Orderings
//! Relaxed: counts guard nothing. A reading that races with a count may see it in the buckets and
//! not yet in the sum, or in the sum alone.

use std::sync::OnceLock;
use std::time::Duration;

use crate::base::clock::nanos;
use crate::base::sync::{AtomicU64, Ordering, thread_number};

/// The upper bounds of all buckets but the last, in microseconds.
pub(crate) type Bounds = &'static [u64];

/// From a tenth of a millisecond, which is a handover, to the longest `acquire_timeout` in use.
pub(crate) const TIMES_US: Bounds = &[
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
/// From a second to a day.
pub(crate) const AGES_US: Bounds = &[
    1_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    14_400_000_000,
    43_200_000_000,
    86_400_000_000,
];

/// The most buckets that a histogram has.
const BUCKETS: usize = TIMES_US.len() + 1;

/// Threads that count at once, on cache lines of their own; more of them share.
const STRIPES: u64 = 8;

/// Counts and sums, by bucket.
#[cfg(any(feature = "metrics", all(test, not(pool_loom))))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketCounts {
    /// How many times fell into each bucket; beyond the histogram's own, none.
    pub(crate) counts: [u64; BUCKETS],
    /// What they add up to, in nanoseconds.
    pub(crate) sums: [u64; BUCKETS],
}

/// One histogram. Costs next to nothing until something is counted.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: Bounds,
    /// How many threads may count at once without getting into each other's way.
    width: u64,
    stripes: OnceLock<Box<[Stripe]>>,
}

/// Aligned to two cache lines, which are prefetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    counts: [AtomicU64; BUCKETS],
    sums: [AtomicU64; BUCKETS],
}

impl Histogram {
    /// For what happens all the time.
    pub(crate) fn often(bounds: Bounds) -> Self {
        Self { bounds, width: STRIPES, stripes: OnceLock::new() }
    }

    /// For what happens now and then.
    pub(crate) fn seldom(bounds: Bounds) -> Self {
        Self { bounds, width: 1, stripes: OnceLock::new() }
    }

    pub(crate) fn record(&self, time: Duration) {
        let stripes = self
            .stripes
            .get_or_init(|| (0..self.width).map(|_| Stripe::default()).collect::<Box<[_]>>());
        let index = usize::try_from(thread_number() % self.width);
        let stripe = &stripes[index.expect("BUG: a remainder of 8 fits")];
        let nanos = nanos(time);
        let bucket = self.bounds.iter().position(|bound| nanos <= bound * 1000);
        let bucket = bucket.unwrap_or(self.bounds.len());
        stripe.counts[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.sums[bucket].fetch_add(nanos, Ordering::Relaxed);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    #[cfg(any(feature = "metrics", all(test, not(pool_loom))))]
    pub(crate) fn read(&self) -> BucketCounts {
        let mut all = BucketCounts::default();
        for stripe in self.stripes.get().into_iter().flatten() {
            for bucket in 0..=self.bounds.len() {
                all.counts[bucket] += stripe.counts[bucket].load(Ordering::Relaxed);
                let sum = &mut all.sums[bucket];
                *sum = sum.wrapping_add(stripe.sums[bucket].load(Ordering::Relaxed));
            }
        }
        all
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_in_the_bucket_below_whose_bound_it_lies() {
        let histogram = Histogram::often(TIMES_US);
        assert_eq!(histogram.read(), BucketCounts::default());
        for (time, bucket) in [
            (Duration::ZERO, 0),
            (Duration::from_micros(100), 0),
            (Duration::from_nanos(100_001), 1),
            (Duration::from_secs(30), 16),
            (Duration::from_secs(31), 17),
            (Duration::MAX, 17),
        ] {
            let before = histogram.read();
            histogram.record(time);
            let after = histogram.read();
            assert_eq!(after.counts[bucket], before.counts[bucket] + 1, "{time:?}");
            assert_eq!(after.counts.iter().sum::<u64>(), before.counts.iter().sum::<u64>() + 1);
        }
    }

    #[test]
    fn fewer_buckets_end_with_what_lies_above_them_all() {
        let histogram = Histogram::seldom(AGES_US);
        histogram.record(Duration::from_secs(60));
        histogram.record(Duration::from_secs(100_000));
        let all = histogram.read();
        assert_eq!((all.counts[2], all.counts[AGES_US.len()]), (1, 1));
    }

    #[test]
    fn what_several_threads_count_adds_up() {
        let histogram = Histogram::often(TIMES_US);
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| histogram.record(Duration::from_millis(2))));
            }
        });
        let all = histogram.read();
        assert_eq!(all.counts[4], 16_000);
        assert_eq!(all.sums[4], 16_000 * 2_000_000);
    }
}
