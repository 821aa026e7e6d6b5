//! Values and settings on the command line.
//!
//! Owns what is told of a value that cannot be read.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use telepool::config::parse_time;

use super::merge::load;
use super::values::Settings;
use crate::failure::Failure;

/// Reads a time of the command line.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).ok_or_else(|| "must be seconds, or a time such as 250ms, 30s, 5m".to_owned())
}

/// Reads a number of the command line.
pub(crate) fn count<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("must be a whole number from {least} to {most}, in digits alone, such as 1000")
        })
    }
}

/// Reads what chances are drawn from.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("must be a whole number from 0 to {}, in digits alone", u64::MAX))
}

/// Reads an address of the command line.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| "must be an address with a port, such as 127.0.0.1:9464".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct SettingsArguments {
    /// A TOML file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, as in `--set pool.max_idle_time=5m`; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingsArguments {
    /// The settings, on top of `base`.
    pub(crate) fn load(&self, base: Settings) -> Result<Settings, Failure> {
        let environment = std::env::vars_os();
        load(base, self.config.as_deref(), &self.set, environment).map_err(Failure::refused)
    }
}
