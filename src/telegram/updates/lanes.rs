//! Lanes: who listens to which accounts, how far each has got, and what was dropped.
//!
//! Owns the rule that an account has one listener at a time, and what outlasts one. Runs no lane.
//!
//! # Orderings
//! The mark of a saver guards nothing but that there is one: relaxed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;

use super::feed::Listener;
use super::progress::{UnsavedProgress, UpdateProgress};
use crate::account_id::AccountId;
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::manager::UpdateLosses;
use crate::session::UpdateStates;

/// The lanes of a manager's accounts.
pub(in crate::telegram) struct Lanes {
    listeners: Mutex<HashMap<AccountId, Weak<Listener>>>,
    /// Of each account that was listened to, the last one: a later listener goes on from there, though the source
    /// may not have saved it yet.
    progress: Mutex<HashMap<AccountId, Arc<UpdateProgress>>>,
    unsaved: UnsavedProgress,
    /// Held while something is saved: what is older is not saved after what is newer.
    saving: Mutex<()>,
    /// Whether something has it saved regularly.
    has_saver: AtomicBool,
    /// A turn to read what was saved.
    pub(super) reads: Semaphore,
    /// What readers have not got, by group.
    losses: Mutex<BTreeMap<Arc<str>, UpdateLosses>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            listeners: Mutex::default(),
            progress: Mutex::default(),
            unsaved: UnsavedProgress::default(),
            saving: Mutex::default(),
            has_saver: AtomicBool::default(),
            reads: Semaphore::new(1),
            losses: Mutex::default(),
        }
    }
}

impl Lanes {
    /// Begins to listen to an account, unless somebody does. It lasts as long as the answer.
    pub(super) fn listen(self: &Arc<Self>, account: AccountId) -> Option<Arc<Listener>> {
        let mut listeners = self.listeners.lock();
        if listeners.get(&account).is_some_and(|it| it.strong_count() > 0) {
            return None;
        }
        let listener = Arc::new(Listener::new(account, Arc::downgrade(self)));
        listeners.insert(account, Arc::downgrade(&listener));
        Some(listener)
    }

    /// Whether somebody listens to an account.
    pub(in crate::telegram) fn is_listened_to(&self, account: AccountId) -> bool {
        self.listeners.lock().get(&account).is_some_and(|it| it.strong_count() > 0)
    }

    /// Nobody listens to an account any more, unless somebody else has begun to.
    pub(super) fn forget_listener(&self, account: AccountId) {
        let mut listeners = self.listeners.lock();
        if listeners.get(&account).is_some_and(|it| it.strong_count() == 0) {
            listeners.remove(&account);
        }
    }

    /// Whether it is known how far an account got in this process.
    pub(super) fn has_progress(&self, account: AccountId) -> bool {
        self.progress.lock().contains_key(&account)
    }

    /// An account was removed. If it comes back it goes on from what was saved.
    pub(in crate::telegram) fn forget_progress(&self, account: AccountId) {
        if !self.is_listened_to(account) {
            self.progress.lock().remove(&account);
        }
    }

    /// Begins to note how far an account gets: on from where the one before it got in this process, or else from
    /// what was saved.
    pub(super) fn begin(
        &self,
        account: AccountId,
        listener: Weak<Listener>,
        saved: Option<UpdateStates>,
    ) -> Arc<UpdateProgress> {
        let mut all = self.progress.lock();
        let is_listening = listener.strong_count() > 0;
        let taken = match all.get(&account) {
            Some(before) => {
                // One that comes late, when nobody listens any more, takes over nothing.
                if is_listening {
                    before.close();
                }
                before.taken()
            }
            None => saved.unwrap_or_default(),
        };
        let progress = UpdateProgress::new(account, listener, taken, Arc::clone(&self.unsaved));
        if is_listening {
            all.insert(account, Arc::clone(&progress));
        }
        progress
    }

    /// Has it saved how far accounts have got since the last time. What could not be saved is tried again.
    pub(in crate::telegram) fn save(&self, save: impl Fn(AccountId, &UpdateStates) -> bool) {
        let _saving = self.saving.lock();
        let unsaved = std::mem::take(&mut *self.unsaved.lock());
        for progress in unsaved {
            if let Some(changed) = progress.changes()
                && !save(progress.account(), &changed)
            {
                progress.not_saved(changed);
            }
        }
    }

    /// Whether nothing has it saved regularly yet; whoever asks does from here on.
    pub(super) fn needs_saver(&self) -> bool {
        !self.has_saver.swap(true, Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self, group: &Arc<str>) {
        self.losses.lock().entry(Arc::clone(group)).or_default().dropped += 1;
    }

    pub(super) fn count_missed(&self, group: &Arc<str>) {
        self.losses.lock().entry(Arc::clone(group)).or_default().missed += 1;
    }

    pub(in crate::telegram) fn losses_by_group(&self) -> Vec<(Arc<str>, UpdateLosses)> {
        let losses = self.losses.lock();
        losses.iter().map(|(group, losses)| (Arc::clone(group), *losses)).collect()
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.listeners.lock().values().filter(|it| it.strong_count() > 0).count();
        f.debug_struct("Lanes").field("listeners", &listeners).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::UpdateState;

    fn at(pts: i32) -> UpdateStates {
        UpdateStates::new(Some(UpdateState { pts, ..UpdateState::default() }), Vec::new())
    }

    #[test]
    fn an_account_has_one_listener_at_a_time() {
        let (lanes, account) = (Arc::<Lanes>::default(), AccountId::bot(1).unwrap());
        assert!(!lanes.is_listened_to(account));
        let listener = lanes.listen(account).unwrap();
        assert!(lanes.is_listened_to(account) && lanes.listen(account).is_none());
        assert!(lanes.listen(AccountId::bot(2).unwrap()).is_some());
        drop(listener);
        assert!(!lanes.is_listened_to(account) && lanes.listeners.lock().is_empty());
        assert!(lanes.listen(account).is_some());
    }

    #[test]
    fn a_later_listener_goes_on_from_what_was_taken_and_late_receipts_change_nothing() {
        let (lanes, account) = (Lanes::default(), AccountId::bot(1).unwrap());
        let listener = Arc::new(Listener::default());
        let listens = || Arc::downgrade(&listener);
        let first = lanes.begin(account, listens(), Some(at(10)));
        let (taken, out) = (first.begin(1, at(11)), first.begin(1, at(12)));
        first.take(taken);
        let second = lanes.begin(account, listens(), Some(at(1)));
        first.take(out);
        assert_eq!(second.taken(), at(11));
        let saved = std::cell::RefCell::new(Vec::new());
        lanes.save(|_, _| false);
        lanes.save(|account, changed| {
            saved.borrow_mut().push((account, changed.clone()));
            true
        });
        lanes.save(|_, _| panic!("it is saved"));
        drop(listener);
        lanes.forget_progress(account);
        assert!(!lanes.has_progress(account));
        assert_eq!(saved.into_inner(), [(account, at(11))]);
    }
}
