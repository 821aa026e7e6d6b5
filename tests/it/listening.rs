//! Listening to `tracing` in a process in which other tests run as well.

use std::sync::LazyLock;

use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Subscriber};

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
