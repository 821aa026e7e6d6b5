//! A child process, and its temporary folder.

use std::process::{ExitStatus, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};

use crate::failure::Failure;

/// A process that is killed when this is dropped.
pub(super) struct ChildProcess {
    pub(super) child: Child,
    pub(super) input: Option<ChildStdin>,
}

impl ChildProcess {
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

    /// Closes its standard input, at whose end it ends.
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

/// A folder that is removed when this is dropped.
pub(crate) fn temporary_folder() -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("telepool-bench-")
        .tempdir()
        .map_err(|error| Failure::broken(format!("no temporary folder: {error}")))
}
