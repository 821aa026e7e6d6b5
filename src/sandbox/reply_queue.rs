//! Replies of a connection that are not due yet.
//!
//! Owns the order in which they leave: by when they are due, then by when they were queued. A reply that lets the
//! next one go first leaves right behind it.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::session::Reply;
use crate::base::clock::Instant;

/// A priority queue of replies, the first due on top.
#[derive(Default)]
pub(super) struct ReplyQueue {
    heap: BinaryHeap<QueuedReply>,
    queued: u64,
    /// Replies that let the next one go first, and when they leave if none comes.
    held: VecDeque<(Instant, Reply)>,
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

    /// Queues a reply that leaves behind the next one of those that are queued by [`push_update`](Self::push_update),
    /// but at this time at the latest.
    pub(super) fn hold(&mut self, at_latest: Instant, reply: Reply) {
        self.held.push_back((at_latest, reply));
    }

    /// Queues a reply, and behind it those that have waited for it.
    pub(super) fn push_update(&mut self, at: Instant, reply: Reply) {
        self.push(at, reply);
        while let Some((_, held)) = self.held.pop_front() {
            self.push(at, held);
        }
    }

    /// Takes every reply, due or not, in the order in which they would leave.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Reply> + '_ {
        let queued = std::iter::from_fn(|| self.heap.pop().map(|queued| queued.reply));
        queued.chain(self.held.drain(..).map(|(_, reply)| reply))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty() && self.held.is_empty()
    }

    /// When the next reply is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let queued = self.heap.peek().map(|queued| queued.at);
        queued.into_iter().chain(self.held.front().map(|(at, _)| *at)).min()
    }

    /// Takes the next reply, if it is due by now.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Reply> {
        if self.heap.peek().is_some_and(|queued| queued.at <= now) {
            return self.heap.pop().map(|queued| queued.reply);
        }
        self.held.front().filter(|(at, _)| *at <= now)?;
        self.held.pop_front().map(|(_, reply)| reply)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::now;

    #[test]
    fn a_reply_that_is_held_leaves_behind_the_next_update_or_when_its_time_has_come() {
        let start = now();
        let at = |millis| start + Duration::from_millis(millis);
        let reply = |number| Reply::update(vec![number]);
        let mut queue = ReplyQueue::default();
        queue.hold(at(1000), reply(1));
        queue.push(at(5), reply(2));
        assert_eq!((queue.is_empty(), queue.next_at()), (false, Some(at(5))));
        assert_eq!(queue.pop_due(at(5)), Some(reply(2)), "an answer is no update");
        assert_eq!((queue.pop_due(at(5)), queue.next_at()), (None, Some(at(1000))));
        queue.push_update(at(10), reply(3));
        let left = [(); 3].map(|()| queue.pop_due(at(10)));
        assert_eq!(left, [Some(reply(3)), Some(reply(1)), None]);
        queue.hold(at(1000), reply(4));
        assert_eq!(queue.pop_due(at(999)), None);
        assert_eq!(queue.pop_due(at(1000)), Some(reply(4)));
        assert!(queue.is_empty());
    }
}
