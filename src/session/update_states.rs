//! How far the updates of an account have been taken.
//!
//! Owns the numbers by which the server is asked for what is missing. Never asks.

/// How far the updates of an account have been taken (`updates.state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateState {
    /// Of messages and the like.
    pub pts: i32,
    /// Of secret chats and bots.
    pub qts: i32,
    /// When, in seconds since 1970.
    pub date: i32,
    /// Of everything else.
    pub seq: i32,
}

/// How far the updates of one channel have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// The bare id of the channel.
    pub channel: i64,
    /// Its `pts`.
    pub pts: i32,
}

/// How far the updates of an account and of its channels have been taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateStates {
    /// Of the account.
    pub account: Option<UpdateState>,
    /// Of its channels.
    pub channels: Vec<ChannelState>,
    /// The access hashes of channels, by their bare ids: without its hash a channel cannot be asked.
    pub access_hashes: Vec<(i64, i64)>,
}

impl UpdateStates {
    /// The states of an account and of its channels.
    #[must_use]
    pub const fn new(account: Option<UpdateState>, channels: Vec<ChannelState>) -> Self {
        Self { account, channels, access_hashes: Vec::new() }
    }

    /// Takes over what another one says. What it does not mention stays.
    pub fn merge(&mut self, newer: &Self) {
        self.account = newer.account.or(self.account);
        for &ChannelState { channel, pts } in &newer.channels {
            match self.channels.binary_search_by_key(&channel, |it| it.channel) {
                Ok(at) => self.channels[at].pts = pts,
                Err(at) => self.channels.insert(at, ChannelState { channel, pts }),
            }
        }
        for &(channel, hash) in &newer.access_hashes {
            match self.access_hashes.binary_search_by_key(&channel, |it| it.0) {
                Ok(at) => self.access_hashes[at].1 = hash,
                Err(at) => self.access_hashes.insert(at, (channel, hash)),
            }
        }
    }
}
