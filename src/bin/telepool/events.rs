//! Listener of the pool's events.
//!
//! Owns what is kept of them for the summary and for the error of a run that opened no connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use telepool::{Event, QuarantineReason};

use crate::logs::escaped;
use crate::workload::UsableAccounts;

#[derive(Debug)]
pub(crate) struct EventRecorder {
    accounts: Arc<UsableAccounts>,
    /// Relaxed: a count guards nothing.
    duplicated: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl EventRecorder {
    pub(crate) fn new(accounts: Arc<UsableAccounts>) -> Self {
        Self { accounts, duplicated: AtomicU64::new(0), last_failure: Mutex::new(None) }
    }

    pub(crate) fn record(&self, event: &Event) {
        match event {
            Event::Quarantined { reason: QuarantineReason::KeyDuplicated, .. } => {
                self.duplicated.fetch_add(1, Ordering::Relaxed);
            }
            Event::Cleared { account, .. } => self.accounts.add(*account),
            Event::DialFailed { account, error, .. } => {
                let failure = format!("{account}: {}", escaped(error));
                *self.last_failure.lock().expect("BUG: nobody panics with this lock") =
                    Some(failure);
            }
            _ => {}
        }
    }

    /// How many sessions were lost to `AUTH_KEY_DUPLICATED`.
    pub(crate) fn duplicated(&self) -> u64 {
        self.duplicated.load(Ordering::Relaxed)
    }

    /// Whose dial failed last, and why.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().expect("BUG: nobody panics with this lock").clone()
    }
}
