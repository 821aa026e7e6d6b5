//! Messages to be sent, and the numbers by which the server knows a repeat.
//!
//! Owns how these numbers are made: the same in every process and on every machine. Sends nothing.

use grammers_client::tl::{enums, functions};
use sha1::{Digest as _, Sha1};

use crate::account_id::AccountId;

/// The number (`random_id`) of what an account, or whichever of several, sends to a chat under this name.
pub(super) fn message_number(
    name: &str,
    account: Option<AccountId>,
    chat: &enums::InputPeer,
) -> i64 {
    let mut hash = Sha1::new();
    hash.update(b"telepool broadcast");
    // Each part says how long it is, so that no two write the same.
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name.as_bytes());
    let account = account.map(|account| account.reveal().to_string()).unwrap_or_default();
    hash.update((account.len() as u64).to_le_bytes());
    hash.update(account.as_bytes());
    let (kind, chat) = kind_and_id(chat);
    hash.update([kind]);
    hash.update(chat.to_le_bytes());
    let digest = hash.finalize();
    let number = digest.first_chunk().map_or(1, |bytes| i64::from_le_bytes(*bytes));
    // The server takes no zero.
    if number == 0 { 1 } else { number }
}

/// A plain text as a request, whose other fields may be set afterwards: the schema names more than twenty, and none
/// has a default. The server takes a `random_id` once.
///
/// ```
/// use telepool::telegram::{client::tl::enums, text_message};
///
/// let mut note = text_message(enums::InputPeer::PeerSelf, "to myself", 7);
/// note.silent = true;
/// ```
pub fn text_message(
    peer: enums::InputPeer,
    message: impl Into<String>,
    random_id: i64,
) -> functions::messages::SendMessage {
    functions::messages::SendMessage {
        no_webpage: false,
        silent: false,
        background: false,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer,
        reply_to: None,
        message: message.into(),
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
        rich_message: None,
    }
}

/// What tells a chat from all others.
pub(super) fn kind_and_id(chat: &enums::InputPeer) -> (u8, i64) {
    match chat {
        enums::InputPeer::Empty => (0, 0),
        enums::InputPeer::PeerSelf => (1, 0),
        enums::InputPeer::User(peer) => (2, peer.user_id),
        enums::InputPeer::UserFromMessage(peer) => (2, peer.user_id),
        enums::InputPeer::Chat(peer) => (3, peer.chat_id),
        enums::InputPeer::Channel(peer) => (4, peer.channel_id),
        enums::InputPeer::ChannelFromMessage(peer) => (4, peer.channel_id),
    }
}
