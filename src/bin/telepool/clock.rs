//! The clock that runs are measured by.

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a run is measured in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
