//! Which accounts a pool knows: a sharded map, generic over what an account is.
//!
//! Owns the map, the set of accounts that a scrape has to visit, and the queue of accounts that may be
//! evicted from. Returns clones, never a guard of the map; at most one live account pool per account
//! exists at any time.

mod active;
mod eviction;
mod membership;

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;

use crate::account_id::AccountId;
use crate::base::clock::Tick;
use crate::base::sync::{AtomicU64, Ordering};
use crate::registry::active::ActiveSet;
use crate::registry::eviction::EvictionQueue;
pub(crate) use crate::registry::membership::Membership;

/// The map keeps room for so many accounts more than four times those that it knows.
pub(crate) const ROOM_MIN: usize = 4_096;

/// How many accounts that are gone may hold memory through the active set, or through the eviction queue
/// besides one for each two connections.
const GONE_MAX: u64 = 1024;

/// What the registry asks of an account.
pub(crate) trait Member {
    /// What the eviction of a connection leaves to do.
    type Evicted;

    fn id(&self) -> AccountId;

    /// In which lists it stands.
    fn membership(&self) -> &Membership;

    /// Whether it has been closed: a handle of it opens nothing.
    fn is_closed(&self) -> bool;

    /// Whether it holds nothing that forgetting it would lose.
    fn is_empty(&self, now: Tick) -> bool;

    /// Whether a scrape has nothing to see here.
    fn is_at_rest(&self, now: Tick) -> bool;

    fn has_connections(&self) -> bool;

    fn has_idle(&self) -> bool;

    /// Claims its longest-idle connection for the closer.
    fn evict_idle(&self) -> Option<Self::Evicted>;

    /// It is being removed, under the map's lock.
    fn count_removal(&self);
}

/// The accounts of a pool.
pub(crate) struct Registry<T: Member> {
    accounts: DashMap<AccountId, Arc<T>, RandomState>,
    evictable: EvictionQueue<T>,
    active: ActiveSet<T>,
    /// Accounts that left since the active set was last read.
    gone: AtomicU64,
    /// Accounts that left while they stood in the eviction queue, since that was last pruned.
    gone_evictable: AtomicU64,
}

impl<T: Member> Registry<T> {
    pub(crate) fn new() -> Self {
        Self {
            accounts: DashMap::with_hasher(RandomState::default()),
            evictable: EvictionQueue::new(),
            active: ActiveSet::new(),
            gone: AtomicU64::new(0),
            gone_evictable: AtomicU64::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    pub(crate) fn find(&self, id: AccountId) -> Option<Arc<T>> {
        self.accounts.get(&id).map(|account| Arc::clone(&account))
    }

    /// Whether this very account is the one of its id.
    pub(crate) fn knows(&self, account: &Arc<T>) -> bool {
        self.find(account.id()).is_some_and(|known| Arc::ptr_eq(&known, account))
    }

    /// The account of an id, made by `make` if there is none. Returns whether it was made now.
    pub(crate) fn find_or_add(&self, id: AccountId, make: impl FnOnce() -> T) -> (Arc<T>, bool) {
        match self.accounts.entry(id) {
            Entry::Occupied(known) => (Arc::clone(known.get()), false),
            Entry::Vacant(vacant) => (Arc::clone(&vacant.insert(Arc::new(make()))), true),
        }
    }

    /// Removes an account that holds nothing and that nobody holds a handle of, and keeps its totals;
    /// not one that came in its place.
    pub(crate) fn remove_idle(&self, id: AccountId, idle: &Weak<T>, now: Tick) -> Option<Arc<T>> {
        // Under the map's lock nobody can take a new handle, so a count of one stays one.
        self.remove(id, now, |account| {
            Arc::as_ptr(account) == idle.as_ptr() && Arc::strong_count(account) == 1
        })
    }

    /// Removes an account that was closed and holds nothing, and keeps its totals: a handle of it
    /// opens nothing.
    pub(crate) fn remove_closed(&self, id: AccountId, now: Tick) -> Option<Arc<T>> {
        // Two removals of one account may overlap: what the second finds can be a new account pool in
        // the place of the one it closed, and in use.
        self.remove(id, now, |account| account.is_closed())
    }

    fn remove(
        &self,
        id: AccountId,
        now: Tick,
        is_over: impl FnOnce(&Arc<T>) -> bool,
    ) -> Option<Arc<T>> {
        let gone = self.accounts.remove_if(&id, |_, account| {
            let goes = is_over(account) && account.is_empty(now);
            if goes {
                account.count_removal();
            }
            goes
        });
        gone.map(|(_, account)| {
            self.gone.fetch_add(1, Ordering::Relaxed);
            if account.membership().evictable().is_listed() {
                self.gone_evictable.fetch_add(1, Ordering::Relaxed);
            }
            account
        })
    }

    /// Every account, as of some moment during the call.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.accounts.iter().map(|account| Arc::clone(&account)).collect()
    }

    /// Visits every account. `visit` must be quick and must not come back to the registry: a
    /// shard of the map is locked meanwhile.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&T)) {
        for account in &self.accounts {
            visit(&account);
        }
    }

    /// An account is active, as can be seen under its lock: a dial is under way, a method rests, or it
    /// is out of service. Nobody waits there without a dial or a connection.
    pub(crate) fn mark_active(&self, account: &Arc<T>) {
        self.active.add(account);
    }

    /// Visits every active account; all others have no connection, no lease, no waiter, and are
    /// ready. `visit` must not come back to the registry.
    pub(crate) fn for_each_active(&self, now: Tick, visit: impl FnMut(&T)) {
        self.gone.store(0, Ordering::Relaxed);
        self.active.for_each(now, visit);
    }

    /// Drops what the active set no longer needs, if nobody has read it for long.
    pub(crate) fn prune_active(&self, now: Tick) {
        if self.gone.load(Ordering::Relaxed) > GONE_MAX {
            self.for_each_active(now, |_| {});
        }
    }

    /// An account has opened a connection, which can be seen in its slot.
    pub(crate) fn mark_evictable(&self, account: &Arc<T>) {
        self.evictable.add(account);
    }

    /// Takes an idle connection away from the account that opened one longest ago.
    pub(crate) fn evict_idle(&self) -> Option<(Arc<T>, T::Evicted)> {
        self.evictable.evict_idle()
    }

    /// Whether some account has an idle connection.
    pub(crate) fn has_idle(&self) -> bool {
        self.evictable.has_idle()
    }

    /// Gives back the room of accounts that have gone, once most of the map is empty: growing again
    /// costs less than the room that a passing crowd would keep for ever.
    pub(crate) fn prune_accounts(&self) {
        if self.accounts.capacity() > 4 * self.accounts.len() + ROOM_MIN {
            self.accounts.shrink_to_fit();
        }
    }

    /// How many accounts the map has room for, and how many stand in the eviction queue.
    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn room(&self) -> (usize, usize) {
        (self.accounts.capacity(), self.evictable.len())
    }

    /// Drops what the eviction queue no longer needs, once that is much beside the number of connections
    /// there are: `live`. An account that has left keeps its memory as long as it stands there.
    pub(crate) fn prune_evictable(&self, live: usize) {
        let gone = self.gone_evictable.load(Ordering::Relaxed);
        if gone <= live as u64 / 2 + GONE_MAX && self.evictable.len() <= 2 * live + 1024 {
            return;
        }
        self.gone_evictable.store(0, Ordering::Relaxed);
        self.evictable.prune();
    }
}

#[cfg(all(test, pool_loom))]
mod model;
#[cfg(all(test, not(pool_loom)))]
mod tests;
