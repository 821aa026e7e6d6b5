//! Targets of a broadcast: to whom, by whom, and the number by which the server knows a repeat.
//!
//! Owns what is sent to them. Never sends anything.

use grammers_client::tl::{enums, functions};

use crate::account_id::AccountId;
use crate::telegram::messages::{kind_and_id, message_number, text_message};

/// A chat that a broadcast goes to.
///
/// An [`InputPeer`](enums::InputPeer) names a user or a channel together with an access hash, which is one
/// account's own: such a chat belongs to the account that has it. Basic groups have none.
#[derive(Clone, Debug, PartialEq)]
pub struct BroadcastTarget {
    pub(super) account: Option<AccountId>,
    pub(super) chat: enums::InputPeer,
}

impl BroadcastTarget {
    /// A chat that this account writes to, and no other.
    #[must_use]
    pub fn by(account: AccountId, chat: enums::InputPeer) -> Self {
        Self { account: Some(account), chat }
    }

    /// A chat that any member of the group may write to. Which one does is told by the chat, so that a
    /// repeat comes from the same, and the server knows it, as long as the same members serve. If they
    /// have changed, a chat whose answer was lost may get the message from two.
    #[must_use]
    pub fn any(chat: enums::InputPeer) -> Self {
        Self { account: None, chat }
    }

    /// Who writes to it, if that is settled.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// The chat.
    #[must_use]
    pub fn chat(&self) -> &enums::InputPeer {
        &self.chat
    }

    /// The number of this target in a broadcast: the `random_id` of its message, and its name in the
    /// journal. The same in every run and on every machine.
    pub(super) fn number(&self, broadcast: &str) -> i64 {
        message_number(broadcast, self.account, &self.chat)
    }
}

impl From<(AccountId, enums::InputPeer)> for BroadcastTarget {
    fn from((account, chat): (AccountId, enums::InputPeer)) -> Self {
        Self::by(account, chat)
    }
}

impl From<enums::InputPeer> for BroadcastTarget {
    fn from(chat: enums::InputPeer) -> Self {
        Self::any(chat)
    }
}

/// The name of a chat in a journal: `user:77`, `group:5`, `channel:9`, `self`.
pub(super) fn chat_name(chat: &enums::InputPeer) -> String {
    match kind_and_id(chat) {
        (1, _) => "self".to_owned(),
        (2, id) => format!("user:{id}"),
        (3, id) => format!("group:{id}"),
        (4, id) => format!("channel:{id}"),
        _ => "nobody".to_owned(),
    }
}

/// What a broadcast sends into one chat. Its peer and its `random_id` are filled in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BroadcastMessage {
    /// A text.
    Text(Box<functions::messages::SendMessage>),
    /// A file, a poll or the like: [`InputMedia`](enums::InputMedia).
    Media(Box<functions::messages::SendMedia>),
}

impl BroadcastMessage {
    /// A plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Box::new(text_message(enums::InputPeer::Empty, text, 0)))
    }

    /// A file or the like with a text below it, which may be empty.
    #[must_use]
    pub fn media(media: enums::InputMedia, text: impl Into<String>) -> Self {
        Self::Media(Box::new(functions::messages::SendMedia {
            silent: false,
            background: false,
            clear_draft: false,
            noforwards: false,
            update_stickersets_order: false,
            invert_media: false,
            allow_paid_floodskip: false,
            peer: enums::InputPeer::Empty,
            reply_to: None,
            media,
            message: text.into(),
            random_id: 0,
            reply_markup: None,
            entities: None,
            schedule_date: None,
            schedule_repeat_period: None,
            send_as: None,
            quick_reply_shortcut: None,
            effect: None,
            allow_paid_stars: None,
            suggested_post: None,
        }))
    }

    /// Fills in where it goes.
    pub(super) fn address(&mut self, chat: enums::InputPeer, number: i64) {
        match self {
            Self::Text(text) => (text.peer, text.random_id) = (chat, number),
            Self::Media(media) => (media.peer, media.random_id) = (chat, number),
        }
    }
}

impl From<functions::messages::SendMessage> for BroadcastMessage {
    fn from(text: functions::messages::SendMessage) -> Self {
        Self::Text(Box::new(text))
    }
}

impl From<functions::messages::SendMedia> for BroadcastMessage {
    fn from(media: functions::messages::SendMedia) -> Self {
        Self::Media(Box::new(media))
    }
}

impl From<&str> for BroadcastMessage {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for BroadcastMessage {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use grammers_client::tl::types;

    use super::*;

    fn user(user_id: i64, access_hash: i64) -> enums::InputPeer {
        types::InputPeerUser { user_id, access_hash }.into()
    }

    #[test]
    fn a_target_has_its_number_in_every_run() {
        let bot = AccountId::bot(5).unwrap();
        let target = BroadcastTarget::by(bot, user(77, 1));
        // Kept by journals and by the server: another way to make it would send everything again.
        assert_eq!(target.number("news"), -5_002_038_518_053_788_053);
        assert_eq!(BroadcastTarget::by(bot, user(77, 2)).number("news"), target.number("news"));
    }

    #[test]
    fn no_two_targets_share_a_number() {
        let accounts = [None, Some(AccountId::bot(5).unwrap()), Some(AccountId::bot(57).unwrap())];
        let mut numbers = HashSet::new();
        for account in accounts {
            for chat in [
                enums::InputPeer::PeerSelf,
                user(7, 0),
                user(77, 0),
                types::InputPeerChat { chat_id: 7 }.into(),
                types::InputPeerChannel { channel_id: 7, access_hash: 0 }.into(),
            ] {
                for broadcast in ["news", "new", ""] {
                    let target = BroadcastTarget { account, chat: chat.clone() };
                    assert!(numbers.insert(target.number(broadcast)));
                }
            }
        }
    }
}
