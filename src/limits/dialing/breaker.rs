//! The breaker of one egress: after the server has refused dials from it, few may try.
//!
//! Owns the limits and the memory of recent tries. Pure: time comes in as an argument.

use std::collections::VecDeque;

use crate::base::clock::Tick;

/// While open, at most so many dials within so many milliseconds; all rows hold at once
/// (the limits of Telegram's own library, TDLib).
const LIMITS: [(usize, u64); 3] = [(1, 1000), (2, 4000), (3, 8000)];

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    open: bool,
    /// When it opened, and when the last dials began since; never more than the longest row needs.
    tries: VecDeque<Tick>,
}

impl Breaker {
    /// The server refused a dial, which is the first of those that are counted.
    pub(crate) fn trip(&mut self, now: Tick) {
        if !self.open {
            self.open = true;
            self.tries.push_back(now);
        }
    }

    /// A dial succeeded. Returns whether the breaker was open.
    pub(crate) fn reset(&mut self) -> bool {
        self.tries.clear();
        std::mem::take(&mut self.open)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Notes that a dial begins now, or says when one may.
    pub(crate) fn begin(&mut self, now: Tick) -> Result<(), Tick> {
        if !self.open {
            return Ok(());
        }
        let allowed = LIMITS.iter().filter_map(|(count, within)| {
            let oldest = self.tries.len().checked_sub(*count)?;
            Some(self.tries[oldest] + within)
        });
        if let Some(until) = allowed.max().filter(|until| *until > now) {
            return Err(until);
        }
        if self.tries.len() == LIMITS[LIMITS.len() - 1].0 {
            self.tries.pop_front();
        }
        self.tries.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_breaker_lets_one_two_and_three_dials_through_and_a_success_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert_eq!(breaker.begin(0), Ok(()), "closed, it limits nothing");
        }
        breaker.trip(0);
        let mut begun = Vec::new();
        for now in 0..20_000 {
            if breaker.begin(now).is_ok() {
                begun.push(now);
            }
            // Refused again, of which nothing new follows.
            breaker.trip(now);
        }
        assert_eq!(begun, [1000, 4000, 8000, 9000, 12_000, 16_000, 17_000]);
        assert!(breaker.reset() && !breaker.reset());
        assert_eq!((breaker.begin(20_000), breaker.begin(20_000)), (Ok(()), Ok(())));
    }
}
