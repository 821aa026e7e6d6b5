//! Limits of what bots send, as the real servers have them: beyond them a message is refused.
//!
//! Owns when each bot has sent what lately. Never answers a call: it says for how long one is refused.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use dashmap::DashMap;
use grammers_tl_types::enums::InputPeer;

use super::accounts::User;
use super::request::{Method, Request, RpcCall};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};

/// With so many chats of a bot it is looked which can be forgotten.
const CHATS_MANY: usize = 256;

/// How many messages a bot may send; what comes beyond that is refused with `FLOOD_WAIT_X`, until it would
/// fit. A refused message does not count.
///
/// Each limit is a number of messages in any stretch of time of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendLimits {
    /// In all chats together.
    pub account: (u32, Duration),
    /// In each chat.
    pub chat: (u32, Duration),
    /// In each group besides.
    pub group: (u32, Duration),
}

impl SendLimits {
    /// What Telegram documents (<https://core.telegram.org/bots/faq>): 30 per second in all, one per second in
    /// a chat with bursts of 3, 20 per minute in a group.
    #[must_use]
    pub const fn bot() -> Self {
        Self {
            account: (30, Duration::from_secs(1)),
            chat: (3, Duration::from_secs(3)),
            group: (20, Duration::from_secs(60)),
        }
    }
}

/// The times of what was sent lately.
#[derive(Debug, Default)]
struct SendLog(VecDeque<Instant>);

impl SendLog {
    /// How long it takes until another message fits.
    fn wait(&mut self, (messages, per): (u32, Duration), now: Instant) -> Duration {
        while self.0.front().is_some_and(|sent| now.saturating_duration_since(*sent) >= per) {
            self.0.pop_front();
        }
        let messages = usize::try_from(messages.max(1)).unwrap_or(usize::MAX);
        let Some(before) = self.0.len().checked_sub(messages) else { return Duration::ZERO };
        (self.0[before] + per).saturating_duration_since(now)
    }
}

/// What a bot has sent lately.
#[derive(Debug, Default)]
struct BotSends {
    all: SendLog,
    /// Of each chat twice, as far back as each of its limits needs. By the kind of the peer and its number.
    chats: HashMap<(u8, i64), [SendLog; 2]>,
    /// With so many chats it is looked which can be forgotten.
    many: usize,
}

impl BotSends {
    /// Counts a message, or returns how long it does not fit.
    fn count(&mut self, limits: &SendLimits, peer: &InputPeer, now: Instant) -> Duration {
        if self.chats.len() >= self.many.max(CHATS_MANY) {
            self.chats.retain(|_, logs| {
                let limits = [limits.chat, limits.group];
                let waits = logs.iter_mut().zip(limits).map(|(log, limit)| log.wait(limit, now));
                waits.count() > 0 && logs.iter().any(|log| !log.0.is_empty())
            });
            self.many = 2 * self.chats.len();
        }
        let (chat, is_group) = match peer {
            InputPeer::User(peer) => ((0, peer.user_id), false),
            InputPeer::UserFromMessage(peer) => ((0, peer.user_id), false),
            InputPeer::Chat(peer) => ((1, peer.chat_id), true),
            InputPeer::Channel(peer) => ((2, peer.channel_id), true),
            InputPeer::ChannelFromMessage(peer) => ((2, peer.channel_id), true),
            InputPeer::PeerSelf | InputPeer::Empty => ((3, 0), false),
        };
        let [in_chat, in_group] = self.chats.entry(chat).or_default();
        let mut logs = vec![(&mut self.all, limits.account), (in_chat, limits.chat)];
        if is_group {
            logs.push((in_group, limits.group));
        }
        let waits = logs.iter_mut().map(|(log, limit)| log.wait(*limit, now));
        let wait = waits.max().unwrap_or_default();
        if wait.is_zero() {
            logs.iter_mut().for_each(|(log, _)| log.0.push_back(now));
        }
        wait
    }
}

/// The limits at work.
#[derive(Debug, Default)]
pub(super) struct SendLimiter {
    limits: Option<SendLimits>,
    bots: DashMap<AccountId, BotSends>,
}

impl SendLimiter {
    pub(super) fn new(limits: Option<SendLimits>) -> Self {
        Self { limits, bots: DashMap::new() }
    }

    /// For how many seconds a request is refused, if it sends too much.
    pub(super) fn refusal(&self, user: &User, request: &Request) -> Option<u32> {
        let limits = self.limits.as_ref().filter(|_| user.account.is_bot())?;
        let Request::Call(RpcCall { method: Method::Send { peer, .. }, .. }) = request else {
            return None;
        };
        let wait = self.bots.entry(user.account).or_default().count(limits, peer, now());
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Some(seconds).filter(|seconds| *seconds > 0)
    }
}

#[cfg(test)]
mod tests {
    use grammers_tl_types::types;

    use super::*;

    fn user(user_id: i64) -> InputPeer {
        types::InputPeerUser { user_id, access_hash: 0 }.into()
    }

    fn group(chat_id: i64) -> InputPeer {
        types::InputPeerChat { chat_id }.into()
    }

    #[tokio::test(start_paused = true)]
    async fn each_limit_refuses_what_is_too_much_for_it_and_nothing_else() {
        let (limits, mut sends) = (SendLimits::bot(), BotSends::default());
        let start = now();
        let mut at = |millis, peer| {
            let now = start + Duration::from_millis(millis);
            sends.count(&limits, &peer, now)
        };
        for _ in 0..3 {
            assert_eq!(at(0, user(1)), Duration::ZERO);
        }
        // A burst of a chat; one that was refused does not count.
        assert_eq!(at(500, user(1)), Duration::from_millis(2500));
        assert_eq!(at(2999, user(1)), Duration::from_millis(1));
        assert_eq!(at(3000, user(1)), Duration::ZERO);
        // Twenty of a group, no faster than a chat may.
        for message in 0..20 {
            assert_eq!(at(5000 + message * 1000, group(1)), Duration::ZERO, "{message}");
        }
        assert_eq!(at(25_000, group(1)), Duration::from_secs(40));
        assert_eq!(at(25_000, group(2)), Duration::ZERO);
        // Thirty of the bot.
        for chat in 0..29 {
            assert_eq!(at(25_000, user(chat)), Duration::ZERO, "{chat}");
        }
        assert_eq!(at(25_100, user(77)), Duration::from_millis(900));
        assert_eq!(at(26_000, user(77)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn chats_that_are_quiet_are_forgotten() {
        let (limits, mut sends) = (SendLimits::bot(), BotSends::default());
        let start = now();
        for chat in 0..10_000_u32 {
            let peer = user(chat.into());
            sends.count(&limits, &peer, start + Duration::from_millis(50) * chat);
        }
        assert!(sends.chats.len() <= 2 * CHATS_MANY, "{}", sends.chats.len());
    }
}
