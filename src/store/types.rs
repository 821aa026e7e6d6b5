//! What goes into a store and comes out of it.
//!
//! Owns the types. None of them but [`NewSession`] and [`PendingLogin`] has key material in it, and none but that and [`SessionChange`] a
//! proxy's password.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::account_id::AccountId;
use crate::import::{FoundSession, Origin};
use crate::manager::QuarantineReason;
use crate::session::{ClientIdentity, KeyId, Proxy};

use super::Conflict;

/// An account's own number in its store. It says nothing outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub(super) i64);

impl StoreId {
    /// The account of a number, as an engine keeps it.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The plain number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// A session to be added, complete: its address is known.
///
/// Made by [`NewSession::new`], and its fields are set by name: more may come.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSession {
    /// What was found.
    pub found: FoundSession,
    /// Where its home data centre listens.
    pub address: SocketAddr,
    /// How it introduces itself.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Whether it is added although its key was removed before.
    pub even_if_removed: bool,
    /// Why it is quarantined, as its earlier home has it.
    pub quarantine: Option<QuarantineReason>,
}

impl NewSession {
    /// A session as it was found, whose home data centre listens there.
    #[must_use]
    pub fn new(found: FoundSession, address: SocketAddr) -> Self {
        Self { found, address, identity: None, even_if_removed: false, quarantine: None }
    }
}

/// What became of a session that was to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addition {
    /// Whose it is; `None` if it was refused.
    pub account: Option<StoreId>,
    /// The name of the account, if it has one yet.
    pub name: Option<AccountId>,
    /// Its slot.
    pub slot: u16,
    /// How it went.
    pub outcome: Added,
}

/// How the addition of a session went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Added {
    /// It is the first of its account.
    NewAccount,
    /// It is one more session of an account that was known.
    AnotherSession,
    /// By it two accounts turned out to be one, and they are merged once nobody serves them.
    Merged,
    /// Its key was known.
    AlreadyThere,
    /// It contradicts what is known, and nothing of it was taken.
    Refused(Conflict),
}

/// An account of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredAccount {
    /// Its number in the store.
    pub id: StoreId,
    /// The user, if known.
    pub user_id: Option<i64>,
    /// Whether the user is a bot, if known.
    pub is_bot: Option<bool>,
    /// Its phone numbers, the latest first.
    pub phones: Vec<AccountId>,
    /// The operator's label on it.
    pub group: Option<Arc<str>>,
    /// One more than its last slot, or 0 if it has no session.
    pub slots: u16,
    /// Slots below that whose sessions were removed, until the store is next settled.
    pub gaps: Vec<u16>,
    /// The label of its proxy.
    pub proxy: Option<Arc<str>>,
    /// Which of its sessions are quarantined, and why.
    pub quarantines: Vec<(u16, QuarantineReason)>,
    /// In which revision a session of it was last changed or removed, as far as a dial is concerned.
    pub redial_revision: u64,
}

impl StoredAccount {
    /// One of which nothing is known.
    pub(crate) fn empty(id: StoreId) -> Self {
        Self {
            id,
            user_id: None,
            is_bot: None,
            phones: Vec::new(),
            group: None,
            slots: 0,
            gaps: Vec::new(),
            proxy: None,
            quarantines: Vec::new(),
            redial_revision: 0,
        }
    }

    /// How many sessions it has.
    #[must_use]
    pub fn session_count(&self) -> usize {
        usize::from(self.slots).saturating_sub(self.gaps.len())
    }

    /// What it is called: by its bot id, its phone number or its user id. `None`: nobody knows yet who it is.
    #[must_use]
    pub fn name(&self) -> Option<AccountId> {
        let user = self.user_id.and_then(|id| u64::try_from(id).ok());
        match (self.is_bot, user, self.phones.first()) {
            (Some(true), Some(id), _) => AccountId::bot(id).ok(),
            (_, _, Some(phone)) => Some(*phone),
            (_, Some(id), None) => AccountId::user(id).ok(),
            (_, None, None) => None,
        }
    }

    /// Every name that it may have. People and bots have their ids out of one range, so that `bot:ID` and `user:ID`
    /// both lead to it, whatever it is.
    pub fn names(&self) -> impl Iterator<Item = AccountId> + '_ {
        let user = self.user_id.and_then(|id| u64::try_from(id).ok());
        let (is_bot, is_user) = (self.is_bot != Some(false), self.is_bot != Some(true));
        let bot = user.filter(|_| is_bot).and_then(|id| AccountId::bot(id).ok());
        let user = user.filter(|_| is_user).and_then(|id| AccountId::user(id).ok());
        self.phones.iter().copied().chain(bot).chain(user)
    }
}

/// A session of a store, without its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredSession {
    /// Whose it is.
    pub account: StoreId,
    /// Its slot.
    pub slot: u16,
    /// The public id of its key.
    pub key_id: KeyId,
    /// The home data centre.
    pub dc: i32,
    /// Where that listens.
    pub address: SocketAddr,
    /// Whether it belongs to the test servers.
    pub test_mode: bool,
    /// The application that logged in.
    pub api_id: Option<i32>,
    /// How it introduces itself.
    pub identity: Option<ClientIdentity>,
    /// The label of its proxy.
    pub proxy: Option<String>,
    /// Which program it comes from.
    pub origin: Option<Origin>,
    /// When it was added, in seconds since 1970.
    pub created: u64,
    /// When it was last seen to be logged in.
    pub login_at: Option<u64>,
    /// Why it is quarantined, and since when.
    pub quarantine: Option<(QuarantineReason, u64)>,
}

/// What an operator changes of sessions. `None` leaves a value as it is, and `Some(None)` takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionChange {
    /// The label on the account, whichever of its sessions is meant.
    pub group: Option<Option<Arc<str>>>,
    /// The proxy to dial by, or the address to dial from: of all sessions of the account.
    pub proxy: Option<Option<Arc<Proxy>>>,
    /// The application that logged in.
    pub api_id: Option<Option<i32>>,
    /// How it introduces itself.
    pub identity: Option<Option<ClientIdentity>>,
    /// Where the home data centre listens.
    pub address: Option<SocketAddr>,
}

/// What is kept of a session that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// The id of its key, so that it does not come back by mistake.
    KeepKeyId,
    /// Nothing.
    Everything,
}

/// A sign-in under way, as whoever goes on with it has it. It holds keys.
#[derive(Clone)]
pub struct PendingLogin {
    /// What it is called; there is one of each name.
    pub name: String,
    /// Which one it is: of two that bear a name, one after the other.
    pub id: u64,
    /// When it was begun, in seconds since 1970.
    pub started: u64,
    /// Where it is, in the words of whoever goes on with it.
    pub state: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin").field("started", &self.started).finish_non_exhaustive()
    }
}

/// Who serves a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeMark {
    /// The machine, by an id that it keeps.
    pub machine: String,
    /// The process.
    pub pid: u32,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When it last said so.
    pub heartbeat: u64,
    /// The socket at which it can be asked.
    pub socket: Option<String>,
    /// Whether it has ended with everything closed.
    pub released: bool,
}

impl ServeMark {
    /// A process that begins to serve now.
    #[must_use]
    pub fn new(machine: String, pid: u32, now: u64) -> Self {
        Self { machine, pid, since: now, heartbeat: now, socket: None, released: false }
    }
}
