//! The data centre that the real connections go to, as a process of its own.
//!
//! Owns that process and the folder with its sessions; both go when this goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::process::{Crew, Process, relay};
use crate::failure::Failure;

/// Should all else fail, the data centre ends by itself.
const LONGEST: &str = "1h";
/// How long it may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct World {
    process: Process,
    folder: TempDir,
    sessions: PathBuf,
}

/// What a data centre says of itself at its end.
#[derive(Debug, Deserialize)]
struct Last {
    key_violations: u64,
}

impl World {
    /// Starts a data centre with so many accounts of one session, and waits until it listens.
    pub(super) async fn start(crew: &Crew, accounts: u32) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("telepool-bench-")
            .tempdir()
            .map_err(|error| Failure::broken(format!("no folder for sessions: {error}")))?;
        let sessions = folder.path().join("sessions.jsonl");
        let mut command = Command::new(crew.program());
        command
            .args(["datacenter", "--until-eof", "--latency", "0ms", "--duration", LONGEST])
            .args(["--sessions-per-account", "1", "--accounts", &accounts.to_string()])
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

    pub(super) fn sessions(&self) -> &Path {
        &self.sessions
    }

    /// Ends it, and answers how often it saw a key on two connections.
    pub(super) async fn end(self) -> Result<u64, Failure> {
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
        let last: Last = serde_json::from_str(&text).map_err(|error| {
            Failure::broken(format!("the data centre's numbers cannot be read: {error}"))
        })?;
        Ok(last.key_violations)
    }
}
