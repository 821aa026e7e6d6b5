//! Posting: what brings updates about, and to whom they go.
//!
//! Owns the order in which locks are taken: a channel's or an account's boxes first, then the keys of an account,
//! then a session. So each session is sent what comes into a box in its order.

use std::collections::BTreeMap;
use std::sync::Arc;

use grammers_tl_types::{Serializable, enums, types};

use super::account_box::{AccountBoxes, CommonUpdate, PrivateMessage, SecondaryUpdate};
use super::channel::{ChannelUpdate, Posts, SandboxChannel};
use super::log::BoxEntry;
use super::now_date;
use super::session::{Push, PushKind};
use super::strangers;
use super::wire::{self, WireVector};
use crate::base::sync::Ordering;
use crate::sandbox::accounts::{Key, KeyLogin, User};
use crate::sandbox::schema::Schema;
use crate::sandbox::server_state::ServerState;

/// A message that was sent, as its sender is told of it.
pub(in crate::sandbox) struct SentMessage {
    pub(in crate::sandbox) id: i32,
    pub(in crate::sandbox) pts: i32,
    pub(in crate::sandbox) date: i32,
}

/// Sends an update to every session of a user that listens, but for one that knows of it. What has no valid
/// login gets none.
fn push_to(server: &ServerState, user: &User, except: Option<&Key>, push: &Push<'_>) -> usize {
    let mut count = 0;
    for key in user.keys.lock().iter() {
        let is_void = key.is_invalidated.load(Ordering::Relaxed);
        if is_void || except.is_some_and(|except| std::ptr::eq(except, &**key)) {
            continue;
        }
        let schema = key.schema();
        let mut session = key.updates.lock();
        let connections = key.connections.lock();
        let Some(KeyLogin { account, slot }) = key.login() else { continue };
        count += session.push(server, (account, slot, schema), &connections, push);
    }
    count
}

/// Sends `updatesTooLong`, which is in no box.
pub(in crate::sandbox) fn push_too_long(server: &ServerState, user: &User) -> usize {
    let write = |_| enums::Updates::TooLong.to_bytes();
    push_to(server, user, None, &Push { write: &write, kind: PushKind::WithoutSeq })
}

impl AccountBoxes {
    fn add_message(
        &mut self,
        server: &ServerState,
        (peer, out): (i64, bool),
        text: &str,
    ) -> (BoxEntry<CommonUpdate>, SentMessage) {
        let message = PrivateMessage { id: self.next_message(), peer, out, text: text.into() };
        let (id, update) = (message.id, CommonUpdate::Message(message));
        let entry = self.add_common(server, 1, update);
        let sent = SentMessage { id, pts: entry.pts, date: entry.date };
        (entry, sent)
    }

    fn add_common(
        &mut self,
        server: &ServerState,
        count: i32,
        update: CommonUpdate,
    ) -> BoxEntry<CommonUpdate> {
        let date = now_date();
        let pts = self.common.append(count, date, update.clone(), server.update_log_len_max);
        BoxEntry { pts, count, date, update }
    }
}

/// A stranger writes to an account. Returns the id of the message.
pub(super) fn post_message(server: &ServerState, user: &User, text: &str) -> i32 {
    let mut boxes = user.boxes.lock();
    let from = strangers::by_number(boxes.last_message);
    let (entry, sent) = boxes.add_message(server, (from, false), text);
    let write = |schema| {
        let (mut update, mut users) = (Vec::new(), WireVector::default());
        wire::put_common(&mut update, schema, &entry);
        users.add(|body| wire::put_user(body, schema, (server, user), from));
        wire::container(&update, &users, &WireVector::default(), entry.date)
    };
    push_to(server, user, None, &Push { write: &write, kind: PushKind::Account });
    sent.id
}

/// Those of an account's messages that it has had are deleted. Returns how many.
pub(super) fn delete_messages(server: &ServerState, user: &User, ids: &[i32]) -> usize {
    let mut boxes = user.boxes.lock();
    let had = 1..=boxes.last_message;
    let mut ids: Vec<i32> = ids.iter().copied().filter(|id| had.contains(id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let Ok(count @ 1..) = i32::try_from(ids.len()) else { return 0 };
    let entry = boxes.add_common(server, count, CommonUpdate::Deleted(ids.as_slice().into()));
    let write = |schema| {
        let mut update = Vec::new();
        wire::put_common(&mut update, schema, &entry);
        let none = WireVector::default();
        wire::container(&update, &none, &none, entry.date)
    };
    push_to(server, user, None, &Push { write: &write, kind: PushKind::Account });
    ids.len()
}

/// Something comes into the secondary box. Returns its number.
pub(super) fn post_secondary(server: &ServerState, user: &User) -> i32 {
    let mut boxes = user.boxes.lock();
    let (number, date) = (boxes.secondary.pts(), now_date());
    let stranger = strangers::by_number(number / 2);
    let update = match user.account.is_bot() {
        true => SecondaryUpdate::BotStopped { user: stranger, stopped: number % 2 == 0 },
        false => SecondaryUpdate::Encrypted { random_id: i64::from(number) + 1 },
    };
    let pts = boxes.secondary.append(1, date, update, server.update_log_len_max);
    let mut bytes = Vec::new();
    wire::put_secondary(&mut bytes, &BoxEntry { pts, count: 1, date, update });
    let write = |schema| {
        let mut users = WireVector::default();
        if user.account.is_bot() {
            users.add(|body| wire::put_user(body, schema, (server, user), stranger));
        }
        wire::container(&bytes, &users, &WireVector::default(), date)
    };
    push_to(server, user, None, &Push { write: &write, kind: PushKind::Account });
    pts
}

/// A user writes to another one, to a stranger or to itself, by the session of a key.
pub(in crate::sandbox) fn send_message(
    server: &ServerState,
    (key, user): (&Key, &User),
    to: i64,
    text: &str,
) -> SentMessage {
    let sent = {
        let mut boxes = user.boxes.lock();
        let (_, sent) = boxes.add_message(server, (to, true), text);
        push_short(server, user, Some(key), (to, true), text, &sent);
        sent
    };
    if let Some(receiver) = server.user_by_id(to).filter(|_| to != user.id) {
        let mut boxes = receiver.boxes.lock();
        let (_, received) = boxes.add_message(server, (user.id, false), text);
        push_short(server, &receiver, None, (user.id, false), text, &received);
    }
    sent
}

/// Sends a message in the short form, which has no users.
fn push_short(
    server: &ServerState,
    user: &User,
    except: Option<&Key>,
    (peer, out): (i64, bool),
    text: &str,
    message: &SentMessage,
) {
    let update = types::UpdateShortMessage {
        out,
        mentioned: false,
        media_unread: false,
        silent: false,
        id: message.id,
        user_id: peer,
        message: text.to_owned(),
        pts: message.pts,
        pts_count: 1,
        date: message.date,
        fwd_from: None,
        via_bot_id: None,
        reply_to: None,
        entities: None,
        ttl_period: None,
    };
    let body = enums::Updates::UpdateShortMessage(update).to_bytes();
    let write = |_| body.clone();
    push_to(server, user, except, &Push { write: &write, kind: PushKind::WithoutSeq });
}

/// Creates a channel, and tells its members of it.
pub(super) fn create_channel(server: &ServerState, members: Vec<Arc<User>>) -> i64 {
    let members: BTreeMap<i64, Arc<User>> = members.into_iter().map(|it| (it.id, it)).collect();
    let channel = server.world.add_channel(|id| SandboxChannel::new(id, now_date(), members));
    for member in channel.members.values() {
        let mut boxes = member.boxes.lock();
        boxes.channels.push(channel.id);
        let update = enums::Update::Channel(types::UpdateChannel { channel_id: channel.id });
        let update = update.to_bytes();
        let write = |schema| channel_container(schema, &channel, member, &update, channel.date);
        push_to(server, member, None, &Push { write: &write, kind: PushKind::WithoutSeq });
    }
    channel.id
}

fn channel_container(
    schema: Schema,
    channel: &SandboxChannel,
    member: &User,
    update: &[u8],
    date: i32,
) -> Vec<u8> {
    let mut chats = WireVector::default();
    chats.add(|body| wire::put_channel(body, schema, channel, member.id));
    wire::container(update, &WireVector::default(), &chats, date)
}

/// Something is posted in a channel.
pub(super) fn post_in_channel(server: &ServerState, channel: &SandboxChannel, text: &str) -> i32 {
    let mut posts = channel.posts.lock();
    let (id, update) = posts.post(text, now_date(), server.update_log_len_max);
    add_and_push(server, channel, &mut posts, 1, update);
    id
}

/// A message of a channel is edited, if it is there.
pub(super) fn edit_in_channel(
    server: &ServerState,
    channel: &SandboxChannel,
    message: i32,
    text: &str,
) -> bool {
    let mut posts = channel.posts.lock();
    let Some(update) = posts.edit(message, text, now_date()) else { return false };
    add_and_push(server, channel, &mut posts, 1, update);
    true
}

/// Those of the messages that are there are deleted. Returns how many.
pub(super) fn delete_in_channel(
    server: &ServerState,
    channel: &SandboxChannel,
    messages: &[i32],
) -> usize {
    let mut posts = channel.posts.lock();
    let ids = posts.delete(messages);
    let Ok(count @ 1..) = i32::try_from(ids.len()) else { return 0 };
    let deleted = ids.len();
    add_and_push(server, channel, &mut posts, count, ChannelUpdate::Deleted(ids));
    deleted
}

fn add_and_push(
    server: &ServerState,
    channel: &SandboxChannel,
    posts: &mut Posts,
    count: i32,
    update: ChannelUpdate,
) {
    let date = now_date();
    let pts = posts.log.append(count, date, update.clone(), server.update_log_len_max);
    let entry = BoxEntry { pts, count, date, update };
    for member in channel.members.values() {
        let write = |schema| {
            let mut bytes = Vec::new();
            wire::put_channel_update(&mut bytes, schema, channel.id, &entry);
            channel_container(schema, channel, member, &bytes, date)
        };
        let kind = PushKind::Channel { channel: channel.id, pts, count };
        push_to(server, member, None, &Push { write: &write, kind });
    }
}
