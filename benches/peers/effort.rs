//! Effort of a run: how long and how often everything is measured.

use std::time::Duration;

/// How long and how often everything is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) slice: Duration,
    pub(crate) rounds: usize,
    pub(crate) bursts: u64,
}

/// Lets the workers work. Blocks the thread of `main`, which is none of them: some pools never give
/// way, so that a timer of the runtime would never come to fire.
pub(crate) fn rest(time: Duration) {
    std::thread::sleep(time);
}
