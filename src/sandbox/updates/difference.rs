//! Answers of `updates.getState`, `updates.getDifference` and `updates.getChannelDifference`.
//!
//! Owns what is left out when there is too much. Never changes a box.

use std::collections::BTreeSet;
use std::sync::Arc;

use grammers_tl_types::{Identifiable, Serializable, enums, functions, types};

use super::account_box::{CommonUpdate, FIRST_PTS, SecondaryUpdate};
use super::channel::{ChannelUpdate, Posts, SandboxChannel};
use super::log::BoxEntry;
use super::now_date;
use super::wire::{self, WireVector};
use crate::sandbox::accounts::{Key, User};
use crate::sandbox::response::RpcError;
use crate::sandbox::schema::Schema;
use crate::sandbox::server_state::ServerState;

/// After how many seconds a client that shows a channel is to ask again.
const CHANNEL_TIMEOUT: i32 = 30;
/// How many bytes of messages an answer has before no more are added: the next slice has them.
const MESSAGES_LEN_MAX: usize = 256 * 1024;
/// The most messages of a channel whose difference is too long.
const LATEST_MAX: usize = 20;

/// Where a session is: what it goes on from when it asks for the difference.
pub(in crate::sandbox) fn state(key: &Key, user: &User) -> Vec<u8> {
    let boxes = user.boxes.lock();
    let seq = key.updates.lock().seq();
    put_state(boxes.common.pts(), boxes.secondary.pts(), now_date(), seq)
}

fn put_state(pts: i32, qts: i32, date: i32, seq: i32) -> Vec<u8> {
    let state = types::updates::State { pts, qts, date, seq, unread_count: 0 };
    enums::updates::State::State(state).to_bytes()
}

/// The channels of a user, each with its number and when that last moved.
fn channels_of(server: &ServerState, user: &User) -> Vec<(Arc<SandboxChannel>, i32, i32)> {
    let ids = user.boxes.lock().channels.clone();
    let channels = ids.into_iter().filter_map(|id| server.channel(id));
    let with_state = |channel: Arc<SandboxChannel>| {
        let (pts, date) = {
            let posts = channel.posts.lock();
            (posts.log.pts(), posts.log.last_date())
        };
        (channel, pts, date)
    };
    channels.map(with_state).collect()
}

/// What came into the boxes of an account after the numbers that the client has.
pub(in crate::sandbox) fn difference(
    server: &ServerState,
    key: &Key,
    user: &User,
    asked: &functions::updates::GetDifference,
) -> Result<Vec<u8>, RpcError> {
    // Before the account's lock, which those of channels are never taken under.
    let (channels, schema) = (channels_of(server, user), key.schema());
    let boxes = user.boxes.lock();
    let session = key.updates.lock();
    let (pts, qts) = (boxes.common.pts(), boxes.secondary.pts());
    check_pts(asked.pts, pts)?;
    if asked.date <= 0 {
        return Err(RpcError::new(400, "DATE_EMPTY"));
    }
    let qts_asked = asked.qts.clamp(0, qts);
    let mut parts = Parts { schema, pts: asked.pts, qts: qts_asked, ..Parts::default() };
    let is_within = asked.pts_total_limit.is_none_or(|limit| pts - asked.pts <= limit);
    let Some(common) = boxes.common.since(asked.pts).filter(|_| is_within) else {
        let too_long = types::updates::DifferenceTooLong { pts };
        return Ok(enums::updates::Difference::TooLong(too_long).to_bytes());
    };
    for entry in common.take(limit_of(server, asked.pts_limit)) {
        if parts.messages.len() >= MESSAGES_LEN_MAX {
            break;
        }
        parts.add_common(entry);
    }
    // There is no word for a client whose secondary box is behind the log: what is kept is sent.
    let secondary = boxes.secondary.kept_since(parts.qts);
    let limit = limit_of(server, asked.qts_limit).min(server.difference_len_max - parts.count);
    secondary.take(limit).for_each(|entry| parts.add_secondary(entry));
    let is_final = (parts.pts, parts.qts) == (pts, qts);
    if is_final {
        for (channel, pts, date) in &channels {
            let is_news = match session.sent(channel.id) {
                Some(sent) => *pts > sent || *date > asked.date,
                // Of the second that the client asks for it cannot be told what it has.
                None => *pts > FIRST_PTS && *date >= asked.date,
            };
            if is_news {
                parts.add_channel(channel, *pts, user);
            }
        }
    }
    // A slice is not the whole of its time: the client keeps the date that it has.
    let date = if is_final { now_date() } else { asked.date };
    let seq = session.seq();
    drop((session, boxes));
    if is_final && parts.is_empty() {
        let empty = types::updates::DifferenceEmpty { date, seq };
        return Ok(enums::updates::Difference::Empty(empty).to_bytes());
    }
    let state = put_state(parts.pts, parts.qts, date, seq);
    Ok(parts.into_difference(server, user, is_final, &state))
}

/// What a difference is made of.
#[derive(Default)]
struct Parts {
    schema: Schema,
    /// The numbers after what is in it.
    pts: i32,
    qts: i32,
    /// How many updates of the account's boxes are in it.
    count: usize,
    messages: WireVector,
    encrypted: WireVector,
    others: WireVector,
    chats: WireVector,
    users: BTreeSet<i64>,
}

impl Parts {
    fn add_common(&mut self, entry: &BoxEntry<CommonUpdate>) {
        match &entry.update {
            CommonUpdate::Message(message) => {
                self.users.insert(message.peer);
                let schema = self.schema;
                self.messages.add(|body| wire::put_message(body, schema, message, entry.date));
            }
            CommonUpdate::Deleted(_) => {
                let schema = self.schema;
                self.others.add(|body| wire::put_common(body, schema, entry));
            }
        }
        (self.pts, self.count) = (entry.pts, self.count + 1);
    }

    fn add_secondary(&mut self, entry: &BoxEntry<SecondaryUpdate>) {
        match entry.update {
            SecondaryUpdate::BotStopped { user, .. } => {
                self.users.insert(user);
                self.others.add(|body| wire::put_secondary(body, entry));
            }
            SecondaryUpdate::Encrypted { random_id } => {
                self.encrypted.add(|body| wire::put_encrypted(body, random_id, entry.date));
            }
        }
        (self.qts, self.count) = (entry.pts, self.count + 1);
    }

    /// Tells that there is something new in a channel, whose difference the client is to ask for.
    fn add_channel(&mut self, channel: &SandboxChannel, pts: i32, member: &User) {
        let too_long = types::UpdateChannelTooLong { channel_id: channel.id, pts: Some(pts) };
        let update = enums::Update::ChannelTooLong(too_long);
        self.others.add(|body| update.serialize(body));
        let schema = self.schema;
        self.chats.add(|body| wire::put_channel(body, schema, channel, member.id));
    }

    fn is_empty(&self) -> bool {
        [&self.messages, &self.encrypted, &self.others].iter().all(|items| items.is_empty())
    }

    fn into_difference(
        self,
        server: &ServerState,
        own: &User,
        is_final: bool,
        state: &[u8],
    ) -> Vec<u8> {
        let mut body = match is_final {
            true => types::updates::Difference::CONSTRUCTOR_ID.to_bytes(),
            false => types::updates::DifferenceSlice::CONSTRUCTOR_ID.to_bytes(),
        };
        let mut users = WireVector::default();
        for id in self.users {
            users.add(|body| wire::put_user(body, self.schema, (server, own), id));
        }
        for items in [&self.messages, &self.encrypted, &self.others, &self.chats, &users] {
            items.put(&mut body);
        }
        body.extend(state);
        body
    }
}

/// What came into the box of a channel after the number that the client has. What the client does not want to
/// have, by its filter, is sent all the same.
pub(in crate::sandbox) fn channel_difference(
    server: &ServerState,
    key: &Key,
    user: &User,
    asked: &functions::updates::GetChannelDifference,
) -> Result<Vec<u8>, RpcError> {
    let (channel, schema) = (channel_of(server, user, &asked.channel)?, key.schema());
    let posts = channel.posts.lock();
    check_pts(asked.pts, posts.log.pts())?;
    let limit = limit_of(server, Some(asked.limit));
    let (mut messages, mut others, mut chats) =
        (WireVector::default(), WireVector::default(), WireVector::default());
    chats.add(|body| wire::put_channel(body, schema, &channel, user.id));
    let Some(entries) = posts.log.since(asked.pts) else {
        key.updates.lock().note_difference(channel.id, asked.pts, posts.log.pts());
        return Ok(channel_too_long(schema, (&channel, &posts), limit, &chats));
    };
    let mut pts = asked.pts;
    for entry in entries.take(limit) {
        if messages.len() + others.len() >= MESSAGES_LEN_MAX {
            break;
        }
        match &entry.update {
            ChannelUpdate::New { id, post } => {
                messages.add(|body| wire::put_post(body, schema, channel.id, *id, post));
            }
            ChannelUpdate::Edited { .. } | ChannelUpdate::Deleted(_) => {
                others.add(|body| wire::put_channel_update(body, schema, channel.id, entry));
            }
        }
        pts = entry.pts;
    }
    let is_final = pts == posts.log.pts();
    key.updates.lock().note_difference(channel.id, asked.pts, pts);
    if messages.is_empty() && others.is_empty() {
        let timeout = Some(CHANNEL_TIMEOUT);
        let empty = types::updates::ChannelDifferenceEmpty { r#final: is_final, pts, timeout };
        return Ok(enums::updates::ChannelDifference::Empty(empty).to_bytes());
    }
    let mut body = types::updates::ChannelDifference::CONSTRUCTOR_ID.to_bytes();
    put_final(&mut body, is_final);
    pts.serialize(&mut body);
    CHANNEL_TIMEOUT.serialize(&mut body);
    [&messages, &others, &chats, &WireVector::default()]
        .iter()
        .for_each(|items| items.put(&mut body));
    Ok(body)
}

/// The channel that a member means.
fn channel_of(
    server: &ServerState,
    user: &User,
    input: &enums::InputChannel,
) -> Result<Arc<SandboxChannel>, RpcError> {
    let invalid = || RpcError::new(400, "CHANNEL_INVALID");
    let enums::InputChannel::Channel(input) = input else { return Err(invalid()) };
    let channel = server.channel(input.channel_id).ok_or_else(invalid)?;
    match () {
        () if !channel.members.contains_key(&user.id) => Err(RpcError::new(400, "CHANNEL_PRIVATE")),
        () if channel.access_hash(user.id) != input.access_hash => Err(invalid()),
        () => Ok(channel),
    }
}

/// The latest messages of a channel, for a client that is behind the log.
fn channel_too_long(
    schema: Schema,
    (channel, posts): (&SandboxChannel, &Posts),
    limit: usize,
    chats: &WireVector,
) -> Vec<u8> {
    let top_message = posts.latest().next().map_or(0, |(id, _)| id);
    let mut messages = WireVector::default();
    for (id, post) in posts.latest().take(limit.min(LATEST_MAX)) {
        messages.add(|body| wire::put_post(body, schema, channel.id, id, post));
    }
    let mut body = types::updates::ChannelDifferenceTooLong::CONSTRUCTOR_ID.to_bytes();
    put_final(&mut body, true);
    CHANNEL_TIMEOUT.serialize(&mut body);
    wire::put_dialog(&mut body, schema, channel.id, (posts.log.pts(), top_message));
    [&messages, chats, &WireVector::default()].iter().for_each(|items| items.put(&mut body));
    body
}

/// The flags of a channel's difference: a timeout, and whether this is all.
fn put_final(body: &mut Vec<u8>, is_final: bool) {
    (1 << 1 | u32::from(is_final)).serialize(body);
}

/// Refuses a number that no client can have.
fn check_pts(asked: i32, there_is: i32) -> Result<(), RpcError> {
    match asked {
        ..=0 => Err(RpcError::new(400, "PERSISTENT_TIMESTAMP_EMPTY")),
        _ if asked > there_is => Err(RpcError::new(400, "PERSISTENT_TIMESTAMP_INVALID")),
        _ => Ok(()),
    }
}

/// How many updates an answer has at most.
fn limit_of(server: &ServerState, asked: Option<i32>) -> usize {
    let asked = asked.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    asked.unwrap_or(usize::MAX).min(server.difference_len_max)
}
