//! State of a data centre that all its connections share.
//!
//! Owns the table of authorization keys, and the creation of sessions. Never reads a socket.
//!
//! The atomics here are relaxed: each stands for itself. What must agree lies behind a lock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::watch;

use super::accounts::{Key, KeyLogin, User};
use super::faults::{Fault, FaultInjector};
use super::request::Request;
use super::send_limits::SendLimiter;
use super::socket::AcceptedSocket;
use super::stats::Counters;
use super::unknown_protocol::UnknownProtocolWarnings;
use super::updates::{DIFFERENCE_LEN_MAX, LOG_LEN_MAX, SandboxChannel};
use super::world::World;
use crate::account_id::AccountId;
use crate::base::clock::{now, unix_time};
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::mtproto::key_exchange::ExchangedKey;
use crate::session::{AuthKey, SessionRecord};

/// The state that all connections share.
pub(super) struct ServerState {
    pub(super) dc: i32,
    pub(super) address: SocketAddr,
    pub(super) counters: Counters,
    pub(super) protocol_warnings: UnknownProtocolWarnings,
    pub(super) faults: ArcSwap<FaultInjector>,
    pub(super) seed: u64,
    /// The longest that a client may have a connection left open without another ping.
    pub(super) disconnect_delay_max: Option<Duration>,
    /// How many updates of each box are kept.
    pub(super) update_log_len_max: usize,
    /// How many updates an answer has at most.
    pub(super) difference_len_max: usize,
    pub(super) send_limits: SendLimiter,
    pub(super) refuses_connections: AtomicBool,
    pub(super) world: Arc<World>,
    pub(super) stop: watch::Sender<bool>,
    /// Connections whose first packet has not been handled yet, in the order in which they came.
    pub(super) unauthenticated: Mutex<BTreeMap<u64, Arc<AcceptedSocket>>>,
    /// How many moments were numbered for observers.
    pub(super) moments: AtomicU64,
    latency_us: AtomicU64,
    keys: DashMap<[u8; 8], Arc<Key>>,
}

impl ServerState {
    pub(super) fn new(
        (dc, address): (i32, SocketAddr),
        world: Arc<World>,
        seed: u64,
        faults: FaultInjector,
    ) -> Self {
        Self {
            dc,
            address,
            counters: Counters::default(),
            protocol_warnings: UnknownProtocolWarnings::default(),
            faults: ArcSwap::from_pointee(faults),
            seed,
            disconnect_delay_max: None,
            update_log_len_max: LOG_LEN_MAX,
            difference_len_max: DIFFERENCE_LEN_MAX,
            send_limits: SendLimiter::default(),
            refuses_connections: AtomicBool::new(false),
            world,
            stop: watch::Sender::new(false),
            unauthenticated: Mutex::new(BTreeMap::new()),
            moments: AtomicU64::new(0),
            latency_us: AtomicU64::new(0),
            keys: DashMap::new(),
        }
    }

    /// Creates so many further sessions of an account, each with a new key, and the account if need be, whose home
    /// this then is. They are at its home.
    pub(super) fn create_sessions(
        &self,
        account: AccountId,
        sessions: u16,
        group: Option<Arc<str>>,
    ) -> Vec<SessionRecord> {
        let user = self.world.user_of(account, self.dc, || match account.is_phone() {
            true => self.world.next_user_id(),
            false => account.number(),
        });
        if user.home_dc != self.dc
            && let Some(home) = self.world.centre(user.home_dc)
        {
            return home.create_sessions(account, sessions, group);
        }
        let mut keys = user.keys.lock();
        (0..sessions)
            .map(|_| {
                let slot = next_slot(&keys);
                // Nothing of worth hangs on these keys, so that they need not be beyond guessing.
                let bytes: [u8; 256] = std::array::from_fn(|_| fastrand::u8(..));
                let login = KeyLogin { account, slot };
                let key = Arc::new(Key::new(AuthKey::new(bytes), Some(login)));
                self.keys.insert(key.secret.id(), Arc::clone(&key));
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
                    api_id: None,
                    identity: None,
                }
            })
            .collect()
    }

    /// Takes a session that was made elsewhere.
    pub(super) fn adopt_session(&self, record: &SessionRecord) {
        let account = record.account;
        let known = self.user_by_id(record.user_id);
        let user = known.unwrap_or_else(|| {
            self.world.user_of(account, self.dc, || match (record.user_id, account.is_phone()) {
                (1.., _) => record.user_id.unsigned_abs(),
                (_, true) => self.world.next_user_id(),
                (_, false) => account.number(),
            })
        });
        let mut keys = user.keys.lock();
        let login = KeyLogin { account: user.account, slot: next_slot(&keys) };
        let key = Arc::new(Key::new(record.key.clone(), Some(login)));
        self.keys.insert(record.key.id(), Arc::clone(&key));
        keys.push(key);
    }

    /// Takes a key that was made just now, with which nobody is signed in.
    pub(super) fn add_new_key(&self, made: ExchangedKey) {
        let id = made.key.id();
        let mut key = Key::new(made.key, None);
        key.first_salt = Some((made.salt, unix_time().as_secs()));
        self.keys.entry(id).or_insert_with(|| Arc::new(key));
    }

    pub(super) fn key(&self, id: &[u8; 8]) -> Option<Arc<Key>> {
        self.keys.get(id).map(|key| Arc::clone(&key))
    }

    pub(super) fn user(&self, account: AccountId) -> Option<Arc<User>> {
        self.world.user(account)
    }

    pub(super) fn user_by_id(&self, id: i64) -> Option<Arc<User>> {
        self.world.user_by_id(id)
    }

    pub(super) fn channel(&self, id: i64) -> Option<Arc<SandboxChannel>> {
        self.world.channel(id)
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.store(micros, Ordering::Relaxed);
    }

    /// Notes that a fault was injected into a call or a connection of an account.
    pub(super) fn record_fault(&self, user: Option<&User>) {
        self.counters.faults_injected.add(1);
        if let Some(user) = user {
            user.last_fault_ms.store(self.millis_running() + 1, Ordering::Relaxed);
        }
    }

    /// How long ago a fault was last injected for an account.
    pub(super) fn since_last_fault(&self, user: &User) -> Option<Duration> {
        let at = user.last_fault_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis_running().saturating_sub(at)))
    }

    /// The flood that a request meets because its sender has sent too much.
    pub(super) fn send_flood(&self, user: Option<&User>, request: &Request) -> Option<Fault> {
        let seconds = self.send_limits.refusal(user?, request)?;
        self.counters.send_floods.add(1);
        Some(Fault::FloodWait { seconds })
    }

    fn millis_running(&self) -> u64 {
        crate::base::clock::millis(now().saturating_duration_since(self.world.started))
    }
}

/// The slot of a user's next session.
pub(super) fn next_slot(keys: &[Arc<Key>]) -> u16 {
    let slots = keys.iter().filter_map(|key| key.login().map(|login| login.slot));
    slots.max().map_or(0, |last| last.checked_add(1).expect("BUG: over 65,535 sessions"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::world::{FIRST_USER, LAST_USER};

    /// The most accounts of `serve --sandbox`.
    const ACCOUNTS_MAX: u64 = 1_000_000;

    fn id_of(server: &ServerState, account: AccountId) -> u64 {
        server.create_sessions(account, 1, None)[0].user_id.try_into().unwrap()
    }

    #[tokio::test]
    async fn the_id_of_every_user_is_one_that_a_user_can_have_and_nobody_elses() {
        let server = ServerState::new(
            (2, "127.0.0.1:4430".parse().unwrap()),
            Arc::new(World::new()),
            7,
            FaultInjector::default(),
        );
        let phone = |number: u64| AccountId::phone(9_996_000_000 + number).unwrap();
        let bot = AccountId::bot(FIRST_USER + 1).unwrap();
        assert_eq!(id_of(&server, bot), FIRST_USER + 1);
        assert_eq!(id_of(&server, phone(0)), FIRST_USER);
        assert_eq!(id_of(&server, phone(1)), FIRST_USER + 2, "not the bot's");
        assert_eq!(id_of(&server, phone(0)), FIRST_USER, "the same user");
        server.world.next_user.store(FIRST_USER + ACCOUNTS_MAX, Ordering::Relaxed);
        assert!(id_of(&server, phone(2)) < 1 << 40, "clients panic over a larger one");
        server.world.next_user.store(LAST_USER, Ordering::Relaxed);
        assert_eq!(id_of(&server, phone(3)), (1 << 40) - 1, "the last");
        // One who comes late takes nobody's id.
        assert_eq!(id_of(&server, AccountId::bot(FIRST_USER).unwrap()), FIRST_USER);
        let id = i64::try_from(FIRST_USER).unwrap();
        assert_eq!(server.user_by_id(id).unwrap().account, phone(0));
    }
}
