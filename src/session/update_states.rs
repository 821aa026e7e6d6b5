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
    /// Of its channels, by their ids in ascending order.
    pub channels: Vec<ChannelState>,
    /// The access hashes of channels, by their bare ids in ascending order: without its hash a channel cannot be asked.
    pub access_hashes: Vec<(i64, i64)>,
    /// Channels that the server does not show to the account any more: how far they were is not kept.
    pub gone_channels: Vec<i64>,
}

impl UpdateStates {
    /// The states of an account and of its channels.
    #[must_use]
    pub fn new(account: Option<UpdateState>, mut channels: Vec<ChannelState>) -> Self {
        channels.sort_by_key(|it| it.channel);
        Self { account, channels, ..Self::default() }
    }

    /// Takes over what another one says. What it does not mention stays.
    pub fn merge(&mut self, newer: &Self) {
        self.account = newer.account.or(self.account);
        for &channel in &newer.gone_channels {
            self.channels.retain(|it| it.channel != channel);
            if !self.gone_channels.contains(&channel) {
                self.gone_channels.push(channel);
            }
        }
        for state in &newer.channels {
            // It is shown again.
            self.gone_channels.retain(|it| *it != state.channel);
            put(&mut self.channels, *state, |it| it.channel);
        }
        for hash in &newer.access_hashes {
            put(&mut self.access_hashes, *hash, |it| it.0);
        }
    }
}

/// Puts in the place of what has the same id, or where that would be.
fn put<T>(all: &mut Vec<T>, new: T, id: impl Fn(&T) -> i64) {
    // They are public: whoever has put one at the end finds it here.
    if !all.is_sorted_by_key(&id) {
        all.sort_by_key(&id);
    }
    match all.binary_search_by_key(&id(&new), &id) {
        Ok(at) => all[at] = new,
        Err(at) => all.insert(at, new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_is_gone_is_not_kept_and_may_come_back() {
        let channel = |channel, pts| ChannelState { channel, pts };
        let mut states = UpdateStates::new(None, vec![channel(7, 1), channel(5, 1)]);
        assert_eq!(states.channels, [channel(5, 1), channel(7, 1)]);
        let gone = UpdateStates { gone_channels: vec![5, 9], ..UpdateStates::default() };
        states.merge(&gone);
        assert_eq!(states.channels, [channel(7, 1)]);
        assert_eq!(states.gone_channels, [5, 9]);
        states.channels.push(channel(6, 2));
        states.merge(&UpdateStates::new(None, vec![channel(5, 3)]));
        assert_eq!(states.channels, [channel(5, 3), channel(6, 2), channel(7, 1)]);
        assert_eq!(states.gone_channels, [9]);
    }
}
