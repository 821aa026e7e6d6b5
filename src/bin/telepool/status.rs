//! Status line and progress bar on a terminal.

use std::io;
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::counts::RunCounts;

/// How often the line changes.
pub(crate) const STEP: Duration = Duration::from_millis(250);

/// How often it is drawn in a second, at most.
const HZ: u8 = 4;

/// The columns at the right of a line that stay free: for the `^C` that a terminal puts behind it, which
/// would else break the line in two and leave a copy of it behind.
const ECHO: u16 = 3;

/// A terminal, as wide as what is drawn on it may be. A line is filled up to that width.
#[derive(Debug)]
struct Narrowed(Term);

impl TermLike for Narrowed {
    fn width(&self) -> u16 {
        self.0.size().1.saturating_sub(ECHO).max(1)
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard error, if that is a terminal.
fn target() -> ProgressDrawTarget {
    let term = Term::buffered_stderr();
    let plain = ProgressDrawTarget::term(term.clone(), HZ);
    match plain.is_hidden() {
        true => plain,
        false => ProgressDrawTarget::term_like_with_hz(Box::new(Narrowed(term)), HZ),
    }
}

/// A line that is never drawn.
pub(crate) fn hidden() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
}

/// A line on standard error; nothing is drawn unless that is a terminal.
pub(crate) fn line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}");
    bar.set_style(style.expect("BUG: the template is fixed"));
    bar
}

/// A bar on standard error for work that takes so many milliseconds, told by phase.
#[cfg(feature = "bench")]
pub(crate) fn bar(length_ms: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length_ms), target());
    let style = ProgressStyle::with_template("{spinner} {elapsed} [{bar:30}] {wide_msg}");
    bar.set_style(style.expect("BUG: the template is fixed"));
    bar
}

/// The columns that are free for no part: those of the spinner and the time before them, and the last ones.
const FREE: usize = 7 + ECHO as usize;

/// What the line says: numbers now, and the rate since the last time.
pub(crate) fn text(
    stats: &telepool::PoolStats,
    counts: &RunCounts,
    calls_before: u64,
    passed: Duration,
) -> String {
    let rate = (counts.calls() - calls_before) as f64 / passed.as_secs_f64().max(0.001);
    let open = stats.current_pool_size + stats.current_active_connections;
    let mut parts = vec![format!("{rate:.0} calls/s"), format!("{} failed", counts.failed())];
    if counts.faulted() > 0 {
        parts.push(format!("{} faulted", counts.faulted()));
    }
    parts.push(format!("{} waiting", stats.waiting));
    parts.push(format!("{open} open"));
    parts.push(format!("{} leased", stats.current_active_connections));
    parts.push(format!("{} opening", stats.current_connecting));
    parts.push(format!("{} calls", counts.calls()));
    let (_, width) = Term::stderr().size();
    fitted(&parts, usize::from(width).saturating_sub(FREE))
}

/// The parts that find room, the most important of which are the first. None is cut in the middle.
fn fitted(parts: &[String], room: usize) -> String {
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { ", " };
        if text.chars().count() + gap.len() + part.chars().count() > room && !text.is_empty() {
            break;
        }
        text.push_str(gap);
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_line_leaves_whole_parts_out_and_keeps_room_for_the_rest() {
        let parts = [
            "4236 calls/s",
            "12 failed",
            "45 waiting",
            "389 open",
            "211 leased",
            "64 opening",
            "42423 calls",
        ]
        .map(str::to_owned);
        let wide = fitted(&parts, 200);
        assert_eq!(wide.matches(", ").count(), 6);
        let at_80 = fitted(&parts, 80 - FREE);
        assert!(at_80.ends_with("211 leased, 64 opening"), "{at_80}");
        for room in 0..100 {
            let text = fitted(&parts, room);
            assert!(wide.starts_with(&text) && text.starts_with("4236 calls/s"), "{text}");
            assert!(text.len() <= room.max(12), "{room}: {text}");
        }
    }
}
