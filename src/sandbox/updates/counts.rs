//! Counts of updates, as tests and benchmarks read them.
//!
//! Owns the public views. Never counts.

/// What an account's boxes hold and what its sessions were sent; see
/// [`DataCentre::update_counts`](crate::sandbox::DataCentre::update_counts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateCounts {
    /// The number of the common box: one more than what has come into it, since it begins at one.
    pub pts: i32,
    /// The number of the secondary box, which begins at zero.
    pub qts: i32,
    /// How many updates of the common box are kept.
    pub common_kept: usize,
    /// How many updates of the secondary box are kept.
    pub secondary_kept: usize,
    /// The channels that the account is a member of.
    pub channels: Vec<ChannelUpdateCounts>,
    /// The sessions, by the order in which they were made.
    pub sessions: Vec<SessionUpdateCounts>,
}

/// The box of a channel, as a member sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelUpdateCounts {
    /// The id of the channel.
    pub channel: i64,
    /// The number of its box, which begins at one.
    pub pts: i32,
    /// How many of its updates are kept.
    pub kept: usize,
    /// By what this account addresses it.
    pub access_hash: i64,
}

/// What one session was pushed. Answers to `updates.getDifference` and the like are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionUpdateCounts {
    /// Whether it has a connection that has asked for updates.
    pub listens: bool,
    /// The last `seq`, which begins at one.
    pub seq: i32,
    /// Updates handed to its connection, each once, and those that come late or in another order as well.
    pub sent: u64,
    /// Updates that a fault has lost.
    pub lost: u64,
    /// Updates that a fault has sent twice.
    pub doubled: u64,
    /// Updates that a fault has sent after the next one.
    pub reordered: u64,
    /// Updates that a fault has delayed.
    pub delayed: u64,
    /// Updates that were left out because the connection did not read those before.
    pub dropped: u64,
}
