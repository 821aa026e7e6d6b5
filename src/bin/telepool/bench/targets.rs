//! Targets of the pool: the claims of the class that it replaces, and stricter ones of its own.
//!
//! Owns the comparison. A figure that the system does not report is neither reached nor missed.

use super::results::{
    BenchMetric, CPU, MEAN, OPENED, P50, P99, PEAK, SOCKETS, StrategyResults, THROUGHPUT,
    TargetComparison, TargetVerdict,
};

/// What the quotient of the pool's figure and another strategy's has to be.
#[derive(Clone, Copy, Debug)]
enum Bound {
    Shown,
    AtMost(f64),
    AtLeast(f64),
}

/// The targets of one figure.
struct TargetRow {
    claim: &'static str,
    metric: BenchMetric,
    per_request: (Bound, &'static str),
    kept: (Bound, &'static str),
}

const SHOWN: (Bound, &str) = (Bound::Shown, "shown");

const TARGETS: [TargetRow; 8] = [
    TargetRow {
        claim: "creation cost -60..80 %, network connections -50..70 %",
        metric: OPENED,
        per_request: (Bound::AtMost(0.2), "-80 %"),
        kept: (Bound::AtMost(1.0), "no more"),
    },
    TargetRow {
        claim: "response time -50..70 %",
        metric: P50,
        per_request: (Bound::AtMost(0.3), "-70 %"),
        kept: (Bound::AtMost(1.05), "within 5 %"),
    },
    TargetRow { claim: "", metric: P99, per_request: SHOWN, kept: (Bound::AtMost(2.0), "x2") },
    TargetRow {
        claim: "concurrency x2..3",
        metric: THROUGHPUT,
        per_request: (Bound::AtLeast(3.0), "x3"),
        kept: (Bound::AtLeast(1.3), "x1.3"),
    },
    TargetRow {
        claim: "CPU -20..40 %",
        metric: CPU,
        per_request: (Bound::AtMost(0.6), "-40 %"),
        kept: (Bound::AtMost(0.8), "-20 %"),
    },
    TargetRow {
        claim: "resources -40..60 %",
        metric: SOCKETS,
        per_request: SHOWN,
        kept: (Bound::AtMost(0.4), "-60 %"),
    },
    TargetRow {
        claim: "memory -30..50 %",
        metric: PEAK,
        per_request: SHOWN,
        kept: (Bound::AtMost(0.3), "-70 %"),
    },
    TargetRow { claim: "", metric: MEAN, per_request: SHOWN, kept: SHOWN },
];

/// Compares the pool with both other strategies.
pub(super) fn compare(
    per_request: &StrategyResults,
    kept: &StrategyResults,
    pool: &StrategyResults,
) -> Vec<TargetComparison> {
    let compared = TARGETS.map(|TargetRow { claim, metric, per_request: first, kept: second }| {
        TargetComparison {
            claim,
            measured: metric.title(),
            against_per_request: TargetVerdict::new(metric, pool, per_request, first),
            against_kept: TargetVerdict::new(metric, pool, kept, second),
        }
    });
    compared.into()
}

impl TargetVerdict {
    fn new(
        metric: BenchMetric,
        pool: &StrategyResults,
        other: &StrategyResults,
        (target, text): (Bound, &'static str),
    ) -> Self {
        let figures = (metric.of)(pool).zip((metric.of)(other));
        let quotient = figures.filter(|(_, other)| *other > 0.0).map(|(pool, other)| pool / other);
        Self { quotient, target: text, reached: quotient.and_then(|it| target.is_reached(it)) }
    }
}

impl Bound {
    fn is_reached(self, quotient: f64) -> Option<bool> {
        match self {
            Self::Shown => None,
            Self::AtMost(most) => Some(quotient <= most),
            Self::AtLeast(least) => Some(quotient >= least),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::job::{Response, StrategyKind};

    pub(crate) fn figures(
        strategy: StrategyKind,
        opened: u64,
        calls_per_s: f64,
        peak: Option<u64>,
    ) -> StrategyResults {
        let response = Response { p50_ms: 50.0, p99_ms: 99.0, max_ms: 99.0, within: Vec::new() };
        StrategyResults {
            strategy,
            calls: 1000,
            failed: 0,
            key_violations: 0,
            connections_opened: opened,
            connections_opened_own_count: opened,
            socket_seconds: 0.0,
            response,
            cpu_s_per_1000_calls: None,
            cpu_s_per_1000_calls_opening: None,
            peak_resident_kb: peak,
            mean_resident_kb: None,
            calls_per_s,
            calls_per_s_rounds: Vec::new(),
            cpu_s_per_1000_calls_rounds: Vec::new(),
            samples: Vec::new(),
        }
    }

    #[test]
    fn a_target_is_reached_at_its_bound_and_missed_beyond_it() {
        let per_request = figures(StrategyKind::PerRequest, 1000, 100.0, Some(10));
        let kept = figures(StrategyKind::Kept, 200, 320.0, Some(100));
        let pool = figures(StrategyKind::Telepool, 201, 300.0, Some(30));
        let comparisons = compare(&per_request, &kept, &pool);
        let of = |metric: BenchMetric| {
            let claim = comparisons.iter().find(|it| it.measured == metric.title()).unwrap();
            (claim.against_per_request.reached, claim.against_kept.reached)
        };
        assert_eq!(of(OPENED), (Some(false), Some(false)));
        assert_eq!(of(P50), (Some(false), Some(true)));
        assert_eq!(of(THROUGHPUT), (Some(true), Some(false)));
        assert_eq!(of(PEAK), (None, Some(true)));
        assert_eq!(of(CPU), (None, None), "what is not measured is neither");
        assert_eq!(of(SOCKETS), (None, None), "nothing can be divided by zero");
        assert!(
            comparisons
                .iter()
                .all(|it| it.against_kept.reached.is_none() || it.against_kept.target != "shown")
        );
    }

    #[test]
    fn a_change_is_told_in_per_cent_or_as_a_factor() {
        let of = |quotient| TargetVerdict { quotient, target: "", reached: None }.change();
        assert_eq!(of(Some(0.2)), "-80.0 %");
        assert_eq!(of(Some(1.034)), "+3.4 %");
        assert_eq!(of(Some(40.0)), "x40.0");
        assert_eq!(of(None), "not measured");
    }
}
