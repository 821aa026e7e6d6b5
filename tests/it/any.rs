//! Acquires for which any account of a group will do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use telepool::{AccountId, AcquireError, Config, Pool, QuarantineReason, Reaction};

use crate::scripted::{Failure, Scripted, account};

const HOUR: Duration = Duration::from_secs(3600);
/// A method, by its number.
const SEND: u32 = 5;

fn pool_of(manager: &Scripted, members: u64) -> Pool<Scripted> {
    let members: Arc<[AccountId]> = (1..=members).map(account).collect();
    *manager.state.members.lock().unwrap() = Some(members);
    // The pace of dials is the usual one.
    Pool::builder(manager.clone()).config(Config::default()).seed(7).build().unwrap()
}

/// Acquires one after the other, each held for a while, and counts who served.
async fn served(pool: &Pool<Scripted>, times: u32) -> HashMap<AccountId, u32> {
    let mut served = HashMap::new();
    for _ in 0..times {
        let lease = pool.acquire_any("any").await.unwrap();
        *served.entry(lease.account()).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    served
}

async fn rest(pool: &Pool<Scripted>, number: u64, key: u32, wait: Duration) {
    let lease = pool.acquire(account(number)).await.unwrap();
    lease.report(&Failure(Reaction::CoolDown { key, wait }));
}

#[tokio::test(start_paused = true)]
async fn cold_members_take_turns() {
    let pool = pool_of(&Scripted::new(1, 1), 6);
    let served = served(&pool, 120).await;
    assert_eq!(served.values().copied().collect::<Vec<_>>(), [20; 6], "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_send_is_passed_over_though_it_was_connected_first() {
    for resting in 1..=3 {
        let pool = pool_of(&Scripted::new(1, 1), 3);
        rest(&pool, resting, SEND, HOUR).await;
        let served = served(&pool, 60).await;
        assert_eq!(served.get(&account(resting)), None, "{served:?}");
        assert!(served.values().all(|times| *times == 30), "in equal parts: {served:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_is_asked_of_those_that_may_call_it() {
    let pool = pool_of(&Scripted::new(1, 1), 3);
    rest(&pool, 1, SEND, HOUR).await;
    rest(&pool, 2, SEND + 1, HOUR).await;
    for _ in 0..10 {
        assert_ne!(pool.acquire_any_for("any", SEND).await.unwrap().account(), account(1));
        assert_ne!(pool.acquire_any_for("any", SEND + 1).await.unwrap().account(), account(2));
        assert_eq!(pool.acquire_any("any").await.unwrap().account(), account(3));
    }
    // If all must rest, it is the one that may call it first.
    rest(&pool, 2, SEND, HOUR / 60).await;
    rest(&pool, 3, SEND, HOUR / 2).await;
    assert_eq!(pool.acquire_any_for("any", SEND).await.unwrap().account(), account(2));
}

#[tokio::test(start_paused = true)]
async fn members_out_of_service_give_their_turns_to_all_alike() {
    let pool = pool_of(&Scripted::new(1, 1), 5);
    for number in [1, 2] {
        drop(pool.acquire(account(number)).await.unwrap());
        pool.drain_account(account(number)).await;
    }
    let served = served(&pool, 60).await;
    assert_eq!(served.values().copied().collect::<Vec<_>>(), [20; 3], "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_has_a_free_connection_serves_before_one_that_is_busy() {
    let pool = pool_of(&Scripted::new(1, 1), 3);
    let busy = [pool.acquire_any("any").await.unwrap(), pool.acquire_any("any").await.unwrap()];
    for _ in 0..6 {
        let lease = pool.acquire_any("any").await.unwrap();
        assert!(busy.iter().all(|held| held.account() != lease.account()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_of_dead_accounts_is_looked_through_and_costs_no_memory() {
    let manager = Scripted::new(1, 1);
    let pool = pool_of(&manager, 2000);
    for number in 1..2000 {
        let key = (account(number), 0);
        manager.state.quarantines.lock().unwrap().insert(key, QuarantineReason::KeyDuplicated);
    }
    let nobody = pool.acquire_any("any").await;
    assert!(matches!(nobody, Err(AcquireError::NoMember)), "not among the first 1,024");
    assert_eq!(pool.stats().accounts, 0);
    let lease = pool.acquire_any("any").await.unwrap();
    assert_eq!(lease.account(), account(2000), "the next looks behind them");
    assert_eq!(pool.stats().accounts, 1);
}
