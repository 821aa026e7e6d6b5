//! How updates are read, and why they cannot be.
//!
//! Owns what readers choose and the errors that they get. Does nothing.

use std::time::Duration;

use crate::account_id::AccountId;

/// How updates are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpdatesOptions {
    /// How many updates of one account wait to be read: 64, unless set, and at least one. What comes beyond waits at the server and
    /// is fetched when there is room, or what `overflow` says.
    pub capacity: usize,
    /// What becomes of updates of an account for which there is no room.
    pub overflow: Overflow,
    /// After how long a silence the server is asked whether it should have told something: five minutes, unless
    /// set; between 50 milliseconds and a day. Connections that only listen may fall silent without an end.
    pub check_after: Duration,
}

impl Default for UpdatesOptions {
    fn default() -> Self {
        let (capacity, overflow) = (64, Overflow::Wait);
        Self { capacity, overflow, check_after: Duration::from_secs(300) }
    }
}

/// What becomes of updates that nobody reads in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The account's updates wait, those of no other account do, and none is missed.
    Wait,
    /// The oldest are dropped, counted (`telepool_updates_dropped_total`) and told in the log.
    DropOldest,
}

/// Why there is no update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryRecvError {
    /// More may come.
    #[error("no update has come")]
    Empty,
    /// There will be no more: the pool is closed, or the account was removed.
    #[error("no more updates will come: the pool is closed, or the account was removed")]
    Ended,
}

/// Why updates cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Two readers would each get a part.
    #[error(
        "the updates of account {account} are read by another stream: end that one, or read them there"
    )]
    AlreadyListening {
        /// Whose.
        account: AccountId,
    },
    /// It is not known whose updates are meant.
    #[error(
        "the source of sessions keeps no list of accounts: have it answer all_accounts and members, or read \
         the updates of each account by itself"
    )]
    NoList,
}
