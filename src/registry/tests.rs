//! The registry with accounts that are plain numbers.

use super::*;

/// An account whose state a test sets.
struct Plain {
    id: AccountId,
    membership: Membership,
    idle: AtomicU64,
    leased: AtomicU64,
    dials: AtomicU64,
    is_closed: AtomicU64,
    removals: AtomicU64,
}

fn id(number: u64) -> AccountId {
    AccountId::bot(number).expect("an id")
}

fn plain(number: u64) -> Plain {
    Plain {
        id: id(number),
        membership: Membership::default(),
        idle: AtomicU64::new(0),
        leased: AtomicU64::new(0),
        dials: AtomicU64::new(0),
        is_closed: AtomicU64::new(0),
        removals: AtomicU64::new(0),
    }
}

impl Member for Plain {
    type Evicted = u64;

    fn id(&self) -> AccountId {
        self.id
    }

    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed) > 0
    }

    fn is_empty(&self, _: Tick) -> bool {
        !self.has_connections()
    }

    fn is_at_rest(&self, now: Tick) -> bool {
        self.is_empty(now) && self.dials.load(Ordering::Relaxed) == 0
    }

    fn has_connections(&self) -> bool {
        self.has_idle() || self.leased.load(Ordering::Relaxed) > 0
    }

    fn has_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed) > 0
    }

    fn evict_idle(&self) -> Option<u64> {
        let before = self.idle.load(Ordering::Relaxed);
        self.idle.store(before.saturating_sub(1), Ordering::Relaxed);
        (before > 0).then_some(before)
    }

    fn count_removal(&self) {
        self.removals.fetch_add(1, Ordering::Relaxed);
    }
}

/// A registry with so many accounts.
fn registry(accounts: u64) -> Registry<Plain> {
    let registry = Registry::new();
    for number in 1..=accounts {
        assert!(registry.find_or_add(id(number), || plain(number)).1);
    }
    registry
}

fn open(registry: &Registry<Plain>, number: u64) -> Arc<Plain> {
    let account = registry.find(id(number)).expect("known");
    account.idle.fetch_add(1, Ordering::Relaxed);
    registry.mark_evictable(&account);
    account
}

#[test]
fn an_account_is_removed_once_nobody_holds_it_and_it_holds_nothing() {
    let registry = registry(1);
    let account = open(&registry, 1);
    let weak = Arc::downgrade(&account);
    assert!(registry.remove_idle(id(1), &weak, 0).is_none(), "somebody holds a handle");
    drop(account);
    assert!(registry.remove_idle(id(1), &weak, 0).is_none(), "it has a connection");
    assert!(registry.evict_idle().is_some());
    let removed = registry.remove_idle(id(1), &weak, 0).expect("nothing is left of it");
    assert_eq!(removed.removals.load(Ordering::Relaxed), 1);
    let (next, added) = registry.find_or_add(id(1), || plain(1));
    assert!(added && registry.knows(&next) && !registry.knows(&removed));
    assert!(registry.remove_closed(id(1), 0).is_none(), "the one in its place is not closed");
    next.is_closed.store(1, Ordering::Relaxed);
    assert!(registry.remove_closed(id(1), 0).is_some());
    assert_eq!(registry.len(), 0);
}

#[test]
fn the_account_that_opened_longest_ago_gives_up_first_and_then_goes_to_the_end() {
    let registry = registry(3);
    for number in [2, 1, 3, 2] {
        open(&registry, number);
    }
    let evict = || registry.evict_idle().map(|(account, _)| account.id);
    assert!(registry.has_idle());
    let order: Vec<_> = std::iter::from_fn(evict).collect();
    assert_eq!(order, [id(2), id(1), id(3), id(2)]);
    assert!(!registry.has_idle());
    let busy = registry.find(id(1)).expect("known");
    busy.leased.store(1, Ordering::Relaxed);
    registry.mark_evictable(&busy);
    assert_eq!(evict(), None, "what is leased is not given up");
    assert_eq!(registry.evictable.len(), 1, "it is asked again, and the others have left");
}

#[test]
fn an_idle_connection_is_found_behind_many_that_are_busy() {
    let registry = registry(500);
    for number in 1..=499 {
        let busy = open(&registry, number);
        assert_eq!(busy.evict_idle(), Some(1));
        busy.leased.store(1, Ordering::Relaxed);
    }
    assert!(!registry.has_idle());
    open(&registry, 500);
    assert!(registry.has_idle());
    assert_eq!(registry.evict_idle().map(|(account, _)| account.id), Some(id(500)));
}

#[test]
fn the_room_of_accounts_that_have_gone_is_given_back() {
    let registry = registry(20_000);
    assert!(registry.accounts.capacity() >= 20_000);
    for number in 1..=20_000 {
        let weak = Arc::downgrade(&registry.find(id(number)).expect("known"));
        assert!(registry.remove_idle(id(number), &weak, 0).is_some());
    }
    registry.prune_accounts();
    assert_eq!(registry.len(), 0);
    assert!(registry.accounts.capacity() <= ROOM_MIN, "{}", registry.accounts.capacity());
}

#[test]
fn accounts_that_have_gone_leave_the_eviction_queue_also_beside_many_that_stay() {
    let registry = registry(7_500);
    for number in 1..=7_500 {
        open(&registry, number);
    }
    for number in 4_001..=7_500 {
        let account = registry.find(id(number)).expect("known");
        assert!(account.evict_idle().is_some());
        let weak = Arc::downgrade(&account);
        drop(account);
        assert!(registry.remove_idle(id(number), &weak, 0).is_some());
    }
    assert_eq!(registry.evictable.len(), 7_500);
    registry.prune_evictable(4_000);
    assert_eq!(registry.evictable.len(), 4_000);
    registry.prune_evictable(4_000);
    assert_eq!(registry.evictable.len(), 4_000);
}

#[test]
fn an_account_is_in_the_active_set_until_it_is_found_at_rest() {
    let registry = registry(1);
    let account = registry.find(id(1)).expect("known");
    let visits = || {
        let mut visits = 0;
        registry.for_each_active(0, |_| visits += 1);
        visits
    };
    assert_eq!(visits(), 0, "it is merely known");
    account.dials.store(1, Ordering::Relaxed);
    registry.mark_active(&account);
    registry.mark_active(&account);
    assert_eq!((visits(), visits()), (1, 1));
    account.dials.store(0, Ordering::Relaxed);
    assert_eq!((visits(), visits()), (1, 0), "the last visit finds it at rest");
    registry.mark_active(&account);
    assert_eq!(visits(), 1, "it may come again");
}
