//! Listening to `tracing` in a process in which other tests run as well.

use std::sync::LazyLock;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// A subscriber beside that of a test. Where there is only one, tracing asks the thread that first
/// comes by a place whether anybody listens there, and keeps its no for the whole process, although
/// that thread may be another test's.
static BESIDE: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

/// Lets `subscriber` hear what happens on this thread, until the guard is dropped.
pub(crate) fn listen(subscriber: impl Subscriber + Send + Sync) -> DefaultGuard {
    LazyLock::force(&BESIDE);
    let guard = tracing::subscriber::set_default(subscriber);
    // Other tests may have come by before there was anybody.
    tracing::callsite::rebuild_interest_cache();
    guard
}

/// Hands each event of the library's to a function, and no span.
pub(crate) struct OnEvent<F>(pub(crate) F);

impl<F: Fn(&Event<'_>) + 'static> Subscriber for OnEvent<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("telepool") && metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
