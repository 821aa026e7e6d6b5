//! What a pool asks of its registry.

use std::time::Duration;

use crate::account_id::AccountId;
use crate::noop::NoopManager;
use crate::pool::Pool;
use crate::registry::ROOM_MIN;

#[tokio::test(start_paused = true)]
async fn a_scrape_visits_an_account_only_while_it_is_active() {
    let pool = Pool::builder(NoopManager::new(1)).build().expect("a pool");
    let visits = || {
        let mut visits = 0;
        let now = pool.context().clock.tick();
        pool.inner.registry.for_each_active(now, |_| visits += 1);
        visits
    };
    let id = AccountId::bot(1).expect("an account");
    let account = pool.account(id).expect("known");
    assert_eq!(visits(), 0, "it is merely known");
    drop(account.acquire().await.expect("a lease"));
    assert_eq!((visits(), visits()), (1, 1), "it has a connection");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!((visits(), visits()), (1, 0), "the last visit finds it at rest");
    drop(account.acquire().await.expect("a lease"));
    assert_eq!(visits(), 1, "it has a connection again");
}

#[tokio::test(start_paused = true)]
async fn the_reaper_gives_back_the_room_of_accounts_that_have_gone() {
    let pool = Pool::builder(NoopManager::new(1)).build().expect("a pool");
    for number in 1..=20_000 {
        drop(pool.account(AccountId::bot(number).expect("an account")).expect("known"));
    }
    let registry = &pool.inner.registry;
    assert!(registry.room().0 >= 20_000);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(registry.len(), 0);
    assert!(registry.room().0 <= ROOM_MIN, "{:?}", registry.room());
}

#[tokio::test(start_paused = true)]
async fn the_reaper_clears_the_eviction_queue_also_beside_many_that_stay() {
    let configure = |config: &mut crate::Config| {
        config.pool.max_connections = 20_000;
        config.dial.per_second = 100_000;
        config.dial.handshakes = 1_000;
    };
    let pool = Pool::builder(NoopManager::new(1)).configure(configure).build().expect("a pool");
    let account = |number| pool.account(AccountId::bot(number).expect("an id")).expect("known");
    let mut leases = Vec::new();
    for number in 1..=4_000 {
        leases.push(account(number).acquire_owned().await.expect("a lease"));
    }
    for number in 4_001..=7_500 {
        drop(account(number).acquire().await.expect("a lease"));
    }
    let registry = &pool.inner.registry;
    assert_eq!(registry.room().1, 7_500);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!((registry.len(), registry.room().1), (4_000, 4_000));
    drop(leases);
}
