//! Sign-ins under way, as the store keeps them.
//!
//! Owns their names and what this command keeps with each.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use telepool::session::KeyId;
use telepool::store::{PendingLogin, SessionStore as _, SqliteStore, StoreError};
use telepool::telegram::{BoxError, KeptSignIn};
use zeroize::Zeroizing;

use crate::clock::{unix_now, utc};
use crate::failure::Failure;
use crate::session::unusable;
use crate::stdout;

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

/// What those that were left are called, the oldest first.
fn names(store: &SqliteStore) -> Result<Vec<String>, Failure> {
    let pending = store.pending_logins().map_err(unusable)?;
    Ok(pending.into_iter().map(|login| login.name).collect())
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

/// The one that is meant by a name, or the only one.
pub(super) fn meant(store: &SqliteStore, name: Option<&str>) -> Result<Left, Failure> {
    let names = names(store)?;
    let none = || "no sign-in was left".to_owned();
    let name = match name {
        Some(name) if names.iter().any(|it| it == name) => name.to_owned(),
        Some(_) => {
            let there = if names.is_empty() { none() } else { names.join(", ") };
            return Err(Failure::refused(format!(
                "no sign-in of that name was left; those that were are: {there}"
            )));
        }
        None => {
            let mut own: Vec<&String> =
                names.iter().filter(|name| !is_of_another(name, &names)).collect();
            if own.len() > 1 {
                return Err(Failure::refused(format!(
                    "several sign-ins were left: name one of {}",
                    names.join(", ")
                )));
            }
            own.pop().cloned().ok_or_else(|| Failure::refused(none()))?
        }
    };
    find(store, &name)?.ok_or_else(|| Failure::refused(none()))
}

/// A name that no sign-in has which was left.
pub(super) fn free_name(store: &SqliteStore) -> Result<String, Failure> {
    let taken = names(store)?;
    let names = (1..).map(|number| match number {
        1 => "qr".to_owned(),
        number => format!("qr-{number}"),
    });
    let mut free = names.filter(|name| !taken.contains(name));
    Ok(free.next().expect("BUG: there are names without end"))
}

/// Lists those that were left.
pub(super) fn list(store: &SqliteStore, is_json: bool) -> Result<ExitCode, Failure> {
    let all = store.pending_logins().map_err(unusable)?;
    if all.is_empty() && !is_json {
        stdout::print("no sign-in was left\n")?;
    }
    for login in all {
        // Of one that this version can not read there is none.
        let state: Option<PendingState> = serde_json::from_slice(&login.state).ok();
        let line = match is_json {
            true => json!({
                "name": login.name,
                "started": login.started,
                "api_id": state.as_ref().map(|state| state.kept.api_id()),
                "test": state.as_ref().map(|state| state.kept.test_servers()),
                "further_sessions": state.as_ref().map(|state| state.further),
            })
            .to_string(),
            false => {
                let unreadable =
                    if state.is_none() { " (by another version of telepool)" } else { "" };
                format!("{}, begun {}{unreadable}", login.name, utc(login.started))
            }
        };
        stdout::print(&(line + "\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether one is of a further session of another that was left: it goes on with that.
fn is_of_another(name: &str, names: &[String]) -> bool {
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
    last: Arc<Mutex<Option<KeptSignIn>>>,
    /// Whose place its session takes.
    pub(super) replaces: Option<KeyId>,
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
            replaces: None,
        }
    }

    /// That of one that was left.
    pub(super) fn of(store: &Arc<SqliteStore>, left: &Left) -> Self {
        let state = &left.state;
        let keeper = Self::new(store, &left.name, state.group.clone(), state.further);
        let last = Arc::new(Mutex::new(Some(state.kept.clone())));
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

    fn last(&self) -> MutexGuard<'_, Option<KeptSignIn>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, kept: &KeptSignIn) -> Result<(), BoxError> {
        *self.last() = Some(kept.clone());
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
        let last = self.last().clone();
        last.map_or(Ok(true), |kept| self.write(&kept)).map(drop).map_err(unusable)
    }

    /// Nothing is to be gone on with any more.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        self.store.forget_login(&self.name, self.id).map(drop).map_err(unusable)
    }
}
