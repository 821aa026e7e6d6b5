//! Progress of a broadcast: how many chats came to what, and how fast.
//!
//! Owns the counts. Never reads a clock.

use std::time::Duration;

use super::outcome::BroadcastOutcome;

/// The rate is that of the last so many seconds.
const RATE_SECONDS: u64 = 10;
/// The same, as a length.
const SECONDS_KEPT: usize = 10;

/// How far a broadcast has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BroadcastProgress {
    /// Chats that have the message, those that had it from an earlier run without its journal among them.
    pub sent: u64,
    /// Chats that the server refuses for good.
    pub failed: u64,
    /// Chats that are left for a later run.
    pub unsent: u64,
    /// Chats that an earlier run has settled, by the journal.
    pub skipped: u64,
    /// Chats that were read from the list and are not settled, calls under way among them.
    pub waiting: u64,
    /// Messages per second, over the last ten seconds.
    pub rate: f64,
    /// How long it has taken so far.
    pub elapsed: Duration,
}

/// The counts of a run.
#[derive(Debug, Default)]
pub(super) struct ProgressCounts {
    sent: u64,
    failed: u64,
    unsent: u64,
    pub(super) skipped: u64,
    /// The messages of each of the last seconds, with which second it was.
    seconds: [(u64, u64); SECONDS_KEPT],
}

impl ProgressCounts {
    pub(super) fn count(&mut self, outcome: &BroadcastOutcome, elapsed: Duration) {
        match outcome {
            BroadcastOutcome::Sent { .. } => {
                self.sent += 1;
                let second = elapsed.as_secs();
                let place = &mut self.seconds[usize::try_from(second % RATE_SECONDS).unwrap_or(0)];
                if place.0 != second {
                    *place = (second, 0);
                }
                place.1 += 1;
            }
            BroadcastOutcome::Failed { .. } => self.failed += 1,
            BroadcastOutcome::Unsent { .. } => self.unsent += 1,
        }
    }

    pub(super) fn read(&self, waiting: usize, elapsed: Duration) -> BroadcastProgress {
        let now = elapsed.as_secs();
        let recent = self.seconds.iter().filter(|(second, _)| second + RATE_SECONDS > now);
        let messages: u64 = recent.map(|(_, messages)| messages).sum();
        // Of the second that has begun only a part has passed.
        let whole = now.min(RATE_SECONDS - 1);
        let span = Duration::from_secs(whole) + (elapsed - Duration::from_secs(now));
        let rate = messages as f64 / span.as_secs_f64().max(0.001);
        BroadcastProgress {
            sent: self.sent,
            failed: self.failed,
            unsent: self.unsent,
            skipped: self.skipped,
            waiting: waiting as u64,
            rate,
            elapsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut counts = ProgressCounts::default();
        let at = Duration::from_millis;
        for message in 0..600 {
            counts.count(&BroadcastOutcome::Sent { message: None }, at(message * 50));
        }
        let progress = counts.read(7, at(30_000));
        assert_eq!((progress.sent, progress.waiting), (600, 7));
        assert!((progress.rate - 20.0).abs() < 0.5, "{}", progress.rate);
        assert!(counts.read(0, at(60_000)).rate < 0.1, "it has ended");
        let mut counts = ProgressCounts::default();
        counts.count(&BroadcastOutcome::Sent { message: None }, at(100));
        assert!((counts.read(0, at(500)).rate - 2.0).abs() < 0.1);
    }
}
