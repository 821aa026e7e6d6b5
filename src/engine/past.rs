//! What is remembered of the connections that an account had, for whoever lists accounts.
//!
//! Owns the errors so far, the last of them, and when a connection that is gone was last used. It lies
//! beside the counters, made with the first of these, and is read without a lock.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::engine::connection::Connection;
use crate::engine::{AccountPool, Body};

/// One error of a connection or a dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) text: Arc<str>,
    pub(crate) at: Tick,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Errors of connections, and dials that failed.
    pub(crate) errors: u64,
    pub(crate) last_error: Option<LastError>,
    /// When the last used of those that are gone was used; zero if none was.
    pub(crate) last_used: Tick,
}

impl<C, E> Body<C, E> {
    /// Under the lock.
    fn change_past(&self, change: impl FnOnce(&mut Past)) {
        let mut past = self.past.load().map_or_else(Past::default, |past| past.as_ref().clone());
        change(&mut past);
        self.past.store(Some(Arc::new(past)));
    }

    /// A connection leaves its slot. Under the lock.
    pub(super) fn note_gone(&self, connection: &Connection<C>) {
        if connection.live().is_some() {
            let used = connection.last_used();
            self.change_past(|past| past.last_used = past.last_used.max(used));
        }
    }
}

impl<C, E> AccountPool<C, E> {
    /// A connection of the account had an error, or a dial of it failed.
    pub(crate) fn note_error(&self, text: &str, at: Tick) {
        let body = self.body();
        let text = Arc::from(text);
        let _core = body.core.lock();
        body.change_past(|past| {
            past.errors += 1;
            past.last_error = Some(LastError { text, at });
        });
    }

    /// What is remembered; nothing of an account that never had a connection or a dial.
    pub(crate) fn past(&self) -> Option<Arc<Past>> {
        self.body.get()?.past.load()
    }

    /// When a connection of the account was last used, of those that it has and had; `None` if none ever
    /// was open. One that is leased is in use now.
    pub(crate) fn last_used(&self, now: Tick) -> Option<Tick> {
        let body = self.body.get()?;
        let mut last = body.past.load().map_or(0, |past| past.last_used);
        for slot in body.all_slots() {
            slot.inspect(|connection| {
                if connection.live().is_some() {
                    let is_leased = connection.word.snapshot().leases() > 0;
                    last = last.max(if is_leased { now } else { connection.last_used() });
                }
            });
        }
        (last > 0).then_some(last)
    }
}
