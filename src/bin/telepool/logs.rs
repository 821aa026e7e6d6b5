//! The log, on standard error and above the status line.

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;

use crate::failure::Failure;

/// Where the client library logs: it warns of every lost connection, which the pool counts.
const CLIENT: [&str; 3] = ["grammers_client", "grammers_mtproto", "grammers_mtsender"];

/// What `TELEPOOL_LOG` says, if it says anything.
pub(crate) fn level() -> Result<Option<LevelFilter>, Failure> {
    let level = std::env::var("TELEPOOL_LOG").ok().map(|level| {
        level.parse().map_err(|_| {
            Failure::refused(format!(
                "TELEPOOL_LOG = {level}: must be off, error, warn, info, debug or trace"
            ))
        })
    });
    level.transpose()
}

/// Starts the log. Warnings are shown unless `TELEPOOL_LOG` says `error`, `info`, `debug`,
/// `trace` or `off`.
pub(crate) fn start(line: &ProgressBar) -> Result<(), Failure> {
    let level = level()?;
    let own = level.unwrap_or(LevelFilter::WARN);
    let client = level.unwrap_or(LevelFilter::ERROR);
    let targets = CLIENT.map(|target| (target, client));
    let filter = Targets::new().with_default(own).with_targets(targets);
    let line = line.clone();
    let lines = layer()
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || AboveLine(line.clone()));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    // Refused only if there is a log already.
    tracing::subscriber::set_global_default(subscriber).ok();
    Ok(())
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
