//! What an operator does to accounts, and how it is told.

use std::time::Duration;

use telepool::{AcquireError, Event, Manager, Pool, QuarantineReason};
use tokio::time::sleep;

use crate::scripted::{Scripted, account};

async fn refused(pool: &Pool<Scripted>) -> QuarantineReason {
    match pool.acquire(account(1)).await {
        Err(AcquireError::Quarantined { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_quarantines_an_account_until_it_is_reinstated_also_over_a_restart() {
    let manager = Scripted::new(2, 1);
    manager.set_quarantine(account(1), 0, Some(QuarantineReason::NeedsLogin));
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    let held = pool.acquire(account(1)).await.unwrap();
    assert!(pool.quarantine(account(1)));
    assert!(!pool.quarantine(account(1)), "it is");
    assert_eq!(refused(&pool).await, QuarantineReason::Operator);
    let refused_with = pool.acquire(account(1)).await.unwrap_err().to_string();
    assert_eq!(
        refused_with,
        "account bot:1 is quarantined (operator): reinstate it when it is wanted again"
    );
    drop(held);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((pool.stats().quarantines, manager.tally(|tally| tally.all)), (1, 0));
    let mut kept = manager.quarantines(account(1));
    kept.sort_unstable_by_key(|(slot, _)| *slot);
    let (lost, asked) = (QuarantineReason::NeedsLogin, QuarantineReason::Operator);
    assert_eq!(kept, [(0, lost), (1, asked)], "what is known of a session is not hidden");
    let told = Event::Quarantined { account: account(1), slot: None, reason: asked };
    while events.next().await.unwrap() != told {}

    let next = manager.pool(|_| ());
    assert_eq!(refused(&next).await, QuarantineReason::Operator);
    assert!(next.reinstate(account(1)));
    drop(next.acquire(account(1)).await.unwrap());
    assert!(manager.quarantines(account(1)).is_empty());
    assert!(next.quarantine(account(2)), "also before the pool has met it");
    next.close().await;
    assert!(!next.quarantine(account(1)) && !next.quarantine(account(3)));
}

#[tokio::test]
async fn who_did_what_is_told_to_all_who_listen() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    let mut events = pool.events();
    let lease = pool.acquire(account(1)).await.unwrap();
    let id = lease.connection_id();
    pool.audit("close_connection", Some(account(1)), Some(id), "ops\u{1b}[31m", Some("too old"));
    pool.audit("reconfigure", None, None, "ops", None);
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = events.next().await.unwrap();
        if event.kind() == "operation" {
            told.push(event);
        }
    }
    let of_connection = (told[0].account(), told[0].connection());
    assert_eq!(of_connection, (Some(account(1)), Some(id)));
    assert_eq!(told[1].by(), Some("ops"));
    let texts = [told[0].to_string(), told[1].text()];
    let escaped = format!("bot:1: close_connection {id} by ops\\u{{1b}}[31m: too old");
    assert_eq!(texts, [escaped, "reconfigure by ops".to_owned()]);
}
