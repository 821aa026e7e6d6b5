//! `telepool bench --scale`: what the pool costs when there is much of everything.
//!
//! Owns the order of the parts: real connections to a data centre of its own, accounts by their
//! number, and a million of both. Each part is measured in a process of its own, so that what one
//! leaves with the allocator is not charged to the next; this process only starts them, shows how
//! far they are, and tells what they came to. Whatever it has started ends with it.

mod accounts;
mod acquire_loop;
mod charts;
mod connections;
mod cost;
mod gauges;
mod instructions;
mod lateness;
mod limits;
mod many;
mod part;
mod report;
mod setup;
mod timed_manager;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use crate::bench::processes::{DataCentreProcess, DataCentreSpec, ProcessRunner};
use crate::failure::Failure;
use crate::runtime;
use crate::settings::count;
use crate::signals::{self, Stop};
use crate::status;
use crate::stdout;
use part::Part;
use report::Report;

/// An account takes up to three connections, and a pool has at most a million.
const SIZE_MAX: i64 = 300_000;
/// More connections than one address can have to another.
const CONNECTIONS_MAX: i64 = 60_000;
const MILLION: i64 = 1_000_000;
/// Far longer than the data centre is needed.
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    /// With --scale: how many accounts, one measurement for each number.
    #[arg(long, requires = "scale", value_name = "N,..", value_delimiter = ',',
        default_values_t = [100, 1_000, 10_000, 100_000],
        value_parser = count::<u64>(10..=SIZE_MAX))]
    sizes: Vec<u64>,
    /// With --scale: how many connections to open with the real client, to a data centre on this
    /// machine.
    #[arg(long, requires = "scale", value_name = "N", default_value_t = 5_000,
        value_parser = count::<u32>(1..=CONNECTIONS_MAX))]
    connections: u32,
    /// With --scale: how many accounts to create and collect, and how many connections to let expire
    /// at once.
    #[arg(long, requires = "scale", value_name = "N", default_value_t = 1_000_000,
        value_parser = count::<u32>(1_000..=MILLION))]
    million: u32,
    /// Measures one part, in a process that this command has started.
    #[arg(long, requires = "scale", hide = true)]
    part: Option<Part>,
}

/// Measures everything; writes scale.json, scale.md and charts into the folder, if there is one.
pub(crate) fn run(
    arguments: &ScaleArguments,
    out: Option<&Path>,
    json: bool,
) -> Result<ExitCode, Failure> {
    if let Some(part) = &arguments.part {
        // Whoever has started this process is gone.
        signals::at_end_of_input(|| std::process::exit(1));
        return part.measure();
    }
    limits::check(u64::from(arguments.connections))?;
    if let Some(folder) = out {
        crate::bench::output_folder::create(folder)?;
    }
    let line = status::line();
    let report = runtime::multi_thread()?.block_on(async {
        let (_stopper, stop) = signals::listen()?;
        let report = measure(arguments, &line, stop).await;
        line.finish_and_clear();
        report
    })?;
    if let Some(folder) = out {
        report.write(folder)?;
    }
    stdout::print(&if json { report.json() + "\n" } else { report.to_string() })?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(
    arguments: &ScaleArguments,
    line: &ProgressBar,
    stop: Stop,
) -> Result<Report, Failure> {
    let runner = ProcessRunner::new(line.clone(), stop)?;
    let mut sizes = arguments.sizes.clone();
    sizes.sort_unstable();
    sizes.dedup();

    runner.show(&format!("{} real connections", arguments.connections));
    let spec = DataCentreSpec {
        accounts: arguments.connections,
        sessions_per_account: 1,
        latency: Duration::ZERO,
        seed: 1,
        longest: HOUR,
    };
    let data_centre = DataCentreProcess::start(&runner, spec).await?;
    let part = Part::Connections(data_centre.sessions().to_owned());
    let connections = part.measure_apart(&runner).await;
    // Before anything else is done about a failure: the data centre must not be left behind.
    let counts = data_centre.end().await;
    let (connections, key_violations) = (connections?, counts?.key_violations);

    let mut by_size = Vec::new();
    for accounts in sizes {
        runner.show(&format!("{accounts} accounts"));
        let part = Part::Accounts(accounts);
        let mut measured: accounts::AccountsResult = part.measure_apart(&runner).await?;
        runner.show(&format!("instructions of an acquire among {accounts} accounts"));
        measured.instructions = instructions::per_acquire(&runner, accounts).await?;
        by_size.push(measured);
    }
    let million = u64::from(arguments.million);
    runner.show(&format!("{million} accounts and connections"));
    let many = Part::Many(million).measure_apart(&runner).await?;
    Ok(Report { connections, key_violations, accounts: by_size, many })
}
