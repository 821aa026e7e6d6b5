//! The `telepool` command.

mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A connection-pool runtime for Telegram accounts.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the configuration in force, with the origin of each value.
    Config {
        /// A TOML file with settings.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// One setting, as in `--set pool.max_idle_time=5m`; may be given more than once.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

fn main() -> ExitCode {
    let Command::Config { config, set } = Arguments::parse().command;
    match settings::load(config.as_deref(), &set, std::env::vars_os()) {
        Ok(settings) => {
            print!("{settings}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("telepool: {error}");
            ExitCode::from(2)
        }
    }
}
