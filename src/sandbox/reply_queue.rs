//! Replies of a connection that are not due yet.
//!
//! Owns the order in which they leave: by when they are due, then by when they were queued.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::session::Reply;
use crate::base::clock::Instant;

/// A priority queue of replies, the first due on top.
#[derive(Default)]
pub(super) struct ReplyQueue {
    heap: BinaryHeap<QueuedReply>,
    queued: u64,
}

struct QueuedReply {
    at: Instant,
    /// How many were queued before it.
    sequence: u64,
    reply: Reply,
}

impl ReplyQueue {
    pub(super) fn push(&mut self, at: Instant, reply: Reply) {
        self.heap.push(QueuedReply { at, sequence: self.queued, reply });
        self.queued += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// When the next reply is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|queued| queued.at)
    }

    /// Takes the next reply, if it is due by now.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Reply> {
        self.next_at().filter(|at| *at <= now)?;
        self.heap.pop().map(|queued| queued.reply)
    }
}

impl PartialEq for QueuedReply {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for QueuedReply {}

impl PartialOrd for QueuedReply {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueuedReply {
    /// Reversed: the heap has its greatest on top.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}
