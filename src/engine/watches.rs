//! The deadline timers of an account: when the pool is to come back, for waiters whose time is up by then.
//!
//! Owns the times that the pool was told. There is always one no later than the next deadline, and a
//! few at most: what is told to the pool stays there until its time, also if who asked for it has left.

use smallvec::SmallVec;

use crate::base::clock::Instant;

/// How many times are remembered as told.
const TOLD_MAX: usize = 16;

/// One time that the pool is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) at: Instant,
    /// No two of an account have the same.
    number: u64,
}

/// The latest first, and none later than the one before it, so that a deadline is told once although
/// earlier ones come and go.
#[derive(Debug, Default)]
pub(super) struct Watches {
    told: SmallVec<[Watch; 1]>,
    count: u64,
}

impl Watches {
    /// What the pool has to be told of a deadline, if it is earlier than all it knows of.
    pub(super) fn ask_for(&mut self, deadline: Option<Instant>) -> Option<Watch> {
        let at = deadline?;
        if self.told.last().is_some_and(|watch| watch.at <= at) {
            return None;
        }
        if self.told.len() == TOLD_MAX {
            // If anybody still waits for it, it is told again when the earlier ones have come.
            self.told.remove(0);
        }
        self.count += 1;
        let watch = Watch { at, number: self.count };
        self.told.push(watch);
        Some(watch)
    }

    /// Forgets the times that have come. Returns whether there was one.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        let before = self.told.len();
        while self.told.last().is_some_and(|watch| watch.at <= now) {
            self.told.pop();
        }
        self.told.len() < before
    }

    /// Whether anything would come of a watch that was told.
    pub(super) fn is_told(&self, watch: Watch) -> bool {
        self.told.contains(&watch)
    }

    pub(super) fn clear(&mut self) {
        self.told.clear();
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn however_many_deadlines_come_ever_earlier_few_are_remembered_and_the_earliest_always() {
        let (now, mut watches) = (crate::base::clock::now(), Watches::default());
        let mut asked = Vec::new();
        for millis in (1..=1000).rev() {
            let at = now + Duration::from_millis(millis);
            let watch = watches.ask_for(Some(at)).expect("it is earlier than all before");
            assert!(watches.is_told(watch));
            assert_eq!(watches.ask_for(Some(at)), None, "told once");
            asked.push(watch);
        }
        let told = asked.iter().filter(|watch| watches.is_told(**watch)).count();
        assert_eq!(told, TOLD_MAX);

        // One of them waits on: it is told again once the others have come.
        assert!(watches.end(now + Duration::from_millis(500)) && watches.told.is_empty());
        assert!(!watches.end(now + Duration::from_millis(600)));
        let again = watches.ask_for(Some(asked[0].at)).unwrap();
        assert_ne!(again, asked[0], "the former is of no use any more");
    }
}
