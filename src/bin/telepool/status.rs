//! The live line on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::Tally;

/// How often the line changes.
pub(crate) const STEP: Duration = Duration::from_millis(250);

/// A line that is never drawn.
pub(crate) fn hidden() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
}

/// A line on standard error; nothing is drawn unless that is a terminal.
pub(crate) fn line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}");
    bar.set_style(style.expect("BUG: the template is fixed"));
    bar
}

/// A bar on standard error for work that takes so many milliseconds, told by phase.
pub(crate) fn bar(length_ms: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length_ms), ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template("{spinner} {elapsed} [{bar:30}] {wide_msg}");
    bar.set_style(style.expect("BUG: the template is fixed"));
    bar
}

/// What the line says: numbers now, and the rate since the last time.
pub(crate) fn text(
    stats: &telepool::PoolStats,
    tally: &Tally,
    calls_before: u64,
    passed: Duration,
) -> String {
    let calls = tally.calls();
    let rate = (calls - calls_before) as f64 / passed.as_secs_f64().max(0.001);
    let connections = stats.current_pool_size + stats.current_active_connections;
    // The most important first: a narrow terminal cuts the end off.
    format!(
        "{rate:.0} calls/s, {} failed, {} faulted | open {connections} (leased {}), opening {}, \
         waiting {} | {calls} calls",
        tally.failed(),
        tally.faulted(),
        stats.current_active_connections,
        stats.current_connecting,
        stats.waiting,
    )
}
