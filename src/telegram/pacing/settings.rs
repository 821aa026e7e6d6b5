//! Limits of sending, and which accounts keep them.
//!
//! Owns the defaults. Never counts what was sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::account_id::AccountId;

/// The most messages of one limit. Each that was sent lately is remembered.
const MESSAGES_MAX: u32 = 10_000;
/// The shortest and the longest time of a limit.
const PER_MIN: Duration = Duration::from_millis(1);
const PER_MAX: Duration = Duration::from_secs(86_400);

/// At most so many messages in any stretch of time of this length.
///
/// A burst is a longer stretch: `SendLimit::new(3, 3 s)` allows three messages at once, and one per second
/// in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendLimit {
    messages: u32,
    per: Duration,
}

impl SendLimit {
    /// So many messages, from 1 to 10,000, in any stretch of a millisecond to a day; what lies beyond is
    /// taken for the nearest of these.
    #[must_use]
    pub const fn new(messages: u32, per: Duration) -> Self {
        let messages = match messages {
            0 => 1,
            1..=MESSAGES_MAX => messages,
            _ => MESSAGES_MAX,
        };
        let per = match per.as_nanos() {
            nanos if nanos < PER_MIN.as_nanos() => PER_MIN,
            nanos if nanos > PER_MAX.as_nanos() => PER_MAX,
            _ => per,
        };
        Self { messages, per }
    }

    /// How many messages.
    #[must_use]
    pub const fn messages(self) -> u32 {
        self.messages
    }

    /// In which time.
    #[must_use]
    pub const fn per(self) -> Duration {
        self.per
    }

    /// The same in a longer time.
    pub(super) const fn stretched_by(self, margin: Duration) -> Self {
        Self::new(self.messages, self.per.saturating_add(margin))
    }

    /// The time from one message to the next when they come evenly.
    pub(super) fn spacing(self) -> Duration {
        self.per / self.messages
    }
}

/// How fast an account sends: what goes beyond it waits on this side.
///
/// Counted are `messages.sendMessage`, `sendMedia` and `sendInlineBotResult`, each item of `sendMultiMedia` and
/// each message of `forwardMessages`, also within `invokeWithoutUpdates`. A call that has more messages than
/// a limit goes when nothing else counts against that limit, and the next waits for as much longer.
///
/// Made by [`SendPacing::bot`], and its fields are set by name: more may come.
///
/// ```
/// use std::time::Duration;
/// use telepool::telegram::{SendLimit, SendPacing};
///
/// let mut pacing = SendPacing::bot();
/// // This bot pays for broadcasts: https://core.telegram.org/bots/faq
/// pacing.account = Some(SendLimit::new(1000, Duration::from_secs(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendPacing {
    /// Of the account, in all chats together. They come evenly, so that a chat which has something to say waits
    /// for one turn of each other chat that has, and not for a burst of theirs.
    pub account: Option<SendLimit>,
    /// Of each chat, be it a user or a group.
    pub chat: Option<SendLimit>,
    /// Of each group besides: basic groups, supergroups and channels.
    pub group: Option<SendLimit>,
    /// By how much each of these times is longer here than there: a message that was held up on its way
    /// comes closer to the next one than they were sent.
    pub margin: Duration,
}

impl SendPacing {
    /// What Telegram documents for bots (<https://core.telegram.org/bots/faq>): 30 messages per second in
    /// all, one per second in a chat, of which up to 3 may come at once, and 20 per minute in a group; with a
    /// margin of 30 ms. Of people it documents no limits.
    #[must_use]
    pub const fn bot() -> Self {
        Self {
            account: Some(SendLimit::new(30, Duration::from_secs(1))),
            chat: Some(SendLimit::new(3, Duration::from_secs(3))),
            group: Some(SendLimit::new(20, Duration::from_secs(60))),
            margin: Duration::from_millis(30),
        }
    }
}

/// Which accounts keep which limits of sending. By default none keeps any.
///
/// What counts is what this pool has sent: it knows nothing of what another program sends by the same account,
/// nor of what was sent before it was built.
///
/// ```
/// use telepool::telegram::{Pacing, SendPacing, TelegramSettings};
///
/// let mut settings = TelegramSettings::new(12345);
/// // Every account but those of the group `users`.
/// settings.pacing = Pacing::all(SendPacing::bot()).group("users", None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pacing {
    all: Option<SendPacing>,
    groups: HashMap<Arc<str>, Option<SendPacing>>,
    accounts: HashMap<AccountId, Option<SendPacing>>,
}

impl Pacing {
    /// No account keeps any limit.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every account keeps these limits, each for itself.
    #[must_use]
    pub fn all(pacing: SendPacing) -> Self {
        Self { all: Some(pacing), ..Self::default() }
    }

    /// The accounts of a group keep these, or none. Comes before what holds for all.
    #[must_use]
    pub fn group(mut self, group: &str, pacing: Option<SendPacing>) -> Self {
        self.groups.insert(group.into(), pacing);
        self
    }

    /// An account keeps these, or none. Comes before what holds for its group. Of an account with several
    /// names, the one that the pool knows it by ([`Account::id`](crate::Account::id)).
    #[must_use]
    pub fn account(mut self, account: AccountId, pacing: Option<SendPacing>) -> Self {
        self.accounts.insert(account, pacing);
        self
    }

    /// Whether nobody keeps any limit.
    pub(in crate::telegram) fn is_none(&self) -> bool {
        self.all.is_none() && self.groups.is_empty() && self.accounts.is_empty()
    }

    /// What an account keeps.
    pub(in crate::telegram) fn of(&self, account: AccountId, group: &str) -> Option<SendPacing> {
        let own = self.accounts.get(&account).or_else(|| self.groups.get(group));
        own.copied().unwrap_or(self.all)
    }
}

impl From<SendPacing> for Pacing {
    fn from(pacing: SendPacing) -> Self {
        Self::all(pacing)
    }
}
