//! Channels of the sandbox: their members, their messages and their boxes.
//!
//! Owns who may see a channel, and by which access hash. Never sends anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::account_box::FIRST_PTS;
use super::log::UpdateBox;
use crate::base::sync::Mutex;
use crate::sandbox::accounts::User;

/// A channel. Who its members are is settled when it is made.
pub(in crate::sandbox) struct SandboxChannel {
    pub(super) id: i64,
    pub(super) title: String,
    /// When it was made, in seconds of the Unix time.
    pub(super) date: i32,
    pub(super) members: BTreeMap<i64, Arc<User>>,
    pub(super) posts: Mutex<Posts>,
}

/// What was posted, and the box that it is told by.
pub(super) struct Posts {
    pub(super) log: UpdateBox<ChannelUpdate>,
    last_message: i32,
    /// The latest messages that have not been deleted.
    messages: BTreeMap<i32, Post>,
}

/// A message of a channel as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Post {
    pub(super) text: Arc<str>,
    pub(super) date: i32,
    /// When it was last edited.
    pub(super) edited: Option<i32>,
}

/// What comes into the box of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ChannelUpdate {
    New { id: i32, post: Post },
    Edited { id: i32, post: Post },
    Deleted(Arc<[i32]>),
}

impl SandboxChannel {
    pub(super) fn new(id: i64, date: i32, members: BTreeMap<i64, Arc<User>>) -> Self {
        let posts =
            Posts { log: UpdateBox::new(FIRST_PTS), last_message: 0, messages: BTreeMap::new() };
        let title = format!("Channel {id}");
        Self { id, title, date, members, posts: Mutex::new(posts) }
    }

    /// What a member must know to address the channel: another number for each of them.
    pub(in crate::sandbox) fn access_hash(&self, user: i64) -> i64 {
        // A finaliser of SplitMix64: neighbours get numbers that have nothing in common.
        let mut hash = (self.id.cast_unsigned() << 20) ^ user.cast_unsigned();
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (hash ^ hash >> 31).cast_signed()
    }
}

impl Posts {
    pub(super) fn post(&mut self, text: &str, date: i32, len_max: usize) -> (i32, ChannelUpdate) {
        self.last_message = self.last_message.saturating_add(1);
        let (id, post) = (self.last_message, Post { text: text.into(), date, edited: None });
        self.messages.insert(id, post.clone());
        while self.messages.len() > len_max.max(1) {
            self.messages.pop_first();
        }
        (id, ChannelUpdate::New { id, post })
    }

    /// Changes a message, if it is there.
    pub(super) fn edit(&mut self, id: i32, text: &str, date: i32) -> Option<ChannelUpdate> {
        let post = self.messages.get_mut(&id)?;
        (post.text, post.edited) = (text.into(), Some(date));
        Some(ChannelUpdate::Edited { id, post: post.clone() })
    }

    /// Deletes those of the messages that are there.
    pub(super) fn delete(&mut self, ids: &[i32]) -> Arc<[i32]> {
        ids.iter().copied().filter(|id| self.messages.remove(id).is_some()).collect()
    }

    /// The latest messages, the last one first.
    pub(super) fn latest(&self) -> impl Iterator<Item = (i32, &Post)> {
        self.messages.iter().rev().map(|(id, post)| (*id, post))
    }
}
