//! An update as the application gets it, with those it speaks of.
//!
//! Owns the receipt: dropping an update says that the application is done with it.

use std::sync::Arc;

use grammers_client::tl;

use super::known_users::user_hash;
use super::progress::UpdateProgress;
use crate::account_id::AccountId;
use crate::telegram::messages::{message_number, text_message};

/// An update of an account, in its order.
///
/// Dropping it is the receipt: what the application has not dropped when the process ends comes again in the
/// next one, if the source of sessions keeps [how far it got](crate::telegram::SessionSource::set_update_states).
/// So keep it until whatever it asks for is done. Whoever ends in the middle of that drops the
/// [stream](super::UpdateStream) first: what is dropped after its stream comes again.
#[derive(Debug)]
#[non_exhaustive]
pub struct AccountUpdate {
    /// Whose it is.
    pub account: AccountId,
    /// Which of the account's sessions brought it.
    pub slot: u16,
    /// What happened.
    pub content: UpdateContent,
    /// The users and chats that it, or another that came with it, speaks of.
    pub peers: Arc<UpdatePeers>,
    pub(super) _receipt: Receipt,
}

/// What there is to tell of an account.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum UpdateContent {
    /// Something happened.
    Update(Box<tl::enums::Update>),
    /// So much happened, or it is so long ago, that the server tells no details: updates are missing here.
    /// Whoever needs them reads the history of the chats.
    Missed(MissedUpdates),
}

/// Where updates are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissedUpdates {
    /// In everything but channels and supergroups.
    Account,
    /// In one channel or supergroup, by its bare id, or in all that will come of it: the server does not show it
    /// to the account any more.
    Channel(i64),
}

impl AccountUpdate {
    /// The update, unless it tells that some are missing.
    #[must_use]
    pub fn update(&self) -> Option<&tl::enums::Update> {
        match &self.content {
            UpdateContent::Update(update) => Some(update),
            UpdateContent::Missed(_) => None,
        }
    }

    /// The message, if it is a new one, in whatever kind of chat.
    #[must_use]
    pub fn new_message(&self) -> Option<&tl::types::Message> {
        let message = match self.update()? {
            tl::enums::Update::NewMessage(new) => &new.message,
            tl::enums::Update::NewChannelMessage(new) => &new.message,
            _ => return None,
        };
        match message {
            tl::enums::Message::Message(message) => Some(message),
            tl::enums::Message::Empty(_) | tl::enums::Message::Service(_) => None,
        }
    }

    /// A plain text for the chat from which a new message came. Its `random_id` is made of the account, the chat and
    /// that message: if the update comes again, in another process, the server refuses the same answer by
    /// `RANDOM_ID_DUPLICATE`. Of several answers to one message each but the first needs another `random_id`.
    ///
    /// `None` for what is no new message of somebody else's, and for a chat that cannot be addressed.
    #[must_use]
    pub fn answer(&self, text: impl Into<String>) -> Option<tl::functions::messages::SendMessage> {
        let message = self.new_message().filter(|message| !message.out)?;
        let peer = self.input_peer(&message.peer_id)?;
        let name = format!("answer to {}", message.id);
        let random_id = message_number(&name, Some(self.account), &peer);
        Some(text_message(peer, text, random_id))
    }

    /// How to address somebody whom it speaks of; see [`UpdatePeers::input_peer`].
    #[must_use]
    pub fn input_peer(&self, peer: &tl::enums::Peer) -> Option<tl::enums::InputPeer> {
        self.peers.input_peer(peer)
    }
}

/// The users and chats that updates speak of, as the server describes them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct UpdatePeers {
    /// The users.
    pub users: Vec<tl::enums::User>,
    /// The groups and channels.
    pub chats: Vec<tl::enums::Chat>,
    /// Users that are not described, with their access hashes as they were told before.
    pub(super) known_users: Vec<(i64, i64)>,
}

impl UpdatePeers {
    /// How to address one of them in a call of the same account. `None` for whom it does not hold, or only as one
    /// who is seen in a group (`min`).
    #[must_use]
    pub fn input_peer(&self, peer: &tl::enums::Peer) -> Option<tl::enums::InputPeer> {
        match peer {
            tl::enums::Peer::User(wanted) => {
                let described = self.users.iter().filter_map(user_hash);
                let (user_id, access_hash) = described
                    .chain(self.known_users.iter().copied())
                    .find(|(user, _)| *user == wanted.user_id)?;
                Some(tl::types::InputPeerUser { user_id, access_hash }.into())
            }
            tl::enums::Peer::Chat(chat) => {
                Some(tl::types::InputPeerChat { chat_id: chat.chat_id }.into())
            }
            tl::enums::Peer::Channel(wanted) => self.chats.iter().find_map(|chat| {
                let (channel_id, access_hash) = channel_hash(chat)?;
                (channel_id == wanted.channel_id)
                    .then(|| tl::types::InputPeerChannel { channel_id, access_hash }.into())
            }),
        }
    }
}

/// The bare id of a channel and the hash by which this account addresses it.
pub(super) fn channel_hash(chat: &tl::enums::Chat) -> Option<(i64, i64)> {
    match chat {
        tl::enums::Chat::Channel(channel) if !channel.min => {
            Some((channel.id, channel.access_hash?))
        }
        tl::enums::Chat::ChannelForbidden(channel) => Some((channel.id, channel.access_hash)),
        _ => None,
    }
}

/// Says of an update that the application is done with it, once dropped.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) progress: Arc<UpdateProgress>,
    pub(super) batch: u64,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.progress.take(self.batch);
    }
}
