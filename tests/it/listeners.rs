//! Listeners of `tracing` that panic cost nobody a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use telepool::{NoopManager, Pool};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::listening::listen;
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
