//! Resource usage of this process, as far as the system reports it.

use std::time::Duration;

/// Time on processors, of all threads that are or were.
#[cfg(unix)]
pub(super) fn cpu() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Duration::from)
}

#[cfg(not(unix))]
pub(super) fn cpu() -> Option<Duration> {
    None
}

/// Memory that is resident now, in kilobytes.
pub(super) fn resident_kb() -> Option<u64> {
    status("VmRSS:")
}

/// The most that ever was.
pub(super) fn peak_resident_kb() -> Option<u64> {
    status("VmHWM:")
}

/// A line of Linux' own account of the process.
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
