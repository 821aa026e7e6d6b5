//! What is counted of calls and updates over real connections.

use std::sync::Arc;

use telepool::metrics::Prometheus;
use telepool::telegram::{Overflow, UpdatesOptions};
use telepool::{CallOutcome, Pool};

use super::*;

/// A pool of one account, and its exporter.
struct Counted {
    server: Server,
    pool: Pool<TelegramManager<MemorySource>>,
    exporter: Prometheus,
}

fn counted(sessions: u16) -> Counted {
    let Bench { server, manager, .. } = bench(sessions);
    let pool = Pool::builder(manager).build().unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    Counted { server, pool, exporter }
}

impl Counted {
    /// The sum over the series of a metric that have a label of this value.
    fn of(&self, metric: &str, value: &str) -> u64 {
        let text = self.exporter.render();
        let lines = text.lines().filter(|line| {
            let labels = line.strip_prefix("telepool_").and_then(|it| it.strip_prefix(metric));
            labels.is_some_and(|it| it.starts_with('{') && it.contains(&format!("\"{value}\"")))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn calls(&self) -> Vec<(&'static str, u64)> {
        let outcomes = CallOutcome::ALL.iter().map(|outcome| outcome.label());
        outcomes.map(|it| (it, self.of("calls_total", it))).filter(|it| it.1 > 0).collect()
    }
}

#[tokio::test]
async fn each_call_is_counted_once_by_how_it_ended() {
    let counted = counted(1);
    let Counted { server, pool, .. } = &counted;
    let lease = pool.acquire(account()).await.unwrap();
    assert_eq!(counted.calls(), [], "logging in is no call of anybody's");
    lease.invoke(&GetNearestDc {}).await.unwrap();
    lease.run(async |it| it.invoke(&GetNearestDc {}).await).await.unwrap();
    lease.invoke(&Raw(vec![1; 6])).await.unwrap_err();
    assert_eq!(counted.calls(), [("ok", 2), ("not_sent", 1)]);
    server.decide::<GetNearestDc>(Reply::Silence);
    let limit = Duration::from_millis(1);
    lease.invoke_within(&GetNearestDc {}, limit).await.unwrap_err();
    let mut left = Box::pin(lease.invoke(&GetNearestDc {}));
    assert!(tokio::time::timeout(limit, &mut left).await.is_err());
    drop(left);
    drop(lease.invoke(&GetNearestDc {}));
    server.decide::<GetNearestDc>(Reply::Error(400, "CHAT_ID_INVALID"));
    lease.invoke(&GetNearestDc {}).await.unwrap_err();
    server.decide::<GetNearestDc>(Reply::Error(400, "SOMETHING_NEW_7"));
    lease.invoke(&GetNearestDc {}).await.unwrap_err();
    server.decide::<functions::help::GetAppConfig>(Reply::Error(420, "FLOOD_WAIT_60"));
    for _ in 0..3 {
        // All but the first do not reach the server.
        lease.invoke(&functions::help::GetAppConfig { hash: 0 }).await.unwrap_err();
    }
    server.decide::<GetNearestDc>(Reply::Close);
    lease.invoke(&GetNearestDc {}).await.unwrap_err();
    let ended = [
        ("ok", 2),
        ("rpc_error", 2),
        ("flood", 1),
        ("not_sent", 1),
        ("lost", 1),
        ("timeout", 1),
        ("cancelled", 1),
    ];
    assert_eq!(counted.calls(), ended);
    assert_eq!(counted.of("call_seconds_count", "default"), 7);
    let errors = ["CHAT_ID_INVALID", "FLOOD_WAIT", "other", "PEER_FLOOD"];
    assert_eq!(errors.map(|name| counted.of("rpc_errors_total", name)), [1, 1, 1, 0]);
    assert_eq!(counted.of("flood_waits_total", "read"), 1);
    assert_eq!(counted.of("flood_waits_total", "default"), 1);
}

#[tokio::test]
async fn a_call_that_is_sent_again_is_counted_each_time() {
    let counted = counted(1);
    let Counted { server, pool, .. } = &counted;
    let account = pool.account(account()).unwrap();
    server.decide::<GetNearestDc>(Reply::Close);
    let limit = Duration::from_secs(20);
    account.invoke_idempotent(&GetNearestDc {}, limit).await.unwrap_err();
    let calls = counted.calls();
    let made: u64 = calls.iter().map(|(_, count)| count).sum();
    assert!(made > 1 && made == counted.of("calls_total", "default"), "{calls:?}");
}

#[tokio::test]
async fn a_check_is_no_call() {
    let counted = counted(1);
    let lease = counted.pool.acquire(account()).await.unwrap();
    let error = TelegramError::Timeout { after: Duration::from_secs(1) };
    assert_eq!(lease.report(&error), Reaction::Check);
    drop(lease);
    // The next acquire has it checked.
    drop(counted.pool.acquire(account()).await.unwrap());
    assert_eq!(counted.of("connection_checks_total", "ok"), 1);
    assert_eq!(counted.calls(), []);
}

#[tokio::test]
async fn updates_are_counted_whether_or_not_they_are_taken_and_leave_their_time() {
    let Bench { server, manager, .. } = bench(1);
    let pool = Pool::builder(manager).build().unwrap();
    let mut options = UpdatesOptions::default();
    (options.capacity, options.overflow) = (2, Overflow::DropOldest);
    let mut updates = pool.updates_with(&options).unwrap();
    until(|| server.calls::<functions::updates::GetState>() >= 2).await;
    let counted = Counted { server, exporter: Prometheus::new(&pool).unwrap(), pool };
    counted.server.decide::<GetNearestDc>(Reply::Update);
    let lease = counted.pool.acquire(account()).await.unwrap();
    assert_eq!(counted.of("updates_received_total", "default"), 0);
    for _ in 0..5 {
        lease.invoke(&GetNearestDc {}).await.unwrap();
    }
    until(|| counted.of("updates_received_total", "default") == 5).await;
    until(|| counted.of("updates_dropped_total", "default") == 3).await;
    assert!(updates.try_recv().is_ok());
    let text = counted.exporter.render();
    let last = "telepool_last_update_timestamp_seconds{group=\"default\"} ";
    let last = text.lines().find_map(|line| line.strip_prefix(last)).unwrap();
    assert!(last.parse::<f64>().unwrap() > 1e9, "{last}");
}

#[tokio::test]
async fn every_error_and_class_that_is_counted_apart_is_exported_with_the_first_call() {
    let counted = counted(1);
    let text = counted.exporter.render_of(&[Arc::from("default")]);
    assert!(!text.contains("telepool_rpc_errors_total"), "nobody has called");
    let lease = counted.pool.acquire(account()).await.unwrap();
    lease.invoke(&GetNearestDc {}).await.unwrap();
    let text = counted.exporter.render_of(&[Arc::from("default")]);
    let series = |metric: &str| {
        let start = format!("telepool_{metric}{{");
        text.lines().filter(|line| line.starts_with(&start)).count()
    };
    assert_eq!(series("rpc_errors_total"), 61);
    assert_eq!(series("flood_waits_total"), 10);
}
