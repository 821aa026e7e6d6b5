//! How far the updates of accounts were taken, on the way to the store.
//!
//! Owns what is not on disk yet. Writes nothing.

use std::collections::HashMap;

use crate::session::UpdateStates;
use crate::store::StoreId;

/// How far the updates of accounts were taken, as far as it is not in the store yet.
#[derive(Default)]
pub(super) struct TakenUpdates {
    waiting: HashMap<StoreId, UpdateStates>,
    /// Older than what waits; whether the store has it is not known yet.
    in_writing: HashMap<StoreId, UpdateStates>,
}

impl TakenUpdates {
    /// Returns whether nothing has waited before: whoever finds something waits for the write that was asked for
    /// with the first.
    pub(super) fn note(&mut self, account: StoreId, changed: &UpdateStates) -> bool {
        let is_first = self.waiting.is_empty();
        self.waiting.entry(account).or_default().merge(changed);
        is_first
    }

    /// What a state that was read from the store before may lack.
    pub(super) fn add_to(&self, account: StoreId, states: &mut UpdateStates) {
        for taken in [&self.in_writing, &self.waiting] {
            if let Some(taken) = taken.get(&account) {
                states.merge(taken);
            }
        }
    }

    /// Everything that waits, which is being written from here on.
    pub(super) fn begin_write(&mut self) -> Vec<(StoreId, UpdateStates)> {
        self.in_writing = std::mem::take(&mut self.waiting);
        self.in_writing.iter().map(|(account, states)| (*account, states.clone())).collect()
    }

    /// It is written, or it waits again beside what has come meanwhile.
    pub(super) fn end_write(&mut self, is_written: bool) {
        for (account, mut states) in std::mem::take(&mut self.in_writing) {
            if !is_written {
                let newer = self.waiting.entry(account).or_default();
                states.merge(newer);
                *newer = states;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ChannelState, UpdateState};

    const ACCOUNT: StoreId = StoreId::new(1);

    fn at(pts: i32) -> UpdateStates {
        UpdateStates::new(Some(UpdateState { pts, ..UpdateState::default() }), Vec::new())
    }

    fn read(taken: &TakenUpdates, stored: i32) -> Option<i32> {
        let mut states = at(stored);
        taken.add_to(ACCOUNT, &mut states);
        states.account.map(|it| it.pts)
    }

    #[test]
    fn whoever_reads_while_it_is_written_finds_the_newest_whether_or_not_the_write_succeeds() {
        for is_written in [true, false] {
            let mut taken = TakenUpdates::default();
            assert!(taken.note(ACCOUNT, &at(11)));
            assert!(!taken.note(ACCOUNT, &at(12)));
            assert_eq!(taken.begin_write(), [(ACCOUNT, at(12))]);
            assert_eq!(read(&taken, 10), Some(12));
            let channel = UpdateStates::new(None, vec![ChannelState { channel: 5, pts: 1 }]);
            assert!(taken.note(ACCOUNT, &channel));
            taken.end_write(is_written);
            assert_eq!(read(&taken, 10), Some(if is_written { 10 } else { 12 }));
            let mut left = if is_written { UpdateStates::default() } else { at(12) };
            left.merge(&channel);
            assert_eq!(taken.begin_write(), [(ACCOUNT, left)]);
        }
    }
}
