//! Accounts of a run: their sessions and groups, and the file that quarantines are kept in.
//!
//! Owns the warning about the quarantines of earlier runs. Never lifts one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telepool::session::{SessionRecord, SessionUser, UpdateStates};
use telepool::telegram::{
    MemorySource, Quarantine, QuarantineFile, QuarantineFileError, SessionProfile, SessionSource,
    StoreSource, TelegramManager,
};
use telepool::{AccountId, QuarantineReason};

use crate::failure::Failure;
use crate::state;

/// How long the last quarantines may take to reach the disk.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many quarantines of earlier runs are listed.
const LISTED_MAX: usize = 10;

/// The manager of every pool of the command.
pub(crate) type PoolManager = TelegramManager<DynSessionSource>;

/// The file of quarantines, if there is one.
pub(crate) type SavedState = Option<Arc<QuarantineFile<MemorySource>>>;

/// Everything that a pool is served from.
pub(crate) struct ServedAccounts {
    pub(crate) source: DynSessionSource,
    /// The store that they are from, if they are from one.
    pub(crate) store: Option<Arc<StoreSource>>,
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) sessions: usize,
    pub(crate) groups: BTreeSet<Arc<str>>,
    pub(crate) state: SavedState,
    /// The sessions that were quarantined before.
    pub(crate) quarantined: Vec<Quarantine>,
}

impl ServedAccounts {
    pub(crate) fn new(sessions: Vec<SessionRecord>, state: Option<&Path>) -> Result<Self, Failure> {
        let count = sessions.len();
        let groups = sessions.iter().filter_map(|it| it.group.clone()).collect();
        let source =
            MemorySource::new(sessions).map_err(|error| Failure::refused(error.to_string()))?;
        let accounts = source.accounts().collect();
        let (source, state, quarantined) = match state {
            None => (DynSessionSource(Arc::new(source)), None, Vec::new()),
            Some(path) => {
                let kept = Arc::new(QuarantineFile::open(path, source).map_err(unusable)?);
                let quarantined = kept.all_quarantines();
                (
                    DynSessionSource(Arc::clone(&kept) as Arc<dyn SessionSource>),
                    Some(kept),
                    quarantined,
                )
            }
        };
        Ok(Self { source, store: None, accounts, sessions: count, groups, state, quarantined })
    }

    /// The accounts of a store, with so many sessions of which so many are quarantined.
    pub(crate) fn of_store(store: Arc<StoreSource>, sessions: usize) -> Self {
        Self {
            source: DynSessionSource(Arc::clone(&store) as Arc<dyn SessionSource>),
            accounts: store.all_accounts().unwrap_or_default(),
            sessions,
            groups: store.groups().into_iter().collect(),
            state: None,
            quarantined: Vec::new(),
            store: Some(store),
        }
    }

    /// Warns of the sessions that were quarantined before, and refuses a run that could serve none. One in
    /// doubt is dialled once more by itself, and may serve.
    pub(crate) fn warn_quarantined(&self, state: &Path) -> Result<(), Failure> {
        let (count, path) = (self.quarantined.len(), state.display());
        if count == 0 {
            return Ok(());
        }
        let head = format!("{count} of {} sessions are quarantined, by {path}:", self.sessions);
        let line = |quarantine: &Quarantine| {
            let Quarantine { account, slot, reason, .. } = quarantine;
            format!("{account} slot {slot}: {reason} since {}", quarantine.since_utc())
        };
        let mut lines = vec![head];
        lines.extend(self.quarantined.iter().take(LISTED_MAX).map(line));
        if count > LISTED_MAX {
            let more = count - LISTED_MAX;
            lines.push(format!("and {more} more: telepool state list --state {path}"));
        }
        say!(WARN "telepool: {}", lines.join("\n  "));
        let is_suspect = |quarantine: &Quarantine| quarantine.reason == QuarantineReason::Suspect;
        if count < self.sessions || self.quarantined.iter().any(is_suspect) {
            return Ok(());
        }
        Err(Failure::broken(format!(
            "every session is quarantined, so that there is nothing to serve: telepool state list \
             --state {path} tells what to do about each, and telepool state reinstate lifts it"
        )))
    }
}

fn unusable(error: QuarantineFileError) -> Failure {
    match error {
        QuarantineFileError::NotAFile { .. } | QuarantineFileError::Foreign { .. } => {
            Failure::refused(format!("--state {error}; leave the flag away to keep no state"))
        }
        error => state::failure(&error),
    }
}

/// Waits until every quarantine is in the file.
pub(crate) async fn flush_state(state: SavedState) -> Result<(), Failure> {
    let Some(state) = state else { return Ok(()) };
    match tokio::task::spawn_blocking(move || state.flush(STATE_TIMEOUT)).await {
        Ok(true) => Ok(()),
        _ => Err(Failure::broken(
            "the quarantines of this run could not be kept in the file: the next run would dial \
             their sessions again",
        )),
    }
}

/// A source of sessions, with or without a file of quarantines.
pub(crate) struct DynSessionSource(Arc<dyn SessionSource>);

impl SessionSource for DynSessionSource {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.0.profile(account)
    }

    fn canonical(&self, name: AccountId) -> AccountId {
        self.0.canonical(name)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.0.session(account, slot)
    }

    fn note_login(&self, account: AccountId, slot: u16, user: Option<SessionUser>) {
        self.0.note_login(account, slot, user);
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        self.0.members(group)
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        self.0.all_accounts()
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        self.0.quarantines(account)
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        self.0.set_quarantine(account, slot, reason);
    }

    fn update_states(
        &self,
        account: AccountId,
    ) -> Result<Option<UpdateStates>, telepool::telegram::BoxError> {
        self.0.update_states(account)
    }

    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        self.0.set_update_states(account, changed);
    }
}
