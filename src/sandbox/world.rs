//! What the data centres of one sandbox have in common: who there is, and what is pending.
//!
//! Owns the tables of users and channels, and which data centre listens where. Never has a key: each data centre has
//! its own.
//!
//! The atomics here are relaxed: each stands for itself. What must agree lies behind a lock.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use dashmap::DashMap;

use super::accounts::User;
use super::login::Logins;
use super::server_state::ServerState;
use super::updates::SandboxChannel;
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::sync::{AtomicU64, Mutex, Ordering};

/// Users that are no bots get ids from here on, in the upper half of those that a user can have: the
/// largest is 2^40 - 1, and clients panic over a larger one. Bots bring their own, which are smaller.
pub(super) const FIRST_USER: u64 = 1 << 39;
pub(super) const LAST_USER: u64 = (1 << 40) - 1;
/// The id of the first channel, as large as those of real ones.
const FIRST_CHANNEL: i64 = 1_500_000_000;

/// A data centre, and where it listens.
struct Centre {
    address: SocketAddr,
    server: Weak<ServerState>,
}

/// All that the data centres share.
pub(super) struct World {
    pub(super) logins: Logins,
    /// When it began.
    pub(super) started: Instant,
    pub(super) next_user: AtomicU64,
    next_channel: AtomicU64,
    users: DashMap<AccountId, Arc<User>>,
    users_by_id: DashMap<i64, Arc<User>>,
    channels: DashMap<i64, Arc<SandboxChannel>>,
    /// By their numbers.
    centres: Mutex<BTreeMap<i32, Centre>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            logins: Logins::default(),
            started: now(),
            next_user: AtomicU64::new(FIRST_USER),
            next_channel: AtomicU64::new(0),
            users: DashMap::new(),
            users_by_id: DashMap::new(),
            channels: DashMap::new(),
            centres: Mutex::default(),
        }
    }

    /// Adds a data centre. Returns whether none has that number yet.
    pub(super) fn add(&self, server: &Arc<ServerState>) -> bool {
        let mut centres = self.centres.lock();
        centres.retain(|_, centre| centre.server.strong_count() > 0);
        let Entry::Vacant(place) = centres.entry(server.dc) else { return false };
        place.insert(Centre { address: server.address, server: Arc::downgrade(server) });
        true
    }

    /// A data centre, if there is one with that number.
    pub(super) fn centre(&self, dc: i32) -> Option<Arc<ServerState>> {
        self.centres.lock().get(&dc)?.server.upgrade()
    }

    /// Where a data centre listens, if there is one with that number.
    pub(super) fn address(&self, dc: i32) -> Option<SocketAddr> {
        self.centres.lock().get(&dc).map(|centre| centre.address)
    }

    /// The user of an account, who gets this id and this home if there is none yet.
    pub(super) fn user_of(
        &self,
        account: AccountId,
        home_dc: i32,
        id: impl FnOnce() -> u64,
    ) -> Arc<User> {
        let user = self.users.entry(account).or_insert_with(|| {
            let id = i64::try_from(id()).expect("BUG: account numbers have 15 digits at most");
            Arc::new(User::new(account, id, home_dc))
        });
        let user = Arc::clone(&user);
        self.users_by_id.entry(user.id).or_insert_with(|| Arc::clone(&user));
        user
    }

    /// The id of a new user, which is nobody's yet: a bot may have brought a large one.
    pub(super) fn next_user_id(&self) -> u64 {
        loop {
            let id = self.next_user.fetch_add(1, Ordering::Relaxed);
            assert!(id <= LAST_USER, "BUG: there is no memory for so many users");
            if i64::try_from(id).is_ok_and(|id| !self.users_by_id.contains_key(&id)) {
                return id;
            }
        }
    }

    pub(super) fn user(&self, account: AccountId) -> Option<Arc<User>> {
        self.users.get(&account).map(|user| Arc::clone(&user))
    }

    pub(super) fn user_by_id(&self, id: i64) -> Option<Arc<User>> {
        self.users_by_id.get(&id).map(|user| Arc::clone(&user))
    }

    pub(super) fn channel(&self, id: i64) -> Option<Arc<SandboxChannel>> {
        self.channels.get(&id).map(|channel| Arc::clone(&channel))
    }

    /// Adds a channel, which is made with its id.
    pub(super) fn add_channel(
        &self,
        make: impl FnOnce(i64) -> SandboxChannel,
    ) -> Arc<SandboxChannel> {
        let id = self.next_channel.fetch_add(1, Ordering::Relaxed);
        let id = FIRST_CHANNEL.saturating_add_unsigned(id);
        let channel = Arc::new(make(id));
        self.channels.insert(id, Arc::clone(&channel));
        channel
    }
}
