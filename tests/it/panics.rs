//! Panics of a manager, a listener or a borrower cost one connection or one attempt.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use telepool::{AccountId, AcquireError, DialError, Manager, Pool, Profile, Reaction};

use crate::scripted::{Play, Scripted, account};

#[tokio::test(start_paused = true)]
async fn a_panic_in_connect_costs_that_attempt() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    manager.on_connect(Play::Panic);
    let error = pool.acquire(account(1)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Dial(DialError::Panicked)), "{error}");
    manager.on_connect(Play::Good);
    drop(pool.acquire(account(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_check_close_or_is_broken_costs_that_connection() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    manager.on_check(Play::Panic);
    manager.on_close(Play::Panic);
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    tokio::time::sleep(Duration::from_secs(40)).await;
    let second = pool.acquire(account(1)).await.unwrap();
    assert_ne!(second.connection_id(), first);
    second.panics.store(true, Ordering::SeqCst);
    let panicking = second.connection_id();
    drop(second);
    assert_ne!(pool.acquire(account(1)).await.unwrap().connection_id(), panicking);
    assert_eq!(pool.close().await.still_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_returned_while_unwinding_is_checked_before_it_is_reused() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let panicked = tokio::spawn({
        let pool = pool.clone();
        async move {
            let _lease = pool.acquire(account(1)).await.unwrap();
            panic!("a borrower's panic");
        }
    });
    panicked.await.unwrap_err();
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(manager.state.checks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_listener_that_panics_harms_nobody_and_hears_the_next_event() {
    let (heard, mut events) = tokio::sync::mpsc::unbounded_channel();
    let pool = Pool::builder(Scripted::new(1, 1))
        .on_event(move |event| {
            heard.send(format!("{event:?}")).unwrap();
            panic!("a listener's panic");
        })
        .build()
        .unwrap();
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(events.recv().await.unwrap().starts_with("AccountOpened"));
    assert!(events.recv().await.unwrap().starts_with("ConnectionOpened"));
}

/// A manager whose connections panic when they are dropped, and which panics over an error.
struct Fragile {
    refuses: AtomicBool,
    dials: AtomicU64,
}

struct Glass;

impl Drop for Glass {
    fn drop(&mut self) {
        // A second panic would end the process, which is the borrower's own affair.
        assert!(std::thread::panicking(), "it breaks");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

impl Manager for Fragile {
    type Connection = Glass;
    type Error = No;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        assert_ne!(account.number(), 13, "it panics over this one");
        Some(Profile::new(2))
    }

    async fn connect(&self, _: AccountId, _: u16) -> Result<Glass, No> {
        self.dials.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) { Err(No) } else { Ok(Glass) }
    }

    fn react(&self, _: &No) -> Reaction {
        panic!("it panics over errors")
    }
}

fn fragile(refuses: bool) -> Pool<Fragile> {
    let manager = Fragile { refuses: AtomicBool::new(refuses), dials: AtomicU64::new(0) };
    Pool::builder(manager).configure(|config| config.dial.per_second = 100_000).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_panics_when_it_is_dropped_costs_nothing_else() {
    let pool = fragile(false);
    let lease = pool.acquire(account(1)).await.unwrap();
    assert!(pool.close_connection(account(1), lease.connection_id()));
    drop(lease);
    drop(pool.acquire(account(2)).await.unwrap());
    // Beyond every deadline of a drain and of an idle connection.
    tokio::time::sleep(Duration::from_secs(1000)).await;
    drop(pool.acquire(account(3)).await.unwrap());
    assert_eq!(pool.close().await.still_open, 0);
    assert_eq!(pool.stats().total_connections_closed, 3);
}

#[tokio::test(start_paused = true)]
async fn connections_that_panic_when_they_are_dropped_give_their_places_back() {
    let pool = fragile(false);
    let both = [pool.acquire(account(1)).await.unwrap(), pool.acquire(account(1)).await.unwrap()];
    let ids = both.each_ref().map(|lease| lease.connection_id());
    drop(both);
    // The one that was used last first: its entry lies behind the other's.
    for id in ids.into_iter().rev() {
        assert!(pool.close_connection(account(1), id));
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let stats = pool.stats();
    assert_eq!((stats.total_connections_closed, stats.current_pool_size), (2, 0), "{stats:?}");
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(pool.close().await.still_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_panics_over_an_error_is_dialled_no_oftener_than_one_that_does_not() {
    let pool = fragile(true);
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while tokio::time::Instant::now() < end {
        let error = pool.acquire(account(1)).await.unwrap_err();
        assert!(!error.to_string().contains("shutting down"), "{error}");
        // Refused at once while the pause outlasts its patience.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let dials = pool.manager().dials.load(Ordering::SeqCst);
    assert!(dials < 40, "{dials} dials in a minute");
    assert!(pool.stats().dials_failed + 1 >= dials);
}

#[tokio::test]
async fn an_account_that_the_manager_panics_over_is_refused() {
    let pool = fragile(false);
    let error = pool.acquire(account(13)).await.unwrap_err();
    assert!(matches!(error, AcquireError::UnknownAccount { .. }), "{error}");
}
