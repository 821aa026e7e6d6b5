//! Who the data centre knows: users, their authorization keys, and the connections of each.
//!
//! Owns the world that all connections share. Never reads a socket.
//!
//! The words here are relaxed: each stands for itself. What must agree lies behind a lock.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::{mpsc, watch};

use super::envelope::key_id;
use super::faults::Faults;
use super::newcomer::Newcomer;
use super::stats::Counters;
use super::stranger::Strangers;
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now, unix_time};
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::session::{AuthKey, SessionRecord};

/// How long a salt is handed out; it is taken for as long again.
const SALT_PERIOD: u64 = 1800;
/// Users that are no bots get ids from here on, in the upper half of those that a user can have: the
/// largest is 2^40 - 1, and clients panic over a larger one. Bots bring their own, which are smaller.
const FIRST_USER: u64 = 1 << 39;
const LAST_USER: u64 = (1 << 40) - 1;

/// What all connections share.
pub(super) struct World {
    pub(super) dc: i32,
    pub(super) address: SocketAddr,
    pub(super) counters: Counters,
    pub(super) strangers: Strangers,
    pub(super) faults: ArcSwap<Faults>,
    pub(super) seed: u64,
    /// The longest that a client may have a connection left open without another ping.
    pub(super) disconnect_delay_max: Option<Duration>,
    pub(super) refusing: AtomicBool,
    pub(super) stop: watch::Sender<bool>,
    /// Connections that have not spoken yet, in the order in which they came.
    pub(super) silent: Mutex<BTreeMap<u64, Arc<Newcomer>>>,
    latency_us: AtomicU64,
    users: DashMap<AccountId, Arc<User>>,
    users_by_id: DashMap<i64, Arc<User>>,
    keys: DashMap<[u8; 8], Arc<Key>>,
    next_user: AtomicU64,
    started: Instant,
}

/// One account.
pub(super) struct User {
    pub(super) account: AccountId,
    pub(super) id: i64,
    pub(super) keys: Mutex<Vec<Arc<Key>>>,
    /// The number of its last message, which is also that of its last event.
    events: AtomicU64,
    /// Until when each method must rest.
    floods: Mutex<HashMap<u32, Instant>>,
    /// When a fault last struck it, in milliseconds since the start, plus one.
    struck: AtomicU64,
}

/// One authorization key.
pub(super) struct Key {
    pub(super) secret: AuthKey,
    pub(super) account: AccountId,
    pub(super) slot: u16,
    /// The rule was broken: the authorization is void.
    pub(super) is_void: AtomicBool,
    /// The last session that spoke with it.
    pub(super) session: AtomicU64,
    /// The connections that have spoken with it and have not ended.
    pub(super) live: Mutex<Vec<Live>>,
}

/// A connection that has spoken.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) newcomer: Arc<Newcomer>,
    pub(super) orders: mpsc::Sender<Order>,
    /// It has made a call that was not to do without updates.
    pub(super) subscribed: Arc<AtomicBool>,
}

/// What a connection is told from outside.
#[derive(Debug)]
pub(super) enum Order {
    Push(Vec<u8>),
    Close,
    Reset,
    Transport(u16),
}

impl World {
    pub(super) fn new(dc: i32, address: SocketAddr, seed: u64, faults: Faults) -> Self {
        Self {
            dc,
            address,
            counters: Counters::default(),
            strangers: Strangers::default(),
            faults: ArcSwap::from_pointee(faults),
            seed,
            disconnect_delay_max: None,
            refusing: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            silent: Mutex::new(BTreeMap::new()),
            latency_us: AtomicU64::new(0),
            users: DashMap::new(),
            users_by_id: DashMap::new(),
            keys: DashMap::new(),
            next_user: AtomicU64::new(FIRST_USER),
            started: now(),
        }
    }

    /// Lets an account in with so many further sessions, each with a new key.
    pub(super) fn enroll(
        &self,
        account: AccountId,
        sessions: u16,
        group: Option<Arc<str>>,
    ) -> Vec<SessionRecord> {
        let user = self.users.entry(account).or_insert_with(|| {
            let id = match account.is_bot() {
                true => account.number(),
                false => self.next_user_id(),
            };
            let id = i64::try_from(id).expect("BUG: account numbers have 15 digits at most");
            Arc::new(User {
                account,
                id,
                keys: Mutex::default(),
                events: AtomicU64::new(0),
                floods: Mutex::default(),
                struck: AtomicU64::new(0),
            })
        });
        let user = Arc::clone(&user);
        self.users_by_id.entry(user.id).or_insert_with(|| Arc::clone(&user));
        let mut keys = user.keys.lock();
        (0..sessions)
            .map(|_| {
                let slot = u16::try_from(keys.len()).expect("BUG: over 65,535 sessions");
                // Nothing of worth hangs on these keys, so that they need not be beyond guessing.
                let bytes: [u8; 256] = std::array::from_fn(|_| fastrand::u8(..));
                let key = Arc::new(Key {
                    secret: AuthKey::new(bytes),
                    account,
                    slot,
                    is_void: AtomicBool::new(false),
                    session: AtomicU64::new(0),
                    live: Mutex::default(),
                });
                self.keys.insert(key_id(&bytes), Arc::clone(&key));
                keys.push(key);
                SessionRecord {
                    account,
                    slot,
                    dc: self.dc,
                    address: self.address,
                    user_id: user.id,
                    is_bot: account.is_bot(),
                    key: AuthKey::new(bytes),
                    group: group.clone(),
                    proxy: None,
                }
            })
            .collect()
    }

    /// The id of a new user, which is nobody's yet: a bot may have brought a large one.
    fn next_user_id(&self) -> u64 {
        loop {
            let id = self.next_user.fetch_add(1, Ordering::Relaxed);
            assert!(id <= LAST_USER, "BUG: there is no memory for so many users");
            if i64::try_from(id).is_ok_and(|id| !self.users_by_id.contains_key(&id)) {
                return id;
            }
        }
    }

    pub(super) fn key(&self, id: &[u8; 8]) -> Option<Arc<Key>> {
        self.keys.get(id).map(|key| Arc::clone(&key))
    }

    pub(super) fn user(&self, account: AccountId) -> Option<Arc<User>> {
        self.users.get(&account).map(|user| Arc::clone(&user))
    }

    pub(super) fn user_by_id(&self, id: i64) -> Option<Arc<User>> {
        self.users_by_id.get(&id).map(|user| Arc::clone(&user))
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.store(micros, Ordering::Relaxed);
    }

    /// Notes that a fault struck an account.
    pub(super) fn strike(&self, user: &User) {
        self.counters.faults_injected.add(1);
        user.struck.store(self.ticks() + 1, Ordering::Relaxed);
    }

    /// How long ago a fault last struck an account.
    pub(super) fn struck_ago(&self, user: &User) -> Option<Duration> {
        let at = user.struck.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.ticks().saturating_sub(at)))
    }

    fn ticks(&self) -> u64 {
        crate::base::clock::millis(now().saturating_duration_since(self.started))
    }

    /// Sends a message of the server's own to every connection of a user that has subscribed to
    /// updates, and answers to how many. A connection that is too slow misses it.
    pub(super) fn push(&self, user: &User, body: &[u8]) -> usize {
        let keys = user.keys.lock().clone();
        let live = keys.iter().flat_map(|key| key.live.lock().clone());
        let subscribed = live.filter(|live| live.subscribed.load(Ordering::Relaxed));
        subscribed.filter(|live| live.orders.try_send(Order::Push(body.to_vec())).is_ok()).count()
    }
}

impl User {
    /// How many events there were. Clients are told of a state of one more, so that they do not take the
    /// first event for one that they have.
    pub(super) fn last_event(&self) -> i32 {
        // Far fewer than 2^31 messages are ever sent here.
        i32::try_from(self.events.load(Ordering::Relaxed)).unwrap_or(i32::MAX)
    }

    /// The number of a new event.
    pub(super) fn next_event(&self) -> i32 {
        let last = self.events.fetch_add(1, Ordering::Relaxed);
        i32::try_from(last + 1).unwrap_or(i32::MAX)
    }

    /// How many seconds a method must still rest.
    pub(super) fn resting(&self, method: u32) -> Option<u32> {
        let mut floods = self.floods.lock();
        let left = floods.get(&method)?.saturating_duration_since(now());
        if left.is_zero() {
            floods.remove(&method);
            return None;
        }
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Makes a method rest.
    pub(super) fn flood(&self, method: u32, seconds: u32) {
        let until = now() + Duration::from_secs(seconds.into());
        self.floods.lock().insert(method, until);
    }
}

/// A salt of a key: its value, and when it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt {
    pub(super) value: i64,
    pub(super) since: i32,
    pub(super) until: i32,
}

impl World {
    /// The salt that holds now, and those that follow it. Salts are not kept: each comes out of
    /// the seed, the key and the time.
    pub(super) fn salts(&self, key: &Key) -> impl Iterator<Item = Salt> {
        let current = unix_time().as_secs() / SALT_PERIOD;
        let seed = self.seed;
        let mark = key.mark();
        (current..).map(move |period| salt(seed, mark, period))
    }

    pub(super) fn salt(&self, key: &Key) -> i64 {
        self.salts(key).next().map_or(0, |salt| salt.value)
    }

    /// Whether a client may use a salt: the one that holds, or the one before.
    pub(super) fn takes_salt(&self, key: &Key, value: i64) -> bool {
        let current = unix_time().as_secs() / SALT_PERIOD;
        let mark = key.mark();
        [current, current - 1].iter().any(|period| salt(self.seed, mark, *period).value == value)
    }
}

impl Key {
    /// What tells its salts from those of other keys.
    fn mark(&self) -> u64 {
        u64::from_le_bytes(*self.secret.expose().first_chunk().expect("BUG: keys are longer"))
    }
}

fn salt(seed: u64, mark: u64, period: u64) -> Salt {
    let mut random = fastrand::Rng::with_seed(seed ^ mark.wrapping_add(period));
    let second = |periods: u64| i32::try_from(periods * SALT_PERIOD).unwrap_or(i32::MAX);
    Salt { value: random.i64(..), since: second(period), until: second(period + 2) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::faults::Faults;

    /// The most accounts of `serve --sandbox`.
    const ACCOUNTS_MAX: u64 = 1_000_000;

    fn id_of(world: &World, account: AccountId) -> u64 {
        world.enroll(account, 1, None)[0].user_id.try_into().unwrap()
    }

    #[tokio::test]
    async fn the_id_of_every_user_is_one_that_a_user_can_have_and_nobody_elses() {
        let world = World::new(2, "127.0.0.1:4430".parse().unwrap(), 7, Faults::default());
        let phone = |number: u64| AccountId::phone(9_996_000_000 + number).unwrap();
        let bot = AccountId::bot(FIRST_USER + 1).unwrap();
        assert_eq!(id_of(&world, bot), FIRST_USER + 1);
        assert_eq!(id_of(&world, phone(0)), FIRST_USER);
        assert_eq!(id_of(&world, phone(1)), FIRST_USER + 2, "not the bot's");
        assert_eq!(id_of(&world, phone(0)), FIRST_USER, "the same user");
        world.next_user.store(FIRST_USER + ACCOUNTS_MAX, Ordering::Relaxed);
        assert!(id_of(&world, phone(2)) < 1 << 40, "clients panic over a larger one");
        world.next_user.store(LAST_USER, Ordering::Relaxed);
        assert_eq!(id_of(&world, phone(3)), (1 << 40) - 1, "the last");
        // One who comes late takes nobody's place.
        assert_eq!(id_of(&world, AccountId::bot(FIRST_USER).unwrap()), FIRST_USER);
        let id = i64::try_from(FIRST_USER).unwrap();
        assert_eq!(world.user_by_id(id).unwrap().account, phone(0));
    }
}
