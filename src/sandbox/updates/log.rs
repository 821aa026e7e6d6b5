//! Log of one box of updates: what has come into it, by its number.
//!
//! Owns the numbers (Telegram's pts and qts) and the limit of the log. Never knows what an update says.

use std::collections::VecDeque;

/// One box: an account's common one, its secondary one, or that of a channel.
pub(super) struct UpdateBox<U> {
    /// The number after the last update.
    pts: i32,
    /// The number before the oldest update that is kept.
    base: i32,
    entries: VecDeque<BoxEntry<U>>,
}

/// An update in its box.
#[derive(Debug, PartialEq)]
pub(super) struct BoxEntry<U> {
    /// The number after it.
    pub(super) pts: i32,
    /// By how much it has moved the number.
    pub(super) count: i32,
    /// When it came, in seconds of the Unix time.
    pub(super) date: i32,
    pub(super) update: U,
}

impl<U> UpdateBox<U> {
    /// An empty box, whose number this is.
    pub(super) fn new(pts: i32) -> Self {
        Self { pts, base: pts, entries: VecDeque::new() }
    }

    pub(super) fn pts(&self) -> i32 {
        self.pts
    }

    /// How many updates are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the last update came; zero before there was one.
    pub(super) fn last_date(&self) -> i32 {
        self.entries.back().map_or(0, |entry| entry.date)
    }

    /// Adds an update, of which no more than so many are kept. Returns the number after it.
    pub(super) fn append(&mut self, count: i32, date: i32, update: U, len_max: usize) -> i32 {
        // Far fewer than 2^31 updates are ever made here.
        self.pts = self.pts.saturating_add(count);
        self.entries.push_back(BoxEntry { pts: self.pts, count, date, update });
        while self.entries.len() > len_max.max(1) {
            self.base = self.entries.pop_front().map_or(self.base, |oldest| oldest.pts);
        }
        self.pts
    }

    /// The updates after a number, in their order; `None` if the oldest of them are no longer kept.
    pub(super) fn since(&self, pts: i32) -> Option<impl Iterator<Item = &BoxEntry<U>>> {
        (pts >= self.base).then(|| self.kept_since(pts))
    }

    /// Those of the updates after a number that are kept.
    pub(super) fn kept_since(&self, pts: i32) -> impl Iterator<Item = &BoxEntry<U>> {
        let first = self.entries.partition_point(|entry| entry.pts <= pts);
        self.entries.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_go_and_whoever_is_behind_them_is_told() {
        let mut log = UpdateBox::new(1);
        for update in 0..5 {
            log.append(2, 7, update, 3);
        }
        assert_eq!((log.pts(), log.len(), log.last_date()), (11, 3, 7));
        assert!(log.since(4).is_none());
        let since = |pts| log.since(pts).unwrap().map(|entry| entry.update).collect::<Vec<_>>();
        assert_eq!((since(5), since(7), since(11)), (vec![2, 3, 4], vec![3, 4], vec![]));
        assert_eq!(log.kept_since(0).count(), 3);
    }

    proptest! {
        #[test]
        fn slices_join_up_to_the_log_wherever_it_is_cut(
            counts in vec(1..4_i32, 0..60),
            cuts in vec(1..9_usize, 60),
        ) {
            let mut log = UpdateBox::new(1);
            for (update, count) in counts.iter().enumerate() {
                log.append(*count, 0, update, 1000);
            }
            let (mut pts, mut seen) = (1, vec![]);
            for cut in cuts {
                for entry in log.since(pts).unwrap().take(cut) {
                    prop_assert_eq!(entry.pts - entry.count, pts, "no gap, and nothing twice");
                    pts = entry.pts;
                    seen.push(entry.update);
                }
            }
            prop_assert_eq!(pts, log.pts());
            prop_assert_eq!(seen, (0..counts.len()).collect::<Vec<_>>());
        }
    }
}
