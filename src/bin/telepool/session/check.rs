//! `telepool session check`: is each session logged in, and as whom?
//!
//! Owns the order: what is known to have ended is not dialled, a store that is served is asked and not dialled, and
//! everything else is dialled at the pace of the configuration, each session once.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use telepool::session::KeyId;
use telepool::store::{SessionStore as _, SqliteStore, StoredAccount, StoredSession};
use telepool::telegram::{ServeOptions, StoreSource, TelegramError, TelegramManager, settle_store};
use telepool::{AccountHealth, AccountId, AcquireError, Config, Pool, QuarantineReason};
use tokio::task::JoinSet;

use super::list::accounts;
use super::{StoreArguments, served, shown_name, unusable};
use crate::failure::Failure;
use crate::ownership::claim_keys;
use crate::session_source::{CheckedSessions, refused_store};
use crate::settings::{Settings, SettingsArguments};
use crate::signals::{self, Stop};
use crate::{logs, runtime, sessions, status, stdout};

mod owner;
mod verdict;

use verdict::{SessionVerdict, VerdictKind};

/// How many sessions wait for their dial at once, and for how long beyond their turn. How many are dialled at once is
/// the configuration's affair.
const WAITING_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last writes may take to reach the disk.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Accounts, as +442079460958, bot:123456 or user:777000. Without any: all sessions.
    #[arg(value_name = "ACCOUNT")]
    names: Vec<AccountId>,
    /// Only sessions of which nobody knows whose they are.
    #[arg(long, conflicts_with = "names")]
    unidentified: bool,
    /// Dials as well what is known to have ended.
    #[arg(long)]
    again: bool,
    /// Serves a store that another machine has not given up. Only if nothing serves it there any more.
    #[arg(long)]
    take_over: bool,
    /// Prints one JSON object for each session, on a line of its own.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArguments,
}

/// A session that is to be checked.
#[derive(Clone)]
struct ToCheck {
    account: StoredAccount,
    session: StoredSession,
}

pub(crate) fn run(arguments: CheckArguments) -> Result<ExitCode, Failure> {
    let line = status::line();
    logs::start(&line)?;
    let settings = arguments.settings.load(Settings::for_serve())?;
    let store = arguments.store.open()?;
    let runtime = runtime::multi_thread()?;
    if let Some(client) = served::client(&store)? {
        let all = arguments.sessions(&store)?;
        return runtime.block_on(owner::ask(&client, &all, arguments.json));
    }
    let mut options = ServeOptions::default();
    options.take_over = arguments.take_over;
    options.redial_after_loss = settings.redial_after_loss();
    // What is merged by that is one account from here on.
    let source = Arc::new(StoreSource::serve(store, &options).map_err(refused_store)?);
    let all = arguments.sessions(source.store())?;
    let checked = runtime.block_on(check(&arguments, &settings, &source, all, &line));
    drop(runtime);
    if !source.close(CLOSE_TIMEOUT) {
        return Err(Failure::broken("what was found out could not be written to the store"));
    }
    // Of sessions that have said whose they are some may be one account's.
    settle_store(source.store()).map_err(refused_store)?;
    checked
}

impl CheckArguments {
    fn sessions(&self, store: &SqliteStore) -> Result<Vec<ToCheck>, Failure> {
        let accounts = accounts(store)?;
        let mut all = Vec::new();
        store
            .sessions(None, &mut |session| {
                let Some(account) = accounts.get(&session.account) else { return };
                let is_meant = match self.names.is_empty() {
                    true => !self.unidentified || account.name().is_none(),
                    false => account.names().any(|name| self.names.contains(&name)),
                };
                if is_meant {
                    all.push(ToCheck { account: account.clone(), session });
                }
            })
            .map_err(unusable)?;
        match all.is_empty() && !self.names.is_empty() {
            true => Err(Failure::refused(
                "the store has no such account: telepool session list shows which there are",
            )),
            false => Ok(all),
        }
    }
}

async fn check(
    arguments: &CheckArguments,
    settings: &Settings,
    source: &Arc<StoreSource>,
    all: Vec<ToCheck>,
    line: &ProgressBar,
) -> Result<ExitCode, Failure> {
    let (_stopper, stop) = signals::listen()?;
    let count = all.len();
    let has_ended = |it: &ToCheck| {
        let reason = it.session.quarantine.map(|(reason, _)| reason);
        !arguments.again && reason.is_some_and(|reason| reason != QuarantineReason::Suspect)
    };
    let (ended, dialled): (Vec<_>, Vec<_>) = all.into_iter().partition(has_ended);
    let mut told = Told { is_json: arguments.json, line, good: 0, bad: 0, count };
    for it in &ended {
        told.tell(&SessionVerdict::known(&it.account, &it.session))?;
    }
    if !dialled.is_empty() {
        dial(settings, source, dialled, &mut told, stop).await?;
    }
    line.finish_and_clear();
    say!("telepool: {} of {count} sessions are alive", told.good);
    Ok(if told.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was told so far.
struct Told<'a> {
    is_json: bool,
    line: &'a ProgressBar,
    good: usize,
    bad: usize,
    count: usize,
}

impl Told<'_> {
    fn tell(&mut self, verdict: &SessionVerdict) -> Result<(), Failure> {
        match verdict.kind() {
            VerdictKind::Alive => self.good += 1,
            _ => self.bad += 1,
        }
        self.line.set_message(format!("checked {} of {}", self.good + self.bad, self.count));
        self.line.tick();
        self.line.suspend(|| stdout::print(&verdict.shown(self.is_json)))
    }
}

async fn dial(
    settings: &Settings,
    source: &Arc<StoreSource>,
    all: Vec<ToCheck>,
    told: &mut Told<'_>,
    mut stop: Stop,
) -> Result<(), Failure> {
    let some_lack_api_id = all.iter().any(|it| it.session.api_id.is_none());
    let telegram = sessions::telegram(settings, sessions::api_id_for(some_lack_api_id)?);
    let keys: Vec<KeyId> = all.iter().map(|it| it.session.key_id).collect();
    let path = source.store().path().to_owned();
    let claimed = claim_keys(keys, &path, telegram.redial_after_loss, false).await?;
    let rows = all.iter().map(|it| (it.session.account, it.session.slot, it.session.proxy.clone()));
    let checked = Arc::new(CheckedSessions::new(Arc::clone(source), rows.collect()));
    let manager = TelegramManager::new(Arc::clone(&checked), telegram);
    let pool = Pool::builder(manager.with_ownership(claimed.ownership()))
        .config(patient(settings.config()))
        .build()
        .map_err(|error| Failure::refused(error.to_string()))?;
    // Those before it have their turns first, at the pace of the configuration.
    let turns = WAITING_MAX as u64 / u64::from(settings.config().dial.per_second.max(1));
    let patience = PATIENCE + Duration::from_secs(turns);
    let mut waiting = JoinSet::new();
    let mut rest = (0..).zip(all);
    let ended = loop {
        while waiting.len() < WAITING_MAX
            && let Some((place, it)) = rest.next()
        {
            let (pool, checked) = (pool.clone(), Arc::clone(&checked));
            waiting.spawn(async move { verdict_of(&pool, &checked, place, it, patience).await });
        }
        tokio::select! {
            done = waiting.join_next() => match done {
                Some(Ok(verdict)) => {
                    if let Err(failure) = told.tell(&verdict) {
                        break Err(failure);
                    }
                }
                Some(Err(error)) => break Err(Failure::broken(format!("a check has failed: {error}"))),
                None => break Ok(()),
            },
            () = stop.requested() => {
                break Err(Failure::stopped("ended before all sessions were checked"));
            }
        }
    };
    waiting.shutdown().await;
    pool.close().await;
    drop(pool);
    claimed.settle();
    ended
}

/// The configuration, for callers who are meant to wait for their turn.
fn patient(config: &Config) -> Config {
    let mut config = config.clone();
    config.watch.slow_acquire = PATIENCE;
    config
}

/// Dials one session, and closes it again.
async fn verdict_of(
    pool: &Pool<TelegramManager<Arc<CheckedSessions>>>,
    checked: &CheckedSessions,
    place: u64,
    it: ToCheck,
    patience: Duration,
) -> SessionVerdict {
    let name = CheckedSessions::name(place);
    let mut acquired = pool.acquire_timeout(name, patience).await;
    if acquired.as_ref().is_err_and(is_key_unknown) {
        // Telegram is mistaken at times. What it says twice is noted.
        acquired = pool.acquire_timeout(name, patience).await;
    }
    let health = pool.account_health(name);
    let verdict = match acquired {
        Ok(lease) => {
            drop(lease);
            SessionVerdict::alive(&it.account, &it.session, checked.user(place))
        }
        Err(error) => match health {
            Some(AccountHealth::Quarantined(reason)) => {
                SessionVerdict::quarantined(&it.account, &it.session, reason)
            }
            Some(AccountHealth::Suspect) => {
                SessionVerdict::quarantined(&it.account, &it.session, QuarantineReason::Suspect)
            }
            _ => SessionVerdict::unreachable(&it.account, &it.session, reason_of(&error)),
        },
    };
    pool.remove_account(name).await;
    verdict
}

/// Whether the server has said that it does not know the key.
fn is_key_unknown(error: &AcquireError<TelegramError>) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source())
        .filter_map(|error| error.downcast_ref::<TelegramError>())
        .any(|error| matches!(error, TelegramError::KeyUnknown { .. }))
}

/// The innermost reason: what stands around it speaks of the pool.
fn reason_of<E: std::error::Error + 'static>(error: &AcquireError<E>) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

/// What an account is called, its number masked.
fn named(account: &StoredAccount) -> String {
    account.name().map_or_else(|| shown_name(account), |name| name.to_string())
}
