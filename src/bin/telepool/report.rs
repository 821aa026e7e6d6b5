//! Summary of a run, as a table and as a JSON object.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use telepool::PoolStats;

use crate::counts::RunCounts;

/// What a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    accounts: u64,
    sessions: u64,
    duration_s: f64,
    worked_s: f64,
    acquires: u64,
    acquires_failed: u64,
    calls: u64,
    calls_failed: u64,
    calls_faulted: u64,
    calls_per_s: f64,
    connections_created: u64,
    connections_reused: u64,
    connections_closed: u64,
    connections_left: u64,
    reuse_ratio: f64,
    acquire_wait_us: WaitTimes,
    call_ms: CallTimes,
    flood_waits: u64,
    quarantines: u64,
    quarantined_before: u64,
    resting_before: u64,
    dials_failed: u64,
    key_violations: u64,
    key_duplicated: u64,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct WaitTimes {
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct CallTimes {
    p50: f64,
    p99: f64,
}

/// What is not in the pool's own numbers.
#[derive(Debug)]
pub(crate) struct RunFacts {
    pub(crate) accounts: u64,
    pub(crate) sessions: u64,
    /// The sessions that earlier runs have quarantined.
    pub(crate) quarantined_before: u64,
    /// The sessions that rested at the start because of a process that ended without closing them.
    pub(crate) resting_before: u64,
    /// How long the run took, its end included.
    pub(crate) took: Duration,
    /// How long it worked before the end was asked for, and the calls that it made by then.
    pub(crate) worked: (Duration, u64),
    pub(crate) left: u64,
    pub(crate) key_violations: u64,
    /// The sessions that were quarantined because they were told `AUTH_KEY_DUPLICATED`.
    pub(crate) key_duplicated: u64,
    /// Whose dial failed last, and why.
    pub(crate) last_failure: Option<String>,
    pub(crate) seed: u64,
}

impl Summary {
    pub(crate) fn new(run: &RunFacts, stats: &PoolStats, counts: &RunCounts) -> Self {
        let (waits, calls) = counts.latencies();
        let seconds = run.took.as_secs_f64().max(0.001);
        let worked = run.worked.0.as_secs_f64().max(0.001);
        Self {
            accounts: run.accounts,
            sessions: run.sessions,
            duration_s: rounded(seconds),
            worked_s: rounded(worked),
            acquires: stats.acquires,
            acquires_failed: counts.failed_acquires(),
            calls: counts.calls(),
            calls_failed: counts.failed(),
            calls_faulted: counts.faulted(),
            calls_per_s: (run.worked.1 as f64 / worked).round(),
            connections_created: stats.total_connections_created,
            connections_reused: stats.total_connections_reused,
            connections_closed: stats.total_connections_closed,
            connections_left: run.left,
            reuse_ratio: stats.total_connections_reused as f64 / stats.acquires.max(1) as f64,
            acquire_wait_us: WaitTimes {
                p50: waits.quantile_us(0.5),
                p99: waits.quantile_us(0.99),
                max: waits.max_us(),
            },
            call_ms: CallTimes { p50: calls.quantile_ms(0.5), p99: calls.quantile_ms(0.99) },
            flood_waits: stats.flood_waits,
            quarantines: stats.quarantines,
            quarantined_before: run.quarantined_before,
            resting_before: run.resting_before,
            dials_failed: stats.dials_failed,
            key_violations: run.key_violations,
            key_duplicated: run.key_duplicated,
            seed: run.seed,
        }
    }

    fn sessions_text(&self) -> String {
        match self.resting_before {
            0 => format!("{}, with sessions: {}", self.accounts, self.sessions),
            resting => format!(
                "{}, with sessions: {}, of which {resting} rested at the start",
                self.accounts, self.sessions
            ),
        }
    }

    fn quarantines_text(&self) -> String {
        match self.quarantined_before {
            0 => self.quarantines.to_string(),
            before => format!("{}, and {before} sessions from before", self.quarantines),
        }
    }

    /// How often a key was on two connections. Where nobody has seen that, and sessions were told so
    /// all the same, a fault was injected.
    fn violations_text(&self) -> String {
        match (self.key_violations, self.key_duplicated) {
            (0, told @ 1..) => {
                format!("0; AUTH_KEY_DUPLICATED was injected, which cost {told} sessions")
            }
            (violations, _) => violations.to_string(),
        }
    }

    /// How long it was at work, and how long it took to end after that.
    fn duration_text(&self) -> String {
        let ending = (self.duration_s - self.worked_s).max(0.0);
        format!("{:.1} s of work, {ending:.1} s to end (seed {})", self.worked_s, self.seed)
    }

    /// Whether the run was as it should be.
    pub(crate) fn is_good(&self) -> bool {
        self.calls_failed == 0
            && self.key_violations == 0
            && self.connections_left == 0
            && !self.reached_nobody()
    }

    /// Whether somebody was to be reached, and nobody was.
    pub(crate) fn reached_nobody(&self) -> bool {
        self.connections_created == 0 && (self.dials_failed > 0 || self.acquires_failed > 0)
    }

    /// Whether sessions rested at the start.
    pub(crate) fn has_rested(&self) -> bool {
        self.resting_before > 0
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acquire_wait_us: wait, call_ms: call, .. } = self;
        let millis = |micros: u64| micros as f64 / 1000.0;
        for (name, value) in [
            ("accounts", self.sessions_text()),
            ("duration", self.duration_text()),
            ("acquires", format!("{} got a lease, {} failed", self.acquires, self.acquires_failed)),
            ("calls", format!("{} ({:.0}/s at work)", self.calls, self.calls_per_s)),
            (
                "failures",
                format!(
                    "{}, and {} by injected faults (acquires and calls)",
                    self.calls_failed, self.calls_faulted
                ),
            ),
            (
                "connections",
                format!(
                    "{} created, {} closed, {} left open; {} dials failed",
                    self.connections_created,
                    self.connections_closed,
                    self.connections_left,
                    self.dials_failed
                ),
            ),
            (
                "reuse",
                format!(
                    "{} acquires by a live connection ({:.2} %)",
                    self.connections_reused,
                    self.reuse_ratio * 100.0
                ),
            ),
            (
                "acquire wait",
                format!(
                    "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
                    millis(wait.p50),
                    millis(wait.p99),
                    millis(wait.max)
                ),
            ),
            ("call", format!("p50 {:.3} ms, p99 {:.3} ms", call.p50, call.p99)),
            ("flood waits", self.flood_waits.to_string()),
            ("quarantines", self.quarantines_text()),
            ("key violations", self.violations_text()),
        ] {
            writeln!(f, "{name:<15} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunFacts {
        RunFacts {
            accounts: 4,
            sessions: 7,
            quarantined_before: 2,
            resting_before: 0,
            took: Duration::from_millis(13_200),
            worked: (Duration::from_secs(8), 800),
            left: 0,
            key_violations: 0,
            key_duplicated: 3,
            last_failure: None,
            seed: 7,
        }
    }

    fn told(run: &RunFacts) -> String {
        Summary::new(run, &PoolStats::default(), &RunCounts::new()).to_string()
    }

    #[test]
    fn the_times_of_every_caller_are_text() {
        let counts = RunCounts::new();
        for caller in 0..100 {
            counts.add_wait(caller, Duration::from_millis(1));
            counts.add_call(caller, Duration::from_millis(if caller < 99 { 10 } else { 5_000 }));
        }
        counts.add_wait(100, Duration::from_secs(2));
        let summary = Summary::new(&run(), &PoolStats::default(), &counts);
        let WaitTimes { p50, max, .. } = summary.acquire_wait_us;
        assert!((1_000..1_020).contains(&p50) && (2_000_000..2_020_000).contains(&max));
        let CallTimes { p50, p99 } = summary.call_ms;
        assert!((10.0..10.2).contains(&p50) && (10.0..10.2).contains(&p99));
    }

    #[test]
    fn work_and_end_are_told_apart_and_the_rate_is_that_of_the_work() {
        let told = told(&run());
        assert!(told.contains("8.0 s of work, 5.2 s to end (seed 7)"), "{told}");
        assert!(told.contains("(100/s at work)"), "{told}");
    }

    #[test]
    fn sessions_out_of_service_are_told_also_those_of_earlier_runs() {
        assert!(told(&run()).contains("quarantines     0, and 2 sessions from before"));
    }

    #[test]
    fn a_violation_that_was_injected_is_not_one_that_was_seen() {
        let mut run = run();
        assert!(told(&run).contains("0; AUTH_KEY_DUPLICATED was injected, which cost 3 sessions"));
        run.key_violations = 3;
        assert!(told(&run).contains("key violations  3\n"));
        (run.key_violations, run.key_duplicated) = (0, 0);
        assert!(told(&run).contains("key violations  0\n"));
    }
}
