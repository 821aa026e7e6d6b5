//! The `telepool` command.

// `println!` and its kin panic when whoever reads has gone.
#![warn(clippy::print_stderr, clippy::print_stdout)]

/// Tells something on standard error: as it is, or with `WARN` or `ERROR` before it what is no mere news.
macro_rules! say {
    (WARN $($text:tt)*) => { $crate::logs::say(::tracing::Level::WARN, format_args!($($text)*)) };
    (ERROR $($text:tt)*) => { $crate::logs::say(::tracing::Level::ERROR, format_args!($($text)*)) };
    ($($text:tt)*) => { $crate::logs::say(::tracing::Level::INFO, format_args!($($text)*)) };
}

mod accounts;
mod allocator;
#[cfg(feature = "bench")]
mod bench;
mod calls;
mod client;
mod clock;
mod columns;
mod counts;
mod ctl;
mod datacenter;
mod doctor;
mod events;
mod failure;
mod files;
mod given;
mod http_arguments;
mod http_server;
mod incoming;
mod input;
mod listen;
mod login;
mod logs;
mod ownership;
mod progress;
mod report;
mod runtime;
mod sandbox;
mod secrets;
mod serve;
mod session;
mod session_source;
mod sessions;
mod settings;
mod signals;
mod state;
mod status;
mod stdout;
mod store_run;
mod table;
mod tls;
mod token;
mod top;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use settings::{Settings, SettingsArguments};

/// What the process ends with.
const STATUSES: &str = "\
Exit status:
  0    all went well
  1    the work was begun, and something of it failed
  2    what was asked for will not do; nothing was started
  3    another process has what is needed: sessions, a state file, an address;
       nothing was started
  4    somebody has to be asked, and nobody is there
  75   not now: try again later, as the message says
  130  ended before its time: by a second Ctrl-C, or before there were results";

/// A connection-pool runtime for Telegram accounts.
#[derive(Debug, Parser)]
#[command(version, about, after_help = STATUSES, max_term_width = columns::COLUMNS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a pool, over a sandbox of its own or over the sessions of a file.
    Serve(serve::ServeArguments),
    /// Shows the quarantines that runs keep in a file, and lifts them.
    #[command(subcommand)]
    State(state::StateCommand),
    /// Signs an account or bots in, and puts the sessions into the store.
    Login(Box<login::LoginArguments>),
    /// Ends sessions at Telegram, and removes them from the store.
    Logout(login::LogoutArguments),
    /// Brings sessions into a store, and looks after them there.
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Looks into a running pool, and operates it.
    Ctl(ctl::CtlArguments),
    /// Shows a running pool in the terminal, once a second.
    Top(top::TopArguments),
    /// Makes, shows and revokes the tokens that let clients in over HTTP.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Runs a sandbox data centre alone, and writes its sessions to a file.
    Datacenter(datacenter::DatacenterArguments),
    /// Tries what telepool relies on against Telegram's test servers.
    Doctor(doctor::DoctorArguments),
    #[cfg(feature = "bench")]
    /// Measures the pool beside a connection per request and beside kept clients.
    Bench(bench::BenchArguments),
    #[cfg(feature = "bench")]
    /// One way of a benchmark, as `bench` starts it.
    #[command(hide = true)]
    BenchWay,
    /// Prints the configuration in force, with the origin of each value.
    Config(SettingsArguments),
}

fn show(arguments: &SettingsArguments) -> Result<ExitCode, Failure> {
    let settings = arguments.load(Settings::default())?;
    // The commands that log would refuse it: whoever tries a configuration out learns of it here.
    logs::LogSettings::read()?;
    stdout::print(&settings.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    allocator::keep_no_buffers();
    files::raise_limit();
    logs::report_panics();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::misused(&error),
    };
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::State(command) => state::run(&command),
        Command::Login(arguments) => login::run(*arguments),
        Command::Logout(arguments) => login::run_logout(&arguments),
        Command::Session(command) => session::run(command),
        Command::Ctl(arguments) => ctl::run(arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Token(command) => token::run(command),
        Command::Datacenter(arguments) => datacenter::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        #[cfg(feature = "bench")]
        Command::Bench(arguments) => bench::run(arguments),
        #[cfg(feature = "bench")]
        Command::BenchWay => bench::run_way(),
        Command::Config(arguments) => show(&arguments),
    };
    done.unwrap_or_else(|failure| {
        say!(ERROR "telepool: {}", secrets::redact(failure.to_string()));
        failure.code()
    })
}
