//! Results of the benchmark, as `--json` prints them.
//!
//! Owns the figures of each strategy, their names and units, and the form of their comparison with the
//! targets, which is made in `targets`.

use std::cmp::Ordering;

use serde::Serialize;

use super::harness::Measurement;
use super::job::{Response, Sample, StrategyKind};

/// Everything, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    #[serde(rename = "setting")]
    pub(super) setup: BenchSetup,
    /// One for each strategy, in the order of [`StrategyKind::ALL`].
    #[serde(rename = "ways")]
    pub(super) strategies: Vec<StrategyResults>,
    #[serde(rename = "claims")]
    pub(super) comparisons: Vec<TargetComparison>,
    /// What went wrong. Empty, or the figures are worth nothing.
    pub(super) problems: Vec<String>,
}

/// A target, and how the pool compares with it.
#[derive(Debug, Serialize)]
pub(super) struct TargetComparison {
    /// As the replaced class made it; empty for a second figure of the claim before.
    pub(super) claim: &'static str,
    pub(super) measured: String,
    pub(super) against_per_request: TargetVerdict,
    pub(super) against_kept: TargetVerdict,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetVerdict {
    /// The pool's figure, divided by the other's.
    pub(super) quotient: Option<f64>,
    pub(super) target: &'static str,
    /// Nothing if there is no target, or no figure.
    pub(super) reached: Option<bool>,
}

impl TargetVerdict {
    /// The difference in per cent, or a factor where it is large.
    pub(super) fn change(&self) -> String {
        match self.quotient {
            None => "not measured".into(),
            Some(quotient) if quotient >= 2.0 => format!("x{quotient:.1}"),
            Some(quotient) => format!("{:+.1} %", (quotient - 1.0) * 100.0),
        }
    }

    pub(super) fn word(&self) -> &'static str {
        match self.reached {
            Some(true) => "reached",
            Some(false) => "not reached",
            None => "",
        }
    }
}

/// The setup that the figures hold for.
#[derive(Debug, Serialize)]
pub(super) struct BenchSetup {
    pub(super) version: &'static str,
    /// Processors of the machine, which the data centre works on, too.
    pub(super) processors: usize,
    pub(super) accounts: u32,
    pub(super) sessions_per_account: u16,
    pub(super) latency_ms: f64,
    pub(super) duration_s: f64,
    /// Calls a second that were asked for.
    pub(super) rate: f64,
    /// Calls a second that a connection per request sustains, of the same work.
    pub(super) capacity: f64,
    pub(super) callers: u32,
    pub(super) seed: u64,
}

/// The figures of one strategy.
#[derive(Debug, Serialize)]
pub(super) struct StrategyResults {
    #[serde(rename = "way")]
    pub(super) strategy: StrategyKind,
    /// Of the open loop.
    pub(super) calls: u64,
    /// Of all measurements.
    pub(super) failed: u64,
    pub(super) key_violations: u64,
    /// Of the open loop: by the data centre's count, and by the strategy's own.
    pub(super) connections_opened: u64,
    pub(super) connections_opened_own_count: u64,
    pub(super) socket_seconds: f64,
    pub(super) response: Response,
    pub(super) cpu_s_per_1000_calls: Option<f64>,
    /// Of each round of the open loop.
    pub(super) cpu_s_per_1000_calls_rounds: Vec<f64>,
    /// The part of it that was spent before the first call.
    pub(super) cpu_s_per_1000_calls_opening: Option<f64>,
    pub(super) peak_resident_kb: Option<u64>,
    pub(super) mean_resident_kb: Option<u64>,
    /// Of the closed loop: the median of the rounds, and each of them.
    pub(super) calls_per_s: f64,
    pub(super) calls_per_s_rounds: Vec<f64>,
    pub(super) samples: Vec<Sample>,
}

impl StrategyResults {
    /// What the rounds of both loops came to. Of the open loop the round counts, with all its
    /// figures, that has the median of the processor time: on a machine with neighbours that varies
    /// by a tenth and more, and nothing else does.
    pub(super) fn new(
        strategy: StrategyKind,
        mut open: Vec<Measurement>,
        closed: &[Measurement],
    ) -> Self {
        let cpu = |it: &Measurement| it.outcome.per_1000_calls(it.outcome.usage.cpu_s);
        let cpu_rounds = open.iter().filter_map(cpu).collect();
        let all = || open.iter().chain(closed);
        let failed = all().map(|it| it.outcome.failed).sum();
        let key_violations = all().map(|it| it.data_centre.key_violations).sum();
        let rounds: Vec<_> = closed.iter().map(|it| it.outcome.calls_per_s).collect();
        open.sort_by(|one, other| cpu(one).partial_cmp(&cpu(other)).unwrap_or(Ordering::Equal));
        let Measurement { outcome, data_centre } = open.swap_remove(open.len() / 2);
        Self {
            strategy,
            calls: outcome.calls,
            failed,
            key_violations,
            connections_opened: data_centre.connections_total,
            connections_opened_own_count: outcome.opened,
            socket_seconds: data_centre.connection_ms as f64 / 1000.0,
            cpu_s_per_1000_calls: outcome.per_1000_calls(outcome.usage.cpu_s),
            cpu_s_per_1000_calls_rounds: cpu_rounds,
            cpu_s_per_1000_calls_opening: outcome.per_1000_calls(outcome.usage.cpu_opening_s),
            peak_resident_kb: outcome.usage.peak_resident_kb,
            mean_resident_kb: outcome.usage.mean_resident_kb,
            calls_per_s: median(rounds.clone()),
            calls_per_s_rounds: rounds,
            response: outcome.response,
            samples: outcome.samples,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// One figure of a strategy.
#[derive(Clone, Copy, Debug)]
pub(super) struct BenchMetric {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) decimals: usize,
    pub(super) of: fn(&StrategyResults) -> Option<f64>,
}

impl BenchMetric {
    pub(super) fn text(&self, figures: &StrategyResults) -> String {
        match (self.of)(figures) {
            Some(value) => format!("{value:.*}", self.decimals),
            None => "not measured".into(),
        }
    }

    /// The name with its unit.
    pub(super) fn title(&self) -> String {
        match self.unit {
            "" => self.name.to_owned(),
            unit => format!("{} ({unit})", self.name),
        }
    }
}

const fn metric(
    name: &'static str,
    unit: &'static str,
    decimals: usize,
    of: fn(&StrategyResults) -> Option<f64>,
) -> BenchMetric {
    BenchMetric { name, unit, decimals, of }
}

pub(super) const CALLS: BenchMetric = metric("calls", "", 0, |it| Some(it.calls as f64));
pub(super) const FAILED: BenchMetric = metric("failures", "", 0, |it| Some(it.failed as f64));
pub(super) const VIOLATIONS: BenchMetric =
    metric("key violations", "", 0, |it| Some(it.key_violations as f64));
pub(super) const OPENED: BenchMetric =
    metric("connections opened", "", 0, |it| Some(it.connections_opened as f64));
pub(super) const P50: BenchMetric =
    metric("response time, p50", "ms", 1, |it| Some(it.response.p50_ms));
pub(super) const P99: BenchMetric =
    metric("response time, p99", "ms", 1, |it| Some(it.response.p99_ms));
pub(super) const THROUGHPUT: BenchMetric =
    metric("calls a second at fixed callers", "", 0, |it| Some(it.calls_per_s));
pub(super) const CPU: BenchMetric =
    metric("CPU per 1,000 calls", "s", 3, |it| it.cpu_s_per_1000_calls);
pub(super) const CPU_OPENING: BenchMetric =
    metric("of it before the first call", "s", 3, |it| it.cpu_s_per_1000_calls_opening);
pub(super) const SOCKETS: BenchMetric =
    metric("socket-seconds", "s", 0, |it| Some(it.socket_seconds));
pub(super) const PEAK: BenchMetric =
    metric("peak resident memory", "MB", 1, |it| it.peak_resident_kb.map(megabytes));
pub(super) const MEAN: BenchMetric =
    metric("mean resident memory", "MB", 1, |it| it.mean_resident_kb.map(megabytes));

/// All of them, in the order of telling.
pub(super) const METRICS: [BenchMetric; 12] = [
    CALLS,
    FAILED,
    VIOLATIONS,
    OPENED,
    P50,
    P99,
    THROUGHPUT,
    CPU,
    CPU_OPENING,
    SOCKETS,
    PEAK,
    MEAN,
];

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1000.0
}
