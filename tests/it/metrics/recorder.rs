//! The export to a recorder that is not ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use telepool::metrics::PoolMetrics;
use telepool::{NoopManager, Pool};

use crate::scripted::account;

/// A recorder of an application's own: it keeps the last value of each series.
#[derive(Debug, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

struct Line(Arc<Mutex<BTreeMap<String, f64>>>, String);

impl Line {
    fn write(&self, value: f64) {
        self.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl CounterFn for Line {
    fn increment(&self, _: u64) {
        unreachable!("the pool's own counters are copied");
    }

    fn absolute(&self, value: u64) {
        self.write(value as f64);
    }
}

impl GaugeFn for Line {
    fn increment(&self, _: f64) {
        unreachable!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        unreachable!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.write(value);
    }
}

impl HistogramFn for Line {
    fn record(&self, value: f64) {
        self.write(value);
    }
}

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<_> =
            key.labels().map(|it| format!("{}={}", it.key(), it.value())).collect();
        Arc::new(Line(Arc::clone(&self.0), format!("{} {}", key.name(), labels.join(" "))))
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

#[tokio::test]
async fn any_recorder_will_do_and_that_of_the_host_is_left_alone() {
    let host = Book::default();
    let seen_by_host = Arc::clone(&host.0);
    // Whatever the pool would record by the facade's macros lands there.
    metrics::set_global_recorder(host).expect("no other test installs one");
    let own = Book::default();
    let seen = Arc::clone(&own.0);
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    drop(pool.acquire(account(1)).await.unwrap());
    let exporter = PoolMetrics::new(&pool, Arc::new(own)).unwrap();
    drop(pool.acquire(account(1)).await.unwrap());
    exporter.update();
    let lease_use = "telepool_lease_use_seconds group=default";
    assert!(!seen.lock().unwrap().contains_key(lease_use), "it was counted before anybody asked");
    drop(pool.acquire(account(2)).await.unwrap());
    exporter.update();
    assert!(seen.lock().unwrap()[lease_use] < 10.0, "the mean of a bucket");
    let value = |series: &str| seen.lock().unwrap().get(series).copied();
    assert_eq!(value("telepool_acquires_total group=default result=ok"), Some(3.0));
    assert_eq!(value("telepool_connections group=default state=idle"), Some(2.0));
    assert_eq!(value("telepool_reaper_runs_total "), Some(0.0));
    let from_pool = |series: &String| series.starts_with("telepool_");
    assert_eq!(seen_by_host.lock().unwrap().keys().filter(|it| from_pool(it)).count(), 0);
}
