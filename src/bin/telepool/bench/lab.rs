//! The processes of a measurement: a data centre of its own, and the way that is measured.
//!
//! Owns their beginning and their end. Leaves none of them behind, however it ends: both are killed
//! and waited for, and should this process die before it can, they end with their standard input.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Deserialize;
use telepool::session::{DataCentres, lines};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::order::{Order, Outcome, Task, Way};
use super::worker::DRAIN;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::status;
use crate::workload::now;

/// How long a process may take to come up or to end, beyond what its task takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a file is looked at that is being written.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How much of what a process said of its failure is told.
const WORDS_MAX: usize = 2_000;

/// What every measurement is made with.
pub(super) struct Lab {
    executable: PathBuf,
    folder: TempDir,
    stop: Stop,
    line: ProgressBar,
    world: World,
    measured: u32,
}

/// What the data centres are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) accounts: u32,
    pub(super) sessions_per_account: u16,
    pub(super) latency: Duration,
    pub(super) seed: u64,
}

/// What a measurement came to, by the way and by the data centre.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) outcome: Outcome,
    pub(super) data_centre: DataCentreStats,
}

/// What the data centre prints at its end.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct DataCentreStats {
    pub(super) connections_total: u64,
    pub(super) connection_ms: u64,
    pub(super) key_violations: u64,
}

impl Lab {
    pub(super) fn new(world: World, stop: Stop, line: ProgressBar) -> Result<Self, Failure> {
        let executable = std::env::current_exe()
            .map_err(|error| Failure::broken(format!("cannot tell the own program: {error}")))?;
        let folder = tempfile::Builder::new()
            .prefix("telepool-bench-")
            .tempdir()
            .map_err(|error| Failure::broken(format!("no temporary folder: {error}")))?;
        Ok(Self { executable, folder, stop, line, world, measured: 0 })
    }

    /// Has one way carry out one task, and nothing else meanwhile.
    pub(super) async fn measure(&mut self, way: Way, task: Task) -> Result<Measured, Failure> {
        self.measured += 1;
        let path = |name: &str| self.folder.path().join(format!("{}-{name}", self.measured));
        let (sessions, sandbox_log, way_log) =
            (path("sessions.jsonl"), path("data-centre.log"), path("way.log"));
        let mut data_centre = self.start_data_centre(&sessions, &sandbox_log, task.duration())?;
        let mut worker = self.start_way(&way_log)?;
        let order = Order {
            way,
            task,
            sessions: sessions.clone(),
            latency: self.world.latency,
            seed: self.world.seed,
        };
        let mut stop = self.stop.clone();
        let whole = async {
            self.until_open(&mut data_centre, &sessions, &sandbox_log).await?;
            let limit = task.duration() + DRAIN + PATIENCE;
            let outcome = timeout(limit, give(&order, &mut worker, &way_log)).await;
            let outcome = outcome
                .map_err(|_| Failure::broken(format!("{way} has not ended within {limit:?}")))??;
            let stats = timeout(PATIENCE, end(&mut data_centre, &sandbox_log)).await;
            let data_centre = stats.map_err(|_| {
                Failure::broken(format!("the data centre has not ended within {PATIENCE:?}"))
            })??;
            Ok(Measured { outcome, data_centre })
        };
        let measured = tokio::select! {
            biased;
            () = stop.asked() => Err(Failure::interrupted()),
            measured = whole => measured,
            () = show(&self.line, task.duration()) => unreachable!("BUG: the line is shown for ever"),
        };
        for child in [&mut worker, &mut data_centre] {
            // One that has ended already is waited for no longer.
            child.kill().await.ok();
        }
        measured
    }

    fn start_data_centre(
        &self,
        sessions: &Path,
        log: &Path,
        task: Duration,
    ) -> Result<Child, Failure> {
        let World { accounts, sessions_per_account, latency, seed } = self.world;
        let backstop = task + DRAIN + PATIENCE * 3;
        let mut command = Command::new(&self.executable);
        command
            .args(["datacenter", "--until-eof", "--out"])
            .arg(sessions)
            .arg(format!("--duration={}s", backstop.as_secs()))
            .arg(format!("--accounts={accounts}"))
            .arg(format!("--sessions-per-account={sessions_per_account}"))
            .arg(format!("--latency={}", latency.as_secs_f64()))
            .arg(format!("--seed={seed}"));
        start(command, log)
    }

    fn start_way(&self, log: &Path) -> Result<Child, Failure> {
        let mut command = Command::new(&self.executable);
        command.arg("bench-way");
        start(command, log)
    }

    /// Waits until the data centre has let everybody in.
    async fn until_open(
        &self,
        data_centre: &mut Child,
        sessions: &Path,
        log: &Path,
    ) -> Result<(), Failure> {
        let World { accounts, sessions_per_account, .. } = self.world;
        let count = accounts as usize * usize::from(sessions_per_account);
        let begun = now();
        while begun.elapsed() < PATIENCE {
            let read = File::open(sessions)
                .ok()
                .and_then(|file| lines::read_all(BufReader::new(file), &DataCentres::new()).ok());
            if read.is_some_and(|records| records.len() == count) {
                return Ok(());
            }
            if let Ok(Some(status)) = data_centre.try_wait() {
                return Err(failed("the data centre", status, log));
            }
            sleep(LOOK_AGAIN).await;
        }
        Err(Failure::broken("the data centre has written no sessions"))
    }
}

fn start(mut command: Command, log: &Path) -> Result<Child, Failure> {
    let broken = |error| Failure::broken(format!("cannot start a process: {error}"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(log).map_err(broken)?)
        .kill_on_drop(true);
    // Ctrl-C is for this process alone, which ends the others.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().map_err(broken)
}

/// Gives a way its order and waits for the outcome.
async fn give(order: &Order, worker: &mut Child, log: &Path) -> Result<Outcome, Failure> {
    let line = serde_json::to_string(order).expect("BUG: an order always makes JSON") + "\n";
    // Kept open to the end: its end tells the process that nobody waits any more.
    let mut input = worker.stdin.take();
    if let Some(input) = &mut input {
        // Whoever has ended before reading it has told why.
        input.write_all(line.as_bytes()).await.ok();
        input.flush().await.ok();
    }
    let outcome = answer(worker, &order.way.to_string(), log).await;
    drop(input);
    outcome
}

/// Ends a data centre in order.
async fn end(data_centre: &mut Child, log: &Path) -> Result<DataCentreStats, Failure> {
    drop(data_centre.stdin.take());
    answer(data_centre, "the data centre", log).await
}

/// What a process says at its end. A data centre that has seen a violation says so, too.
async fn answer<T: for<'a> Deserialize<'a>>(
    child: &mut Child,
    name: &str,
    log: &Path,
) -> Result<T, Failure> {
    let mut said = Vec::new();
    if let Some(output) = &mut child.stdout {
        output.read_to_end(&mut said).await.ok();
    }
    let status = child.wait().await;
    let status = status.map_err(|error| Failure::broken(format!("{name} is lost: {error}")))?;
    serde_json::from_slice(&said).map_err(|_| failed(name, status, log))
}

fn failed(name: &str, status: ExitStatus, log: &Path) -> Failure {
    let words = std::fs::read_to_string(log).unwrap_or_default();
    let words: String = words.trim().chars().take(WORDS_MAX).collect();
    Failure::broken(format!("{name} has failed ({status}): {words}"))
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
