//! Callers on other runtimes than the pool's, or on none; wakers that own leases; operators who
//! are in a hurry.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use telepool::{Account, AcquireError, BuildError, Event, Lease, NoopManager, Pool, PoolStats};
use tokio::runtime::{Builder, Runtime};

use crate::scripted::{Play, Scripted, account};

const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Polls a future on this thread until it is done, without any runtime.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// A module's path, as the names of its tests have it.
#[cfg(all(feature = "telegram", feature = "sandbox", feature = "cli"))]
pub(crate) fn test_path(module: &str) -> &str {
    module.split_once("::").map_or(module, |(_, path)| path)
}

#[test]
fn a_caller_without_a_runtime_acquires_checks_and_closes() {
    let home = runtime();
    let manager = Scripted::new(2, 1);
    let pool = Pool::builder(manager.clone())
        .configure(|config| config.pool.check_after_idle = Duration::ZERO)
        .runtime(home.handle().clone())
        .build()
        .unwrap();
    let first = wait_for(pool.acquire(account(1))).unwrap().connection_id();
    std::thread::sleep(Duration::from_millis(30));
    let lease = wait_for(pool.acquire(account(1))).unwrap();
    assert_eq!(lease.connection_id(), first, "it has passed its check");
    assert_eq!(manager.state.checks.load(Ordering::SeqCst), 1);
    wait_for(lease.close());
    drop(wait_for(pool.acquire(account(1))).unwrap());
    assert_eq!(wait_for(pool.close_account(account(1))), 1);
    drop(wait_for(pool.acquire(account(1))).unwrap());
    assert!(wait_for(pool.drain_account(account(1))));
    assert!(wait_for(pool.remove_account(account(1))));
    drop(wait_for(pool.acquire(account(1))).unwrap());
    assert_eq!(wait_for(pool.close()).still_open, 0);
}

/// The pool's runtime is kept, and nobody drives it.
#[test]
fn a_wait_ends_by_its_own_deadline_whatever_becomes_of_the_pools_runtime() {
    let idle = Builder::new_current_thread().enable_all().build().unwrap();
    let pool = Pool::builder(NoopManager::new(1)).runtime(idle.handle().clone()).build().unwrap();
    let in_vain = || async {
        let error = pool.acquire_timeout(account(1), SECOND / 20).await.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout(_)), "{error}");
    };
    runtime().block_on(in_vain());
    Builder::new_current_thread().build().unwrap().block_on(in_vain());
    wait_for(in_vain());
    assert_eq!((pool.stats().waiting, pool.stats().acquires_timed_out), (0, 3));
}

#[test]
fn a_caller_on_a_runtime_without_timers_waits_for_ends_as_well() {
    let home = runtime();
    let pool = Pool::builder(Scripted::new(2, 1)).runtime(home.handle().clone()).build().unwrap();
    Builder::new_current_thread().build().unwrap().block_on(async {
        pool.acquire(account(1)).await.unwrap().close().await;
        drop(pool.acquire(account(1)).await.unwrap());
        assert_eq!(pool.close_account(account(1)).await, 1);
        drop(pool.acquire(account(1)).await.unwrap());
        assert!(pool.drain_account(account(1)).await);
        assert!(pool.remove_account(account(1)).await);
        assert_eq!(pool.close().await.still_open, 0);
    });
}

/// On a runtime with a single thread, which a callback would otherwise keep from everybody.
#[test]
fn a_callback_that_takes_its_time_delays_nobody() {
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let one_thread = Builder::new_current_thread().enable_all().build().unwrap();
    one_thread.block_on(async {
        let pool = Pool::builder(NoopManager::new(1))
            .on_event(move |_| assert!(told.recv().is_err(), "nothing is sent"))
            .build()
            .unwrap();
        // Each of these is told of while the callback has not come back from the first.
        for number in 1..=20 {
            drop(pool.acquire(account(number)).await.unwrap());
        }
        assert_eq!(pool.close().await.still_open, 0);
    });
    drop(go_on);
}

#[test]
fn a_runtime_without_timers_is_refused() {
    let bare = Builder::new_current_thread().build().unwrap();
    let built = Pool::builder(NoopManager::new(1)).runtime(bare.handle().clone()).build();
    assert!(matches!(built, Err(BuildError::NoTimers)));
}

/// A waker that owns a lease, as that of an executor whose tasks live in their wakers would.
struct Owner {
    _lease: Mutex<Lease<Scripted>>,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

async fn held_and_waited_for(pool: &Pool<Scripted>) -> (Account<Scripted>, Waker) {
    let account = pool.account(account(1)).unwrap();
    let lease = account.acquire_owned().await.unwrap();
    (account, Waker::from(Arc::new(Owner { _lease: Mutex::new(lease) })))
}

#[tokio::test(start_paused = true)]
async fn a_waker_may_own_a_lease_of_the_account_that_is_waited_for() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    // Replaced by another waker.
    let (account, owner) = held_and_waited_for(&pool).await;
    let mut waiting = Box::pin(account.acquire());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&owner)).is_pending());
    drop(owner);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(waiting.await.unwrap());
    // Dropped together with the wait.
    let (account, owner) = held_and_waited_for(&pool).await;
    let mut waiting = Box::pin(account.acquire());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&owner)).is_pending());
    drop(owner);
    drop(waiting);
    drop(account.acquire().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_returned_in_time_is_not_kept_until_its_drain_would_end() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.drain_timeout = 3600 * SECOND);
    let lease = pool.acquire(account(1)).await.unwrap();
    // How much is held besides the test's own hold on the manager and that of the pool.
    let holds = || Arc::strong_count(&manager.state);
    let with_one = holds();
    assert!(pool.close_connection(account(1), lease.connection_id()));
    lease.close().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(holds(), with_one - 1, "the connection is gone, not only closed");
}

#[tokio::test(start_paused = true)]
async fn a_drain_timeout_that_is_lowered_holds_for_drains_under_way() {
    let pool = Scripted::new(1, 1).pool(|config| config.pool.drain_timeout = 3600 * SECOND);
    let lease = pool.acquire(account(1)).await.unwrap();
    assert!(pool.close_connection(account(1), lease.connection_id()));
    tokio::time::sleep(SECOND).await;
    let mut config = (*pool.config()).clone();
    config.pool.drain_timeout = SECOND;
    pool.reconfigure(config).unwrap();
    assert_eq!(pool.close().await.still_open, 0);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn the_close_of_an_account_has_one_deadline() {
    let manager = Scripted::new(8, 1);
    let pool = manager.pool(|config| {
        config.pool.max_connections_per_account = 8;
        config.pool.drain_timeout = SECOND;
        config.pool.close_timeout = SECOND;
        config.pool.dial_timeout = 600 * SECOND;
    });
    manager.on_connect(Play::Never);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let acquire = pool.acquire_timeout(account(1), 600 * SECOND);
            tokio::spawn(async move { drop(acquire.await) })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let began = tokio::time::Instant::now();
    assert_eq!(pool.close_account(account(1)).await, 8);
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_goes_before_connections_in_advance() {
    let pool = Pool::builder(Scripted::new(1, 1))
        .configure(|config| {
            config.dial.per_second = 10;
            config.dial.handshakes = 4;
        })
        .build()
        .unwrap();
    assert_eq!(pool.warm_up((100..1100).map(account)), 1000);
    tokio::time::sleep(SECOND).await;
    for number in [1, 900, 1099] {
        let began = tokio::time::Instant::now();
        drop(pool.acquire(account(number)).await.unwrap());
        assert!(began.elapsed() < SECOND, "{number} waited for {:?}", began.elapsed());
    }
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(pool.stats().total_connections_created, 1001, "each once, and all in the end");
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_told_from_an_address_that_does_not_answer() {
    let pool = Scripted::new(1, 1).pool(|config| config.pool.max_connections = 1);
    let held = pool.acquire(account(1)).await.unwrap();
    let error = pool.acquire_timeout(account(2), SECOND).await.unwrap_err();
    assert!(error.to_string().contains("raise pool.max_connections"), "{error}");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_says_so_and_what_found_no_account_is_counted() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    let unknown = pool.acquire(account(5_000_000)).await.unwrap_err();
    assert!(matches!(unknown, AcquireError::UnknownAccount { .. }));
    assert!(matches!(pool.acquire_any("nobody").await, Err(AcquireError::NoMember)));
    drop(pool.acquire(account(1)).await.unwrap());
    pool.close().await;
    assert!(matches!(pool.account(account(1)), Err(AcquireError::Closed { .. })));
    assert!(matches!(pool.try_acquire(account(1)), Err(AcquireError::Closed { .. })));
    assert!(pool.acquire(account(1)).await.is_err());
    let PoolStats { acquires, acquires_failed, .. } = pool.stats();
    assert_eq!((acquires, acquires_failed), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_has_no_name_among_the_metrics_is_a_group_all_the_same() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    for number in 1..=66 {
        manager.state.profile.lock().unwrap().group = Arc::from(format!("group {number}"));
        pool.account(account(number)).unwrap();
    }
    // The scripted manager answers with one profile for all: it is now that of the last.
    let lease = pool.acquire_any("group 66").await.unwrap();
    assert!([65, 66].contains(&lease.account().number()), "one that is counted as other");
    assert!(matches!(pool.acquire_any("other").await, Err(AcquireError::NoMember)));
    assert_eq!(pool.acquire_any("group 7").await.unwrap().account(), account(7));
}

#[tokio::test]
async fn the_last_events_of_a_pool_that_is_dropped_are_heard() {
    let (heard, mut events) = tokio::sync::mpsc::unbounded_channel();
    let pool = Pool::builder(Scripted::new(1, 1))
        .on_event(move |event| drop(heard.send(event.clone())))
        .build()
        .unwrap();
    drop(pool.acquire(account(1)).await.unwrap());
    drop(pool);
    let mut closed = 0;
    // The listener ends with the pool, and its end of the channel with it.
    while let Some(event) = events.recv().await {
        closed += u32::from(matches!(event, Event::ConnectionClosed { .. }));
    }
    assert_eq!(closed, 1);
}
