//! Progress of a child process, on its standard error.
//!
//! Owns the form of a line of progress, which the parent tells from everything else.

use std::io::Write as _;

use indicatif::ProgressBar;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::logs;

/// What a line of progress begins with.
const PHASE: &str = "phase: ";

/// Reports to the parent process what is measured now, for its line on the terminal.
pub(crate) fn report_phase(what: &str) {
    let line = format!("{PHASE}{what}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// Passes on what a child writes: its progress to the line, all else above it.
pub(super) async fn relay(from: Option<impl AsyncRead + Unpin>, line: ProgressBar) {
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
