//! Listeners of `tracing` that panic cost nobody a connection.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telepool::{NoopManager, Pool};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::listening::{OnEvent, listen};
use crate::scripted::account;

/// Panics when the span of an acquire is left, once after it was told to.
#[derive(Clone, Default)]
struct Panicky {
    is_armed: Arc<AtomicBool>,
    spans: Arc<AtomicU64>,
}

impl Subscriber for Panicky {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "acquire"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1 + self.spans.fetch_add(1, Ordering::SeqCst))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {
        assert!(!self.is_armed.swap(false, Ordering::SeqCst), "as it was told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_as_an_acquire_ends_costs_no_lease() {
    let listener = Panicky::default();
    let _listening = listen(listener.clone());
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    drop(pool.acquire(account(1)).await.unwrap());
    listener.is_armed.store(true, Ordering::SeqCst);
    let acquire = pool.acquire(account(1));
    let ended = tokio::spawn(async move { drop(acquire.await) }).await;
    ended.expect_err("the listener has panicked");
    assert_eq!(pool.stats().leases, 0);
    drop(pool.acquire(account(1)).await.unwrap());
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_is_not_taken_for_the_manager() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = Arc::clone(&told);
    // At the warning of a lease that is held for long.
    let _listening = listen(OnEvent(move |event: &Event<'_>| {
        let mut message = Message(String::new());
        event.record(&mut message);
        match *event.metadata().level() {
            Level::ERROR => errors.lock().unwrap().push(message.0),
            Level::WARN => panic!("as it was told"),
            _ => {}
        }
    }));
    let pool = Pool::builder(NoopManager::new(1))
        .configure(|config| config.watch.held_lease = Duration::from_secs(60))
        .build()
        .unwrap();
    let lease = pool.acquire(account(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    drop(lease);
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("none of them is the pool's"), "{told:?}");
}
