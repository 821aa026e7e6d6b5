//! The listing of accounts: what is told of each, whether it has a connection or not.

use std::collections::HashMap;
use std::time::Duration;

use telepool::{
    AccountHealth, AccountId, AccountSummary, Pool, Profile, QuarantineReason, Reaction,
};
use tokio::time::sleep;

use crate::scripted::{Failure, Play, Scripted, account};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn summary(pool: &Pool<Scripted>, number: u64) -> AccountSummary {
    pool.account_summary(account(number)).expect("the pool knows it")
}

#[tokio::test(start_paused = true)]
async fn every_account_is_listed_as_it_stands() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    let handles: Vec<_> = (1..=6).map(|number| pool.account(account(number)).unwrap()).collect();
    *manager.state.profile.lock().unwrap() = Profile::new(3);
    drop(pool.acquire(account(1)).await.unwrap());
    let held = pool.acquire(account(2)).await.unwrap();
    assert!(pool.pause(account(3)));
    assert!(pool.drain_account(account(4)).await);
    assert!(pool.quarantine(account(5)));
    sleep(seconds(7)).await;
    let all: HashMap<AccountId, AccountSummary> =
        pool.account_summaries().into_iter().map(|it| (it.account, it)).collect();
    assert_eq!(all.len(), 6, "also the one that nobody has asked for");
    let of = |number| &all[&account(number)];
    for number in 1..=6 {
        let told = of(number);
        assert_eq!(*told, summary(&pool, number), "alone as well");
        assert_eq!((told.sessions, told.max_connections, &*told.group), (2, 2, "default"));
        let stats = pool.account_stats(account(number)).unwrap();
        assert_eq!((told.idle, told.active), (stats.pool_size, stats.active_connections));
        assert_eq!((told.leases, told.waiting), (stats.leases, stats.waiting));
    }
    let health = |number| of(number).health.clone();
    assert_eq!([1, 2, 6].map(health), [const { AccountHealth::Ready }; 3]);
    assert_eq!([3, 4].map(health), [AccountHealth::Paused, AccountHealth::Draining]);
    assert_eq!(health(5), AccountHealth::Quarantined(QuarantineReason::Operator));
    assert_eq!((of(1).idle, of(1).last_used), (1, Some(seconds(7))));
    assert_eq!((of(2).active, of(2).leases, of(2).last_used), (1, 1, Some(Duration::ZERO)));
    assert_eq!((of(6).last_used, of(6).errors, &of(6).last_error), (None, 0, &None));
    drop((held, handles));
}

#[tokio::test(start_paused = true)]
async fn what_a_closed_connection_leaves_is_kept_with_its_account() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let lease = pool.acquire(account(1)).await.unwrap();
    lease.report(&Failure(Reaction::Keep));
    sleep(seconds(5)).await;
    lease.report(&Failure(Reaction::Discard));
    drop(lease);
    sleep(seconds(10)).await;
    let told = summary(&pool, 1);
    let counts =
        (told.total_connections_created, told.total_connections_closed, told.errors, told.idle);
    assert_eq!(counts, (1, 1, 2, 0));
    assert_eq!(told.last_error.as_deref(), Some("scripted failure"));
    assert_eq!((told.last_error_age, told.last_used), (Some(seconds(10)), Some(seconds(10))));

    manager.on_connect(Play::Fail);
    pool.acquire(account(1)).await.unwrap_err();
    let told = summary(&pool, 1);
    assert_eq!((told.errors, told.last_error_age), (3, Some(Duration::ZERO)), "a failed dial too");
    assert!(told.rests.is_some() && matches!(told.health, AccountHealth::Resting { .. }));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_and_whatever_rests_is_told_with_its_time() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    held.report(&Failure(Reaction::CoolDown { key: 5, wait: seconds(60) }));
    held.report(&Failure(Reaction::CoolDown { key: 6, wait: seconds(30) }));
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire_timeout(account(1), seconds(100)).await.map(drop) })
    };
    sleep(seconds(4)).await;
    let told = summary(&pool, 1);
    assert_eq!((told.waiting, told.oldest_wait), (1, Some(seconds(4))));
    assert_eq!((told.health, told.rests), (AccountHealth::Cooling(Vec::new()), Some(seconds(56))));
    let stats = pool.account_stats(account(1)).unwrap();
    let rests: Vec<_> = stats.cooldowns.iter().map(|it| (it.key, it.remaining)).collect();
    assert_eq!(rests, [(5, seconds(56)), (6, seconds(26))]);
    drop(held);
    waiting.await.unwrap().unwrap();
    assert_eq!(summary(&pool, 1).oldest_wait, None);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_one_account_tells_each_session_that_is_out_of_service() {
    let manager = Scripted::new(3, 1);
    let pool = manager.pool(|_| ());
    let lease = pool.acquire(account(1)).await.unwrap();
    let slot = lease.slot;
    let dead = QuarantineReason::Dead;
    lease.report(&Failure(Reaction::QuarantineSession(dead)));
    let stats = pool.account_stats(account(1)).unwrap();
    assert_eq!(stats.quarantines, [(slot, dead)]);
    let [connection] = &stats.connections[..] else { panic!("{:?}", stats.connections) };
    assert_eq!(u64::from(connection.dial_class), account(1).number() % 7);
    assert_eq!(summary(&pool, 1).health, AccountHealth::Ready, "the others serve");
    drop(lease);
    assert!(pool.quarantine(account(1)));
    let stats = pool.account_stats(account(1)).unwrap();
    let asked = QuarantineReason::Operator;
    assert_eq!(stats.quarantines, [(0, dead), (1, asked), (2, asked)]);
}

/// As many as there may be, of which some have a connection: each is told once.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_accounts_are_listed_once_each() {
    let pool = Scripted::new(1, 1).pool(|config| config.pool.max_connections = 2000);
    for number in 1..=100_000 {
        drop(pool.account(account(number)).unwrap());
    }
    for number in 1..=1_000 {
        drop(pool.acquire(account(number * 100)).await.unwrap());
    }
    let began = std::time::Instant::now();
    let listed = pool.account_summaries();
    println!("listed in {:?}", began.elapsed());
    assert_eq!(listed.len(), 100_000);
    assert_eq!(listed.iter().map(|it| u64::from(it.idle)).sum::<u64>(), 1_000);
    let mut accounts: Vec<_> = listed.iter().map(|it| it.account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    assert_eq!(accounts.len(), 100_000);
}
