//! The processes that measure, and their end.
//!
//! Owns every process that the command starts. One that is no longer waited for is killed and
//! reaped; and each reads its standard input, which ends when this process is gone however that
//! came about, so that none outlives it.

mod data_centre;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

pub(crate) use data_centre::{DataCentre, Seen, Wanted};

use crate::failure::Failure;
use crate::logs;
use crate::signals::Stop;

/// What a line of progress begins with.
const PHASE: &str = "phase: ";

/// Tells the process that has started this one how far a part is, for its line on the terminal.
pub(crate) fn phase(what: &str) {
    let line = format!("{PHASE}{what}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// What is needed to start a process and to wait for it.
pub(crate) struct Crew {
    line: ProgressBar,
    stop: Stop,
    program: PathBuf,
}

/// A process that lives no longer than this.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Crew {
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
    pub(crate) async fn ask<T: DeserializeOwned>(
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
        let mut process = Process::start(command, name)?;
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

    /// Waits for something, or fails when the end is asked for.
    async fn unless_stopped<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
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

impl Process {
    fn start(mut command: Command, name: &str) -> Result<Self, Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        // Ctrl-C is for this process, which ends the others in its own order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::broken(format!("{name} cannot be started: {error}")))?;
        // Kept apart: to wait for a child closes the input that it still holds.
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Lets it know that it is no longer needed.
    fn release(&mut self) {
        self.input = None;
    }

    async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        let ended = self.child.wait().await;
        ended.map_err(|error| Failure::broken(format!("a process cannot be waited for: {error}")))
    }

    /// Kills it, and returns when it is gone.
    async fn kill(mut self) {
        // It may have ended by itself.
        self.child.kill().await.ok();
    }
}

/// A folder that goes when this goes.
pub(crate) fn folder() -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("telepool-bench-")
        .tempdir()
        .map_err(|error| Failure::broken(format!("no temporary folder: {error}")))
}

/// Passes on what a process tells: its progress to the line, all else above it.
async fn relay(from: Option<impl AsyncRead + Unpin>, line: ProgressBar) {
    let Some(from) = from else { return };
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        match text.strip_prefix(PHASE) {
            Some(phase) => {
                line.set_message(phase.to_owned());
                line.tick();
            }
            None => line.suspend(|| logs::forward(&text)),
        }
    }
}
