//! How far the application has got with the updates of an account.
//!
//! Owns which updates are out and the state that may be saved: never beyond one that is still out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use super::feed::Listener;
use crate::account_id::AccountId;
use crate::base::sync::{Mutex, MutexGuard};
use crate::session::UpdateStates;

/// The progress of one account, for as long as one subscription lasts.
pub(super) struct UpdateProgress {
    account: AccountId,
    listener: Weak<Listener>,
    unsaved: UnsavedProgress,
    state: Mutex<ProgressState>,
}

#[derive(Default)]
struct ProgressState {
    /// Up to here everything was taken.
    taken: UpdateStates,
    /// The part of it that was not saved.
    changed: Option<UpdateStates>,
    /// Those of which some updates are still out, in order.
    batches: VecDeque<PendingBatch>,
    /// The number of the first of them.
    first: u64,
    /// Another has taken over: whatever is still out will come again.
    is_closed: bool,
}

/// Updates that the server's state counts as one step: with some of them taken it may not be saved.
struct PendingBatch {
    left: usize,
    states: UpdateStates,
}

/// The accounts whose progress is to be saved.
pub(super) type UnsavedProgress = Arc<Mutex<Vec<Arc<UpdateProgress>>>>;

impl UpdateProgress {
    pub(super) fn new(
        account: AccountId,
        listener: Weak<Listener>,
        taken: UpdateStates,
        unsaved: UnsavedProgress,
    ) -> Arc<Self> {
        let state = ProgressState { taken, ..ProgressState::default() };
        Arc::new(Self { account, listener, unsaved, state: Mutex::new(state) })
    }

    pub(super) fn account(&self) -> AccountId {
        self.account
    }

    /// So many updates go out, with which these states are reached. Returns the number of the batch.
    pub(super) fn begin(self: &Arc<Self>, count: usize, states: UpdateStates) -> u64 {
        let mut state = self.state.lock();
        match state.batches.back_mut() {
            // It is reached with the one before it. While the application holds an update there may be many.
            Some(last) if count == 0 => last.states.merge(&states),
            _ => state.batches.push_back(PendingBatch { left: count, states }),
        }
        let number = state.first + state.batches.len() as u64 - 1;
        self.settle(state);
        number
    }

    /// The application is done with an update of a batch, or was never to get it.
    pub(super) fn take(self: &Arc<Self>, batch: u64) {
        let mut state = self.state.lock();
        let place = batch.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        let Some(batch) = place.and_then(|at| state.batches.get_mut(at)) else { return };
        batch.left = batch.left.saturating_sub(1);
        self.settle(state);
    }

    /// Takes over what is complete.
    fn settle(self: &Arc<Self>, mut state: MutexGuard<'_, ProgressState>) {
        let was_saved = state.changed.is_none();
        while state.batches.front().is_some_and(|batch| batch.left == 0) {
            let Some(batch) = state.batches.pop_front() else { break };
            state.first += 1;
            // What the listener has left unread when it goes was not taken, though it is dropped.
            if !state.is_closed && self.listener.strong_count() > 0 {
                state.taken.merge(&batch.states);
                state.changed.get_or_insert_default().merge(&batch.states);
            }
        }
        let is_news = was_saved && state.changed.is_some();
        drop(state);
        if is_news {
            self.unsaved.lock().push(Arc::clone(self));
        }
    }

    /// Nothing that is still out counts any more.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// Up to where everything was taken.
    pub(super) fn taken(&self) -> UpdateStates {
        self.state.lock().taken.clone()
    }

    /// It could not be saved, and is to be with what has changed since.
    pub(super) fn not_saved(self: &Arc<Self>, mut changed: UpdateStates) {
        let mut state = self.state.lock();
        if let Some(newer) = &state.changed {
            changed.merge(newer);
        }
        let is_waiting = state.changed.replace(changed).is_some();
        drop(state);
        if !is_waiting {
            self.unsaved.lock().push(Arc::clone(self));
        }
    }

    /// What is to be saved, which is taken for saved from here on.
    pub(super) fn changes(&self) -> Option<UpdateStates> {
        self.state.lock().changed.take()
    }
}

impl fmt::Debug for UpdateProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateProgress").field("account", &self.account).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ChannelState, UpdateState};

    fn at(pts: i32) -> UpdateStates {
        UpdateStates::new(Some(UpdateState { pts, ..UpdateState::default() }), Vec::new())
    }

    fn pts(progress: &UpdateProgress) -> i32 {
        progress.taken().account.unwrap_or_default().pts
    }

    fn progress() -> (Arc<UpdateProgress>, UnsavedProgress, Arc<Listener>) {
        let (unsaved, listener) = (UnsavedProgress::default(), Arc::new(Listener::default()));
        let (account, listens) = (AccountId::bot(1).unwrap(), Arc::downgrade(&listener));
        (UpdateProgress::new(account, listens, at(10), Arc::clone(&unsaved)), unsaved, listener)
    }

    #[test]
    fn the_state_never_passes_an_update_that_is_still_out() {
        let (progress, unsaved, _listener) = progress();
        let first = progress.begin(2, at(12));
        let second = progress.begin(1, at(13));
        assert_eq!(progress.begin(0, at(14)), second, "it has no place of its own");
        progress.take(second);
        progress.take(first);
        assert_eq!((pts(&progress), unsaved.lock().len()), (10, 0));
        progress.take(first);
        assert_eq!((pts(&progress), unsaved.lock().len()), (14, 1));
        assert_eq!(progress.changes(), Some(at(14)));
        assert_eq!(progress.changes(), None);
        // One that comes back twice, or late, changes nothing.
        progress.take(first);
        progress.begin(0, at(15));
        assert_eq!((pts(&progress), unsaved.lock().len()), (15, 2));
    }

    #[test]
    fn a_step_without_updates_counts_at_once() {
        let (progress, _, _listener) = progress();
        progress.begin(0, at(11));
        assert_eq!(pts(&progress), 11);
    }

    #[test]
    fn what_is_out_when_the_listener_goes_or_another_takes_over_is_not_taken() {
        for is_taken_over in [false, true] {
            let (progress, unsaved, listener) = progress();
            let batch = progress.begin(1, at(11));
            if is_taken_over {
                progress.close();
            } else {
                drop(listener);
            }
            progress.take(batch);
            assert_eq!((pts(&progress), unsaved.lock().len()), (10, 0));
        }
    }

    #[test]
    fn channels_go_on_apart_from_the_account() {
        let (progress, _, _listener) = progress();
        let channel = |pts| UpdateStates::new(None, vec![ChannelState { channel: 5, pts }]);
        progress.begin(0, channel(3));
        progress.begin(0, at(11));
        progress.begin(0, channel(4));
        let mut expected = at(11);
        expected.merge(&channel(4));
        assert_eq!(progress.taken(), expected);
        assert_eq!(progress.changes(), Some(expected));
    }
}
