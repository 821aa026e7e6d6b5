//! A hashed timing wheel: entries that fall due at a tick, found without looking at the rest.
//!
//! Owns the entries until they are due. Pure: time comes in as an argument, and nothing is
//! called back. Entries of one interval lie together in a batch, so that none carries its time, a batch
//! is taken out whole, and one that is not due costs a comparison however many entries it has. A batch
//! lies in chunks: no insert copies what is there already, and little room is kept for what never comes.

use crate::base::clock::Tick;

/// Buckets of the wheel. A batch further ahead than one round of them waits in its bucket for its time.
const BUCKETS: usize = 512;

/// The most entries in one chunk.
const CHUNK: usize = 64;

#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// Milliseconds per interval.
    interval: u64,
    /// Every interval up to and including this one has been taken out.
    done: u64,
    /// The batches, each in the bucket of its number's remainder, soonest first.
    buckets: Box<[Vec<Batch<T>>]>,
    len: usize,
}

/// What is due in one interval, and the interval's number.
#[derive(Debug)]
struct Batch<T> {
    number: u64,
    full: Vec<Vec<T>>,
    open: Vec<T>,
}

impl<T> Batch<T> {
    fn new(number: u64) -> Self {
        Self { number, full: Vec::new(), open: Vec::new() }
    }

    fn push(&mut self, entry: T) {
        if self.open.len() == CHUNK {
            // Whoever filled one chunk will need a good part of the next one.
            let full = std::mem::replace(&mut self.open, Vec::with_capacity(CHUNK));
            self.full.push(full);
        }
        self.open.push(entry);
    }
}

impl<T> Wheel<T> {
    pub(crate) fn new(interval: u64, now: Tick) -> Self {
        let interval = interval.max(1);
        Self {
            interval,
            done: now / interval,
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            len: 0,
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The tick at which the next interval is due.
    pub(crate) fn next_tick(&self) -> Tick {
        (self.done + 1) * self.interval
    }

    /// Adds an entry that is taken out within one interval after `due`.
    pub(crate) fn insert(&mut self, due: Tick, entry: T) {
        let number = due.div_ceil(self.interval).max(self.done + 1);
        let bucket = self.bucket(number);
        let at = bucket.partition_point(|batch| batch.number < number);
        if bucket.get(at).is_none_or(|batch| batch.number != number) {
            bucket.insert(at, Batch::new(number));
        }
        bucket[at].push(entry);
        self.len += 1;
    }

    /// Takes out everything that is due at `now`, in chunks of at most 64 entries.
    pub(crate) fn advance(&mut self, now: Tick) -> Vec<Vec<T>> {
        let until = now / self.interval;
        let mut due = Vec::new();
        // However far the clock jumped, one round of the wheel sees every bucket.
        let first = (self.done + 1).max(until.saturating_sub(BUCKETS as u64 - 1));
        for number in first..=until {
            let bucket = self.bucket(number);
            let over = bucket.partition_point(|batch| batch.number <= until);
            for mut batch in bucket.drain(..over) {
                due.append(&mut batch.full);
                due.push(batch.open);
            }
            if bucket.is_empty() {
                *bucket = Vec::new();
            }
        }
        self.done = self.done.max(until);
        self.len -= due.iter().map(Vec::len).sum::<usize>();
        due
    }

    /// Changes the interval; every entry keeps its time to within the old and the new one.
    pub(crate) fn set_interval(&mut self, interval: u64) {
        // From where the old wheel stands, so that what is due already comes out next.
        let mut wheel = Self::new(interval, self.done * self.interval);
        for batch in self.buckets.iter_mut().flat_map(std::mem::take) {
            for entry in batch.full.into_iter().flatten().chain(batch.open) {
                wheel.insert(batch.number * self.interval, entry);
            }
        }
        *self = wheel;
    }

    fn bucket(&mut self, number: u64) -> &mut Vec<Batch<T>> {
        let index = usize::try_from(number % BUCKETS as u64).expect("BUG: a remainder of 512 fits");
        &mut self.buckets[index]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    use super::*;

    /// What is due, as one list.
    fn out<T>(wheel: &mut Wheel<T>, now: Tick) -> Vec<T> {
        wheel.advance(now).into_iter().flatten().collect()
    }

    #[test]
    fn an_entry_comes_out_in_the_first_interval_after_it_is_due() {
        let mut wheel = Wheel::new(100, 1000);
        wheel.insert(1000, 'a');
        wheel.insert(1101, 'b');
        wheel.insert(1200, 'c');
        assert!(out(&mut wheel, 1099).is_empty());
        assert_eq!(out(&mut wheel, 1100), vec!['a']);
        assert_eq!(out(&mut wheel, 1250), vec!['b', 'c']);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn an_entry_beyond_one_round_waits_for_its_own() {
        let mut wheel = Wheel::new(1, 0);
        wheel.insert(10, "soon");
        wheel.insert(10 + 512, "later");
        assert_eq!(out(&mut wheel, 511), vec!["soon"]);
        assert_eq!(out(&mut wheel, 521), Vec::<&str>::new());
        assert_eq!(out(&mut wheel, 522), vec!["later"]);
    }

    #[test]
    fn a_clock_that_jumps_far_ahead_takes_everything_out_once() {
        let mut wheel = Wheel::new(10, 0);
        for due in 0..2000 {
            wheel.insert(due * 10, due);
        }
        let mut all = out(&mut wheel, 1 << 50);
        all.sort_unstable();
        assert_eq!(all, (0..2000).collect::<Vec<_>>());
        wheel.insert(5, 1);
        assert!(out(&mut wheel, 3).is_empty(), "a clock that goes back takes nothing out");
        assert_eq!(out(&mut wheel, (1 << 50) + 10), vec![1]);
    }

    #[test]
    fn a_batch_of_many_entries_comes_out_whole_in_chunks_and_leaves_no_room_behind() {
        let mut wheel = Wheel::new(10, 0);
        for number in 0..1000 {
            wheel.insert(10, number);
            wheel.insert(10 + 512 * 10, number);
        }
        let chunks = wheel.advance(10);
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK && chunk.capacity() <= CHUNK));
        assert_eq!(chunks.concat(), (0..1000).collect::<Vec<_>>());
        assert_eq!(wheel.len(), 1000, "another round's batch in the same bucket stays");
        assert_eq!(out(&mut wheel, 10 + 512 * 10).len(), 1000);
        assert!(wheel.buckets.iter().all(|bucket| bucket.capacity() == 0));
    }

    fn config() -> ProptestConfig {
        let kept = FileFailurePersistence::Direct("tests/regressions/wheel.txt");
        ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn the_wheel_is_a_sorted_list_with_coarse_times(
            interval in 1_u64..50,
            new_interval in 1_u64..50,
            dues in prop::collection::vec(0_u64..40_000, 0..60),
            steps in prop::collection::vec(1_u64..3000, 1..20),
        ) {
            let mut wheel = Wheel::new(interval, 0);
            let mut left: Vec<u64> = dues;
            for due in &left {
                wheel.insert(*due, *due);
            }
            let (mut now, mut width) = (0, interval);
            for (index, step) in steps.into_iter().enumerate() {
                now += step;
                if index == 3 {
                    wheel.set_interval(new_interval);
                    width += new_interval;
                }
                for due in out(&mut wheel, now) {
                    prop_assert!(due <= now, "taken out before it was due");
                    let found = left.iter().position(|other| *other == due);
                    left.swap_remove(found.expect("taken out twice"));
                }
                for due in &left {
                    prop_assert!(due + 2 * width > now, "{due} is overdue at {now}");
                }
            }
            prop_assert_eq!(left.len(), wheel.len());
        }
    }
}
