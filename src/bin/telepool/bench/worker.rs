//! Measuring process of one strategy: reads its job, runs it, prints the outcome.
//!
//! Owns the open loop, the closed loop and the samples of the process. Ends at once when its standard
//! input does, since the command that gave the job has gone then.

use std::io::BufRead;
use std::process::{ExitCode, exit};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telepool::AccountId;
use telepool::session::DataCentres;
use telepool::telegram::{Engine, TelegramManager, TelegramSettings};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::arrivals::{ArrivalSchedule, Popularity};
use super::job::{AccountChoice, Job, Outcome, Response, Sample, StrategyKind, Task, Usage};
use super::strategies::{API_ID, KeptClients, PerRequest, Pooled, Strategy};
use super::usage;
use crate::accounts::ServedAccounts;
use crate::calls::CALL_TIMEOUT;
use crate::calls::{Mix, WorkloadCall};
use crate::clock::now;
use crate::counts::{LatencyHistogram, RunCounts};
use crate::failure::Failure;
use crate::runtime;
use crate::stdout;
use crate::{logs, sessions, signals, status};

/// How long calls may take to be answered after the last of them has come.
pub(super) const DRAIN: Duration = Duration::from_secs(60);
/// How long apart samples of the process are, at least, and how many there are at most.
const SAMPLE_INTERVAL_MIN: Duration = Duration::from_secs(1);
const SAMPLES_MAX: u32 = 1_000;

/// Runs the job on standard input.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::broken(format!("cannot read the order: {error}")))?;
    let job = serde_json::from_str(&line).map_err(|error| {
        Failure::refused(format!("the order makes no sense ({error}): `telepool bench` gives it"))
    })?;
    signals::at_end_of_input(|| exit(1));
    logs::start(&status::hidden())?;
    let outcome = runtime::multi_thread()?.block_on(run_job(job))?;
    stdout::print(
        &(serde_json::to_string(&outcome).expect("BUG: numbers always make JSON") + "\n"),
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn run_job(job: Job) -> Result<Outcome, Failure> {
    let records = sessions::read(&job.sessions, &DataCentres::new())?;
    let ServedAccounts { source, mut accounts, .. } = ServedAccounts::new(records, None)?;
    // The source has them in no order, and a schedule means the same ones every time.
    accounts.sort_unstable();
    let manager = |source, engine| {
        let mut telegram = TelegramSettings::new(API_ID);
        telegram.call_timeout = CALL_TIMEOUT + job.latency;
        telegram.engine = engine;
        TelegramManager::new(source, telegram)
    };
    let outcome = match job.strategy {
        StrategyKind::PerRequest => {
            // Whoever has no pool has the client library.
            let manager = manager(source, Engine::Grammers);
            run_strategy(PerRequest::new(manager, &accounts), &job, &accounts).await
        }
        StrategyKind::Kept => {
            run_strategy(KeptClients::new(&source, &accounts), &job, &accounts).await
        }
        StrategyKind::Telepool => {
            match Pooled::new(manager(source, Engine::Wire), &accounts, job.seed) {
                Ok(pooled) => run_strategy(pooled, &job, &accounts).await,
                Err(error) => Err(error),
            }
        }
    };
    outcome.map_err(Failure::broken)
}

/// What is recorded while the calls are made.
struct Recorder {
    counts: RunCounts,
    times: Mutex<LatencyHistogram>,
}

impl Recorder {
    fn answered(&self, account: AccountId, since: Instant, done: Result<(), String>) {
        match done {
            Ok(()) => {
                self.counts.count_call();
                let mut times = self.times.lock().expect("BUG: nobody panics with this lock");
                times.record(now() - since);
            }
            Err(error) => self.counts.count_failed(account, &error),
        }
    }
}

async fn run_strategy<S: Strategy>(
    mut strategy: S,
    job: &Job,
    accounts: &[AccountId],
) -> Result<Outcome, String> {
    let cpu_before = usage::cpu();
    strategy.prepare().await?;
    let cpu_opened = usage::cpu();
    let strategy = Arc::new(strategy);
    let recorder =
        Arc::new(Recorder { counts: RunCounts::new(), times: Mutex::new(LatencyHistogram::new()) });
    let begun = now();
    let mut samples = Vec::new();
    let work = async {
        match job.task {
            Task::Open { rate, duration } => {
                let schedule = ArrivalSchedule::new(job.seed, accounts.len(), rate, duration);
                open_loop(&strategy, schedule, accounts, &recorder).await;
                begun.elapsed()
            }
            Task::Closed { callers, choice, warm_up, duration } => {
                let counted = begun + warm_up;
                let span = (counted, counted + duration);
                let choose = Arc::new(chooser(job.seed, accounts.len(), choice));
                closed_loop(&strategy, callers, job.seed, &choose, span, accounts, &recorder).await;
                duration
            }
        }
    };
    let counted = tokio::select! {
        counted = work => counted,
        () = sample(&*strategy, begun, job.task.duration(), &mut samples) => unreachable!("BUG: it samples on"),
    };
    let peak_resident_kb = usage::peak_resident_kb();
    strategy.close().await;
    let spent =
        |since: Option<Duration>, until: Option<Duration>| Some((until? - since?).as_secs_f64());
    let calls = recorder.counts.calls();
    Ok(Outcome {
        calls,
        failed: recorder.counts.failed(),
        examples: recorder.counts.examples(),
        opened: strategy.connections().opened,
        calls_per_s: calls as f64 / counted.as_secs_f64().max(0.001),
        response: response(&recorder.times.lock().expect("BUG: nobody panics with this lock")),
        usage: Usage {
            cpu_s: spent(cpu_before, usage::cpu()),
            cpu_opening_s: spent(cpu_before, cpu_opened),
            peak_resident_kb,
            mean_resident_kb: mean(&samples),
        },
        samples,
    })
}

/// Makes each call when it is due, however many are unanswered.
async fn open_loop<S: Strategy>(
    strategy: &Arc<S>,
    schedule: ArrivalSchedule,
    accounts: &[AccountId],
    recorder: &Arc<Recorder>,
) {
    let begun = now();
    let mut calls = JoinSet::new();
    let mut all = 0;
    for arrival in schedule {
        all += 1;
        let due = begun + arrival.at;
        sleep_until(due).await;
        let (strategy, recorder) = (Arc::clone(strategy), Arc::clone(recorder));
        let account = accounts[arrival.account];
        calls.spawn(async move {
            let done = strategy.call(arrival.account, arrival.call).await;
            // Since it was due, so that a late beginning counts as well.
            recorder.answered(account, due, done);
        });
        while calls.try_join_next().is_some() {}
    }
    let ended = async { while calls.join_next().await.is_some() {} };
    timeout(DRAIN, ended).await.ok();
    let recorded = recorder.counts.calls() + recorder.counts.failed();
    for _ in recorded..all {
        recorder
            .counts
            .count_failed(accounts[0], &format!("no answer within {DRAIN:?} of the end"));
    }
}

type ChooseAccount = dyn Fn(&mut fastrand::Rng) -> usize + Send + Sync;

fn chooser(seed: u64, accounts: usize, choice: AccountChoice) -> Box<ChooseAccount> {
    let popularity = Popularity::new(seed, accounts);
    match choice {
        AccountChoice::Uniform => Box::new(move |random| random.usize(..accounts)),
        AccountChoice::AsOpenLoop => Box::new(move |random| popularity.next(random)),
    }
}

/// Has each caller call again once it is answered, and counts what is answered within the span.
async fn closed_loop<S: Strategy>(
    strategy: &Arc<S>,
    callers: u32,
    seed: u64,
    choose: &Arc<Box<ChooseAccount>>,
    (counted, end): (Instant, Instant),
    accounts: &[AccountId],
    recorder: &Arc<Recorder>,
) {
    let accounts: Arc<[AccountId]> = accounts.into();
    let mut running = JoinSet::new();
    for caller in 0..callers {
        let (strategy, recorder, choose) =
            (Arc::clone(strategy), Arc::clone(recorder), Arc::clone(choose));
        let accounts = Arc::clone(&accounts);
        let mut random = fastrand::Rng::with_seed(seed ^ u64::from(caller) << 32);
        running.spawn(async move {
            loop {
                let begun = now();
                if begun >= end {
                    break;
                }
                let account = choose(&mut random);
                let call = WorkloadCall::draw(Mix::Everything, &mut random);
                let done = strategy.call(account, call).await;
                let failed = done.is_err();
                if failed || (counted..end).contains(&now()) {
                    recorder.answered(accounts[account], begun, done);
                }
                if failed {
                    // Whoever fails at once would fail in a frenzy.
                    sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    // The last calls end by themselves: each has a deadline of its own.
    while running.join_next().await.is_some() {}
}

/// Samples the process now and then; never returns.
async fn sample<S: Strategy>(
    strategy: &S,
    begun: Instant,
    duration: Duration,
    samples: &mut Vec<Sample>,
) {
    let step = SAMPLE_INTERVAL_MIN.max(duration / SAMPLES_MAX);
    loop {
        let sockets = strategy.connections().open;
        let resident_kb = usage::resident_kb();
        samples.push(Sample { at_s: begun.elapsed().as_secs_f64(), sockets, resident_kb });
        sleep(step).await;
    }
}

fn mean(samples: &[Sample]) -> Option<u64> {
    let resident = samples.iter().filter_map(|sample| sample.resident_kb);
    let (count, sum) = resident.fold((0, 0), |(count, sum), it| (count + 1, sum + it));
    (count > 0).then(|| sum / count)
}

fn response(times: &LatencyHistogram) -> Response {
    Response {
        p50_ms: times.quantile_ms(0.5),
        p99_ms: times.quantile_ms(0.99),
        max_ms: times.quantile_ms(1.0),
        within: times.within_ms(),
    }
}
