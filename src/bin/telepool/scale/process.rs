//! The processes that measure, and their end.
//!
//! Owns every process that the command starts. One that is no longer waited for is killed and
//! reaped; and each reads its standard input, which ends when this process is gone however that
//! came about, so that none outlives it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::part::Part;
use crate::failure::Failure;
use crate::signals::Stop;

/// The command that has the flag `--part`.
const COMMAND: [&str; 2] = ["bench", "--scale"];
/// What a line of progress begins with.
const PHASE: &str = "phase: ";

/// Tells how far a part is, for the line on the terminal.
pub(super) fn phase(what: &str) {
    eprintln!("{PHASE}{what}");
}

/// What is needed to start a process and to wait for it.
pub(super) struct Crew {
    line: ProgressBar,
    stop: Stop,
    program: PathBuf,
}

/// A process that lives no longer than this.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Crew {
    pub(super) fn new(line: ProgressBar, stop: Stop) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::broken(format!("where is this program? {error}")))?;
        Ok(Self { line, stop, program })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Shows what is under way.
    pub(super) fn show(&self, what: &str) {
        self.line.set_message(what.to_owned());
        self.line.tick();
    }

    /// The command line that measures a part.
    pub(super) fn arguments(part: &Part) -> Vec<String> {
        let words = COMMAND.map(str::to_owned).into_iter();
        words.chain(["--part".to_owned(), part.to_string()]).collect()
    }

    /// Has a part measured by a process of its own.
    pub(super) async fn measure<T: DeserializeOwned>(&self, part: &Part) -> Result<T, Failure> {
        let mut command = Command::new(&self.program);
        command.args(Self::arguments(part));
        let (status, output) = self.run(command, "a measurement").await?;
        if !status.success() {
            return Err(Failure::broken(format!("a measurement ({part}) failed: {status}")));
        }
        serde_json::from_str(&output)
            .map_err(|error| Failure::broken(format!("{part} said {output:?}: {error}")))
    }

    /// Runs a command to its end, or to the end that is asked for. Answers what it printed.
    pub(super) async fn run(
        &self,
        command: Command,
        name: &str,
    ) -> Result<(ExitStatus, String), Failure> {
        let mut process = Process::start(command, name)?;
        let (out, err) = (process.child.stdout.take(), process.child.stderr.take());
        let mut output = String::new();
        let talk = async {
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
            () = stop.asked() => {
                Err(Failure::interrupted())
            }
            done = what => Ok(done),
            () = ticks => unreachable!("BUG: the line is drawn for ever"),
        }
    }

    pub(super) fn line(&self) -> &ProgressBar {
        &self.line
    }
}

impl Process {
    pub(super) fn start(mut command: Command, name: &str) -> Result<Self, Failure> {
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

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Lets it know that it is no longer needed.
    pub(super) fn release(&mut self) {
        self.input = None;
    }

    pub(super) async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        let ended = self.child.wait().await;
        ended.map_err(|error| Failure::broken(format!("a process cannot be waited for: {error}")))
    }

    /// Kills it, and returns when it is gone.
    pub(super) async fn kill(mut self) {
        // It may have ended by itself.
        self.child.kill().await.ok();
    }
}

/// Passes on what a process tells: its progress to the line, all else above it.
pub(super) async fn relay(from: Option<impl AsyncRead + Unpin>, line: ProgressBar) {
    let Some(from) = from else { return };
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        match text.strip_prefix(PHASE) {
            Some(phase) => {
                line.set_message(phase.to_owned());
                line.tick();
            }
            None => line.suspend(|| eprintln!("{text}")),
        }
    }
}
