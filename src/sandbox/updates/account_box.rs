//! Boxes of an account: its messages, and what bots and secret chats get beside them.
//!
//! Owns the numbers of messages and which channels the account is a member of. Never sends anything.

use std::sync::Arc;

use super::log::UpdateBox;

/// The number of a box before the first update, as that of a new account is. It is not zero, which clients
/// take for "not known".
pub(super) const FIRST_PTS: i32 = 1;

/// What all sessions of an account share.
pub(in crate::sandbox) struct AccountBoxes {
    pub(super) common: UpdateBox<CommonUpdate>,
    /// By the number that is called qts.
    pub(super) secondary: UpdateBox<SecondaryUpdate>,
    /// The id of the last message, which is also how many there were.
    pub(super) last_message: i32,
    pub(super) channels: Vec<i64>,
}

/// What comes into the common box.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CommonUpdate {
    Message(PrivateMessage),
    Deleted(Arc<[i32]>),
}

/// A message of a private chat.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PrivateMessage {
    pub(super) id: i32,
    /// The user on the other side.
    pub(super) peer: i64,
    /// The account has sent it.
    pub(super) out: bool,
    pub(super) text: Arc<str>,
}

/// What comes into the secondary box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SecondaryUpdate {
    /// A user has stopped the bot, or started it again.
    BotStopped { user: i64, stopped: bool },
    /// A message of a secret chat.
    Encrypted { random_id: i64 },
}

impl Default for AccountBoxes {
    fn default() -> Self {
        Self {
            common: UpdateBox::new(FIRST_PTS),
            secondary: UpdateBox::new(0),
            last_message: 0,
            channels: Vec::new(),
        }
    }
}

impl AccountBoxes {
    /// The id of a new message.
    pub(super) fn next_message(&mut self) -> i32 {
        self.last_message = self.last_message.saturating_add(1);
        self.last_message
    }
}
