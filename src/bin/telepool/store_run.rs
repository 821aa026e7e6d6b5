//! A run over a store: what it begins with, and what is taken up while it lasts.
//!
//! Owns the look, once a second, at what other commands have changed in the store.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use telepool::session::KeyId;
use telepool::store::{SessionStore as _, SqliteStore};
use telepool::telegram::{
    AccountChange, ServeOptions, SessionSource as _, StoreSource, TelegramSettings,
};
use telepool::{AccountId, Pool};

use tokio::task::JoinSet;

use crate::accounts::{PoolManager, ServedAccounts};
use crate::failure::Failure;
use crate::ownership::{Claimed, claim_keys};
use crate::session::{default_path, unusable};
use crate::session_source::refused_store;
use crate::sessions;
use crate::settings::Settings;
use crate::workload::UsableAccounts;

/// How often it is looked for changes: twice within the time that is promised.
const LOOK_STEP: Duration = Duration::from_secs(1);
/// How long the last writes may take to reach the disk.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a store to serve it, and claims what is in it. Without a name it is the one that all commands use.
pub(crate) async fn prepare(
    named: Option<&Path>,
    take_over: bool,
    settings: &Settings,
    unlocked: bool,
) -> Result<(ServedAccounts, TelegramSettings, Claimed), Failure> {
    let path = path_of(named)?;
    let store = SqliteStore::open(&path).map_err(unusable)?;
    let (mut keys, mut some_lack_api_id, mut quarantined) = (Vec::<KeyId>::new(), false, 0_usize);
    store
        .sessions(None, &mut |session| {
            keys.push(session.key_id);
            some_lack_api_id |= session.api_id.is_none();
            quarantined += usize::from(session.quarantine.is_some());
        })
        .map_err(unusable)?;
    let telegram = sessions::telegram(settings, sessions::api_id_for(some_lack_api_id)?);
    let sessions = keys.len();
    // First: whoever has the keys serves the store, even if somebody has removed its lock.
    let claimed = claim_keys(keys, &path, telegram.redial_after_loss, unlocked).await?;
    let mut options = ServeOptions::default();
    options.take_over = take_over;
    options.redial_after_loss = telegram.redial_after_loss;
    // The locks know it of each key, where they have seen the process that crashed.
    options.rests_after_crash = claimed.resting() == 0 && !unlocked;
    let source = Arc::new(StoreSource::serve(store, &options).map_err(refused_store)?);
    if let Some(rest) = source.rests() {
        say!(
            WARN "telepool: all sessions rest for {} s: who served the store before has not given it up, and Telegram \
             may have its connections open until then",
            rest.as_secs() + 1
        );
    }
    if source.unidentified() > 0 {
        say!(
            WARN "telepool: {} accounts are not served, since nobody knows whose they are: telepool session check \
             asks",
            source.unidentified()
        );
    }
    if quarantined > 0 {
        say!(
            WARN "telepool: {quarantined} of {sessions} sessions are quarantined: telepool session list --quarantined \
             shows them"
        );
    }
    let served = ServedAccounts::of_store(source, sessions);
    if served.accounts.is_empty() {
        say!(
            WARN "telepool: there is no account in the store that can be served: telepool session import brings some, \
             and they are taken up within two seconds"
        );
    }
    Ok((served, telegram, claimed))
}

/// The store that is meant.
pub(crate) fn path_of(named: Option<&Path>) -> Result<PathBuf, Failure> {
    named.map_or_else(default_path, |path| Ok(path.to_owned()))
}

/// Notes in the store where this run can be asked.
pub(crate) fn announce(store: Option<&StoreSource>, socket: Option<&str>) {
    if let (Some(store), Some(socket)) = (store, socket) {
        let whole = std::path::absolute(socket).unwrap_or_else(|_| socket.into());
        store.announce(Some(whole.display().to_string()));
    }
}

/// Ends the serving of a store.
pub(crate) fn close(store: Option<&StoreSource>) -> Result<(), Failure> {
    match store {
        Some(store) if !store.close(CLOSE_TIMEOUT) => Err(Failure::broken(
            "what this run has found out could not be written to the store: the next run would dial again what has \
             ended",
        )),
        _ => Ok(()),
    }
}

/// What of an account is to be taken up: whether its connections are to be made anew.
type Pending = HashMap<AccountId, bool>;

/// Takes up what changes in the store, for as long as it is polled. With `opens`, what is new is dialled at once.
pub(crate) async fn follow(
    store: Option<Arc<StoreSource>>,
    pool: Pool<PoolManager>,
    accounts: Arc<UsableAccounts>,
    opens: bool,
) {
    let Some(store) = store else { return std::future::pending().await };
    let (mut was_read, mut pending) = (true, Pending::new());
    // One for each account at a time: what is closed and what is opened must not overtake one another.
    let (mut under_way, mut busy) = (JoinSet::new(), HashSet::new());
    let mut look = tokio::time::interval(LOOK_STEP);
    loop {
        tokio::select! {
            _ = look.tick() => look_for_changes(&store, &mut was_read, &mut pending).await,
            Some(done) = under_way.join_next() => {
                if let Ok(account) = done {
                    busy.remove(&account);
                }
            }
        }
        let ready: Vec<_> = pending.keys().copied().filter(|it| !busy.contains(it)).collect();
        for account in ready {
            let anew = pending.remove(&account).unwrap_or_default();
            busy.insert(account);
            let (store, pool, accounts) = (Arc::clone(&store), pool.clone(), Arc::clone(&accounts));
            under_way.spawn(async move {
                take_up(account, anew, &store, &pool, &accounts, opens).await;
                account
            });
        }
    }
}

async fn look_for_changes(store: &Arc<StoreSource>, was_read: &mut bool, pending: &mut Pending) {
    let looked = Arc::clone(store);
    let changes = match tokio::task::spawn_blocking(move || looked.refresh()).await {
        Ok(Ok(changes)) => changes,
        Ok(Err(error)) => {
            if std::mem::take(was_read) {
                tracing::error!(%error, "changes of the store cannot be read, which is tried again");
            }
            return;
        }
        Err(error) => return tracing::error!(%error, "the look at the store has failed"),
    };
    *was_read = true;
    for change in changes {
        tracing::info!(?change, "the store has changed");
        let (account, anew) = match change {
            AccountChange::Removed(account) | AccountChange::Changed(account) => (account, true),
            AccountChange::Added(account) | AccountChange::Grown(account) => (account, false),
            _ => continue,
        };
        *pending.entry(account).or_default() |= anew;
    }
}

/// Makes the pool serve an account as the store has it now.
async fn take_up(
    account: AccountId,
    anew: bool,
    store: &StoreSource,
    pool: &Pool<PoolManager>,
    accounts: &UsableAccounts,
    opens: bool,
) {
    let is_there = store.profile(account).is_some();
    if !is_there {
        accounts.remove(account);
    }
    if anew {
        pool.remove_account(account).await;
    }
    // It may have gone meanwhile, which is the next change.
    if is_there {
        accounts.add(account);
        if opens {
            pool.warm_up([account]);
        }
    }
}
