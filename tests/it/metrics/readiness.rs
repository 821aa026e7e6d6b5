//! Whether a pool is ready, which has to say the same as the metric of how accounts stand.

use std::time::Duration;

use telepool::metrics::{Prometheus, Readiness};
use telepool::{AccountHealth, Pool, QuarantineReason, Reaction};

use super::{Samples, get, serve};
use crate::scripted::{Failure, Play, Scripted, account};

const HOUR: Duration = Duration::from_secs(3600);

/// How a pool is ready, held against the metric.
fn readiness(exporter: &Prometheus) -> Readiness {
    let samples = Samples::parse(&exporter.render());
    let of = |state: &str| samples.sum("accounts", &[&format!("{state:?}")]);
    let serving = of("ready") + of("cooling");
    let readiness = exporter.readiness();
    let expected = serving > 0.0 || samples.sum("accounts", &[]) == 0.0;
    assert_eq!(readiness == Readiness::Ready, expected, "{readiness} with {serving} that serve");
    if let Readiness::EverybodyRests { accounts, resting, .. } = &readiness {
        assert_eq!(*resting as f64, of("resting"), "{readiness}");
        assert_eq!(*accounts as f64, samples.sum("accounts", &[]), "{readiness}");
    }
    readiness
}

fn rest(accounts: u64, resting: u64, left: Duration) -> Readiness {
    let why = Some("scripted failure".into());
    Readiness::EverybodyRests { accounts, resting, paused: 0, remaining: left, why }
}

fn exported(manager: &Scripted) -> (Pool<Scripted>, Prometheus) {
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    (pool, exporter)
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_accounts_are_all_flooded_on_their_logins_is_not_ready_until_the_first_is_over()
 {
    let manager = Scripted::new(2, 1);
    let (pool, exporter) = exported(&manager);
    assert_eq!(readiness(&exporter), Readiness::Ready, "nobody was asked for yet");
    for (number, flood) in [(1, 2 * HOUR), (2, HOUR)] {
        manager.on_connect(Play::Rest(flood));
        pool.acquire(account(number)).await.unwrap_err();
    }
    assert_eq!(readiness(&exporter), rest(2, 2, HOUR));
    manager.on_connect(Play::Good);
    drop(pool.acquire(account(3)).await.unwrap());
    assert_eq!(readiness(&exporter), Readiness::Ready, "one serves");
    let lease = pool.acquire(account(3)).await.unwrap();
    lease.report(&Failure(Reaction::CoolDown { key: 1, wait: HOUR }));
    assert_eq!(readiness(&exporter), Readiness::Ready, "a method of it rests, and no other");
    lease.report(&Failure(Reaction::QuarantineAccount(QuarantineReason::Deactivated)));
    drop(lease);
    assert_eq!(readiness(&exporter), rest(3, 2, HOUR), "it is out of service");
    tokio::time::sleep(HOUR - Duration::from_millis(1)).await;
    assert_eq!(readiness(&exporter), rest(3, 2, Duration::from_millis(1)));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(readiness(&exporter), Readiness::Ready);
    drop(pool.acquire(account(2)).await.unwrap());
    assert_eq!(readiness(&exporter), Readiness::Ready);
}

/// As after a crash, when all keys rest.
#[tokio::test(start_paused = true)]
async fn a_pool_none_of_whose_sessions_may_be_dialled_yet_is_not_ready_whoever_asks_for_them() {
    let (rests, step) = (Duration::from_secs(120), Duration::from_secs(30));
    for is_warmed_up in [true, false] {
        let manager = Scripted::new(3, 1);
        *manager.state.rests_until.lock().unwrap() = Some(tokio::time::Instant::now() + rests);
        let (pool, exporter) = exported(&manager);
        if is_warmed_up {
            assert_eq!(pool.warm_up((1..=5).map(account)), 5);
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            for number in 1..=5 {
                pool.acquire(account(number)).await.unwrap_err();
            }
        }
        let left = |readiness| match readiness {
            Readiness::EverybodyRests { accounts: 5, resting: 5, remaining: left, .. } => left,
            other => panic!("{other}, warmed up: {is_warmed_up}"),
        };
        let first = left(readiness(&exporter));
        assert!(first <= rests && first + step > rests, "{first:?}");
        let health = pool.account_health(account(1)).unwrap();
        assert!(matches!(health, AccountHealth::Resting { .. }), "{health:?}");
        tokio::time::sleep(step).await;
        assert_eq!(left(readiness(&exporter)), first - step);
        tokio::time::sleep(first).await;
        assert_eq!(readiness(&exporter), Readiness::Ready);
        drop(pool.acquire(account(1)).await.unwrap());
    }
}

/// A pause is an operator's, who is told apart what is paused from what has failed.
#[tokio::test(start_paused = true)]
async fn a_pool_whose_accounts_are_paused_is_not_ready_and_says_so() {
    let manager = Scripted::new(1, 1);
    let (pool, exporter) = exported(&manager);
    let told = |text: &str| assert_eq!(exporter.readiness().to_string(), text);
    assert!(pool.pause(account(1)));
    told("nobody serves: all 1 accounts are paused");
    drop(pool.acquire(account(2)).await.unwrap());
    told("ready");
    assert!(pool.drain_account(account(2)).await);
    assert_eq!(exporter.readiness(), Readiness::NobodyServes { accounts: 2, paused: 1 });
    told("nobody serves: 1 accounts are paused and 1 are out of service");
    manager.on_connect(Play::Rest(HOUR));
    pool.acquire(account(3)).await.unwrap_err();
    let rests = "; the first is dialled again in 3600 s, for the reason: scripted failure";
    let all = "nobody serves now: 1 accounts rest, 1 are paused and 1 are out of service";
    told(&format!("{all}{rests}"));
    assert!(pool.remove_account(account(2)).await);
    told(&format!("nobody serves now: 1 accounts rest and 1 are paused{rests}"));
    assert!(pool.resume(account(1)));
    told("ready");
}

#[tokio::test]
async fn whoever_asks_is_told_why_nobody_serves_and_until_when() {
    let manager = Scripted::new(1, 1);
    let (pool, exporter) = exported(&manager);
    let server = serve(&exporter).await;
    manager.on_connect(Play::Rest(HOUR));
    pool.acquire(account(1)).await.unwrap_err();
    pool.acquire(account(2)).await.unwrap_err();
    let answer = get(server, "/readyz").await;
    assert_eq!(answer.status, 503);
    let told = "nobody serves now: all 2 accounts rest; the first is dialled again in ";
    let (seconds, why) = answer.body.strip_prefix(told).unwrap().split_once(" s, ").unwrap();
    assert_eq!(why, "for the reason: scripted failure\n");
    assert!((1..=3600).contains(&seconds.parse::<u64>().unwrap()), "{}", answer.body);
    assert!(answer.headers.contains("retry-after: "), "{}", answer.headers);
    assert_eq!(get(server, "/healthz").await.status, 200, "it lives");
    assert!(pool.reinstate(account(2)));
    assert_eq!(get(server, "/readyz").await.status, 200);
}
