//! Channels that have to be asked for: which, and in what turn.
//!
//! Owns the pauses between them. Knows nothing of what is known of a channel, and asks nothing.

use std::collections::{HashSet, VecDeque};

use crate::base::clock::Instant;

/// The channels of one account that have to be asked for, each once.
#[derive(Default)]
pub(super) struct ChannelQueue {
    ready: VecDeque<i64>,
    /// Those whose time has not come.
    later: Vec<(Instant, i64)>,
    /// All of both.
    queued: HashSet<i64>,
    /// None is asked for before.
    rests_until: Option<Instant>,
}

impl ChannelQueue {
    /// After all that wait already.
    pub(super) fn push(&mut self, channel: i64) {
        if self.queued.insert(channel) {
            self.ready.push_back(channel);
        }
    }

    /// Not before its time, unless it is waiting already.
    pub(super) fn push_later(&mut self, channel: i64, at: Instant) {
        if self.queued.insert(channel) {
            self.later.push((at, channel));
        }
    }

    /// The server wants a pause.
    pub(super) fn rest(&mut self, until: Instant) {
        self.rests_until = self.rests_until.max(Some(until));
    }

    /// Takes the one whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<i64> {
        if self.rests_until.is_some_and(|until| until > now) {
            return None;
        }
        self.rests_until = None;
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= now);
        self.later = later;
        self.ready.extend(Vec::into_iter(due).map(|(_, channel)| channel));
        let channel = self.ready.pop_front()?;
        self.queued.remove(&channel);
        Some(channel)
    }

    /// When there is one to be asked for.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        let first = match self.ready.is_empty() {
            false => Some(now),
            true => self.later.iter().map(|(at, _)| *at).min(),
        };
        first.map(|at| self.rests_until.map_or(at, |until| until.max(at)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::now;

    fn all(queue: &mut ChannelQueue, now: Instant) -> Vec<i64> {
        std::iter::from_fn(|| queue.pop(now)).collect()
    }

    #[test]
    fn each_has_its_turn_once_and_those_that_wait_for_their_time_come_behind() {
        let (mut queue, now) = (ChannelQueue::default(), now());
        let then = now + Duration::from_secs(1);
        assert_eq!(queue.due_at(now), None);
        queue.push_later(1, then);
        assert_eq!((queue.due_at(now), queue.pop(now)), (Some(then), None));
        for channel in [2, 3, 2, 1] {
            queue.push(channel);
        }
        assert_eq!((queue.due_at(now), all(&mut queue, now)), (Some(now), vec![2, 3]));
        queue.push(2);
        assert_eq!(all(&mut queue, then), [2, 1]);
        assert_eq!(queue.due_at(then), None);
    }

    #[test]
    fn while_the_server_wants_a_pause_none_is_asked_for() {
        let (mut queue, now) = (ChannelQueue::default(), now());
        let [soon, then] = [1, 2].map(|seconds| now + Duration::from_secs(seconds));
        queue.push(1);
        queue.rest(then);
        queue.rest(soon);
        assert_eq!((queue.due_at(now), queue.pop(soon)), (Some(then), None));
        assert_eq!(queue.pop(then), Some(1));
    }
}
