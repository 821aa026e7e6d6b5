//! Updates that have come and did not come out: those behind a gap, and old ones.
//!
//! Owns when the boxes they belong to are asked for. Keeps none of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Instant;

/// The longest that updates stay behind a gap before it is asked for; the client's record asks after half of it,
/// but may forget to when gaps follow on one another.
const GAP_MAX: Duration = Duration::from_secs(1);

/// How many updates of each box are withheld; the account's own boxes are `None`.
#[derive(Default)]
pub(super) struct WithheldUpdates {
    by_channel: BTreeMap<Option<i64>, usize>,
    /// When it is time to ask for what is before them.
    pub(super) look_at: Option<Instant>,
}

impl WithheldUpdates {
    /// So many have come of a box, and so many have come out.
    pub(super) fn note(&mut self, channel: Option<i64>, came: usize, out: usize, now: Instant) {
        let before = self.by_channel.get(&channel).copied().unwrap_or_default();
        match (before + came).saturating_sub(out) {
            0 => drop(self.by_channel.remove(&channel)),
            count => drop(self.by_channel.insert(channel, count)),
        }
        self.look_at = match self.by_channel.is_empty() {
            true => None,
            false => self.look_at.or(Some(now + GAP_MAX)),
        };
    }

    /// Whatever is withheld of a box is asked for, or was.
    pub(super) fn forget(&mut self, channel: Option<i64>) {
        self.by_channel.remove(&channel);
        if self.by_channel.is_empty() {
            self.look_at = None;
        }
    }

    /// The boxes that have waited for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Option<i64>> {
        if self.look_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.look_at = None;
        std::mem::take(&mut self.by_channel).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;

    #[test]
    fn a_box_is_due_once_it_has_withheld_something_for_a_second() {
        let (mut withheld, now) = (WithheldUpdates::default(), now());
        withheld.note(None, 2, 2, now);
        assert_eq!(withheld.look_at, None);
        withheld.note(Some(5), 1, 0, now);
        withheld.note(None, 1, 0, now + GAP_MAX / 2);
        assert_eq!(withheld.look_at, Some(now + GAP_MAX));
        assert!(withheld.take_due(now + GAP_MAX / 2).is_empty());
        assert_eq!(withheld.take_due(now + GAP_MAX), [None, Some(5)]);
        assert_eq!(withheld.look_at, None);
    }

    #[test]
    fn what_comes_out_later_is_withheld_no_longer() {
        let (mut withheld, now) = (WithheldUpdates::default(), now());
        withheld.note(Some(5), 2, 0, now);
        withheld.note(Some(5), 1, 3, now);
        assert_eq!(withheld.look_at, None);
        withheld.note(Some(5), 1, 0, now);
        withheld.note(None, 1, 0, now);
        withheld.forget(None);
        assert_eq!(withheld.take_due(now + GAP_MAX), [Some(5)]);
    }
}
