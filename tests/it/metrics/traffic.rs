//! Calls, errors, floods and updates, as a manager has them counted.

use telepool::{CallOutcome, TrafficCounters, TrafficGroups};

use super::*;

fn samples(exporter: &Prometheus) -> Samples {
    Samples::parse(&exporter.render())
}

/// A call as a manager of a server would count it.
fn call(counters: &TrafficCounters, outcome: CallOutcome) {
    counters.begin_call().end(outcome);
    if matches!(outcome, CallOutcome::RpcError | CallOutcome::Flood) {
        counters.count_error(usize::from(outcome == CallOutcome::Flood));
    }
}

#[tokio::test]
async fn calls_and_updates_are_counted_for_their_group() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let groups = manager.state.traffic.get().unwrap();
    let (north, south) = (groups.counters(&"north".into()), groups.counters(&"south".into()));
    let before = samples(&exporter);
    assert_eq!(before.labels("calls_total", "group").len(), 2, "from the connection on");
    assert_eq!(before.series("rpc_errors_total").count(), 0, "nobody has called");
    for outcome in CallOutcome::ALL {
        call(&north, outcome);
    }
    drop(north.begin_call());
    call(&south, CallOutcome::Ok);
    south.count_update();
    let after = samples(&exporter);
    assert_conserved(&after);
    for outcome in CallOutcome::ALL {
        let label = format!("outcome=\"{}\"", outcome.label());
        let count = if outcome == CallOutcome::Cancelled { 2.0 } else { 1.0 };
        assert_eq!(after.sum("calls_total", &["\"north\"", &label]), count, "{label}");
    }
    assert_eq!(after.sum("calls_total", &["\"south\""]), 1.0);
    let errors = |group, name| after.sum("rpc_errors_total", &[group, name]);
    assert_eq!((errors("\"north\"", "\"GONE\""), errors("\"north\"", "\"TIRED\"")), (1.0, 1.0));
    assert_eq!(after.labels("rpc_errors_total", "error").len(), 3, "and other");
    assert_eq!(after.labels("rpc_errors_total", "group").len(), 2, "before its first error");
    assert_eq!(after.sum("updates_received_total", &["\"south\""]), 1.0);
    assert_eq!(after.sum("last_update_timestamp_seconds", &["\"north\""]), 0.0);
    assert!(after.sum("last_update_timestamp_seconds", &["\"south\""]) > 1e9);
}

#[tokio::test]
async fn an_error_without_a_name_of_its_own_is_one_of_the_others() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let counters = manager.state.traffic.get().unwrap().counters(&"default".into());
    for name in [2, 62, 63, usize::MAX] {
        counters.begin_call().end(CallOutcome::RpcError);
        counters.count_error(name);
    }
    let samples = samples(&exporter);
    assert_conserved(&samples);
    assert_eq!(samples.sum("rpc_errors_total", &["\"other\""]), 4.0);
}

#[tokio::test]
async fn groups_beyond_those_with_a_name_share_their_traffic() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let groups = manager.state.traffic.get().unwrap();
    for number in 0..70 {
        call(&groups.counters(&format!("group {number}").into()), CallOutcome::Ok);
    }
    let samples = samples(&exporter);
    assert_eq!(samples.labels("calls_total", "group").len(), 65);
    assert_eq!(samples.sum("calls_total", &["\"other\""]), 6.0);
    assert_eq!(samples.sum("label_overflow_groups", &[]), 0.0, "no account was met");
}

#[tokio::test]
async fn what_a_manager_counts_without_a_pool_harms_nobody() {
    let counters = TrafficGroups::default().counters(&"north".into());
    call(&counters, CallOutcome::RpcError);
    counters.count_update();
}

#[tokio::test(start_paused = true)]
async fn floods_are_counted_by_their_class_and_add_up_to_what_they_were() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    let lease = pool.acquire(account(1)).await.unwrap();
    for key in [0, 1, 2, 3, 4] {
        let wait = Duration::from_secs(10);
        lease.report(&Failure(Reaction::CoolDown { key, wait }));
    }
    manager.on_connect(Play::Rest(Duration::from_secs(1)));
    let late = pool.acquire_timeout(account(2), Duration::from_millis(500)).await;
    assert!(late.is_err());
    let samples = samples(&exporter);
    let of = |class: &str| samples.sum("flood_waits_total", &[&format!("class=\"{class}\"")]);
    assert_eq!([of("talk"), of("walk"), of("dial"), of("other")], [2.0, 2.0, 1.0, 1.0]);
    assert_eq!(samples.sum("flood_waits_total", &[]), pool.stats().flood_waits as f64);
    assert_eq!(samples.sum("flood_wait_imposed_seconds_total", &[]), 51.0);
}

#[tokio::test]
async fn a_scrape_of_some_groups_says_nothing_of_the_others() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    for (number, group) in [(1, "north"), (2, "south"), (3, "south")] {
        manager.state.profile.lock().unwrap().group = Arc::from(group);
        drop(pool.acquire(account(number)).await.unwrap());
    }
    let whole = samples(&exporter);
    let north = exporter.scrape_of([Arc::from("north")].into()).await.unwrap();
    assert!(!north.contains("south") && !north.contains("process_"), "{north}");
    let seen = Samples::parse(&north);
    assert_eq!(seen.labels("accounts", "group").len(), 1);
    assert_eq!(seen.sum("acquires_total", &["\"ok\""]), 1.0);
    let of_pool: BTreeSet<_> =
        seen.0.keys().filter(|series| !series.contains("group=")).cloned().collect();
    let told = ["pool_connections_max", "reaper_last_run_timestamp_seconds", "reaper_runs_total"];
    for metric in told {
        assert!(of_pool.contains(&format!("telepool_{metric}")), "{metric}: {of_pool:?}");
    }
    assert_eq!(of_pool.len(), told.len() + 1, "and the build: {of_pool:?}");
    // What is seen of a group is all that there is of it, and the same.
    let of_north = whole.0.iter().filter(|(series, _)| series.contains("group=\"north\""));
    for (series, value) in of_north {
        assert_eq!(seen.0.get(series), Some(value), "{series}");
    }
    assert_eq!(exporter.render_of(&[]).matches("group=").count(), 0);
    drop(pool);
    let gone = Samples::parse(&exporter.render_of(&[Arc::from("north")]));
    assert_eq!(gone.sum("acquires_total", &[]), 1.0, "the last that is known");
}
