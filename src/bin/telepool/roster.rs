//! Whom a run serves: the sessions, their accounts and groups, and where quarantines are kept.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telepool::session::SessionRecord;
use telepool::telegram::{LatchFile, MemorySource, SessionProfile, SessionSource};
use telepool::{AccountId, QuarantineReason};

use crate::failure::Failure;

/// How long the last quarantines may take to reach the disk.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

/// The file of quarantines.
pub(crate) type State = Option<Arc<LatchFile<MemorySource>>>;

pub(crate) struct Roster {
    pub(crate) source: Sessions,
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) sessions: usize,
    pub(crate) groups: BTreeSet<Arc<str>>,
    pub(crate) state: State,
}

impl Roster {
    pub(crate) fn new(sessions: Vec<SessionRecord>, state: Option<&Path>) -> Result<Self, Failure> {
        let count = sessions.len();
        let groups = sessions.iter().filter_map(|it| it.group.clone()).collect();
        let source =
            MemorySource::new(sessions).map_err(|error| Failure::refused(error.to_string()))?;
        let accounts = source.accounts().collect();
        let (source, state) = match state {
            None => (Sessions(Arc::new(source)), None),
            Some(path) => {
                let kept = LatchFile::open(path, source)
                    .map_err(|error| Failure::refused(format!("--state {error}")))?;
                let kept = Arc::new(kept);
                (Sessions(Arc::clone(&kept) as Arc<dyn SessionSource>), Some(kept))
            }
        };
        Ok(Self { source, accounts, sessions: count, groups, state })
    }
}

/// Waits until every quarantine is in the file.
pub(crate) async fn keep(state: State) -> Result<(), Failure> {
    let Some(state) = state else { return Ok(()) };
    match tokio::task::spawn_blocking(move || state.flush(STATE_TIMEOUT)).await {
        Ok(true) => Ok(()),
        _ => Err(Failure::broken("the quarantines of this run could not be kept in the file")),
    }
}

/// Sessions with or without a file of quarantines.
pub(crate) struct Sessions(Arc<dyn SessionSource>);

impl SessionSource for Sessions {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.0.profile(account)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.0.session(account, slot)
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        self.0.members(group)
    }

    fn load(&self, account: AccountId, slot: u16) -> Option<QuarantineReason> {
        self.0.load(account, slot)
    }

    fn latch(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        self.0.latch(account, slot, reason);
    }
}
