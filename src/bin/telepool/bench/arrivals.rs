//! Arrivals of calls: drawn once from the seed, the same for every strategy.
//!
//! Owns the drawing. Never looks at a clock: a call comes when it is due, however late the answers
//! to those before it are. Never holds more calls than the bursts under way still have to come.
//!
//! # The work
//! Half of the calls come singly, as a Poisson process; whose they are goes by Zipf's law (the
//! n-th account of the order of popularity gets 1/n of what the first gets), so that most accounts
//! are quiet for longer than an idle connection is kept. The other half come in bursts on one of the
//! hot accounts, the first tenth of that order, all alike: the bursts are a Poisson process as well,
//! each has 8 to 24 calls, and its calls are 10 ms apart on average. The order is drawn, too.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::time::Duration;

use crate::calls::{Mix, WorkloadCall};

/// The share of calls that come in bursts.
const BURST_SHARE: f64 = 0.5;
/// How many calls a burst has, at least and at most; every number between is as likely.
const BURST_LEN: (u32, u32) = (8, 24);
/// How far apart the calls of a burst are on average.
const BURST_GAP: Duration = Duration::from_millis(10);
/// Every so many accounts, one is hot.
const HOT_APART: usize = 10;

/// One call to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// After the beginning.
    pub(super) at: Duration,
    /// Which of the accounts.
    pub(super) account: usize,
    pub(super) call: WorkloadCall,
}

/// The calls of so long a time, at so many a second on average, in the order of coming.
pub(super) struct ArrivalSchedule {
    popularity: Popularity,
    duration: Duration,
    singles: (Peekable<Poisson>, fastrand::Rng),
    bursts: (Peekable<Poisson>, fastrand::Rng),
    /// The calls of bursts that have begun, by when they come and in which order they were drawn.
    ahead: BTreeMap<(Duration, u64), Arrival>,
    drawn: u64,
}

impl ArrivalSchedule {
    pub(super) fn new(seed: u64, accounts: usize, rate: f64, duration: Duration) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut singles = random.fork();
        let mut bursts = random.fork();
        let (least, most) = BURST_LEN;
        let mean = f64::from(least + most) / 2.0;
        let poisson = |random, rate| Poisson { random, rate, at: Duration::ZERO, end: duration };
        let single = poisson(singles.fork(), rate * (1.0 - BURST_SHARE)).peekable();
        let burst = poisson(bursts.fork(), rate * BURST_SHARE / mean).peekable();
        Self {
            popularity: Popularity::new(seed, accounts),
            duration,
            singles: (single, singles),
            bursts: (burst, bursts),
            ahead: BTreeMap::new(),
            drawn: 0,
        }
    }

    fn draw_single(&mut self) -> Option<Arrival> {
        let (times, random) = &mut self.singles;
        let at = times.next()?;
        let account = self.popularity.any(random);
        Some(Arrival { at, account, call: WorkloadCall::draw(Mix::Everything, random) })
    }

    fn draw_burst(&mut self, mut at: Duration) {
        let (least, most) = BURST_LEN;
        let random = &mut self.bursts.1;
        let account = self.popularity.hot(random);
        for _ in 0..random.u32(least..=most) {
            // The tail of a burst that outlasts the end is cut off.
            if at < self.duration {
                let call = WorkloadCall::draw(Mix::Everything, random);
                self.ahead.insert((at, self.drawn), Arrival { at, account, call });
                self.drawn += 1;
            }
            at += exponential(random, 1.0 / BURST_GAP.as_secs_f64());
        }
    }
}

impl Iterator for ArrivalSchedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let single = self.singles.0.peek().copied().unwrap_or(Duration::MAX);
        let next = self.ahead.first_key_value().map_or(single, |((at, _), _)| single.min(*at));
        // Whatever bursts have begun by then may have calls that come before it.
        while let Some(at) = self.bursts.0.next_if(|at| *at <= next) {
            self.draw_burst(at);
        }
        match self.ahead.first_entry() {
            Some(first) if first.key().0 < single => Some(first.remove()),
            _ => self.draw_single(),
        }
    }
}

/// How often whom.
#[derive(Debug)]
pub(super) struct Popularity {
    /// The accounts, the most popular first.
    order: Vec<usize>,
    /// The weights of all accounts up to each, in that order.
    weights: Vec<f64>,
}

impl Popularity {
    pub(super) fn new(seed: u64, accounts: usize) -> Self {
        let mut order: Vec<_> = (0..accounts).collect();
        fastrand::Rng::with_seed(!seed).shuffle(&mut order);
        let weights = (1..=accounts).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self { order, weights: weights.collect() }
    }

    /// Whose the next call of the work is, single or not.
    pub(super) fn next(&self, random: &mut fastrand::Rng) -> usize {
        if random.f64() < BURST_SHARE { self.hot(random) } else { self.any(random) }
    }

    fn any(&self, random: &mut fastrand::Rng) -> usize {
        let all = self.weights.last().copied().unwrap_or_default();
        let drawn = random.f64() * all;
        let rank = self.weights.partition_point(|sum| *sum <= drawn);
        self.order[rank.min(self.order.len() - 1)]
    }

    fn hot(&self, random: &mut fastrand::Rng) -> usize {
        self.order[random.usize(..self.order.len().div_ceil(HOT_APART))]
    }
}

/// The times of a Poisson process of so many events a second, up to the end.
struct Poisson {
    random: fastrand::Rng,
    rate: f64,
    at: Duration,
    end: Duration,
}

impl Iterator for Poisson {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.at += exponential(&mut self.random, self.rate);
        (self.at < self.end).then_some(self.at)
    }
}

fn exponential(random: &mut fastrand::Rng, rate: f64) -> Duration {
    // The number is below 1, so that the logarithm is one.
    Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn draw(seed: u64, accounts: usize, rate: f64, duration: Duration) -> Vec<Arrival> {
        ArrivalSchedule::new(seed, accounts, rate, duration).collect()
    }

    #[test]
    fn one_seed_makes_one_schedule_and_another_makes_another() {
        let drawn = draw(7, 200, 50.0, MINUTE);
        assert_eq!(drawn, draw(7, 200, 50.0, MINUTE));
        assert_ne!(drawn, draw(8, 200, 50.0, MINUTE));
    }

    #[test]
    fn calls_come_in_order_before_the_end_at_the_rate_that_was_asked_for() {
        for (seed, rate) in [(1, 40.0), (2, 100.0), (3, 1000.0)] {
            let drawn = draw(seed, 200, rate, MINUTE);
            let count = drawn.len() as f64 / MINUTE.as_secs_f64();
            assert!((count / rate - 1.0).abs() < 0.1, "{count} a second in place of {rate}");
            assert!(drawn.is_sorted_by_key(|arrival| arrival.at));
            assert!(drawn.iter().all(|it| it.at < MINUTE && it.account < 200));
        }
    }

    #[test]
    fn hot_accounts_get_bursts_and_most_accounts_are_quiet() {
        let drawn = draw(1, 200, 50.0, MINUTE);
        let mut counts = vec![0_u32; 200];
        drawn.iter().for_each(|arrival| counts[arrival.account] += 1);
        counts.sort_unstable();
        let hot: u32 = counts[180..].iter().sum();
        assert!(f64::from(hot) > 0.6 * drawn.len() as f64, "{hot} of {}", drawn.len());
        // Fewer than one call in five seconds.
        assert!(counts[..120].iter().all(|count| *count < 12), "{counts:?}");
        let crowded = drawn.windows(4).filter(|calls| {
            calls.iter().all(|call| call.account == calls[0].account)
                && calls[3].at - calls[0].at < Duration::from_millis(200)
        });
        assert!(crowded.count() > 100);
    }

    #[test]
    fn one_account_is_enough() {
        let drawn = draw(1, 1, 100.0, MINUTE);
        assert!(drawn.iter().all(|arrival| arrival.account == 0) && drawn.len() > 1000);
    }
}
