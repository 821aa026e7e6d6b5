//! The log, on standard error and above the status line.

use std::io::{self, Write};

use indicatif::ProgressBar;
use tracing::level_filters::LevelFilter;

/// Starts the log. Warnings are shown unless `TELEPOOL_LOG` says `error`, `info`, `debug`,
/// `trace` or `off`.
pub(crate) fn start(line: &ProgressBar) {
    let level = std::env::var("TELEPOOL_LOG").ok().and_then(|level| level.parse().ok());
    let line = line.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::WARN))
        .with_target(false)
        .with_writer(move || AboveLine(line.clone()))
        .finish();
    // Refused only if there is a log already.
    tracing::subscriber::set_global_default(subscriber).ok();
}

struct AboveLine(ProgressBar);

impl Write for AboveLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
