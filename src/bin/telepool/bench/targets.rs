//! What the pool is held against: the claims of the class it replaces, and the targets of its own.
//!
//! Owns the judgement. A figure that the system does not tell is neither reached nor missed.

use super::results::{
    CPU, Claim, Figures, MEAN, Measure, OPENED, P50, P99, PEAK, SOCKETS, THROUGHPUT, Verdict,
};

/// What the quotient of the pool's figure and another way's has to be.
#[derive(Clone, Copy, Debug)]
enum Target {
    Shown,
    AtMost(f64),
    AtLeast(f64),
}

/// One line of what is claimed.
struct Line {
    claim: &'static str,
    measure: Measure,
    per_request: (Target, &'static str),
    kept: (Target, &'static str),
}

const SHOWN: (Target, &str) = (Target::Shown, "shown");

const LINES: [Line; 8] = [
    Line {
        claim: "creation cost -60..80 %, network connections -50..70 %",
        measure: OPENED,
        per_request: (Target::AtMost(0.2), "-80 %"),
        kept: (Target::AtMost(1.0), "no more"),
    },
    Line {
        claim: "response time -50..70 %",
        measure: P50,
        per_request: (Target::AtMost(0.3), "-70 %"),
        kept: (Target::AtMost(1.05), "within 5 %"),
    },
    Line { claim: "", measure: P99, per_request: SHOWN, kept: SHOWN },
    Line {
        claim: "concurrency x2..3",
        measure: THROUGHPUT,
        per_request: (Target::AtLeast(3.0), "x3"),
        kept: (Target::AtLeast(0.95), "x0.95"),
    },
    Line {
        claim: "CPU -20..40 %",
        measure: CPU,
        per_request: (Target::AtMost(0.6), "-40 %"),
        kept: (Target::AtMost(1.1), "within 10 %"),
    },
    Line {
        claim: "resources -40..60 %",
        measure: SOCKETS,
        per_request: SHOWN,
        kept: (Target::AtMost(0.4), "-60 %"),
    },
    Line {
        claim: "memory -30..50 %",
        measure: PEAK,
        per_request: SHOWN,
        kept: (Target::AtMost(0.5), "-50 %"),
    },
    Line { claim: "", measure: MEAN, per_request: SHOWN, kept: SHOWN },
];

/// Judges the pool beside both other ways.
pub(super) fn judge(per_request: &Figures, kept: &Figures, pool: &Figures) -> Vec<Claim> {
    let judged = LINES.map(|Line { claim, measure, per_request: first, kept: second }| Claim {
        claim,
        measured: measure.title(),
        against_per_request: Verdict::new(measure, pool, per_request, first),
        against_kept: Verdict::new(measure, pool, kept, second),
    });
    judged.into()
}

impl Verdict {
    fn new(
        measure: Measure,
        pool: &Figures,
        other: &Figures,
        (target, text): (Target, &'static str),
    ) -> Self {
        let figures = (measure.of)(pool).zip((measure.of)(other));
        let quotient = figures.filter(|(_, other)| *other > 0.0).map(|(pool, other)| pool / other);
        Self { quotient, target: text, reached: quotient.and_then(|it| target.is_reached(it)) }
    }
}

impl Target {
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
    use crate::bench::order::{Response, Way};

    pub(crate) fn figures(way: Way, opened: u64, calls_per_s: f64, peak: Option<u64>) -> Figures {
        let response = Response { p50_ms: 50.0, p99_ms: 99.0, max_ms: 99.0, within: Vec::new() };
        Figures {
            way,
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
        let per_request = figures(Way::PerRequest, 1000, 100.0, Some(10));
        let kept = figures(Way::Kept, 200, 320.0, Some(100));
        let pool = figures(Way::Telepool, 201, 300.0, Some(50));
        let claims = judge(&per_request, &kept, &pool);
        let of = |measure: Measure| {
            let claim = claims.iter().find(|claim| claim.measured == measure.title()).unwrap();
            (claim.against_per_request.reached, claim.against_kept.reached)
        };
        assert_eq!(of(OPENED), (Some(false), Some(false)));
        assert_eq!(of(P50), (Some(false), Some(true)));
        assert_eq!(of(THROUGHPUT), (Some(true), Some(false)));
        assert_eq!(of(PEAK), (None, Some(true)));
        assert_eq!(of(CPU), (None, None), "what is not measured is neither");
        assert_eq!(of(SOCKETS), (None, None), "nothing can be divided by zero");
        assert!(
            claims
                .iter()
                .all(|it| it.against_kept.reached.is_none() || it.against_kept.target != "shown")
        );
    }

    #[test]
    fn a_change_is_told_in_per_cent_or_as_a_factor() {
        let of = |quotient| Verdict { quotient, target: "", reached: None }.change();
        assert_eq!(of(Some(0.2)), "-80.0 %");
        assert_eq!(of(Some(1.034)), "+3.4 %");
        assert_eq!(of(Some(40.0)), "x40.0");
        assert_eq!(of(None), "not measured");
    }
}
