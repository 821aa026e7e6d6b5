//! The export of the numbers, over HTTP as Prometheus asks for them.

mod readiness;
mod recorder;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use telepool::http;
use telepool::metrics::{ExportError, Prometheus, Readiness};
use telepool::{AccountId, Manager, NoopManager, Pool, QuarantineReason, Reaction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scripted::{Failure, Play, Scripted, account};

/// One answer of the server.
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

async fn get(server: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: telepool\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (headers, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
}

/// Serves an exporter on a free port until the end of the test.
async fn serve(exporter: &Prometheus) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(listener, http::probes(exporter), std::future::pending()));
    address
}

/// One scrape.
#[derive(Debug)]
struct Samples(BTreeMap<String, f64>);

impl Samples {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        Self(lines.map(sample).collect())
    }

    /// The sum over all series of a metric whose labels contain all of these.
    fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        self.series(metric)
            .filter(|(series, _)| labels.iter().all(|it| series.contains(it)))
            .fold(0.0, |sum, (_, value)| sum + value)
    }

    fn series(&self, metric: &str) -> impl Iterator<Item = (&str, f64)> {
        let name = format!("telepool_{metric}");
        self.0
            .iter()
            .filter(move |(series, _)| series.split('{').next() == Some(&name))
            .map(|(series, value)| (series.as_str(), *value))
    }

    fn labels(&self, metric: &str, label: &str) -> BTreeSet<String> {
        let start = format!("{label}=\"");
        self.series(metric)
            .filter_map(|(series, _)| {
                Some(series.split_once(&start)?.1.split('"').next()?.to_owned())
            })
            .collect()
    }
}

const REASONS: &str = "idle age broken check_failed excess quarantine requested drain shutdown";
const QUARANTINES: &str =
    "key_duplicated needs_login deactivated suspect dead misconfigured unsupported operator";
const OPENS: &str = "ok timeout refused auth handshake io cancelled";

const OUTCOMES: &str = "ok rpc_error flood not_sent lost timeout client_error cancelled";

/// Every metric that each group has, with its labels and all their values.
const EXPECTED: &[(&str, &[(&str, &str)])] = &[
    ("build_info", &[("version", env!("CARGO_PKG_VERSION")), ("revision", "unknown")]),
    ("accounts", &[("state", "ready cooling resting suspect quarantined draining paused")]),
    ("accounts_saturated", &[]),
    ("connections", &[("state", "idle active connecting disconnected error")]),
    ("connections_max", &[]),
    ("pool_connections_max", &[]),
    ("leases", &[]),
    ("pending_acquires", &[]),
    ("oldest_pending_seconds", &[]),
    ("acquires_total", &[("result", "ok timeout cancelled rejected closed error")]),
    ("acquired_connections_total", &[("source", "idle shared new")]),
    ("releases_total", &[("outcome", "idle closed")]),
    ("connection_opens_total", &[("dc", "1 2 3 4 5 other"), ("result", OPENS)]),
    ("connection_closes_total", &[("reason", REASONS)]),
    ("connection_errors_total", &[("kind", "io refused protocol timeout rpc auth")]),
    ("connection_checks_total", &[("result", "ok failed")]),
    ("slow_acquires_total", &[]),
    ("lease_leaks_total", &[]),
    ("flood_waits_total", &[("class", "dial other")]),
    ("flood_wait_imposed_seconds_total", &[]),
    ("send_turns_total", &[("outcome", "at_once waited refused")]),
    ("send_turn_wait_seconds_total", &[]),
    ("quarantines_total", &[("reason", QUARANTINES)]),
    ("dial_breaker_open", &[("egress", "direct proxy")]),
    ("addresses_down", &[]),
    ("calls_total", &[("outcome", OUTCOMES)]),
    ("network_bytes_total", &[("direction", "received sent")]),
    ("opening_round_trips_total", &[]),
    ("calls_resent_total", &[]),
    ("packets_refused_total", &[]),
    ("acknowledgements_sent_total", &[]),
    ("oldest_answer_age_seconds", &[]),
    ("updates_received_total", &[]),
    ("last_update_timestamp_seconds", &[]),
    ("updates_dropped_total", &[]),
    ("updates_missed_total", &[]),
    ("updates_interrupted_total", &[]),
    ("account_pools_opened_total", &[]),
    ("account_pools_closed_total", &[("reason", "idle removed shutdown")]),
    ("reaper_runs_total", &[]),
    ("reaper_last_run_timestamp_seconds", &[]),
    ("reaper_visits_total", &[]),
    ("reaper_last_run_seconds", &[]),
    ("acquire_wait_seconds_count", &[]),
    ("connection_open_seconds_count", &[]),
    ("lease_use_seconds_count", &[]),
    ("connection_age_seconds_count", &[]),
    ("call_seconds_count", &[]),
    ("label_overflow_groups", &[]),
    ("metrics_render_seconds", &[]),
];

#[tokio::test]
async fn every_metric_is_there_with_every_label_value_from_the_first_scrape() {
    let pool = Pool::builder(NoopManager::new(3)).build().unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    exporter.expect_group("default");
    let server = serve(&exporter).await;
    let answer = get(server, "/metrics").await;
    assert_eq!(answer.status, 200);
    let content = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(answer.headers.contains(content), "{}", answer.headers);
    let samples = Samples::parse(&answer.body);
    for (metric, labels) in EXPECTED {
        let values = labels.iter().map(|(_, values)| values.split(' ').count());
        assert_eq!(samples.series(metric).count(), values.product::<usize>(), "{metric}");
        for (label, values) in *labels {
            let values: BTreeSet<String> = values.split(' ').map(str::to_owned).collect();
            assert_eq!(samples.labels(metric, label), values, "{metric}");
        }
        if metric.ends_with("_total") {
            assert_eq!(samples.sum(metric, &[]), 0.0, "{metric}");
        }
    }
    for (name, bounds) in telepool::metrics::buckets() {
        let metric = format!("{}_bucket", name.trim_start_matches("telepool_"));
        let buckets = samples.series(&metric).count();
        assert_eq!(buckets, bounds.len() + 1, "{name} is a histogram");
    }
    let known: BTreeSet<String> = EXPECTED
        .iter()
        .map(|(metric, _)| format!("telepool_{}", metric.trim_end_matches("_count")))
        .collect();
    let types = answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told = answer.body.lines().filter_map(|line| line.strip_prefix("# HELP ")).count();
    let names: Vec<_> = types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(told, names.len(), "each has its meaning");
    let unknown: Vec<_> =
        names.iter().filter(|it| !known.contains(*it) && !it.starts_with("process_")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(names.iter().any(|name| name == "process_resident_memory_bytes"));
}

/// What holds for each group while nothing is under way.
fn assert_conserved(samples: &Samples) {
    for group in samples.labels("accounts", "group") {
        let group = format!("group=\"{group}\"");
        let sum = |metric: &str, label: &str| samples.sum(metric, &[&group, label]);
        let acquired = sum("acquires_total", "result=\"ok\"");
        assert_eq!(acquired, sum("acquired_connections_total", ""), "acquires in {group}");
        assert_eq!(acquired - sum("releases_total", ""), sum("leases", ""), "leases in {group}");
        let opened = sum("connection_opens_total", "result=\"ok\"");
        let open = sum("connections", "") - sum("connections", "state=\"connecting\"");
        assert_eq!(opened - sum("connection_closes_total", ""), open, "connections in {group}");
        let closed = sum("account_pools_closed_total", "");
        let known = sum("account_pools_opened_total", "") - closed;
        assert_eq!(known, sum("accounts", ""), "accounts in {group}");
        assert_eq!(opened, sum("connection_open_seconds_count", ""), "dials in {group}");
        let closes = sum("connection_closes_total", "");
        assert_eq!(closes, sum("connection_age_seconds_count", ""), "ages in {group}");
        let waited = sum("acquire_wait_seconds_count", "");
        assert!(waited >= sum("acquired_connections_total", "source=\"new\""), "{group}");
        assert!(waited <= acquired, "waits in {group}");
        let calls = |outcome: &str| sum("calls_total", &format!("outcome=\"{outcome}\""));
        let timed = sum("calls_total", "") - calls("not_sent") - calls("cancelled");
        assert_eq!(timed, sum("call_seconds_count", ""), "calls in {group}");
        let errors = calls("rpc_error") + calls("flood");
        assert_eq!(errors, sum("rpc_errors_total", ""), "errors in {group}");
    }
}

/// The pool's own sums say the same.
fn assert_agrees<M: Manager>(samples: &Samples, pool: &Pool<M>) {
    let stats = pool.stats();
    let opened = samples.sum("connection_opens_total", &["result=\"ok\""]);
    let failed = samples.sum("connection_opens_total", &[]) - opened;
    for (name, exported, counted) in [
        ("acquires", samples.sum("acquires_total", &["result=\"ok\""]), stats.acquires),
        ("timeouts", samples.sum("acquires_total", &["\"timeout\""]), stats.acquires_timed_out),
        ("leases", samples.sum("leases", &[]), stats.leases),
        ("waiting", samples.sum("pending_acquires", &[]), stats.waiting),
        ("opened", opened, stats.total_connections_created),
        ("failed", failed, stats.dials_failed),
        ("closed", samples.sum("connection_closes_total", &[]), stats.total_connections_closed),
        ("idle", samples.sum("connections", &["\"idle\""]), stats.current_pool_size),
        ("accounts", samples.sum("accounts", &[]), stats.accounts),
    ] {
        assert_eq!(exported, counted as f64, "{name}");
    }
}

fn assert_no_step_back(before: &Samples, after: &Samples) {
    let counts = |series: &str| series.contains("_total") || series.contains("_count");
    for (series, old) in before.0.iter().filter(|(series, _)| counts(series)) {
        assert!(after.0[series] >= *old, "{series} went back");
    }
}

/// Drives a pool into every corner, on a paused clock, and looks at each resting place.
struct Drive {
    manager: Scripted,
    pool: Pool<Scripted>,
    exporter: Prometheus,
    last: Samples,
}

impl Drive {
    fn new() -> Self {
        let manager = Scripted::new(2, 2);
        let pool = manager.pool(|config| {
            config.pool.max_connections = 5;
            config.pool.age_jitter = 0.0;
        });
        let exporter = Prometheus::new(&pool).unwrap();
        let last = Samples::parse(&exporter.render());
        Self { manager, pool, exporter, last }
    }

    /// Lets everything that was set in motion end, and judges what is exported then.
    async fn rest(&mut self) -> &Samples {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let samples = Samples::parse(&self.exporter.render());
        assert_conserved(&samples);
        assert_agrees(&samples, &self.pool);
        assert_no_step_back(&self.last, &samples);
        self.last = samples;
        &self.last
    }

    async fn acquire(&self, number: u64) -> telepool::Lease<Scripted> {
        self.pool.acquire(account(number)).await.unwrap()
    }

    async fn share_wait_time_out_and_cancel(&mut self) {
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(self.acquire(1).await);
        }
        let late = self.pool.acquire_timeout(account(1), Duration::from_secs(1)).await;
        assert!(late.is_err(), "two connections with two leases each");
        let mut left = Box::pin(self.pool.acquire(account(1)));
        let poll = tokio::time::timeout(Duration::from_secs(1), &mut left).await;
        assert!(poll.is_err());
        let waiting = Samples::parse(&self.exporter.render());
        assert_eq!(waiting.sum("pending_acquires", &[]), 1.0);
        assert_eq!(waiting.sum("oldest_pending_seconds", &[]), 1.0);
        assert_eq!(waiting.sum("accounts_saturated", &[]), 1.0);
        drop(left);
        let samples = self.rest().await;
        assert_eq!(samples.sum("leases", &[]), 4.0);
        assert_eq!(samples.sum("acquires_total", &["\"cancelled\""]), 1.0);
        assert_eq!(samples.sum("acquired_connections_total", &["\"shared\""]), 2.0);
        drop(held);
        assert_eq!(self.rest().await.sum("releases_total", &["\"idle\""]), 4.0);
    }

    async fn discard_break_and_fail(&mut self) {
        self.acquire(1).await.discard();
        let broken = self.acquire(1).await;
        broken.broken.store(true, Ordering::SeqCst);
        drop(broken);
        assert_eq!(self.rest().await.sum("releases_total", &["\"closed\""]), 2.0);
        self.manager.on_connect(Play::Fail);
        assert!(self.pool.acquire(account(2)).await.is_err());
        self.manager.on_connect(Play::Never);
        assert!(self.pool.acquire(account(2)).await.is_err());
        self.manager.on_connect(Play::Panic);
        assert!(self.pool.acquire(account(3)).await.is_err());
        self.manager.on_connect(Play::Good);
        self.rest().await;
        let idle = self.acquire(4).await;
        drop(idle);
        // Long enough to be checked before reuse, and too short to expire.
        tokio::time::sleep(Duration::from_secs(250)).await;
        self.manager.on_check(Play::Fail);
        drop(self.acquire(4).await);
        self.manager.on_check(Play::Good);
        let samples = self.rest().await;
        assert_eq!(samples.sum("connection_checks_total", &["\"failed\""]), 1.0);
        assert_eq!(samples.sum("releases_total", &["\"closed\""]), 2.0, "nobody held that one");
    }

    async fn crowd_drain_and_force(&mut self) {
        for number in 5..=20 {
            drop(self.acquire(number).await);
        }
        assert!(self.rest().await.sum("connection_closes_total", &["\"excess\""]) > 0.0);
        let held = [self.acquire(20).await, self.acquire(20).await];
        assert!(self.pool.close_connection(account(20), held[0].connection_id()));
        self.rest().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let samples = self.rest().await;
        assert_eq!(samples.sum("leases", &[]), 2.0, "held beyond the end of the connection");
        drop(held);
        self.rest().await;
        assert!(self.pool.drain_account(account(19)).await);
        assert!(self.pool.acquire(account(19)).await.is_err());
        assert_eq!(self.rest().await.sum("accounts", &["\"draining\""]), 1.0);
        self.manager.on_connect(Play::Quarantine);
        assert!(self.pool.acquire(account(21)).await.is_err());
        self.manager.on_connect(Play::Good);
        let samples = self.rest().await;
        assert_eq!(samples.sum("accounts", &["\"quarantined\""]), 1.0);
        assert_eq!(samples.sum("quarantines_total", &["\"key_duplicated\""]), 1.0);
    }

    async fn grow_old_remove_and_collect(&mut self) {
        let held = self.acquire(22).await;
        let age = self.pool.config().pool.max_connection_age;
        tokio::time::sleep(age + Duration::from_secs(1)).await;
        drop(held);
        let samples = self.rest().await;
        assert_eq!(samples.sum("connection_closes_total", &["\"age\""]), 1.0);
        assert!(self.pool.remove_account(account(22)).await);
        let samples = self.rest().await;
        assert_eq!(samples.sum("account_pools_closed_total", &["\"removed\""]), 1.0);
        tokio::time::sleep(Duration::from_secs(2000)).await;
        let samples = self.rest().await;
        let left = "what is drained or quarantined must be remembered";
        assert_eq!(samples.sum("accounts", &[]), 2.0, "{left}");
        assert!(samples.sum("account_pools_closed_total", &["\"idle\""]) > 10.0);
        drop(self.acquire(1).await);
        self.rest().await;
    }
}

/// A reading looks only at accounts with something afoot: that must miss nobody.
#[tokio::test(start_paused = true)]
async fn accounts_are_counted_by_how_they_stand_whatever_they_do() {
    let manager = Scripted::new(2, 1);
    manager.set_quarantine(account(1), 0, Some(QuarantineReason::Dead));
    manager.set_quarantine(account(1), 1, Some(QuarantineReason::Dead));
    let pool = manager.pool(|config| config.health.probe_after = Duration::from_secs(60));
    let exporter = Prometheus::new(&pool).unwrap();
    let standing = || {
        let samples = Samples::parse(&exporter.render());
        let of = |state: &str| samples.sum("accounts", &[&format!("{state:?}")]).to_string();
        ["ready", "cooling", "suspect", "quarantined", "draining", "paused"].map(of).join(" ")
    };
    let known: Vec<_> = (1..=10).map(|number| pool.account(account(number)).unwrap()).collect();
    assert_eq!(standing(), "9 0 0 1 0 0", "one was quarantined before this pool began");
    let samples = Samples::parse(&exporter.render());
    assert_eq!(samples.sum("connections_max", &[]), 20.0, "two sessions each");

    let lease = known[1].acquire().await.unwrap();
    let rest = Reaction::CoolDown { key: 1, wait: Duration::from_secs(30) };
    lease.report(&Failure(rest));
    drop(lease);
    manager.on_connect(Play::Unknown);
    known[2].acquire().await.unwrap_err();
    known[2].acquire().await.unwrap_err();
    manager.on_connect(Play::Good);
    assert!(pool.drain_account(account(4)).await);
    assert_eq!(standing(), "6 1 1 1 1 0");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(standing(), "7 0 1 1 1 0", "it has rested");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(standing(), "8 0 0 1 1 0", "its sessions are known again");

    // An old handle of an account that was removed counts for nothing beside the new one.
    assert!(pool.remove_account(account(4)).await);
    assert_eq!(standing(), "8 0 0 1 0 0");
    drop(pool.acquire(account(4)).await.unwrap());
    assert_eq!(standing(), "9 0 0 1 0 0");
    assert!(pool.reinstate(account(1)));
    assert_eq!(standing(), "10 0 0 0 0 0");
    assert!(pool.pause(account(1)) && pool.pause(account(2)));
    assert_eq!(standing(), "8 0 0 0 0 2", "whether it has a connection or not");
    assert!(pool.resume(account(1)) && pool.reinstate(account(2)));
    assert_eq!(standing(), "10 0 0 0 0 0");
    assert_eq!(Samples::parse(&exporter.render()).sum("connections", &["idle"]), 4.0);
    drop(known);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(standing(), "0 0 0 0 0 0", "nobody holds them, and they have nothing left");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_quarantined_after_its_last_connection_has_gone_is_counted_as_such() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| {
        config.pool.check_timeout = Duration::from_secs(60);
        config.pool.max_idle_time = Duration::from_secs(3000);
    });
    let exporter = Prometheus::new(&pool).unwrap();
    let standing = || {
        let samples = Samples::parse(&exporter.render());
        ["ready", "quarantined"].map(|state| samples.sum("accounts", &[&format!("{state:?}")]))
    };
    manager.state.unshown.store(true, Ordering::SeqCst);
    manager.on_check(Play::QuarantineAfter(Duration::from_secs(50)));
    drop(pool.acquire(account(1)).await.unwrap());
    let asked = || manager.state.checks.load(Ordering::SeqCst);
    for _ in 0..2000 {
        if asked() == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(asked(), 1);
    // Its session is being asked for when its connection goes; a reading finds it at rest then.
    assert_eq!(pool.close_account(account(1)).await, 1);
    assert_eq!((standing(), standing()), ([1.0, 0.0], [1.0, 0.0]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(standing(), [0.0, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_acquired_opened_and_met_is_released_closed_and_forgotten_or_still_there() {
    let mut drive = Drive::new();
    drive.share_wait_time_out_and_cancel().await;
    drive.discard_break_and_fail().await;
    drive.crowd_drain_and_force().await;
    drive.grow_old_remove_and_collect().await;
    drive.pool.close().await;
    drive.rest().await;
    tokio::time::resume();
    let server = serve(&drive.exporter).await;
    let samples = Samples::parse(&get(server, "/metrics").await.body);
    assert_conserved(&samples);
    assert_no_step_back(&drive.last, &samples);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_in_the_middle_of_it_leave_no_total_too_high() {
    let manager = Scripted::new(2, 2);
    let pool = manager.pool(|config| config.pool.max_connections = 8);
    let exporter = Prometheus::new(&pool).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let scrapes = tokio::task::spawn_blocking({
        let (exporter, stop) = (exporter.clone(), stop.clone());
        move || {
            let mut last = Samples::parse(&exporter.render());
            while !stop.load(Ordering::SeqCst) {
                let samples = Samples::parse(&exporter.render());
                assert_no_step_back(&last, &samples);
                last = samples;
            }
        }
    });
    let mut tasks = Vec::new();
    for task in 0..8 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..400 {
                let number = 1 + (task + round) % 12;
                match pool.acquire(account(number)).await {
                    Ok(lease) if round % 5 == 0 => lease.discard(),
                    Ok(lease) => drop(lease),
                    Err(error) => assert!(error.to_string().contains("clos"), "{error}"),
                }
                if round % 7 == 0 {
                    pool.remove_account(account(number)).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    scrapes.await.unwrap();
    // Ends what is under way, and brings any count up that was read in the middle of a step.
    for number in 1..=12 {
        pool.remove_account(account(number)).await;
        drop(pool.acquire(account(number)).await.unwrap());
    }
    pool.close().await;
    let samples = Samples::parse(&exporter.render());
    assert_conserved(&samples);
    assert_agrees(&samples, &pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_meet_at_shared_connections_leave_every_lease_counted_as_given_back() {
    let manager = Scripted::new(1, 16);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let mut last = Samples::parse(&exporter.render());
    for _ in 0..50 {
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let known = pool.account(account(1)).unwrap();
            tasks.push(tokio::spawn(async move {
                for _ in 0..1000 {
                    drop(known.acquire().await.unwrap());
                }
            }));
        }
        // In the middle of it, and at rest, where leases lie that nobody holds.
        let samples = Samples::parse(&exporter.render());
        assert_no_step_back(&last, &samples);
        for task in tasks {
            task.await.unwrap();
        }
        last = Samples::parse(&exporter.render());
        assert_no_step_back(&samples, &last);
        assert_conserved(&last);
        assert_agrees(&last, &pool);
        assert_eq!((last.sum("leases", &[]), last.sum("connections", &["\"idle\""])), (0.0, 1.0));
    }
    assert_eq!(last.sum("acquires_total", &["\"ok\""]), 300_000.0);
    pool.close().await;
    let samples = Samples::parse(&exporter.render());
    assert_conserved(&samples);
    assert_agrees(&samples, &pool);
    assert_eq!(samples.sum("acquires_total", &["\"ok\""]), 300_000.0);
}

#[tokio::test]
async fn only_acquires_that_stood_in_line_are_counted_as_waits() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    let dialled = pool.acquire(account(1)).await.unwrap();
    let (waited, ()) = tokio::join!(pool.acquire(account(1)), async { drop(dialled) });
    drop(waited.unwrap());
    drop(pool.acquire(account(1)).await.unwrap());
    let samples = Samples::parse(&exporter.render());
    assert_eq!(samples.sum("acquires_total", &["\"ok\""]), 3.0);
    assert_eq!(samples.sum("acquire_wait_seconds_count", &[]), 2.0);
    assert_eq!(samples.sum("lease_use_seconds_count", &[]), 1.0, "the first of a connection");
}

#[tokio::test]
async fn sixty_six_groups_are_sixty_four_and_other() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let server = serve(&exporter).await;
    for number in 0..66 {
        manager.state.profile.lock().unwrap().group = Arc::from(format!("group {number}"));
        drop(pool.acquire(account(1 + number)).await.unwrap());
    }
    let samples = Samples::parse(&get(server, "/metrics").await.body);
    for metric in ["accounts", "acquires_total", "acquire_wait_seconds_count"] {
        assert_eq!(samples.labels(metric, "group").len(), 65, "{metric}");
        assert!(samples.labels(metric, "group").contains("group 63"));
        assert!(!samples.labels(metric, "group").contains("group 64"));
    }
    assert_eq!(samples.sum("accounts", &["\"other\"", "\"ready\""]), 2.0);
    assert_eq!(samples.sum("accounts", &[]), 66.0);
    assert_eq!(samples.sum("label_overflow_groups", &[]), 2.0);
    assert_conserved(&samples);
    assert_agrees(&samples, &pool);
}

#[tokio::test]
async fn dials_are_counted_by_their_class() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    for number in 1..=14 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    let samples = Samples::parse(&exporter.render());
    let at = |class| samples.sum("connection_opens_total", &["\"ok\"", class]);
    // The scripted manager counts dials of account `n` in class `n` modulo 7.
    assert_eq!((at("dc=\"1\""), at("dc=\"5\""), at("dc=\"other\"")), (2.0, 2.0, 4.0));
}

#[tokio::test(start_paused = true)]
async fn addresses_that_do_not_answer_are_counted_until_they_do() {
    let manager = Scripted::new(1, 1);
    manager.live_at("silent", 1..=3);
    manager.live_at("refusing", 11..=13);
    manager.live_at("good", 21..=23);
    for address in ["silent", "refusing"] {
        manager.on_connect_at(address, Play::Fail);
    }
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let down = || Samples::parse(&exporter.render()).sum("addresses_down", &[]);
    assert_eq!(down(), 0.0);
    for (round, counted) in [(1, 0.0), (2, 0.0), (3, 2.0)] {
        for address in [0, 10] {
            assert!(pool.acquire(account(address + round)).await.is_err());
        }
        drop(pool.acquire(account(20 + round)).await.unwrap());
        assert_eq!(down(), counted, "after the dials of {round} accounts");
    }
    manager.on_connect_at("silent", Play::Good);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(down(), 1.0);
}

#[tokio::test]
async fn no_series_names_an_account() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let server = serve(&exporter).await;
    let number = 987_654;
    drop(pool.acquire(account(number)).await.unwrap());
    let phone: AccountId = "+442079460958".parse().unwrap();
    assert!(pool.acquire(phone).await.is_err(), "the scripted manager does not know it");
    let text = get(server, "/metrics").await.body;
    let open = [
        "group",
        "state",
        "result",
        "source",
        "outcome",
        "dc",
        "reason",
        "kind",
        "egress",
        "version",
        "revision",
        "le",
        "class",
        "error",
        "direction",
    ];
    for series in Samples::parse(&text).0.keys() {
        assert!(!series.contains(&number.to_string()) && !series.contains("7946"), "{series}");
        let Some((_, labels)) = series.split_once('{') else { continue };
        for label in labels.trim_end_matches('}').split("\",") {
            let name = label.split('=').next().unwrap();
            assert!(open.contains(&name), "{series}");
        }
    }
}

#[tokio::test]
async fn health_is_told_until_the_pool_closes_and_other_paths_are_unknown() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    let server = serve(&exporter).await;
    let healthy = get(server, "/healthz").await;
    assert_eq!((healthy.status, healthy.body.trim()), (200, "ok"));
    for path in ["/x", "/metrics/", "/metricsx", "/healthz/1"] {
        let unknown = get(server, path).await;
        assert_eq!((unknown.status, unknown.body.trim()), (404, "not found"), "{path}");
    }
    pool.close().await;
    let closing = get(server, "/healthz").await;
    assert_eq!((closing.status, closing.body.trim()), (503, "closing"));
    assert_eq!(get(server, "/metrics").await.status, 200, "the last numbers are still told");
    drop(pool);
    assert_eq!(get(server, "/healthz").await.status, 503);
    assert_eq!(get(server, "/metrics").await.status, 200);
}

#[tokio::test]
async fn a_pool_has_one_exporter() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let _exporter = Prometheus::new(&pool).unwrap();
    assert_eq!(Prometheus::new(&pool).unwrap_err(), ExportError::AlreadyExported);
}

#[tokio::test]
async fn the_server_ends_when_it_is_told_although_a_client_stays_connected() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.ok();
    };
    let server = tokio::spawn(http::serve(listener, http::probes(&exporter), shutdown));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: telepool\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pool_in_which_nobody_serves_lives_and_is_not_ready() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| {});
    let exporter = Prometheus::new(&pool).unwrap();
    let server = serve(&exporter).await;
    let ready = async || {
        let (live, ready) = (get(server, "/healthz").await, get(server, "/readyz").await);
        (live.status, ready.status, ready.body)
    };
    assert_eq!(ready().await, (200, 200, "ready\n".into()), "nobody was asked for yet");
    drop(pool.acquire(account(1)).await.unwrap());
    drop(pool.acquire(account(2)).await.unwrap());
    for (number, status) in [(1, 200), (2, 503)] {
        let lease = pool.acquire(account(number)).await.unwrap();
        lease.report(&Failure(Reaction::QuarantineAccount(QuarantineReason::Deactivated)));
        drop(lease);
        assert_eq!(ready().await.1, status, "after {number} of two");
    }
    assert_eq!(exporter.readiness(), Readiness::NobodyServes { accounts: 2, paused: 0 });
    let why = "nobody serves: all 2 accounts are out of service\n";
    assert_eq!(ready().await, (200, 503, why.into()));
    assert!(pool.reinstate(account(2)));
    assert_eq!(ready().await, (200, 200, "ready\n".into()));
    pool.close().await;
    assert_eq!(ready().await, (503, 503, "closing\n".into()));
}
