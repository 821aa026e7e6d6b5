//! Harness of a measurement: a data centre of its own, and a process for the strategy that is measured.
//!
//! Owns how long each may take. Leaves neither behind, however it ends.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::{sleep, timeout};

use super::job::{Job, Outcome, StrategyKind, Task};
use super::worker::DRAIN;
use crate::bench::processes::{DataCentreCounts, DataCentreProcess, DataCentreSpec, ProcessRunner};
use crate::clock::now;
use crate::failure::Failure;
use crate::status;

/// How long a process may take to come up or to end, beyond what its task takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes measurements, one after another.
pub(super) struct Harness {
    runner: ProcessRunner,
    size: SandboxSize,
}

/// What every data centre is started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SandboxSize {
    pub(super) accounts: u32,
    pub(super) sessions_per_account: u16,
    pub(super) latency: Duration,
    pub(super) seed: u64,
}

/// The outcome of a job, and what the data centre counted meanwhile.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) outcome: Outcome,
    pub(super) data_centre: DataCentreCounts,
}

impl Harness {
    pub(super) fn new(size: SandboxSize, runner: ProcessRunner) -> Self {
        Self { runner, size }
    }

    /// Has one strategy carry out one task, and nothing else meanwhile.
    pub(super) async fn measure(
        &self,
        strategy: StrategyKind,
        task: Task,
    ) -> Result<Measurement, Failure> {
        let SandboxSize { accounts, sessions_per_account, latency, seed } = self.size;
        let longest = task.duration() + DRAIN + PATIENCE * 3;
        let spec = DataCentreSpec { accounts, sessions_per_account, latency, seed, longest };
        let data_centre = DataCentreProcess::start(&self.runner, spec).await?;
        let sessions = data_centre.sessions().to_owned();
        let outcome = self.run_job(&Job { strategy, task, sessions, latency, seed }).await;
        // Before anything else is done about a failure: the data centre must not be left behind.
        let counts = data_centre.end().await;
        Ok(Measurement { outcome: outcome?, data_centre: counts? })
    }

    async fn run_job(&self, job: &Job) -> Result<Outcome, Failure> {
        let line = serde_json::to_string(job).expect("BUG: a job always makes JSON") + "\n";
        let (name, duration) = (job.strategy.to_string(), job.task.duration());
        let limit = duration + DRAIN + PATIENCE;
        let outcome = timeout(limit, self.runner.run_json(["bench-way".to_owned()], &line, &name));
        tokio::select! {
            outcome = outcome => outcome.unwrap_or_else(|_| {
                Err(Failure::broken(format!("{name} has not ended within {limit:?}")))
            }),
            () = show(self.runner.line(), duration) => unreachable!("BUG: the line is shown for ever"),
        }
    }
}

/// Moves the line on as time passes; never returns.
async fn show(line: &ProgressBar, duration: Duration) {
    let (before, begun) = (line.position(), now());
    loop {
        let passed = begun.elapsed().min(duration);
        line.set_position(before + u64::try_from(passed.as_millis()).unwrap_or(0));
        sleep(status::STEP).await;
    }
}
