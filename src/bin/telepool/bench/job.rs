//! Job of a measuring process and its outcome: what the command and the process send each other, as one
//! line of JSON each.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an account's sessions are put to use: by which strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StrategyKind {
    /// A connection for each request.
    PerRequest,
    /// A client for each session, kept for ever.
    Kept,
    Telepool,
}

impl StrategyKind {
    pub(super) const ALL: [Self; 3] = [Self::PerRequest, Self::Kept, Self::Telepool];
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PerRequest => "per request",
            Self::Kept => "kept clients",
            Self::Telepool => "telepool",
        })
    }
}

/// What is to be done, and over what.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) strategy: StrategyKind,
    pub(super) task: Task,
    /// The file of sessions.
    pub(super) sessions: PathBuf,
    pub(super) latency: Duration,
    pub(super) seed: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Calls come when they are due, answered or not.
    Open { rate: f64, duration: Duration },
    /// So many callers, each of which calls again once it is answered. What they do in the
    /// warm-up is not counted.
    Closed { callers: u32, choice: AccountChoice, warm_up: Duration, duration: Duration },
}

/// Which account a caller of the closed loop calls.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum AccountChoice {
    /// All alike, so that no strategy is held up by a hot account.
    Uniform,
    /// As the open loop has it, bursts included.
    AsOpenLoop,
}

impl Task {
    pub(super) fn duration(&self) -> Duration {
        match self {
            Self::Open { duration, .. } => *duration,
            Self::Closed { warm_up, duration, .. } => *warm_up + *duration,
        }
    }
}

/// What it came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Calls that were answered, and those that were not.
    pub(super) calls: u64,
    pub(super) failed: u64,
    /// Some of the failures.
    pub(super) examples: Vec<String>,
    /// By the strategy's own count.
    pub(super) opened: u64,
    pub(super) calls_per_s: f64,
    pub(super) response: Response,
    pub(super) usage: Usage,
    pub(super) samples: Vec<Sample>,
}

impl Outcome {
    /// Seconds of all calls as seconds of a thousand.
    pub(super) fn per_1000_calls(&self, seconds: Option<f64>) -> Option<f64> {
        Some(seconds? * 1000.0 / self.calls.max(1) as f64)
    }
}

/// From the arrival of a call to its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// The percentage of calls that were answered within so many milliseconds.
    pub(super) within: Vec<(f64, f64)>,
}

/// What the process has used; nothing on systems that do not tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Usage {
    /// From before the first connection until the last is closed.
    pub(super) cpu_s: Option<f64>,
    /// What of it was spent before the first call.
    pub(super) cpu_opening_s: Option<f64>,
    pub(super) peak_resident_kb: Option<u64>,
    /// Over the work.
    pub(super) mean_resident_kb: Option<u64>,
}

/// A sample of the process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Since the beginning of the work.
    pub(super) at_s: f64,
    pub(super) sockets: u64,
    pub(super) resident_kb: Option<u64>,
}
