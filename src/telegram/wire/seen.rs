//! Ids of the messages that have come, so that none is taken twice.
//!
//! Owns a bounded window of them. Never knows what a message was.

use std::collections::VecDeque;

/// What is known of a message by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It has not come before.
    New,
    /// It has.
    Duplicate,
    /// It is older than all that are kept.
    Stale,
}

/// The last ids, in their order.
#[derive(Debug)]
pub(super) struct SeenIds {
    ids: VecDeque<i64>,
    /// Nothing up to this one is taken any more.
    floor: i64,
    max: usize,
}

impl SeenIds {
    pub(super) fn new(max: usize) -> Self {
        Self { ids: VecDeque::new(), floor: 0, max: max.max(1) }
    }

    /// Takes a message in, unless it has come before.
    pub(super) fn insert(&mut self, id: i64) -> Novelty {
        // Nearly always it is the greatest.
        let place = match self.ids.back() {
            Some(last) if id <= *last => match self.ids.binary_search(&id) {
                Ok(_) => return Novelty::Duplicate,
                Err(place) => place,
            },
            _ => self.ids.len(),
        };
        if id <= self.floor {
            return Novelty::Stale;
        }
        self.ids.insert(place, id);
        if self.ids.len() > self.max
            && let Some(oldest) = self.ids.pop_front()
        {
            self.floor = oldest;
        }
        Novelty::New
    }

    /// Whether a message has come.
    pub(super) fn contains(&self, id: i64) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// What is known of a message, as `msgs_state_info` tells it.
    pub(super) fn state(&self, id: i64) -> u8 {
        const UNKNOWN: u8 = 1;
        const NOT_RECEIVED: u8 = 2;
        const NOT_RECEIVED_YET: u8 = 3;
        const RECEIVED: u8 = 4;
        match () {
            () if self.contains(id) => RECEIVED,
            () if self.ids.back().is_none_or(|last| id > *last) => NOT_RECEIVED_YET,
            () if id <= self.floor => UNKNOWN,
            () => NOT_RECEIVED,
        }
    }

    /// Forgets what is older: it would not be taken any more.
    pub(super) fn forget_before(&mut self, id: i64) {
        let count = self.ids.partition_point(|seen| *seen < id);
        self.ids.drain(..count);
        self.floor = self.floor.max(id.saturating_sub(1));
        if self.ids.capacity() > 64 && self.ids.len() < self.ids.capacity() / 4 {
            self.ids.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_id_is_new_once_in_whatever_order_and_old_ones_never_are() {
        let (mut seen, mut model) = (SeenIds::new(8), BTreeSet::new());
        let mut random = fastrand::Rng::with_seed(4);
        let mut floor = 0;
        for step in 0..2000_i64 {
            let id = 1 + 4 * (step / 3 + random.i64(-9..=3)).max(1);
            let expected = match () {
                () if model.contains(&id) => Novelty::Duplicate,
                () if id <= floor => Novelty::Stale,
                () => Novelty::New,
            };
            assert_eq!(seen.insert(id), expected, "{id}");
            if expected == Novelty::New {
                model.insert(id);
                if model.len() > 8 {
                    floor = model.pop_first().unwrap();
                }
            }
            assert_eq!(seen.state(id), if model.contains(&id) { 4 } else { 1 });
        }
    }

    #[test]
    fn what_is_told_of_messages_is_what_the_protocol_has_for_it() {
        let mut seen = SeenIds::new(8);
        assert_eq!(seen.state(5), 3, "nothing has come");
        assert_eq!([11, 21, 31].map(|id| seen.insert(id)), [Novelty::New; 3]);
        assert_eq!([11, 15, 31, 35].map(|id| seen.state(id)), [4, 2, 4, 3]);
        seen.forget_before(21);
        assert_eq!([11, 15, 21].map(|id| seen.state(id)), [1, 1, 4]);
        assert_eq!((seen.insert(20), seen.insert(25)), (Novelty::Stale, Novelty::New));
    }
}
