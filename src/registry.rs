//! Which accounts a pool knows.
//!
//! Owns the sharded map, the census of accounts with connections, and the roll of those that a
//! reading has to look at. Returns clones, never
//! with a guard of the map; at most one live account pool per account exists at any time.

mod mark;
mod roll;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;
use foldhash::fast::RandomState;

use crate::account::AccountId;
use crate::account_pool::Effects;
use crate::clock::Tick;
use crate::entry::Entry;
use crate::manager::Manager;
use crate::sync::{AtomicU64, Mutex, Ordering};

pub(crate) use mark::Marks;
use roll::Roll;

/// The map keeps room for so many accounts more than four times those that it knows.
const ROOM_MIN: usize = 4_096;

/// How many accounts of the census are looked at at a time.
const PIECE: usize = 64;

/// How many accounts that are gone may hold memory through the roll, or through the census besides
/// one for each two connections.
const LEFT_MAX: u64 = 1024;

/// An account that gave a connection up, and what is to be done for it.
pub(crate) type GivenUp<M> = (Arc<Entry<M>>, Effects<<M as Manager>::Connection>);

/// The accounts of a pool.
pub(crate) struct Registry<M: Manager> {
    accounts: DashMap<AccountId, Arc<Entry<M>>, RandomState>,
    /// Accounts that opened connections, once for each, longest ago first: where to look for an
    /// idle one. An account without any is dropped when it comes up.
    census: Mutex<VecDeque<Weak<Entry<M>>>>,
    /// Held while the census is gone through. An account that is being looked at is not on it: another
    /// search that goes by would take its idle connections for gone, and whoever it searched for would
    /// wait beside them.
    search: Mutex<()>,
    /// Accounts that a reading has to look at.
    roll: Roll<Entry<M>>,
    /// Accounts that left since the roll was last read.
    left: AtomicU64,
    /// Accounts that left while they stood on the census, since that was last pruned.
    left_census: AtomicU64,
}

impl<M: Manager> Registry<M> {
    pub(crate) fn new() -> Self {
        Self {
            accounts: DashMap::with_hasher(RandomState::default()),
            census: Mutex::new(VecDeque::new()),
            search: Mutex::new(()),
            roll: Roll::new(),
            left: AtomicU64::new(0),
            left_census: AtomicU64::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    pub(crate) fn find(&self, account: AccountId) -> Option<Arc<Entry<M>>> {
        self.accounts.get(&account).map(|entry| Arc::clone(&entry))
    }

    /// Whether this very entry is its account's.
    pub(crate) fn knows(&self, entry: &Arc<Entry<M>>) -> bool {
        self.find(entry.pool.account()).is_some_and(|known| Arc::ptr_eq(&known, entry))
    }

    /// The account's entry, made by `make` if there is none. Returns whether it was made now.
    pub(crate) fn find_or_add(
        &self,
        account: AccountId,
        make: impl FnOnce() -> Entry<M>,
    ) -> (Arc<Entry<M>>, bool) {
        match self.accounts.entry(account) {
            Place::Occupied(place) => (Arc::clone(place.get()), false),
            Place::Vacant(place) => (Arc::clone(&place.insert(Arc::new(make()))), true),
        }
    }

    /// Removes an account that holds nothing and that nobody holds a handle of, and keeps its totals;
    /// not one that came in its place.
    pub(crate) fn collect_idle(
        &self,
        account: AccountId,
        idle: &Weak<Entry<M>>,
        now: Tick,
    ) -> Option<Arc<Entry<M>>> {
        // Under the map's lock nobody can take a new handle, so a count of one stays one.
        self.collect(account, now, |entry| {
            Arc::as_ptr(entry) == idle.as_ptr() && Arc::strong_count(entry) == 1
        })
    }

    /// Removes an account that was closed and holds nothing, and keeps its totals: a handle of it
    /// opens nothing.
    pub(crate) fn collect_closed(&self, account: AccountId, now: Tick) -> Option<Arc<Entry<M>>> {
        // Two removals of one account may overlap: what the second finds can be a new account pool in
        // the place of the one it closed, and in use.
        self.collect(account, now, |entry| entry.pool.is_closed())
    }

    fn collect(
        &self,
        account: AccountId,
        now: Tick,
        is_over: impl FnOnce(&Arc<Entry<M>>) -> bool,
    ) -> Option<Arc<Entry<M>>> {
        let gone = self.accounts.remove_if(&account, |_, entry| {
            let goes = is_over(entry) && entry.pool.is_empty(now);
            if goes {
                entry.count_out();
            }
            goes
        });
        gone.map(|(_, entry)| {
            self.left.fetch_add(1, Ordering::Relaxed);
            if entry.marks.peopled().is_noted() {
                self.left_census.fetch_add(1, Ordering::Relaxed);
            }
            entry
        })
    }

    /// Every entry, as of some moment during the call.
    pub(crate) fn all(&self) -> Vec<Arc<Entry<M>>> {
        self.accounts.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    /// Looks at every entry. `look` must be quick and must not come back to the registry: a
    /// shard of the map is locked meanwhile.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Entry<M>)) {
        for entry in &self.accounts {
            look(&entry);
        }
    }

    /// Something is afoot with an account, as can be seen under its lock: a dial, a method that
    /// rests, or it is out of service. Nobody stands in line without a dial or a connection.
    pub(crate) fn note_afoot(&self, entry: &Arc<Entry<M>>) {
        self.roll.note(entry, entry.marks.afoot());
    }

    /// Looks at every account with something afoot; all others have no connection, no lease, no
    /// waiter, and are ready. `look` must not come back to the registry.
    pub(crate) fn for_each_afoot(&self, now: Tick, mut look: impl FnMut(&Entry<M>)) {
        self.left.store(0, Ordering::Relaxed);
        self.roll.for_each(|entry| {
            look(entry);
            !entry.pool.is_at_rest(now)
                || entry.marks.afoot().take_off(|| !entry.pool.is_at_rest(now))
        });
    }

    /// Drops what the roll no longer needs, if nobody has read it for long.
    pub(crate) fn prune_roll(&self, now: Tick) {
        if self.left.load(Ordering::Relaxed) > LEFT_MAX {
            self.for_each_afoot(now, |_| {});
        }
    }

    /// An account has opened a connection, which can be seen in its slot.
    pub(crate) fn note_opened(&self, entry: &Arc<Entry<M>>) {
        if entry.marks.peopled().note() {
            self.census.lock().push_back(Arc::downgrade(entry));
        }
    }

    /// Whether an account that was taken off the census goes back to it.
    fn still_counts(entry: &Entry<M>) -> bool {
        entry.marks.peopled().take_off(|| entry.pool.has_connections())
    }

    /// Takes an idle connection away from the account that opened one longest ago.
    pub(crate) fn give_up_idle(&self) -> Option<GivenUp<M>> {
        // Let go of after the search: the end of an account may be the manager's code.
        let mut passed = Vec::new();
        let _search = self.search.lock();
        let turns = self.census.lock().len();
        for _ in 0..turns {
            let known = self.census.lock().pop_front()?;
            let Some(entry) = known.upgrade() else { continue };
            if Self::still_counts(&entry) {
                self.census.lock().push_back(known);
                if let Some(effects) = entry.pool.give_up_idle() {
                    return Some((entry, effects));
                }
            }
            passed.push(entry);
        }
        None
    }

    /// Whether some account has an idle connection.
    pub(crate) fn has_idle(&self) -> bool {
        let _search = self.search.lock();
        // In pieces: as a rule one of the first has. Nothing but another search takes any off.
        for from in (0..).step_by(PIECE) {
            let census = self.census.lock();
            if from >= census.len() {
                break;
            }
            let until = census.len().min(from + PIECE);
            let piece: Vec<_> = census.range(from..until).cloned().collect();
            drop(census);
            if piece.iter().filter_map(Weak::upgrade).any(|entry| entry.pool.has_idle()) {
                return true;
            }
        }
        false
    }

    /// Gives back the room of accounts that have gone, once most of the map is empty: growing again
    /// costs less than the room that a passing crowd would keep for ever.
    pub(crate) fn prune_accounts(&self) {
        if self.accounts.capacity() > 4 * self.accounts.len() + ROOM_MIN {
            self.accounts.shrink_to_fit();
        }
    }

    /// Drops what the census no longer needs, once that is much beside the number of connections there
    /// are: `live`. An account that has left keeps its memory as long as it stands there.
    pub(crate) fn prune_census(&self, live: usize) {
        let left = self.left_census.load(Ordering::Relaxed);
        if left <= live as u64 / 2 + LEFT_MAX && self.census.lock().len() <= 2 * live + 1024 {
            return;
        }
        self.left_census.store(0, Ordering::Relaxed);
        let _search = self.search.lock();
        let mut all = std::mem::take(&mut *self.census.lock()).into_iter();
        let mut kept = VecDeque::new();
        while all.len() > 0 {
            let piece: Vec<_> = all.by_ref().take(PIECE).collect();
            // Nobody has touched them for long: this way their memory comes side by side.
            std::hint::black_box(piece.iter().map(Weak::strong_count).sum::<usize>());
            let counts =
                |it: &Weak<Entry<M>>| it.upgrade().is_some_and(|it| Self::still_counts(&it));
            kept.extend(piece.into_iter().filter(counts));
        }
        let mut census = self.census.lock();
        // What has come meanwhile came later.
        kept.append(&mut census);
        *census = kept;
    }
}

#[cfg(all(test, feature = "metrics", not(pool_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{NoopManager, Pool};

    #[tokio::test(start_paused = true)]
    async fn the_room_of_accounts_that_have_gone_is_given_back() {
        let pool = Pool::builder(NoopManager::new(1)).build().expect("a pool");
        let registry = pool.ground().registry.upgrade().expect("the pool lives");
        for number in 1..=20_000 {
            drop(pool.account(AccountId::bot(number).expect("an account")).expect("known"));
        }
        assert!(registry.accounts.capacity() >= 20_000);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(registry.len(), 0);
        assert!(registry.accounts.capacity() <= ROOM_MIN, "{}", registry.accounts.capacity());
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_in_the_wheel_while_it_has_no_connection() {
        let pool = Pool::builder(NoopManager::new(1)).build().expect("a pool");
        let scheduled = || pool.ground().expiry.scheduled();
        let account = pool.account(AccountId::bot(1).expect("an account")).expect("known");
        assert_eq!(scheduled(), 1, "it is merely known");
        let lease = account.acquire().await.expect("a lease");
        assert_eq!(scheduled(), 2, "its connection as well");
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(scheduled(), 1, "nothing comes of a look at an account with a connection");
        lease.discard();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(scheduled(), 2, "its last connection is gone, whose entry is not due yet");
        drop(account);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!((scheduled(), pool.stats().accounts), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_that_have_gone_leave_the_census_also_beside_many_that_stay() {
        let configure = |config: &mut crate::Config| {
            config.pool.max_connections = 20_000;
            config.dial.per_second = 100_000;
            config.dial.handshakes = 1_000;
        };
        let pool = Pool::builder(NoopManager::new(1)).configure(configure).build().expect("a pool");
        let registry = pool.ground().registry.upgrade().expect("the pool lives");
        let account = |number| pool.account(AccountId::bot(number).expect("an id")).expect("known");
        let mut leases = Vec::new();
        for number in 1..=4_000 {
            leases.push(account(number).acquire_owned().await.expect("a lease"));
        }
        for number in 4_001..=7_500 {
            drop(account(number).acquire().await.expect("a lease"));
        }
        assert_eq!(registry.census.lock().len(), 7_500);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(registry.len(), 4_000);
        assert_eq!(registry.census.lock().len(), 4_000);
        drop(leases);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_at_rest_is_no_longer_looked_at() {
        let pool = Pool::builder(NoopManager::new(1)).build().expect("a pool");
        let shared = pool.ground();
        let looks = || {
            let mut looks = 0;
            let registry = shared.registry.upgrade().expect("the pool lives");
            registry.for_each_afoot(shared.clock.tick(), |_| looks += 1);
            looks
        };
        let id = AccountId::bot(1).expect("an account");
        let account = pool.account(id).expect("known");
        assert_eq!(looks(), 0, "it is merely known");
        drop(account.acquire().await.expect("a lease"));
        assert_eq!((looks(), looks()), (1, 1), "it has a connection");
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!((looks(), looks()), (1, 0), "the last look finds it at rest");
        drop(account.acquire().await.expect("a lease"));
        assert_eq!(looks(), 1, "it has a connection again");
    }
}
