//! The active set: the accounts that a scrape has to visit, so that those which are merely known cost it
//! nothing.
//!
//! Owns the list: each account once, from when it is added until it is found at rest.
//!
//! # Orderings
//! Whoever changes an account does so under the account's lock, and adds it then; whoever takes one out
//! clears its bit, and looks at the account then, under that lock. The lock orders the two: either the
//! change is seen, or the cleared bit is.

use std::sync::{Arc, Weak};

use crate::base::clock::Tick;
use crate::base::sync::Mutex;
use crate::registry::Member;

pub(crate) struct ActiveSet<T: Member> {
    /// Added since the last reading.
    added: Mutex<Vec<Weak<T>>>,
    /// Held throughout a reading: two at once would each see a part.
    present: Mutex<Vec<Weak<T>>>,
}

impl<T: Member> ActiveSet<T> {
    pub(crate) fn new() -> Self {
        Self { added: Mutex::new(Vec::new()), present: Mutex::new(Vec::new()) }
    }

    /// Adds an account. To be called after the change that a scrape has to see.
    pub(crate) fn add(&self, account: &Arc<T>) {
        let listing = account.membership().active();
        if !listing.is_listed() && listing.list() {
            self.added.lock().push(Arc::downgrade(account));
        }
    }

    /// Visits each account, and takes out those that are at rest. `visit` must not come back here to
    /// read. One that is gone leaves by itself.
    pub(crate) fn for_each(&self, now: Tick, mut visit: impl FnMut(&T)) {
        let mut present = self.present.lock();
        present.append(&mut self.added.lock());
        present.retain(|account| {
            let Some(account) = account.upgrade() else { return false };
            visit(&account);
            let is_active = || !account.is_at_rest(now);
            is_active() || account.membership().active().unlist_unless(is_active)
        });
        // Room for twice as many is kept, and no more: a burst is soon over.
        let room = 2 * present.len();
        present.shrink_to(room);
    }
}
