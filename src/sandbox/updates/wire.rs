//! Updates and what belongs to them as they go out.
//!
//! Owns their bytes, which are written by hand where the schema's types have far more fields than anybody here
//! fills. Never decides who gets them.

use grammers_tl_types::{Identifiable, Serializable, enums, types};

use super::account_box::{CommonUpdate, PrivateMessage, SecondaryUpdate};
use super::channel::{ChannelUpdate, Post, SandboxChannel};
use super::log::BoxEntry;
use super::strangers;
use crate::sandbox::accounts::User;
use crate::sandbox::schema::Schema;
use crate::sandbox::server_state::ServerState;

const VECTOR: u32 = 0x1cb5_c415;

/// A vector that is not yet complete.
#[derive(Default)]
pub(super) struct WireVector {
    count: u32,
    bytes: Vec<u8>,
}

impl WireVector {
    /// Has one more element written.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        write(&mut self.bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn put(&self, body: &mut Vec<u8>) {
        VECTOR.serialize(body);
        self.count.serialize(body);
        body.extend(&self.bytes);
    }
}

/// An `updates` container of one update. Its last four bytes are the `seq`, zero for none.
pub(super) fn container(
    update: &[u8],
    users: &WireVector,
    chats: &WireVector,
    date: i32,
) -> Vec<u8> {
    let mut body = types::Updates::CONSTRUCTOR_ID.to_bytes();
    body.reserve(update.len() + users.bytes.len() + chats.bytes.len() + 40);
    VECTOR.serialize(&mut body);
    1_u32.serialize(&mut body);
    body.extend(update);
    users.put(&mut body);
    chats.put(&mut body);
    date.serialize(&mut body);
    0_i32.serialize(&mut body);
    body
}

/// Gives a container a `seq`.
pub(super) fn set_seq(container: &mut [u8], seq: i32) {
    if let Some(last) = container.last_chunk_mut() {
        *last = seq.to_le_bytes();
    }
}

/// An update of the common box.
pub(super) fn put_common(body: &mut Vec<u8>, schema: Schema, entry: &BoxEntry<CommonUpdate>) {
    match &entry.update {
        CommonUpdate::Message(message) => {
            types::UpdateNewMessage::CONSTRUCTOR_ID.serialize(body);
            put_message(body, schema, message, entry.date);
        }
        CommonUpdate::Deleted(ids) => {
            types::UpdateDeleteMessages::CONSTRUCTOR_ID.serialize(body);
            put_ids(body, ids);
        }
    }
    entry.pts.serialize(body);
    entry.count.serialize(body);
}

/// An update of the secondary box.
pub(super) fn put_secondary(body: &mut Vec<u8>, entry: &BoxEntry<SecondaryUpdate>) {
    match entry.update {
        SecondaryUpdate::BotStopped { user, stopped } => {
            let (date, qts) = (entry.date, entry.pts);
            let update = types::UpdateBotStopped { user_id: user, date, stopped, qts };
            enums::Update::BotStopped(update).serialize(body);
        }
        SecondaryUpdate::Encrypted { random_id } => {
            types::UpdateNewEncryptedMessage::CONSTRUCTOR_ID.serialize(body);
            put_encrypted(body, random_id, entry.date);
            entry.pts.serialize(body);
        }
    }
}

/// An update of a channel's box.
pub(super) fn put_channel_update(
    body: &mut Vec<u8>,
    schema: Schema,
    channel: i64,
    entry: &BoxEntry<ChannelUpdate>,
) {
    match &entry.update {
        ChannelUpdate::New { id, post } => {
            types::UpdateNewChannelMessage::CONSTRUCTOR_ID.serialize(body);
            put_post(body, schema, channel, *id, post);
        }
        ChannelUpdate::Edited { id, post } => {
            types::UpdateEditChannelMessage::CONSTRUCTOR_ID.serialize(body);
            put_post(body, schema, channel, *id, post);
        }
        ChannelUpdate::Deleted(ids) => {
            types::UpdateDeleteChannelMessages::CONSTRUCTOR_ID.serialize(body);
            channel.serialize(body);
            put_ids(body, ids);
        }
    }
    entry.pts.serialize(body);
    entry.count.serialize(body);
}

fn put_ids(body: &mut Vec<u8>, ids: &[i32]) {
    VECTOR.serialize(body);
    u32::try_from(ids.len()).unwrap_or(0).serialize(body);
    ids.iter().for_each(|id| id.serialize(body));
}

/// The beginning of any message.
fn put_message_head(body: &mut Vec<u8>, schema: Schema, flags: u32) {
    schema.message.serialize(body);
    flags.serialize(body);
    if schema.has_second_flags() {
        0_u32.serialize(body);
    }
}

/// A message of a private chat. Who wrote it is said by the chat and by whether it is outgoing.
pub(super) fn put_message(body: &mut Vec<u8>, schema: Schema, message: &PrivateMessage, date: i32) {
    put_message_head(body, schema, u32::from(message.out) << 1);
    message.id.serialize(body);
    enums::Peer::User(types::PeerUser { user_id: message.peer }).serialize(body);
    date.serialize(body);
    put_text(body, &message.text);
}

/// A message of a channel.
pub(super) fn put_post(body: &mut Vec<u8>, schema: Schema, channel: i64, id: i32, post: &Post) {
    // A post of the channel itself; when it was edited.
    put_message_head(body, schema, 1 << 14 | u32::from(post.edited.is_some()) << 15);
    id.serialize(body);
    enums::Peer::Channel(types::PeerChannel { channel_id: channel }).serialize(body);
    post.date.serialize(body);
    put_text(body, &post.text);
    if let Some(edited) = post.edited {
        edited.serialize(body);
    }
}

/// A message of a secret chat, which has no other content than its number.
pub(super) fn put_encrypted(body: &mut Vec<u8>, random_id: i64, date: i32) {
    let message = types::EncryptedMessage {
        random_id,
        chat_id: 1,
        date,
        bytes: random_id.to_le_bytes().to_vec(),
        file: enums::EncryptedFile::Empty,
    };
    enums::EncryptedMessage::Message(message).serialize(body);
}

/// A channel, as this member sees it.
pub(super) fn put_channel(
    body: &mut Vec<u8>,
    schema: Schema,
    channel: &SandboxChannel,
    member: i64,
) {
    schema.channel.serialize(body);
    // A broadcast channel, with its access hash.
    let flags: u32 = 1 << 5 | 1 << 13;
    flags.serialize(body);
    0_u32.serialize(body);
    channel.id.serialize(body);
    channel.access_hash(member).serialize(body);
    put_text(body, &channel.title);
    enums::ChatPhoto::Empty.serialize(body);
    channel.date.serialize(body);
}

/// The row of a channel in the list of chats.
pub(super) fn put_dialog(
    body: &mut Vec<u8>,
    schema: Schema,
    channel: i64,
    (pts, top_message): (i32, i32),
) {
    schema.dialog.serialize(body);
    // With its `pts`.
    1_u32.serialize(body);
    enums::Peer::Channel(types::PeerChannel { channel_id: channel }).serialize(body);
    // Nothing was read: the last message, up to which one it was in and out, and how many are not.
    [top_message, 0, 0, top_message].iter().for_each(|number| number.serialize(body));
    // Mentions, reactions and votes.
    let counts = if schema.has_poll_votes() { 3 } else { 2 };
    (0..counts).for_each(|_| 0_i32.serialize(body));
    put_settings(body, schema.notify_settings);
    pts.serialize(body);
}

/// Settings that say nothing.
pub(in crate::sandbox) fn put_settings(body: &mut Vec<u8>, id: u32) {
    id.serialize(body);
    0_u32.serialize(body);
}

/// A user by its id, as the user `own` sees it.
pub(in crate::sandbox) fn put_user(
    body: &mut Vec<u8>,
    schema: Schema,
    (server, own): (&ServerState, &User),
    id: i64,
) {
    let known = if id == own.id { None } else { server.user_by_id(id) };
    match known.as_deref() {
        None if id == own.id => put_account(body, schema, own, true),
        Some(user) => put_account(body, schema, user, false),
        None => match strangers::name_of(id) {
            Some(name) => put_fields(body, schema, (id, &name), (false, false), None),
            None => enums::User::Empty(types::UserEmpty { id }).serialize(body),
        },
    }
}

fn put_account(body: &mut Vec<u8>, schema: Schema, user: &User, is_self: bool) {
    // Of others' numbers nothing is told.
    let phone = Some(user.account).filter(|account| is_self && account.is_phone());
    let phone = phone.map(|account| account.number().to_string());
    let kind = (is_self, user.account.is_bot());
    put_fields(body, schema, (user.id, "Sandbox"), kind, phone);
}

fn put_fields(
    body: &mut Vec<u8>,
    schema: Schema,
    (id, name): (i64, &str),
    (is_self, is_bot): (bool, bool),
    phone: Option<String>,
) {
    schema.user.serialize(body);
    // Which fields follow: access hash, first name, phone, for bots the version; self, bot.
    let flags: u32 = 1
        | 1 << 1
        | u32::from(phone.is_some()) << 4
        | u32::from(is_self) << 10
        | u32::from(is_bot) << 14;
    flags.serialize(body);
    0_u32.serialize(body);
    id.serialize(body);
    user_access_hash(id).serialize(body);
    put_text(body, name);
    if let Some(phone) = phone {
        put_text(body, &phone);
    }
    if is_bot {
        1_i32.serialize(body);
    }
}

/// What others must know to address a user.
fn user_access_hash(id: i64) -> i64 {
    id ^ 0x5eed
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    text.as_bytes().serialize(body);
}
