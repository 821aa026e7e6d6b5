//! Whether an account stands in a list of the registry.
//!
//! Owns one word. For the census of accounts with connections: whoever opens a connection makes it visible and then notes the
//! account; whoever takes the account off clears the mark and then looks for connections. At
//! least one of them sees the other, so that no account with a connection is missing for good.
//!
//! # Orderings
//! Each change reads the one before it. If the mark was noted before it is cleared, whoever clears
//! it sees the connection: noting releases, clearing acquires. If it was cleared before, whoever
//! notes it reads that and adds the account, which takes no more than the order of one word.

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Mark(AtomicU64);

impl Mark {
    /// An account that is not in the census.
    pub(crate) fn absent() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether the account was noted when this caller last shared a lock with whoever took it off.
    pub(crate) fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// What the list is about can be seen. Answers whether the account was absent, and so
    /// must be added by the caller.
    pub(crate) fn note(&self) -> bool {
        self.0.swap(1, Ordering::Release) == 0
    }

    /// The caller has taken the account off. Answers whether it must be added again.
    pub(crate) fn take_off(&self, still_counts: impl FnOnce() -> bool) -> bool {
        self.0.swap(0, Ordering::Acquire);
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
            let mark = Arc::new(Mark::absent());
            let connection = Arc::new(AtomicU64::new(0));
            assert!(mark.note());
            let opener = {
                let (mark, connection) = (Arc::clone(&mark), Arc::clone(&connection));
                loom::thread::spawn(move || {
                    connection.store(1, Ordering::Relaxed);
                    mark.note()
                })
            };
            let kept = mark.take_off(|| connection.load(Ordering::Relaxed) == 1);
            let added = opener.join().unwrap_or_default();
            assert!(kept || added, "nobody will find the connection");
            assert!(!(kept && added), "the account stands in the census twice");
        });
    }
}
