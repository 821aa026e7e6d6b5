//! Sessions that come and go at the manager's while the pool knows the account, and handles of it are
//! held.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use telepool::{AccountHealth, AcquireError, Pool, QuarantineReason};
use tokio::time::sleep;

use crate::scripted::{Play, Scripted, account};

const SECOND: Duration = Duration::from_secs(1);
/// For how long a profile counts that was read.
const LASTS: Duration = Duration::from_secs(5);

fn pool(manager: &Scripted) -> Pool<Scripted> {
    manager.pool(|config| {
        config.pool.max_connections_per_account = 8;
        config.pool.acquire_timeout = SECOND;
    })
}

fn give(manager: &Scripted, sessions: u16) {
    manager.state.profile.lock().unwrap().slots = sessions;
}

fn has_no_session<T>(acquired: Result<T, AcquireError<crate::scripted::Failure>>) -> bool {
    matches!(acquired, Err(AcquireError::NoSession { .. }))
}

#[tokio::test(start_paused = true)]
async fn an_account_without_a_session_serves_soon_after_it_has_got_one_whoever_holds_a_handle() {
    let manager = Scripted::new(0, 1);
    let pool = pool(&manager);
    let handle = pool.account(account(1)).unwrap();
    assert!(has_no_session(handle.acquire().await));
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::NoSession));
    give(&manager, 1);
    sleep(LASTS - Duration::from_millis(1)).await;
    assert!(has_no_session(handle.acquire().await), "the profile is not read that often");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(handle.acquire().await.unwrap().slot(), 0);
    assert_eq!(pool.acquire(account(1)).await.unwrap().slot(), 0);
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
}

#[tokio::test(start_paused = true)]
async fn sessions_that_come_are_dialled_and_serve_whoever_waits() {
    let manager = Scripted::new(1, 1);
    let pool = pool(&manager);
    let handle = pool.account(account(1)).unwrap();
    let mut held = vec![handle.acquire().await.unwrap()];
    give(&manager, 3);
    let mut waiting = Box::pin(handle.acquire_timeout(60 * SECOND));
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(noop).is_pending());
    sleep(LASTS).await;
    held.push(handle.acquire().await.unwrap());
    held.push(waiting.await.unwrap());
    let mut slots: Vec<_> = held.iter().map(|lease| lease.slot()).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
    assert!(handle.acquire().await.is_err(), "there is no fourth");
    let stats = pool.account_stats(account(1)).unwrap();
    assert_eq!((stats.max_connections, stats.connections.len()), (3, 3));
    // More than ever, and each found again.
    give(&manager, 8);
    sleep(LASTS).await;
    for _ in 3..8 {
        held.push(handle.acquire().await.unwrap());
    }
    drop(held);
    let all: Vec<_> = (0..8).map_while(|_| handle.try_acquire().unwrap()).collect();
    assert_eq!(all.len(), 8);
    drop(all);
    assert_eq!(manager.tally(|tally| (tally.dials, tally.doubled)), (8, 0));
    assert_eq!(pool.close().await.still_open, 0);
}

#[tokio::test(start_paused = true)]
async fn the_connection_of_a_session_that_goes_drains_and_is_not_dialled_again() {
    let manager = Scripted::new(2, 1);
    let pool = pool(&manager);
    let handle = pool.account(account(1)).unwrap();
    let (first, second) = (handle.acquire().await.unwrap(), handle.acquire().await.unwrap());
    assert_eq!((first.slot(), second.slot()), (0, 1));
    give(&manager, 1);
    sleep(LASTS).await;
    // Whoever has to wait has it read.
    assert!(handle.acquire().await.is_err());
    let live = || manager.tally(|tally| tally.all);
    assert_eq!(live(), 2, "a lease that is held may end");
    drop(second);
    sleep(SECOND).await;
    assert_eq!(live(), 1);
    assert!(handle.acquire().await.is_err(), "the other one is held");
    let id = first.connection_id();
    drop(first);
    assert_eq!(
        handle.acquire().await.unwrap().connection_id(),
        id,
        "which nothing has happened to"
    );
    assert_eq!(pool.account_stats(account(1)).unwrap().max_connections, 1);
    assert_eq!(manager.tally(|tally| tally.dials), 2);
    // It comes back.
    give(&manager, 2);
    sleep(LASTS).await;
    let both = (handle.acquire().await.unwrap(), handle.acquire().await.unwrap());
    assert_eq!(manager.tally(|tally| (tally.dials, tally.doubled)), (3, 0));
    drop(both);
}

#[tokio::test(start_paused = true)]
async fn the_reaper_finds_that_a_session_has_gone_while_nobody_waits() {
    let manager = Scripted::new(1, 1);
    let pool = pool(&manager);
    let handle = pool.account(account(1)).unwrap();
    let lease = handle.acquire().await.unwrap();
    give(&manager, 0);
    sleep(pool.config().pool.max_idle_time + pool.config().pool.cleanup_interval).await;
    drop(lease);
    sleep(SECOND).await;
    assert_eq!(manager.tally(|tally| tally.all), 0);
    assert!(has_no_session(handle.acquire().await));
    assert_eq!(manager.tally(|tally| tally.dials), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dial_of_a_session_that_goes_is_given_up_or_closed_when_it_comes() {
    let manager = Scripted::new(1, 1);
    let pool = pool(&manager);
    manager.on_connect(Play::Slow(8 * SECOND));
    let handle = pool.account(account(1)).unwrap();
    let mut waiting = Box::pin(handle.acquire_timeout(60 * SECOND));
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(noop).is_pending());
    sleep(LASTS).await;
    give(&manager, 0);
    assert!(has_no_session(handle.acquire().await));
    assert!(has_no_session(waiting.await));
    sleep(10 * SECOND).await;
    assert_eq!(manager.tally(|tally| (tally.dials, tally.all)), (1, 0));
    assert_eq!(pool.stats().leases, 0);
    drop(handle);
    assert_eq!(pool.close().await.still_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_comes_quarantined_is_not_dialled_until_it_is_reinstated() {
    let manager = Scripted::new(1, 1);
    let pool = pool(&manager);
    let quarantine = ((account(1), 1), QuarantineReason::KeyDuplicated);
    let handle = pool.account(account(1)).unwrap();
    let lease = handle.acquire().await.unwrap();
    manager.state.quarantines.lock().unwrap().extend([quarantine]);
    give(&manager, 2);
    sleep(LASTS).await;
    assert!(handle.acquire().await.is_err());
    assert_eq!(manager.tally(|tally| tally.dials), 1);
    assert!(pool.reinstate(account(1)));
    assert_eq!(handle.acquire().await.unwrap().slot(), 1);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn whoever_reinstates_an_account_or_asks_for_any_of_its_group_has_its_sessions_looked_for() {
    let manager = Scripted::new(0, 1);
    let pool = pool(&manager);
    *manager.state.members.lock().unwrap() = Some(Arc::from([account(1), account(2)]));
    assert!(matches!(pool.acquire_any("default").await, Err(AcquireError::NoMember)));
    give(&manager, 1);
    pool.reinstate(account(1));
    assert_eq!(pool.acquire(account(1)).await.unwrap().slot(), 0);
    let held = pool.acquire_any("default").await.unwrap();
    assert_eq!(held.account(), account(1), "the other one is not known to have any");
    sleep(LASTS).await;
    assert_eq!(pool.acquire_any("default").await.unwrap().account(), account(2));
}

/// What comes and goes is looked for all the time, under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_come_and_go_under_load_cost_no_place_and_double_no_slot() {
    let manager = Scripted::new(2, 2);
    let pool = manager.pool(|config| config.pool.max_connections_per_account = 5);
    let handle = pool.account(account(1)).unwrap();
    let mut callers = Vec::new();
    for _ in 0..6 {
        let handle = handle.clone();
        callers.push(tokio::spawn(async move {
            for _ in 0..500 {
                match handle.acquire_owned().await {
                    Ok(lease) => tokio::task::spawn(async move { drop(lease) }).await.unwrap(),
                    Err(error) => assert!(matches!(error, AcquireError::NoSession { .. })),
                }
            }
        }));
    }
    for round in 0..500 {
        give(&manager, [2, 5, 1, 7, 3, 0, 4][round % 7]);
        pool.reinstate(account(1));
        tokio::task::yield_now().await;
    }
    give(&manager, 5);
    pool.reinstate(account(1));
    for caller in callers {
        caller.await.unwrap();
    }
    // Every place is there.
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(handle.acquire().await.unwrap());
    }
    assert!(handle.acquire_timeout(Duration::ZERO).await.is_err());
    drop(held);
    assert_eq!(manager.tally(|tally| tally.doubled), 0);
    assert!(manager.tally(|tally| tally.live_max[&account(1)]) <= 5);
    assert_eq!(pool.close().await.still_open, 0);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_one_by_whatever_name_it_is_asked_for() {
    let manager = Scripted::new(2, 1);
    let pool = pool(&manager);
    let mut events = pool.events();
    let other = telepool::AccountId::user(1).unwrap();
    let lease = pool.acquire(other).await.unwrap();
    assert_eq!(
        pool.account(other).unwrap().id(),
        account(1),
        "its name is what the manager calls it"
    );
    assert_eq!(pool.stats().accounts, 1);
    assert!(pool.account_stats(account(1)).is_some() && pool.account_stats(other).is_some());
    assert!(pool.pause(other));
    assert!(pool.try_acquire(account(1)).unwrap().is_none(), "it is the same that is paused");
    assert!(pool.resume(account(1)) && !pool.resume(other));
    assert!(pool.quarantine(other));
    assert_eq!(pool.account_health(account(1)), pool.account_health(other));
    assert!(pool.reinstate(other));
    drop(lease);
    assert!(pool.remove_account(other).await);
    assert_eq!(pool.stats().accounts, 0);
    drop(pool);
    let mut named = Vec::new();
    while let Some(event) = events.next().await {
        named.extend(event.account());
    }
    assert!(named.len() > 4 && named.iter().all(|it| *it == account(1)), "{named:?}");
}
