//! In which lists of the registry an account stands.
//!
//! Owns one word with a bit for each list. For the eviction queue: whoever opens a connection makes it
//! visible and then lists the account; whoever takes the account out clears the bit and then looks for
//! connections. At least one of them sees the other, so that no account with a connection is missing
//! for good.
//!
//! # Orderings
//! Each change of a bit reads the one before it. If the bit was set before it is cleared, whoever clears
//! it sees the connection: setting releases, clearing acquires, and a change of another bit in between
//! is a read-modify-write, which continues the release sequence. If it was cleared before, whoever sets
//! it reads that and adds the account, which takes no more than the order of one word.

use crate::base::sync::{AtomicU64, Ordering};

/// The lists of an account, which stands in none at first.
#[derive(Debug, Default)]
pub(crate) struct Membership(AtomicU64);

impl Membership {
    /// The eviction queue of accounts with connections.
    pub(crate) fn evictable(&self) -> Listing<'_> {
        Listing { word: &self.0, bit: 1 }
    }

    /// The set of accounts that a scrape has to visit.
    pub(crate) fn active(&self) -> Listing<'_> {
        Listing { word: &self.0, bit: 1 << 1 }
    }

    /// The wheel, in which an account without a connection has an entry.
    pub(crate) fn scheduled(&self) -> Listing<'_> {
        Listing { word: &self.0, bit: 1 << 2 }
    }
}

/// Whether an account stands in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing<'a> {
    word: &'a AtomicU64,
    bit: u64,
}

impl Listing<'_> {
    /// Whether the account was listed when this caller last shared a lock with whoever took it out.
    pub(crate) fn is_listed(self) -> bool {
        self.word.load(Ordering::Relaxed) & self.bit != 0
    }

    /// What the list is about can be seen. Returns whether the account was absent, and so
    /// must be added by the caller.
    pub(crate) fn list(self) -> bool {
        self.word.fetch_or(self.bit, Ordering::Release) & self.bit == 0
    }

    /// The caller has taken the account out. Returns whether it must be added again.
    pub(crate) fn unlist_unless(self, belongs: impl FnOnce() -> bool) -> bool {
        self.word.fetch_and(!self.bit, Ordering::Acquire);
        belongs() && self.list()
    }
}
