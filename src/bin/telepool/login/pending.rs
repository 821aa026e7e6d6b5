//! Sign-ins under way, as the store keeps them.
//!
//! Owns their names and what this command keeps with each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

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
    pub(super) id: u64,
    pub(super) started: u64,
    pub(super) state: PendingState,
}

/// All that were left, the oldest first. Of one that this version can not read there is no state.
pub(super) fn all(
    store: &SqliteStore,
) -> Result<Vec<(PendingLogin, Option<PendingState>)>, Failure> {
    let pending = store.pending_logins().map_err(unusable)?;
    let read = |login: PendingLogin| {
        let state = serde_json::from_slice(&login.state).ok();
        (login, state)
    };
    Ok(pending.into_iter().map(read).collect())
}

/// One that was left, by its name.
pub(super) fn find(store: &SqliteStore, name: &str) -> Result<Option<Left>, Failure> {
    let pending = store.pending_logins().map_err(unusable)?;
    let Some(login) = pending.into_iter().find(|login| login.name == name) else { return Ok(None) };
    let state = serde_json::from_slice(&login.state).map_err(|_| {
        Failure::broken(format!(
            "what is kept of the sign-in of {name} can not be read: it is of another version of telepool, which goes \
             on with it"
        ))
    })?;
    Ok(Some(Left { name: login.name, id: login.id, started: login.started, state }))
}

/// Whether one is of a further session of another that was left: it goes on with that.
pub(super) fn is_of_another(name: &str, names: &[String]) -> bool {
    name.rsplit_once(FURTHER).is_some_and(|(parent, _)| names.iter().any(|it| it == parent))
}

/// Stands between a sign-in's name and the number of a further session.
pub(super) const FURTHER: char = '.';

/// Keeps one sign-in in the store, whatever becomes of it.
#[derive(Clone)]
pub(super) struct Keeper {
    store: Arc<SqliteStore>,
    name: Arc<str>,
    /// What the user calls it: a further session goes by the name of the first.
    pub(super) shown: Arc<str>,
    id: u64,
    /// It is in the store.
    is_begun: Arc<AtomicBool>,
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
            shown: name.into(),
            id: fastrand::u64(..),
            is_begun: Arc::default(),
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
        let last = Arc::new(std::sync::Mutex::new(Some(state.kept.clone())));
        let is_begun = Arc::new(AtomicBool::new(true));
        Self { id: left.id, started: left.started, is_begun, last, ..keeper }
    }

    /// That of a further session, which goes by the name of the first.
    pub(super) fn shown_as(self, first: &Self) -> Self {
        Self { shown: Arc::clone(&first.name), ..self }
    }

    /// By which the store knows it.
    pub(super) fn login(&self) -> (&str, u64) {
        (&self.name, self.id)
    }

    pub(super) fn further(&self) -> u16 {
        self.further.load(Ordering::Relaxed)
    }

    pub(super) fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    pub(super) fn keep(&self, kept: &KeptSignIn) -> Result<(), BoxError> {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(kept.clone());
        match self.write(kept)? {
            true => Ok(()),
            false => Err("another process has begun it as well, or has ended it".into()),
        }
    }

    /// Returns whether it is this one's to keep.
    fn write(&self, kept: &KeptSignIn) -> Result<bool, StoreError> {
        let (kept, group) = (kept.clone(), self.group.clone());
        let state = PendingState { kept, further: self.further(), group };
        let state = serde_json::to_vec(&state).expect("BUG: all of it can be written");
        let (name, id, started) = (self.name.to_string(), self.id, self.started);
        let login = PendingLogin { name, id, started, state: Zeroizing::new(state) };
        match self.is_begun.load(Ordering::Relaxed) {
            true => self.store.keep_login(&login),
            false => {
                let begun = self.store.begin_login(&login)?;
                self.is_begun.store(begun, Ordering::Relaxed);
                Ok(begun)
            }
        }
    }

    /// One of the further sessions is in the store.
    pub(super) fn one_less(&self) -> Result<(), Failure> {
        self.further.fetch_sub(1, Ordering::Relaxed);
        let last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        last.map_or(Ok(true), |kept| self.write(&kept)).map(drop).map_err(unusable)
    }

    /// Nothing is to be gone on with any more.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        self.store.forget_login(&self.name, self.id).map(drop).map_err(unusable)
    }
}
