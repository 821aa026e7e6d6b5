//! Runner of child processes.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::child::ChildProcess;
use super::progress::relay;
use crate::failure::Failure;
use crate::signals::Stop;

/// Starts child processes, and waits for them until the end is asked for.
pub(crate) struct ProcessRunner {
    line: ProgressBar,
    stop: Stop,
    program: PathBuf,
}

impl ProcessRunner {
    pub(crate) fn new(line: ProgressBar, stop: Stop) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::broken(format!("where is this program? {error}")))?;
        Ok(Self { line, stop, program })
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Shows what is under way.
    pub(crate) fn show(&self, what: &str) {
        self.line.set_message(what.to_owned());
        self.line.tick();
    }

    /// Runs this program with such arguments and input to its end, and reads what it printed: JSON.
    /// What it says of a failure has then been shown.
    pub(crate) async fn run_json<T: DeserializeOwned>(
        &self,
        arguments: impl IntoIterator<Item = String>,
        input: &str,
        name: &str,
    ) -> Result<T, Failure> {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        let (status, output) = self.run(command, input, name).await?;
        if !status.success() {
            return Err(Failure::broken(format!("{name} has failed: {status}")));
        }
        serde_json::from_str(&output)
            .map_err(|error| Failure::broken(format!("{name} said {output:?}: {error}")))
    }

    /// Runs a command to its end, or to the end that is asked for. Returns what it printed.
    pub(crate) async fn run(
        &self,
        command: Command,
        input: &str,
        name: &str,
    ) -> Result<(ExitStatus, String), Failure> {
        let mut process = ChildProcess::start(command, name)?;
        let (out, err) = (process.child.stdout.take(), process.child.stderr.take());
        let mut output = String::new();
        let to = &mut process.input;
        let talk = async {
            if let Some(to) = to {
                // One that has ended before it has read this tells why. The input stays open: its
                // end would tell the process that nobody waits any more.
                to.write_all(input.as_bytes()).await.ok();
                to.flush().await.ok();
            }
            let read = async {
                match out {
                    Some(mut out) => out.read_to_string(&mut output).await.map(drop),
                    None => Ok(()),
                }
            };
            tokio::join!(read, relay(err, self.line.clone())).0
        };
        match self.unless_stopped(talk).await {
            Ok(read) => {
                read.map_err(|error| Failure::broken(format!("{name} cannot be read: {error}")))?;
                let status = process.ended().await?;
                Ok((status, output))
            }
            Err(stopped) => {
                process.kill().await;
                Err(stopped)
            }
        }
    }

    /// Awaits a future, or fails when the end is asked for.
    pub(super) async fn unless_stopped<T>(
        &self,
        what: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut stop = self.stop.clone();
        let ticks = async {
            loop {
                tokio::time::sleep(crate::status::STEP).await;
                self.line.tick();
            }
        };
        tokio::select! {
            biased;
            () = stop.requested() => {
                Err(Failure::interrupted())
            }
            done = what => Ok(done),
            () = ticks => unreachable!("BUG: the line is drawn for ever"),
        }
    }

    pub(crate) fn line(&self) -> &ProgressBar {
        &self.line
    }
}
