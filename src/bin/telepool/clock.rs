//! The clock that runs are measured by, and the time of day.

use std::time::{Duration, SystemTime};

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

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    seconds_of(wall_time())
}

/// The same of any time.
pub(crate) fn seconds_of(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The year 9999, after which no moment can be written.
pub(crate) const FAR: u64 = 253_370_764_800;

/// The time in UTC; what lies after the year 9999 in seconds.
pub(crate) fn utc(seconds: u64) -> String {
    if seconds >= FAR {
        return format!("{seconds} s");
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
