//! A hashed timing wheel: entries that fall due at a tick, found without looking at the rest.
//!
//! Owns the entries until they are due. Pure: time comes in as an argument, and nothing is
//! called back. An entry is 32 bytes, inserted by a push and taken out by a swap.

use crate::clock::Tick;

/// Buckets of the wheel. An entry further ahead than a turn waits in its bucket for its turn.
const BUCKETS: usize = 512;

#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// Milliseconds per bucket.
    interval: u64,
    /// Every bucket up to and including this one has been taken out.
    done: u64,
    buckets: Box<[Vec<(u64, T)>]>,
    len: usize,
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

    /// The tick at which the next bucket is due.
    pub(crate) fn next_tick(&self) -> Tick {
        (self.done + 1) * self.interval
    }

    /// Adds an entry that is taken out within one interval after `due`.
    pub(crate) fn insert(&mut self, due: Tick, entry: T) {
        let turn = due.div_ceil(self.interval).max(self.done + 1);
        self.bucket(turn).push((turn, entry));
        self.len += 1;
    }

    /// Takes out everything that is due at `now`.
    pub(crate) fn advance(&mut self, now: Tick) -> Vec<T> {
        let until = now / self.interval;
        let mut due = Vec::new();
        // However far the clock jumped, one turn of the wheel sees every bucket.
        let first = (self.done + 1).max(until.saturating_sub(BUCKETS as u64 - 1));
        for turn in first..=until {
            let bucket = self.bucket(turn);
            if bucket.iter().all(|(turn, _)| *turn <= until) {
                due.extend(std::mem::take(bucket).into_iter().map(|(_, entry)| entry));
            } else {
                due.extend(bucket.extract_if(.., |(turn, _)| *turn <= until).map(|(_, it)| it));
            }
        }
        self.done = self.done.max(until);
        self.len -= due.len();
        due
    }

    /// Changes the interval; every entry keeps its time to within the old and the new one.
    pub(crate) fn set_interval(&mut self, interval: u64) {
        // From where the old wheel stands, so that what is due already comes out next.
        let mut wheel = Self::new(interval, self.done * self.interval);
        for bucket in &mut self.buckets {
            for (turn, entry) in bucket.drain(..) {
                wheel.insert(turn * self.interval, entry);
            }
        }
        *self = wheel;
    }

    fn bucket(&mut self, turn: u64) -> &mut Vec<(u64, T)> {
        let index = usize::try_from(turn % BUCKETS as u64).expect("BUG: a remainder of 512 fits");
        &mut self.buckets[index]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_comes_out_in_the_first_interval_after_it_is_due() {
        let mut wheel = Wheel::new(100, 1000);
        wheel.insert(1000, 'a');
        wheel.insert(1101, 'b');
        wheel.insert(1200, 'c');
        assert!(wheel.advance(1099).is_empty());
        assert_eq!(wheel.advance(1100), vec!['a']);
        assert_eq!(wheel.advance(1250), vec!['b', 'c']);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn an_entry_beyond_one_turn_waits_for_its_own() {
        let mut wheel = Wheel::new(1, 0);
        wheel.insert(10, "soon");
        wheel.insert(10 + 512, "later");
        assert_eq!(wheel.advance(511), vec!["soon"]);
        assert_eq!(wheel.advance(521), Vec::<&str>::new());
        assert_eq!(wheel.advance(522), vec!["later"]);
    }

    #[test]
    fn a_clock_that_jumps_far_ahead_takes_everything_out_once() {
        let mut wheel = Wheel::new(10, 0);
        for due in 0..2000 {
            wheel.insert(due * 10, due);
        }
        let mut out = wheel.advance(1 << 50);
        out.sort_unstable();
        assert_eq!(out, (0..2000).collect::<Vec<_>>());
        wheel.insert(5, 1);
        assert!(wheel.advance(3).is_empty(), "a clock that goes back takes nothing out");
        assert_eq!(wheel.advance((1 << 50) + 10), vec![1]);
    }

    proptest! {
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
            for (turn, step) in steps.into_iter().enumerate() {
                now += step;
                if turn == 3 {
                    wheel.set_interval(new_interval);
                    width += new_interval;
                }
                for due in wheel.advance(now) {
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
