//! The clock that runs are measured by, and the time of day.

use std::time::SystemTime;

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a run is measured in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "what an operator reads and writes is in time of day"
)]
pub(crate) fn wall_time() -> SystemTime {
    SystemTime::now()
}
