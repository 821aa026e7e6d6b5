//! A data centre for a measurement, as a process of its own.
//!
//! Owns that process and the folder with its sessions; both go when this goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::{Crew, Process, folder, relay};
use crate::failure::Failure;

/// How long it may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) accounts: u32,
    pub(crate) sessions_per_account: u16,
    pub(crate) latency: Duration,
    pub(crate) seed: u64,
    /// Should all else fail, it ends by itself after this time.
    pub(crate) longest: Duration,
}

pub(crate) struct DataCentre {
    process: Process,
    folder: TempDir,
    sessions: PathBuf,
}

/// What a data centre says of itself at its end.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) connections_total: u64,
    pub(crate) connection_ms: u64,
    /// How often a key was on two connections.
    pub(crate) key_violations: u64,
}

impl DataCentre {
    /// Starts a data centre and waits until it listens.
    pub(crate) async fn start(crew: &Crew, wanted: Wanted) -> Result<Self, Failure> {
        let Wanted { accounts, sessions_per_account, latency, seed, longest } = wanted;
        let folder = folder()?;
        let sessions = folder.path().join("sessions.jsonl");
        let mut command = Command::new(crew.program());
        command
            .args(["datacenter", "--until-eof"])
            .arg(format!("--duration={}s", longest.as_secs()))
            .arg(format!("--accounts={accounts}"))
            .arg(format!("--sessions-per-account={sessions_per_account}"))
            .arg(format!("--latency={}", latency.as_secs_f64()))
            .arg(format!("--seed={seed}"))
            .arg("--out")
            .arg(&sessions);
        let mut process = Process::start(command, "the data centre")?;
        let mut told = process.child().stderr.take().map(BufReader::new);
        let listens = async {
            let mut all = String::new();
            while let Some(told) = &mut told {
                let from = all.len();
                if told.read_line(&mut all).await.unwrap_or(0) == 0 {
                    break;
                }
                if all[from..].contains("listens on") {
                    return Ok(());
                }
            }
            Err(Failure::broken(format!("the data centre did not start: {}", all.trim())))
        };
        let listens = crew.unless_stopped(tokio::time::timeout(PATIENCE, listens)).await;
        match listens {
            Ok(Ok(Ok(()))) => {
                tokio::runtime::Handle::current().spawn(relay(told, crew.line().clone()));
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
    pub(crate) async fn end(self) -> Result<Seen, Failure> {
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
