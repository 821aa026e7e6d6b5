//! `telepool serve`: a pool at work, over a sandbox of its own or over the sessions of a file.
//!
//! Owns the order of things: everything that can be refused is checked first, then what
//! listens starts, then the pool, then the work; the end comes in the opposite order.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use telepool::Pool;
use telepool::sandbox::{DataCentre, FaultPlan};
use telepool::telegram::{StoreSource, TelegramManager, TelegramSettings};
use tokio::task::JoinSet;

use crate::accounts::{PoolManager, ServedAccounts, flush_state};
use crate::calls::{CALL_TIMEOUT, Mix};
use crate::clock::now;
use crate::counts::RunCounts;
use crate::events::EventRecorder;
use crate::failure::Failure;
use crate::http_arguments::HttpArguments;
use crate::http_server::HttpServer;
use crate::ownership::Claimed;
use crate::report::{RunFacts, Summary};
use crate::sandbox::{Sandbox, SandboxArguments};
use crate::settings::{Settings, SettingsArguments, count, time};
use crate::signals::{Stop, Stopper};
use crate::stdout;
use crate::store_run;
use crate::workload::{self, UsableAccounts, Workload};
use crate::{files, logs, ownership, runtime, sessions, signals, status};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("over").required(true).args(["sandbox", "sessions", "store"])))]
pub(crate) struct ServeArguments {
    /// Starts a data centre on this machine, and works on its accounts.
    #[arg(long)]
    sandbox: bool,
    /// Serves the sessions of a file of JSON lines; TELEPOOL_API_ID holds the application id.
    #[arg(long, value_name = "FILE")]
    sessions: Option<PathBuf>,
    /// Serves the sessions of a store, as `telepool session import` brings them there; without a path of the
    /// one that the other commands use. What they change in it is taken up within two seconds.
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    store: Option<Option<PathBuf>>,
    /// Serves a store that another machine has not given up. Only if nothing serves it there any more.
    #[arg(long, requires = "store")]
    take_over: bool,
    /// Keeps quarantines in this file: a session that Telegram has ended is not dialled again after
    /// a restart either. One run at a time may hold it; `telepool state` shows and lifts them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sandbox", "store"])]
    state: Option<PathBuf>,
    /// Claims no session on this machine. Another process that dials one of them as well then costs
    /// its login for good.
    #[arg(long, conflicts_with = "sandbox")]
    without_locks: bool,
    /// How many callers acquire at the same time.
    #[arg(long, default_value_t = 256, value_parser = count::<u32>(1..=100_000))]
    concurrency: u32,
    /// How many calls are made in a second; 0 makes as many as the callers can. With --sessions
    /// all calls are pings, and 0 makes none: each account's first connection is opened, no more.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true,
        value_parser = count::<u32>(0..=10_000_000))]
    rate: u32,
    /// How long to run; without it, until Ctrl-C.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    duration: Option<Duration>,
    /// Prints the summary as one JSON object on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    http: HttpArguments,
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(flatten)]
    sandbox_options: SandboxArguments,
}

impl ServeArguments {
    /// The file beside which the socket of this machine's commands is.
    fn beside(&self) -> Result<Option<PathBuf>, Failure> {
        match &self.store {
            Some(named) => store_run::path_of(named.as_deref()).map(Some),
            None => Ok(self.state.clone()),
        }
    }

    /// Whether calls are made, and not only each account's first connection opened.
    fn works(&self) -> bool {
        self.sandbox || self.rate > 0
    }
}

/// What was read and claimed before anything is started.
enum Prepared {
    Sandbox(FaultPlan),
    Sessions(Box<(ServedAccounts, TelegramSettings, Claimed)>),
}

impl Prepared {
    fn store(&self) -> Option<Arc<StoreSource>> {
        match self {
            Self::Sandbox(_) => None,
            Self::Sessions(all) => all.0.store.clone(),
        }
    }

    fn claimed(&self) -> Claimed {
        match self {
            // Nobody else can know of the keys of a sandbox inside this process.
            Self::Sandbox(_) => Claimed::Unlocked,
            Self::Sessions(all) => all.2.clone(),
        }
    }
}

/// What the pool connects to, and with whose sessions.
struct Backend {
    served: ServedAccounts,
    data_centre: Option<DataCentre>,
    telegram: TelegramSettings,
    claimed: Claimed,
    seed: u64,
}

pub(crate) fn run(arguments: ServeArguments) -> Result<ExitCode, Failure> {
    let base = if arguments.sandbox { Settings::for_sandbox() } else { Settings::for_serve() };
    let settings = arguments.settings.load(base)?;
    if let Some(doubt) = settings.doubt() {
        say!(WARN "telepool: {doubt}");
    }
    let line = status::line();
    // Before anything may be logged.
    logs::start(&line)?;
    if !arguments.sandbox && !arguments.without_locks {
        files::require(ownership::files_at_first())?;
    }
    let runtime = runtime::multi_thread()?;
    let prepared = runtime.block_on(prepare(&arguments, &settings))?;
    let (claimed, store) = (prepared.claimed(), prepared.store());
    let served = runtime.block_on(serve(&arguments, &settings, prepared, &line));
    // With its last task the last key is given back.
    drop(runtime);
    claimed.settle();
    let closed = store_run::close(store.as_deref());
    let (stats, counts, run) = served?;
    closed?;
    let summary = Summary::new(&run, &stats, &counts);
    let text = match arguments.json {
        true => serde_json::to_string(&summary).expect("BUG: numbers always make JSON") + "\n",
        false => summary.to_string(),
    };
    stdout::print(&text)?;
    if summary.reached_nobody() && summary.has_rested() {
        say!(
            WARN "telepool: no connection was opened: sessions rested, as was told at the start, and the run \
             was over before they had"
        );
    } else if summary.reached_nobody() {
        let why = run.last_failure.as_deref().map_or_else(
            || "no dial has ended: is the data centre reachable?".to_owned(),
            |why| format!("the last dial that failed was of {why}"),
        );
        say!(
            ERROR "telepool: no connection could be opened: {why} (TELEPOOL_LOG=info tells of each dial)"
        );
    }
    for example in counts.examples() {
        say!(ERROR "telepool: a call failed: {}", logs::escaped(&example));
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn serve(
    arguments: &ServeArguments,
    settings: &Settings,
    prepared: Prepared,
    line: &ProgressBar,
) -> Result<(telepool::PoolStats, Arc<RunCounts>, RunFacts), Failure> {
    let http = arguments.http.bind(arguments.beside()?.as_deref())?;
    let (stopper, stop) = signals::listen()?;
    let Backend { served, data_centre, telegram, claimed, seed } =
        start_backend(arguments, settings, prepared, &stop).await?;
    let ServedAccounts { source, store, accounts, sessions, groups, state, quarantined } = served;
    let (quarantined_before, resting_before) = (quarantined.len() as u64, claimed.resting());
    let mut config = settings.config().clone();
    let ends = if arguments.sandbox { 2 } else { 1 };
    files::fit(&mut config, sessions, ends, http.connections_max())?;
    let patience = config.pool.drain_timeout;
    let account_count = accounts.len();
    let accounts = Arc::new(UsableAccounts::new(accounts));
    let recorder = Arc::new(EventRecorder::new(Arc::clone(&accounts)));
    let listening = Arc::clone(&recorder);
    let manager = TelegramManager::new(source, telegram).with_ownership(claimed.ownership());
    let pool = Pool::builder(manager)
        .config(config)
        .seed(seed)
        .on_event(move |event| listening.record(event))
        .build()
        .map_err(|error| Failure::refused(error.to_string()))?;
    // What only clients of Telegram need to know has no effect on a sandbox.
    let of_command = settings.of_the_command().filter(|_| !arguments.sandbox);
    let http = HttpServer::start(http, &pool, groups, settings.origins(), of_command)?;
    announce(arguments, &data_centre, &http, account_count, sessions, seed);
    store_run::announce(store.as_deref(), http.socket());

    let started = now();
    let counts = Arc::new(RunCounts::new());
    let mix = if arguments.sandbox { Mix::Everything } else { Mix::Pings };
    let work = Workload {
        pool: pool.clone(),
        accounts,
        mix,
        counts: Arc::clone(&counts),
        data_centre: data_centre.clone(),
        seed,
    };
    let usable = Arc::clone(&work.accounts);
    let following = store_run::follow(store, pool.clone(), usable, !arguments.works());
    let worked = tokio::select! {
        worked = work_until(arguments, work, line, (&stopper, stop), patience) => worked,
        () = following => unreachable!("BUG: a store is followed for ever"),
    };
    let left = close(&pool, line).await;
    let took = started.elapsed();
    let key_duplicated = recorder.duplicated();
    let mut key_violations = key_duplicated;
    if let Some(data_centre) = data_centre {
        data_centre.stop().await;
        // It has seen the keys itself; what clients were told may be a fault that was injected.
        key_violations = data_centre.stats().key_violations;
    }
    let stats = pool.stats();
    http.stop().await;
    line.finish_and_clear();
    flush_state(state).await?;
    let run = RunFacts {
        accounts: account_count as u64,
        sessions: sessions as u64,
        quarantined_before,
        resting_before,
        took,
        worked,
        left,
        key_violations,
        key_duplicated,
        last_failure: recorder.last_failure(),
        seed,
    };
    Ok((stats, counts, run))
}

/// Reads what there is to read, before anything is started.
async fn prepare(arguments: &ServeArguments, settings: &Settings) -> Result<Prepared, Failure> {
    if arguments.sandbox {
        return arguments.sandbox_options.fault_plan().map(Prepared::Sandbox);
    }
    if let Some(flag) = arguments.sandbox_options.first_given() {
        return Err(Failure::refused(format!(
            "{flag} belongs to --sandbox: it says nothing of sessions that there are"
        )));
    }
    let Some(path) = &arguments.sessions else {
        let named = arguments.store.as_ref().and_then(Option::as_deref);
        let (take_over, unlocked) = (arguments.take_over, arguments.without_locks);
        let prepared = store_run::prepare(named, take_over, settings, unlocked).await?;
        return Ok(Prepared::Sessions(Box::new(prepared)));
    };
    let sessions = sessions::read(path, settings.data_centres())?;
    let telegram = sessions::telegram(settings, sessions::api_id()?);
    let timer = telegram.redial_after_loss;
    let claimed = ownership::claim(&sessions, path, timer, arguments.without_locks).await?;
    let served = ServedAccounts::new(sessions, arguments.state.as_deref())?;
    if let Some(state) = &arguments.state {
        served.warn_quarantined(state)?;
    }
    Ok(Prepared::Sessions(Box::new((served, telegram, claimed))))
}

/// Starts the sandbox, if there is to be one.
async fn start_backend(
    arguments: &ServeArguments,
    settings: &Settings,
    prepared: Prepared,
    stop: &Stop,
) -> Result<Backend, Failure> {
    let plan = match prepared {
        Prepared::Sandbox(plan) => plan,
        Prepared::Sessions(both) => {
            let (served, telegram, claimed) = *both;
            let seed = arguments.sandbox_options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
            return Ok(Backend { served, data_centre: None, telegram, claimed, seed });
        }
    };
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let Sandbox { data_centre, sessions, seed } =
        arguments.sandbox_options.start(anywhere, plan, stop).await?;
    let mut telegram = TelegramSettings::new(1);
    telegram.engine = settings.engine();
    telegram.call_timeout = CALL_TIMEOUT + arguments.sandbox_options.latency();
    let served = ServedAccounts::new(sessions, None)?;
    let (data_centre, claimed) = (Some(data_centre), Claimed::Unlocked);
    Ok(Backend { served, data_centre, telegram, claimed, seed })
}

fn announce(
    arguments: &ServeArguments,
    data_centre: &Option<DataCentre>,
    http: &HttpServer,
    accounts: usize,
    sessions: usize,
    seed: u64,
) {
    match data_centre {
        Some(it) => say!(
            "telepool: sandbox data centre on {}, {} ms of latency, {accounts} accounts, \
             {sessions} sessions, seed {seed}",
            it.address(),
            arguments.sandbox_options.latency().as_secs_f64() * 1000.0,
        ),
        None => say!("telepool: {accounts} accounts, {sessions} sessions"),
    }
    if let Some(socket) = http.socket() {
        say!("telepool: telepool ctl and telepool top reach it by --socket {socket}");
    }
    let page = http.page().map(|page| format!(", the page on {page}")).unwrap_or_default();
    say!("telepool: metrics on {}{page}; Ctrl-C ends the run", http.address());
}

/// Has the work done until the time is up, and gives the calls under way so long to end. Returns how
/// long it worked until then, and how many calls were made.
async fn work_until(
    arguments: &ServeArguments,
    work: Workload,
    line: &ProgressBar,
    (stopper, stop): (&Stopper, Stop),
    patience: Duration,
) -> (Duration, u64) {
    let started = now();
    let (pool, counts) = (work.pool.clone(), Arc::clone(&work.counts));
    let show = show(&pool, &counts, line);
    let works = arguments.works();
    if !works {
        // The first connection of each account is opened at the pace of the configuration, and
        // tells whether its session is any good.
        pool.warm_up(work.accounts.all().iter().copied());
    }
    let callers = if works { arguments.concurrency } else { 0 };
    let mut callers = workload::start(work, callers, arguments.rate, &stop);
    let end = async {
        tokio::select! {
            () = all_ended(&mut callers), if works => {}
            () = signals::time_is_up(started, arguments.duration, stop) => {}
        }
        stopper.request();
        (started.elapsed(), counts.calls())
    };
    let worked = tokio::select! {
        worked = end => worked,
        () = show => unreachable!("BUG: the line is shown for ever"),
    };
    line.suspend(|| {
        say!(
            "telepool: closing, for at most {} s (pool.drain_timeout); Ctrl-C ends it at once",
            patience.as_secs_f64(),
        );
    });
    show_now(line, "closing: the last calls are ending");
    if tokio::time::timeout(patience, all_ended(&mut callers)).await.is_err() {
        tracing::warn!("{} callers were still busy {patience:?} after the end", callers.len());
        callers.shutdown().await;
    }
    worked
}

fn show_now(line: &ProgressBar, text: impl Into<Cow<'static, str>>) {
    line.set_message(text);
    line.tick();
}

async fn all_ended(callers: &mut JoinSet<()>) {
    while let Some(ended) = callers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a caller has failed");
        }
    }
}

/// Keeps the line up to date; never returns.
async fn show(pool: &Pool<PoolManager>, counts: &RunCounts, line: &ProgressBar) {
    let (mut calls, mut at) = (0, now());
    loop {
        tokio::time::sleep(status::STEP).await;
        let passed = at.elapsed();
        show_now(line, status::text(&pool.stats(), counts, calls, passed));
        (calls, at) = (counts.calls(), now());
    }
}

/// Closes the pool, and says how many connections would not close.
async fn close(pool: &Pool<PoolManager>, line: &ProgressBar) -> u64 {
    let closing = pool.close();
    let mut closing = std::pin::pin!(closing);
    loop {
        tokio::select! {
            report = &mut closing => return report.still_open,
            () = tokio::time::sleep(status::STEP) => {
                let stats = pool.stats();
                let open = stats.current_pool_size + stats.current_active_connections;
                show_now(line, format!("closing: {open} connections are open"));
            }
        }
    }
}
