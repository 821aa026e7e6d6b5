//! Panics of a manager, a listener or a borrower cost one connection or one attempt.

use std::sync::atomic::Ordering;
use std::time::Duration;

use telepool::{AcquireError, DialError, Pool};

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
    let first = pool.acquire(account(1)).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(40)).await;
    let second = pool.acquire(account(1)).await.unwrap();
    assert_ne!(second.id(), first);
    second.panics.store(true, Ordering::SeqCst);
    let panicking = second.id();
    drop(second);
    assert_ne!(pool.acquire(account(1)).await.unwrap().id(), panicking);
    assert_eq!(pool.close().await.left, 0);
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
