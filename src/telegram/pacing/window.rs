//! SendWindow: how many messages were sent within the last so many seconds.
//!
//! Owns the times of those messages. Time comes in as an argument, and nothing here waits.

use std::collections::VecDeque;
use std::time::Duration;

use super::settings::SendLimit;
use crate::base::clock::Instant;

/// When more messages fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendRoom {
    Now,
    At(Instant),
    /// Once those have been sent that were let go: from then on they age.
    AfterSends,
}

impl SendRoom {
    /// The later of two.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, room) | (room, Self::Now) => room,
            (Self::AfterSends, _) | (_, Self::AfterSends) => Self::AfterSends,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
        }
    }
}

/// What counts against one limit.
///
/// A message counts from when it is let go, and ages from when it is sent: what waited for a connection
/// in between would else come all at once.
#[derive(Debug)]
pub(super) struct SendWindow {
    limit: SendLimit,
    /// Until when each call that was sent counts, and for how many messages; the earliest end first.
    sent: VecDeque<(Instant, u32)>,
    /// How many messages these are.
    sent_messages: u32,
    /// How many were let go and are not sent yet.
    held: u32,
}

impl SendWindow {
    pub(super) fn new(limit: SendLimit) -> Self {
        Self { limit, sent: VecDeque::new(), sent_messages: 0, held: 0 }
    }

    pub(super) fn limit(&self) -> SendLimit {
        self.limit
    }

    /// For how many a call counts at a time: one that is more than the limit counts for longer instead.
    fn share(&self, messages: u32) -> u32 {
        messages.min(self.limit.messages())
    }

    /// Forgets what does not count any more.
    pub(super) fn forget_until(&mut self, now: Instant) {
        while let Some((until, messages)) = self.sent.front().copied()
            && until <= now
        {
            self.sent.pop_front();
            self.sent_messages -= messages;
        }
    }

    /// Whether nothing counts, of what was not forgotten.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.held == 0
    }

    /// When a call with so many messages fits. What no longer counts must have been forgotten.
    pub(super) fn room(&self, messages: u32) -> SendRoom {
        let wanted = self.sent_messages + self.held + self.share(messages);
        let Some(too_many) = wanted.checked_sub(self.limit.messages()).filter(|many| *many > 0)
        else {
            return SendRoom::Now;
        };
        self.end_of(too_many).map_or(SendRoom::AfterSends, SendRoom::At)
    }

    /// The earliest that a call fits in before which others with so many messages go, none of which has
    /// been let go yet.
    pub(super) fn earliest_behind(&self, ahead: u64, messages: u32, now: Instant) -> Instant {
        let limit = u64::from(self.limit.messages());
        let counts = u64::from(self.sent_messages) + u64::from(self.held);
        let wanted = counts + ahead + u64::from(self.share(messages));
        // The place that has to become free, counted from those that become free first. Each is taken
        // again at once, and is free again one period later.
        let Some(place) = wanted.checked_sub(limit).filter(|place| *place > 0) else { return now };
        let rounds = place.saturating_sub(u64::from(self.sent_messages)).div_ceil(limit);
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        let first = place.saturating_sub(u64::from(rounds) * limit);
        let first = u32::try_from(first).ok().filter(|first| *first > 0);
        let base = first.and_then(|first| self.end_of(first)).unwrap_or(now);
        let later = self.limit.per().checked_mul(rounds).unwrap_or(Duration::MAX);
        base.checked_add(later).unwrap_or(base)
    }

    /// When so many of what was sent no longer count.
    fn end_of(&self, many: u32) -> Option<Instant> {
        let mut gone = 0;
        let end = self.sent.iter().find(|(_, messages)| {
            gone += messages;
            gone >= many
        });
        end.map(|(until, _)| *until)
    }

    /// A call is let go.
    pub(super) fn hold(&mut self, messages: u32) {
        self.held += self.share(messages);
    }

    /// One that was let go is not sent after all.
    pub(super) fn give_back(&mut self, messages: u32) {
        self.held -= self.share(messages);
    }

    /// One that was let go is sent now. Returns until when it counts.
    pub(super) fn send(&mut self, messages: u32, now: Instant) -> Instant {
        let share = self.share(messages);
        self.held -= share;
        self.sent_messages += share;
        let until = now + self.limit.per() * messages.div_ceil(self.limit.messages()).max(1);
        // One that counts for longer fills the limit by itself: nothing ends before what came before it.
        self.sent.push_back((until, share));
        until
    }
}
