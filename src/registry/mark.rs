//! In which lists of the registry an account stands.
//!
//! Owns one word with a bit for each list. For the census of accounts with connections: whoever
//! opens a connection makes it visible and then notes the account; whoever takes the account off
//! clears the mark and then looks for connections. At least one of them sees the other, so that no
//! account with a connection is missing for good.
//!
//! # Orderings
//! Each change of a mark reads the one before it. If the mark was noted before it is cleared,
//! whoever clears it sees the connection: noting releases, clearing acquires, and a change of
//! another mark in between is a read-modify-write, which passes on what was released. If it was
//! cleared before, whoever notes it reads that and adds the account, which takes no more than the
//! order of one word.

use crate::sync::{AtomicU64, Ordering};

/// The marks of an account, of which it has none at first.
#[derive(Debug, Default)]
pub(crate) struct Marks(AtomicU64);

impl Marks {
    /// For the census of accounts with connections.
    pub(crate) fn peopled(&self) -> Mark<'_> {
        Mark { word: &self.0, bit: 1 }
    }

    /// For the roll of accounts with something afoot.
    pub(crate) fn afoot(&self) -> Mark<'_> {
        Mark { word: &self.0, bit: 1 << 1 }
    }

    /// For the wheel, in which an account without a connection has an entry.
    pub(crate) fn scheduled(&self) -> Mark<'_> {
        Mark { word: &self.0, bit: 1 << 2 }
    }
}

/// Whether an account stands in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a> {
    word: &'a AtomicU64,
    bit: u64,
}

impl Mark<'_> {
    /// Whether the account was noted when this caller last shared a lock with whoever took it off.
    pub(crate) fn is_noted(self) -> bool {
        self.word.load(Ordering::Relaxed) & self.bit != 0
    }

    /// What the list is about can be seen. Returns whether the account was absent, and so
    /// must be added by the caller.
    pub(crate) fn note(self) -> bool {
        self.word.fetch_or(self.bit, Ordering::Release) & self.bit == 0
    }

    /// The caller has taken the account off. Returns whether it must be added again.
    pub(crate) fn take_off(self, still_counts: impl FnOnce() -> bool) -> bool {
        self.word.fetch_and(!self.bit, Ordering::Acquire);
        still_counts() && self.note()
    }
}

#[cfg(all(test, pool_loom))]
mod model {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn model_an_account_that_opens_a_connection_is_not_lost_from_the_census() {
        loom::model(|| {
            let marks = Arc::new(Marks::default());
            let connection = Arc::new(AtomicU64::new(0));
            assert!(marks.peopled().note());
            let opener = {
                let (marks, connection) = (Arc::clone(&marks), Arc::clone(&connection));
                loom::thread::spawn(move || {
                    connection.store(1, Ordering::Relaxed);
                    marks.peopled().note()
                })
            };
            // A change of another mark passes on what was released before it.
            assert!(marks.afoot().note());
            let kept = marks.peopled().take_off(|| connection.load(Ordering::Relaxed) == 1);
            let added = opener.join().unwrap_or_default();
            assert!(kept || added, "nobody will find the connection");
            assert!(!(kept && added), "the account stands in the census twice");
        });
    }
}
