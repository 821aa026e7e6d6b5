//! Sessions of a store as the pools of the command dial them.
//!
//! Owns the source of a check, in which each session is an account by itself: of each it is to be said how it is,
//! and a pool would take any session of an account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use telepool::session::{SessionRecord, SessionUser};
use telepool::store::{SessionStore as _, StoreId};
use telepool::telegram::{ServeError, SessionProfile, SessionSource, StoreSource};
use telepool::{AccountId, Egress, QuarantineReason};

use crate::failure::Failure;
use crate::session::unusable;

/// How a command ends that may not serve a store.
pub(crate) fn refused_store(error: ServeError) -> Failure {
    match error {
        ServeError::Held { .. } | ServeError::Elsewhere { .. } => {
            Failure::held(format!("--store {error}"))
        }
        ServeError::Store(error) => unusable(error),
        error => Failure::refused(format!("--store {error}")),
    }
}

/// One session of the store: whose, which slot, and the label of its proxy.
type Row = (StoreId, u16, Option<String>);

/// Sessions one by one.
pub(crate) struct CheckedSessions {
    source: Arc<StoreSource>,
    rows: Vec<Row>,
    users: Mutex<HashMap<u64, SessionUser>>,
}

impl CheckedSessions {
    pub(crate) fn new(source: Arc<StoreSource>, rows: Vec<Row>) -> Self {
        Self { source, rows, users: Mutex::default() }
    }

    /// What the session at a place is called in the pool. It says nothing outside of it.
    pub(crate) fn name(place: u64) -> AccountId {
        AccountId::user(place + 1).expect("BUG: a store has fewer sessions than there are users")
    }

    /// Who the session at a place is logged in as, once it was asked.
    pub(crate) fn user(&self, place: u64) -> Option<SessionUser> {
        self.users().get(&place).copied()
    }

    fn users(&self) -> MutexGuard<'_, HashMap<u64, SessionUser>> {
        self.users.lock().expect("BUG: nobody panics with this lock")
    }

    fn row(&self, name: AccountId) -> Option<(u64, &Row)> {
        let place = name.number().checked_sub(1)?;
        Some((place, self.rows.get(usize::try_from(place).ok()?)?))
    }
}

impl SessionSource for CheckedSessions {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        let (_, (_, _, proxy)) = self.row(account)?;
        let mut profile = SessionProfile::new(1);
        if let Some(label) = proxy {
            profile.egress = Egress::Proxy(label.as_str().into());
        }
        Some(profile)
    }

    fn session(&self, account: AccountId, _slot: u16) -> Option<SessionRecord> {
        let (_, (id, slot, _)) = self.row(account)?;
        let record = self.source.store().record(*id, *slot, account);
        let mut record = record
            .inspect_err(|error| tracing::error!(%error, "a session cannot be read from the store"))
            .ok()??;
        record.slot = 0;
        // Asked even where the store knows it: it may be wrong.
        record.user_id = 0;
        Some(record)
    }

    fn note_login(&self, account: AccountId, _slot: u16, user: Option<SessionUser>) {
        let Some((place, (id, slot, _))) = self.row(account) else { return };
        if let Some(user) = user {
            self.users().insert(place, user);
        }
        self.source.note_login_of(*id, *slot, user);
    }

    fn set_quarantine(&self, account: AccountId, _slot: u16, reason: Option<QuarantineReason>) {
        if let Some((_, (id, slot, _))) = self.row(account) {
            self.source.set_quarantine_of(*id, *slot, reason);
        }
    }
}
