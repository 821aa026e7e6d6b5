//! The eviction queue: accounts that have connections, by when they opened the first of them.
//!
//! Owns the order in which accounts give idle connections up for others, longest ago first. An account
//! stands there once; one without connections is dropped when it comes up. Claims nothing itself.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::base::sync::Mutex;
use crate::registry::Member;

/// How many accounts are visited at a time.
const BATCH: usize = 64;

pub(crate) struct EvictionQueue<T: Member> {
    queue: Mutex<VecDeque<Weak<T>>>,
    /// Held while the queue is gone through. An account that is being visited is not in it: another
    /// search that goes by would take its idle connections for gone, and whoever it searched for would
    /// wait beside them.
    search: Mutex<()>,
}

impl<T: Member> EvictionQueue<T> {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(VecDeque::new()), search: Mutex::new(()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Adds an account whose connection can be seen.
    pub(crate) fn add(&self, account: &Arc<T>) {
        if account.membership().evictable().list() {
            self.queue.lock().push_back(Arc::downgrade(account));
        }
    }

    /// Whether an account that was taken out goes back.
    fn stays(account: &T) -> bool {
        account.membership().evictable().unlist_unless(|| account.has_connections())
    }

    /// Takes an idle connection away from the account that opened one longest ago.
    pub(crate) fn evict_idle(&self) -> Option<(Arc<T>, T::Evicted)> {
        // Let go of after the search: the end of an account may be the manager's code.
        let mut passed = Vec::new();
        let _search = self.search.lock();
        let turns = self.queue.lock().len();
        for _ in 0..turns {
            let next = self.queue.lock().pop_front()?;
            let Some(account) = next.upgrade() else { continue };
            if Self::stays(&account) {
                self.queue.lock().push_back(next);
                if let Some(evicted) = account.evict_idle() {
                    return Some((account, evicted));
                }
            }
            passed.push(account);
        }
        None
    }

    /// Whether some account has an idle connection.
    pub(crate) fn has_idle(&self) -> bool {
        let _search = self.search.lock();
        // In batches: as a rule one of the first has. Nothing but another search takes any out.
        for from in (0..).step_by(BATCH) {
            let queue = self.queue.lock();
            if from >= queue.len() {
                break;
            }
            let until = queue.len().min(from + BATCH);
            let batch: Vec<_> = queue.range(from..until).cloned().collect();
            drop(queue);
            if batch.iter().filter_map(Weak::upgrade).any(|account| account.has_idle()) {
                return true;
            }
        }
        false
    }

    /// Drops accounts that have gone or have no connections.
    pub(crate) fn prune(&self) {
        let _search = self.search.lock();
        let all = std::mem::take(&mut *self.queue.lock());
        let stays = |it: &Weak<T>| it.upgrade().is_some_and(|account| Self::stays(&account));
        let mut kept: VecDeque<_> = all.into_iter().filter(stays).collect();
        let mut queue = self.queue.lock();
        // What has come meanwhile came later.
        kept.append(&mut queue);
        *queue = kept;
    }
}
