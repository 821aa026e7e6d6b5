//! `telepool bench`: the same work by three strategies.
//!
//! Owns the order of measurements and where the results go. Every measurement has a data centre and a
//! process of its own, so that what one strategy leaves behind (sockets, memory, processor time) is no
//! other's. The work is described in `arrivals`, the strategies in `strategies`.
//!
//! First the rate is found: so many callers (the `--callers`) make calls over a connection per
//! request, to whom the work makes them, each as soon as the one before is answered; half of what comes
//! through in a second is the most that the open loop asks for. Then calls a second at fixed callers,
//! to all accounts alike, in rounds whose median counts. Then the open loop, in rounds too: calls come
//! when they are due, and a response time counts from then on.

mod arrivals;
mod chart;
mod charts;
mod files;
mod harness;
mod job;
mod output_folder;
mod processes;
mod report;
mod results;
mod scale;
mod strategies;
mod targets;
mod usage;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::runtime;
use crate::sandbox::{ACCOUNTS, LATENCY, SESSIONS_MAX};
use crate::settings::{count, time};
use crate::signals::{self, Stop};
use crate::stdout;
use crate::{logs, status};
use harness::{Harness, Measurement, SandboxSize};
use job::{AccountChoice, StrategyKind, Task};
use processes::ProcessRunner;
use results::{BenchSetup, Results, StrategyResults};
use scale::ScaleArguments;
use strategies::HANDSHAKES;

pub(crate) use worker::run as run_way;

/// An open loop that is shorter says little; it is for trying whether everything works.
const SHORT: Duration = Duration::from_secs(10);
/// How often each loop is run for each strategy, of which the median counts.
const ROUNDS: usize = 3;
/// No phase can be shorter: a connection has to come up in it.
const PHASE_MIN: Duration = Duration::from_millis(500);
const PHASE_MAX: Duration = Duration::from_secs(10);
/// How many times the latency it takes to open a connection: four round trips, and some for the work.
const CONNECT: u32 = 5;

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Measures what the pool costs when there is much of everything, in place of the three ways.
    #[arg(long)]
    scale: bool,
    #[command(flatten)]
    curve: ScaleArguments,
    /// How long the open loop lasts for each way and round; the whole run takes eleven times as long,
    /// and half a minute on top.
    #[arg(long, conflicts_with = "scale", value_name = "TIME", default_value = "40s",
        value_parser = duration)]
    duration: Duration,
    /// Calls a second of the open loop; without it, half of what a connection per request sustains.
    #[arg(long, conflicts_with = "scale", value_name = "N",
        value_parser = count::<u32>(1..=100_000))]
    rate: Option<u32>,
    /// What the calls are drawn from.
    #[arg(long, conflicts_with = "scale", value_name = "NUMBER", default_value_t = 1,
        value_parser = crate::settings::seed)]
    seed: u64,
    /// How many accounts there are.
    #[arg(long, conflicts_with = "scale", value_name = "N", default_value_t = ACCOUNTS,
        value_parser = count::<u32>(1..=10_000))]
    accounts: u32,
    /// How many sessions each of them has.
    #[arg(long, conflicts_with = "scale", value_name = "N", default_value_t = 3,
        value_parser = count::<u16>(1..=SESSIONS_MAX))]
    sessions_per_account: u16,
    /// How long the data centre takes to answer [default: 50ms].
    #[arg(long, conflicts_with = "scale", value_name = "TIME", value_parser = time)]
    latency: Option<Duration>,
    /// How many callers the closed loop has.
    #[arg(long, conflicts_with = "scale", value_name = "N", default_value_t = 256,
        value_parser = count::<u32>(1..=100_000))]
    callers: u32,
    /// Writes the results as JSON and Markdown, and charts of them, into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Prints the results as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// A duration that leaves something to measure.
fn duration(text: &str) -> Result<Duration, String> {
    match time(text)? {
        short if short < Duration::from_secs(1) => Err("must be at least 1s".into()),
        long if long > Duration::from_secs(86_400) => Err("must be at most 1d".into()),
        duration => Ok(duration),
    }
}

pub(crate) fn run(arguments: BenchArguments) -> Result<ExitCode, Failure> {
    if arguments.scale {
        return scale::run(&arguments.curve, arguments.out.as_deref(), arguments.json);
    }
    if let Some(folder) = &arguments.out {
        output_folder::create(folder)?;
    }
    say!("telepool: this takes {} s, and a little more", arguments.length().as_secs());
    let line = status::bar(millis(arguments.length()));
    logs::start(&line)?;
    files::warn_if_few(arguments.accounts as usize * usize::from(arguments.sessions_per_account));
    let results = runtime::multi_thread()?.block_on(async {
        let (_stopper, stop) = signals::listen()?;
        measure(&arguments, stop, &line).await
    })?;
    line.finish_and_clear();
    let json = serde_json::to_string(&results).expect("BUG: numbers always make JSON") + "\n";
    if let Some(folder) = &arguments.out {
        output_folder::write(folder, "results.json", &json)?;
        output_folder::write(folder, "results.md", &report::markdown(&results))?;
        for (file, chart) in charts::all(&results) {
            output_folder::write(folder, file, &chart)?;
        }
    }
    stdout::print(&if arguments.json { json } else { report::plain(&results) })?;
    for problem in &results.problems {
        say!(ERROR "telepool: {problem}");
    }
    Ok(if results.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl BenchArguments {
    fn latency(&self) -> Duration {
        self.latency.unwrap_or(LATENCY)
    }

    fn rounds(&self) -> usize {
        if self.duration < SHORT { 1 } else { ROUNDS }
    }

    /// Finds what a connection per request sustains.
    fn calibration(&self) -> Task {
        let phase = (self.duration / 8).clamp(PHASE_MIN * 2, PHASE_MAX);
        let (callers, choice) = (self.callers, AccountChoice::AsOpenLoop);
        Task::Closed { callers, choice, warm_up: phase, duration: phase }
    }

    fn closed_loop(&self) -> Task {
        let duration = (self.duration / 12).clamp(PHASE_MIN, PHASE_MAX);
        // Every account has a connection by then, whichever strategy opens it, and half of that time is
        // left to come into step.
        let opening = self.latency() * CONNECT * self.accounts.div_ceil(HANDSHAKES);
        let warm_up = (duration / 2).max(opening * 3 / 2).max(PHASE_MIN);
        Task::Closed { callers: self.callers, choice: AccountChoice::Uniform, warm_up, duration }
    }

    /// How long all tasks take together.
    fn length(&self) -> Duration {
        let rounds = u32::try_from(StrategyKind::ALL.len() * self.rounds()).unwrap_or(1);
        let each = self.closed_loop().duration() + self.duration;
        self.calibration().duration() + each * rounds
    }
}

async fn measure(
    arguments: &BenchArguments,
    stop: Stop,
    line: &ProgressBar,
) -> Result<Results, Failure> {
    let BenchArguments { duration, seed, accounts, sessions_per_account, callers, .. } = *arguments;
    let latency = arguments.latency();
    let size = SandboxSize { accounts, sessions_per_account, latency, seed };
    let harness = Harness::new(size, ProcessRunner::new(line.clone(), stop)?);
    let mut bench = Bench { harness, line, problems: Vec::new() };

    let found =
        bench.one("finding the rate", StrategyKind::PerRequest, arguments.calibration()).await?;
    let capacity = found.outcome.calls_per_s;
    let half = (capacity / 2.0).floor().max(1.0);
    let rate = arguments.rate.map_or(half, f64::from);
    if rate > half {
        tracing::warn!(
            "--rate {rate} is more than half of the {capacity:.0} calls a second that a connection \
             per request sustains: its response times are those of a queue"
        );
    }
    let mut closed: [Vec<Measurement>; 3] = Default::default();
    let rounds = arguments.rounds();
    for round in 1..=rounds {
        for (strategy, measured) in StrategyKind::ALL.into_iter().zip(&mut closed) {
            let phase = format!("closed loop, round {round} of {rounds}");
            measured.push(bench.one(&phase, strategy, arguments.closed_loop()).await?);
        }
    }
    let mut open: [Vec<Measurement>; 3] = Default::default();
    for round in 1..=rounds {
        for (strategy, measured) in StrategyKind::ALL.into_iter().zip(&mut open) {
            let phase = format!("open loop, round {round} of {rounds}");
            measured.push(bench.one(&phase, strategy, Task::Open { rate, duration }).await?);
        }
    }
    let loops = open.into_iter().zip(&closed);
    let strategies = StrategyKind::ALL.into_iter().zip(loops);
    let strategies: Vec<_> = strategies
        .map(|(strategy, (open, closed))| StrategyResults::new(strategy, open, closed))
        .collect();
    if let [first, others @ ..] = &strategies[..]
        && let Some(other) = others.iter().find(|it| it.calls != first.calls)
    {
        bench.problems.push(format!(
            "{} made {} calls and {} {}: they have not done the same work",
            first.strategy, first.calls, other.strategy, other.calls
        ));
    }
    let comparisons = match &strategies[..] {
        [per_request, kept, pool] => targets::compare(per_request, kept, pool),
        _ => unreachable!("BUG: there are three strategies"),
    };
    let setup = BenchSetup {
        version: env!("CARGO_PKG_VERSION"),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        accounts,
        sessions_per_account,
        latency_ms: latency.as_secs_f64() * 1000.0,
        duration_s: duration.as_secs_f64(),
        rate,
        capacity,
        callers,
        seed,
    };
    Ok(Results { setup, strategies, comparisons, problems: bench.problems })
}

/// The measurements, one after another.
struct Bench<'a> {
    harness: Harness,
    line: &'a ProgressBar,
    problems: Vec<String>,
}

impl Bench<'_> {
    async fn one(
        &mut self,
        phase: &str,
        strategy: StrategyKind,
        task: Task,
    ) -> Result<Measurement, Failure> {
        self.line.set_message(format!("{phase}: {strategy}"));
        let before = self.line.position();
        let measured = self.harness.measure(strategy, task).await?;
        self.line.set_position(before + millis(task.duration()));
        let Measurement { outcome, data_centre } = &measured;
        if outcome.failed > 0 {
            self.problems.push(format!(
                "{phase}, {strategy}: {} calls failed, for example: {}",
                outcome.failed,
                outcome.examples.join("; ")
            ));
        }
        if data_centre.key_violations > 0 {
            self.problems.push(format!(
                "{phase}, {strategy}: a key was on two connections, {} times",
                data_centre.key_violations
            ));
        }
        // The data centre counts dials that were called off at the end as well.
        let (seen, counted) = (data_centre.connections_total, outcome.opened);
        if seen.abs_diff(counted) > counted / 50 {
            tracing::warn!(
                "{phase}: {strategy} counts {counted} connections, and its data centre {seen}"
            );
        }
        Ok(measured)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
