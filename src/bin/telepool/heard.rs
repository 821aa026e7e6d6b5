//! What a run hears of its pool.
//!
//! Owns what is kept of the events for the summary and for the last word of a run that reached nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use telepool::{Event, QuarantineReason};

use crate::logs::escaped;
use crate::workload::Accounts;

#[derive(Debug)]
pub(crate) struct Heard {
    accounts: Arc<Accounts>,
    /// Relaxed: a count guards nothing.
    duplicated: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl Heard {
    pub(crate) fn new(accounts: Arc<Accounts>) -> Self {
        Self { accounts, duplicated: AtomicU64::new(0), last_failure: Mutex::new(None) }
    }

    pub(crate) fn hear(&self, event: &Event) {
        match event {
            Event::Quarantined { reason: QuarantineReason::KeyDuplicated, .. } => {
                self.duplicated.fetch_add(1, Ordering::Relaxed);
            }
            Event::Cleared { account, .. } => self.accounts.remember(*account),
            Event::DialFailed { account, error, .. } => {
                let told = format!("{account}: {}", escaped(error));
                *self.last_failure.lock().expect("BUG: nobody panics with this lock") = Some(told);
            }
            _ => {}
        }
    }

    /// How many sessions were lost because they were told that their key is on two connections.
    pub(crate) fn duplicated(&self) -> u64 {
        self.duplicated.load(Ordering::Relaxed)
    }

    /// Whose dial failed last, and why.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().expect("BUG: nobody panics with this lock").clone()
    }
}
