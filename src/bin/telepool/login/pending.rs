//! Sign-ins under way, as the store keeps them.
//!
//! Owns their names and what this command keeps with each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde::{Deserialize, Serialize};
use telepool::store::{PendingLogin, SessionStore as _, SqliteStore, StoreError};
use telepool::telegram::{BoxError, KeptSignIn};
use zeroize::Zeroizing;

use crate::clock::unix_now;
use crate::failure::Failure;
use crate::session::unusable;

/// What is kept of a sign-in.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PendingState {
    pub(super) kept: KeptSignIn,
    /// How many further sessions it is to accept when it is done.
    pub(super) further: u16,
    /// Into which group its account goes.
    pub(super) group: Option<String>,
}

/// A sign-in that was left.
pub(super) struct Left {
    pub(super) name: String,
    pub(super) started: u64,
    pub(super) state: PendingState,
}

/// All that were left, the oldest first.
pub(super) fn all(store: &SqliteStore) -> Result<Vec<Left>, Failure> {
    let pending = store.pending_logins().map_err(unusable)?;
    let read = pending.into_iter().map(|PendingLogin { name, started, state }| {
        let state = serde_json::from_slice(&state).map_err(|_| {
            Failure::broken(format!(
                "what is kept of the sign-in of {name} can not be read: it is of another version of telepool, which \
                 goes on with it"
            ))
        })?;
        Ok(Left { name, started, state })
    });
    read.collect()
}

/// One that was left, by its name.
pub(super) fn find(store: &SqliteStore, name: &str) -> Result<Option<Left>, Failure> {
    Ok(all(store)?.into_iter().find(|left| left.name == name))
}

/// Keeps one sign-in in the store, whatever becomes of it.
#[derive(Clone)]
pub(super) struct Keeper {
    store: Arc<SqliteStore>,
    pub(super) name: Arc<str>,
    started: u64,
    group: Option<String>,
    further: Arc<AtomicU16>,
    last: Arc<std::sync::Mutex<Option<KeptSignIn>>>,
}

impl Keeper {
    pub(super) fn new(
        store: &Arc<SqliteStore>,
        name: &str,
        group: Option<String>,
        further: u16,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            name: name.into(),
            started: unix_now(),
            group,
            further: Arc::new(AtomicU16::new(further)),
            last: Arc::default(),
        }
    }

    /// That of one that was left.
    pub(super) fn of(store: &Arc<SqliteStore>, left: &Left) -> Self {
        let state = &left.state;
        let keeper = Self::new(store, &left.name, state.group.clone(), state.further);
        Self { started: left.started, last: Arc::new(Some(state.kept.clone()).into()), ..keeper }
    }

    pub(super) fn further(&self) -> u16 {
        self.further.load(Ordering::Relaxed)
    }

    pub(super) fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    pub(super) fn keep(&self, kept: &KeptSignIn) -> Result<(), BoxError> {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(kept.clone());
        self.write(kept).map_err(Into::into)
    }

    fn write(&self, kept: &KeptSignIn) -> Result<(), StoreError> {
        let (kept, group) = (kept.clone(), self.group.clone());
        let state = PendingState { kept, further: self.further(), group };
        let state = serde_json::to_vec(&state).expect("BUG: all of it can be written");
        let (name, started) = (self.name.to_string(), self.started);
        self.store.keep_login(&PendingLogin { name, started, state: Zeroizing::new(state) })
    }

    /// One of the further sessions is in the store.
    pub(super) fn one_less(&self) -> Result<(), Failure> {
        self.further.fetch_sub(1, Ordering::Relaxed);
        let last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        last.map_or(Ok(()), |kept| self.write(&kept)).map_err(unusable)
    }

    /// Nothing is to be gone on with any more.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        self.store.forget_login(&self.name).map(drop).map_err(unusable)
    }
}
