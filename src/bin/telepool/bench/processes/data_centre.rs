//! A data centre for a measurement, as a child process.
//!
//! Owns that process and the folder with its sessions; both go when this is dropped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::child::{ChildProcess, temporary_folder};
use super::progress::relay;
use super::runner::ProcessRunner;
use crate::failure::Failure;

/// How long it may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a data centre is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataCentreSpec {
    pub(crate) accounts: u32,
    pub(crate) sessions_per_account: u16,
    pub(crate) latency: Duration,
    pub(crate) seed: u64,
    /// Should all else fail, it ends by itself after this time.
    pub(crate) longest: Duration,
}

pub(crate) struct DataCentreProcess {
    process: ChildProcess,
    folder: TempDir,
    sessions: PathBuf,
}

/// The counters that a data centre prints at its end.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct DataCentreCounts {
    pub(crate) connections_total: u64,
    pub(crate) connection_ms: u64,
    /// How often a key was on two connections.
    pub(crate) key_violations: u64,
}

impl DataCentreProcess {
    /// Starts a data centre and waits until it listens.
    pub(crate) async fn start(
        runner: &ProcessRunner,
        spec: DataCentreSpec,
    ) -> Result<Self, Failure> {
        let DataCentreSpec { accounts, sessions_per_account, latency, seed, longest } = spec;
        let folder = temporary_folder()?;
        let sessions = folder.path().join("sessions.jsonl");
        let mut command = Command::new(runner.program());
        command
            .args(["datacenter", "--until-eof"])
            .arg(format!("--duration={}s", longest.as_secs()))
            .arg(format!("--accounts={accounts}"))
            .arg(format!("--sessions-per-account={sessions_per_account}"))
            .arg(format!("--latency={}", latency.as_secs_f64()))
            .arg(format!("--seed={seed}"))
            .arg("--out")
            .arg(&sessions);
        let mut process = ChildProcess::start(command, "the data centre")?;
        let mut stderr = process.child().stderr.take().map(BufReader::new);
        let listens = async {
            let mut all = String::new();
            while let Some(stderr) = &mut stderr {
                let from = all.len();
                if stderr.read_line(&mut all).await.unwrap_or(0) == 0 {
                    break;
                }
                if all[from..].contains("listens on") {
                    return Ok(());
                }
            }
            Err(Failure::broken(format!("the data centre did not start: {}", all.trim())))
        };
        let listens = runner.unless_stopped(tokio::time::timeout(PATIENCE, listens)).await;
        match listens {
            Ok(Ok(Ok(()))) => {
                tokio::runtime::Handle::current().spawn(relay(stderr, runner.line().clone()));
                Ok(Self { process, folder, sessions })
            }
            failed => {
                process.kill().await;
                let late = || Failure::broken(format!("the data centre took over {PATIENCE:?}"));
                Err(match failed {
                    Err(stopped) => stopped,
                    Ok(in_time) => {
                        in_time.map_or_else(|_| late(), |it| it.expect_err("BUG: it listens"))
                    }
                })
            }
        }
    }

    pub(crate) fn sessions(&self) -> &Path {
        &self.sessions
    }

    /// Ends it, and returns what it saw.
    pub(crate) async fn end(self) -> Result<DataCentreCounts, Failure> {
        let Self { mut process, folder, .. } = self;
        process.release();
        let out = process.child().stdout.take();
        let ends = async {
            let mut text = String::new();
            if let Some(mut out) = out {
                out.read_to_string(&mut text).await.ok();
            }
            process.ended().await.map(|_| text)
        };
        let ended = tokio::time::timeout(PATIENCE, ends).await;
        if ended.is_err() {
            process.kill().await;
        }
        // A folder that cannot be removed is the system's to clear.
        folder.close().ok();
        let text = ended
            .map_err(|_| Failure::broken("the data centre did not end when it was asked to"))??;
        serde_json::from_str(&text).map_err(|error| {
            Failure::broken(format!("the data centre's numbers cannot be read: {error}"))
        })
    }
}
