//! What is due on a connection, and when.
//!
//! Owns the order in which replies leave.

use std::cmp::Ordering;

use super::conversation::Reply;
use crate::base::clock::Instant;

/// A reply and when it is due; ties go by the order of asking.
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) order: u64,
    pub(super) reply: Reply,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
