//! Samples: all groups at one moment, and what was done in the ten seconds before.
//!
//! Owns the window of the last samples, and which of their groups are added up.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::clock::Instant;
use crate::http::monitor::alerts::GroupAlerts;
use crate::http::monitor::numbers::{SampledNumbers, quantile, since};
use crate::http::monitor::rendered::Rendered;
use crate::metrics::Readiness;

/// How far back rates look, in samples of a second.
pub(super) const WINDOW: usize = 10;

/// One group at one moment.
#[derive(Clone, Debug)]
pub(crate) struct GroupAt {
    pub(crate) name: Arc<str>,
    pub(crate) now: SampledNumbers,
    /// As of the beginning of the window; nothing, if the group came later.
    pub(crate) earlier: SampledNumbers,
    pub(crate) alerts: GroupAlerts,
}

/// All groups at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Grows by one with each.
    pub(crate) number: u64,
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    /// How long ago the window began, in seconds; 0 for the first sample.
    pub(crate) window: f64,
    pub(crate) groups: Vec<GroupAt>,
    /// Of the pool as a whole.
    pub(crate) connections_max: u64,
    pub(crate) breakers_open: u64,
    pub(crate) addresses_down: u64,
    /// Since when, in milliseconds since 1970, there are any.
    pub(crate) breakers_since: Option<u64>,
    pub(crate) addresses_since: Option<u64>,
    pub(crate) closing_since: Option<u64>,
    pub(crate) readiness: Readiness,
    /// Answers that were made of it, by what they depend on.
    pub(crate) rendered: Rendered,
}

/// What is done per second, over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct WindowRates {
    pub(crate) acquires: f64,
    pub(crate) acquires_failed: f64,
    pub(crate) opens: f64,
    pub(crate) opens_failed: f64,
    pub(crate) closes: f64,
    pub(crate) floods: f64,
    pub(crate) calls: f64,
    pub(crate) calls_failed: f64,
    pub(crate) calls_unanswered: f64,
    pub(crate) updates: f64,
    pub(crate) wait_p50: Option<f64>,
    pub(crate) wait_p99: Option<f64>,
    pub(crate) call_p50: Option<f64>,
    pub(crate) call_p99: Option<f64>,
}

impl WindowRates {
    /// Returns what was done between two moments.
    pub(crate) fn between(earlier: &SampledNumbers, now: &SampledNumbers, seconds: f64) -> Self {
        if seconds <= 0.0 {
            return Self::default();
        }
        let rate =
            |of: fn(&SampledNumbers) -> u64| of(now).saturating_sub(of(earlier)) as f64 / seconds;
        let (at_once, waits) = now.waits_since(earlier);
        let call_times = since(&now.call_times, &earlier.call_times);
        Self {
            acquires: rate(|it| it.acquires_ok),
            acquires_failed: rate(SampledNumbers::acquires_failed),
            opens: rate(SampledNumbers::opens_ok),
            opens_failed: rate(SampledNumbers::opens_failed),
            closes: rate(SampledNumbers::closes_all),
            floods: rate(|it| it.floods.total()),
            calls: rate(SampledNumbers::calls_all),
            calls_failed: rate(SampledNumbers::calls_failed),
            calls_unanswered: rate(SampledNumbers::calls_unanswered),
            updates: rate(|it| it.updates_received),
            wait_p50: quantile(0.5, at_once, &waits),
            wait_p99: quantile(0.99, at_once, &waits),
            call_p50: quantile(0.5, 0, &call_times),
            call_p99: quantile(0.99, 0, &call_times),
        }
    }
}

impl Sample {
    /// Adds up the groups that are meant: now, and as of the beginning of the window. What all of them may
    /// have together is bounded by the pool.
    pub(crate) fn sum(&self, meant: impl Fn(&str) -> bool) -> (SampledNumbers, SampledNumbers) {
        let (mut now, mut earlier) = (SampledNumbers::default(), SampledNumbers::default());
        for group in self.groups.iter().filter(|group| meant(&group.name)) {
            now.add(&group.now);
            earlier.add(&group.earlier);
        }
        now.connections_max = now.connections_max.min(self.connections_max);
        (now, earlier)
    }
}

/// The last readings, from which the next sample takes what was.
#[derive(Debug, Default)]
pub(super) struct SampleWindow(VecDeque<PastSample>);

#[derive(Debug)]
struct PastSample {
    at: Instant,
    groups: Vec<(Arc<str>, SampledNumbers)>,
}

impl SampleWindow {
    /// How long ago the window began.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        let first = self.0.front();
        first.map_or(0.0, |past| now.saturating_duration_since(past.at).as_secs_f64())
    }

    /// A group as it was at the beginning.
    pub(super) fn earlier(&self, name: &str) -> SampledNumbers {
        let first = self.0.front().map(|past| past.groups.as_slice()).unwrap_or_default();
        first.iter().find(|(known, _)| **known == *name).map(|it| it.1.clone()).unwrap_or_default()
    }

    /// A group as it was in the sample before.
    pub(super) fn last(&self, name: &str) -> Option<&SampledNumbers> {
        let last = self.0.back()?;
        last.groups.iter().find(|(known, _)| **known == *name).map(|(_, numbers)| numbers)
    }

    pub(super) fn push(&mut self, at: Instant, groups: Vec<(Arc<str>, SampledNumbers)>) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(PastSample { at, groups });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;
    use std::time::Duration;

    #[test]
    fn rates_are_over_the_time_between_and_nothing_without_one() {
        let earlier =
            SampledNumbers { acquires_ok: 100, updates_received: 3, ..Default::default() };
        let later = SampledNumbers { acquires_ok: 150, updates_received: 3, ..Default::default() };
        let rates = WindowRates::between(&earlier, &later, 10.0);
        assert_eq!((rates.acquires, rates.updates), (5.0, 0.0));
        assert_eq!((rates.wait_p50, rates.wait_p99), (Some(0.0), Some(0.0)), "none has waited");
        assert_eq!(WindowRates::between(&earlier, &later, 0.0), WindowRates::default());
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_is_ten_samples_long() {
        let mut window = SampleWindow::default();
        let name: Arc<str> = Arc::from("a");
        for acquires_ok in 0..15 {
            let numbers = SampledNumbers { acquires_ok, ..Default::default() };
            window.push(now(), vec![(Arc::clone(&name), numbers)]);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(window.earlier("a").acquires_ok, 5);
        assert_eq!(window.last("a").unwrap().acquires_ok, 14);
        assert_eq!(window.seconds(now()), 10.0);
        assert_eq!(window.earlier("b"), SampledNumbers::default());
    }
}
