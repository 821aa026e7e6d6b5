//! Accounts of the sandbox: users, their authorization keys, and the open connections of each key.
//!
//! Owns the state of each, flood waits included. Never reads a socket.
//!
//! The atomics here are relaxed: each stands for itself. What must agree lies behind a lock.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::flood_waits::FloodWaits;
use super::login::{AccountPassword, KeyPending};
use super::observer::KeyHistory;
use super::random_ids::RandomIds;
use super::request::ClientIntroduction;
use super::schema::Schema;
use super::session::SessionTable;
use super::socket::AcceptedSocket;
use super::updates::{AccountBoxes, PushedUpdate, SessionUpdateCounts, UpdateSession};
use crate::account_id::AccountId;
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::session::AuthKey;

/// So many addresses of an account are told apart.
const ADDRESSES_MAX: usize = 64;
/// As many of them are good, the last ones, as a client may show.
const LOGOUT_TOKENS_MAX: usize = 20;
const LOGOUT_TOKEN_LEN: usize = 32;

/// One account, as a Telegram user.
pub(super) struct User {
    pub(super) account: AccountId,
    pub(super) id: i64,
    /// At which data centre it is signed in.
    pub(super) home_dc: i32,
    pub(super) keys: Mutex<Vec<Arc<Key>>>,
    /// What came in, of which its sessions get updates.
    pub(super) boxes: Mutex<AccountBoxes>,
    pub(super) flood_waits: FloodWaits,
    /// What has to be proved besides a code, if anything.
    pub(super) password: Mutex<Option<AccountPassword>>,
    /// Of a bot, if it was asked for.
    pub(super) bot_token: Mutex<Option<String>>,
    /// The ids of what it has sent.
    pub(super) random_ids: RandomIds,
    /// By which it signs in without a code, each once.
    logout_tokens: Mutex<Vec<Vec<u8>>>,
    /// From which addresses its keys were used, the first so many.
    addresses: Mutex<Vec<IpAddr>>,
    /// When a fault was last injected, in milliseconds since the start, plus one.
    pub(super) last_fault_ms: AtomicU64,
}

/// Who is signed in with a key, and as which of the account's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyLogin {
    pub(super) account: AccountId,
    pub(super) slot: u16,
}

/// One authorization key.
pub(super) struct Key {
    pub(super) secret: AuthKey,
    /// What came of its exchange, and when.
    pub(super) first_salt: Option<(i64, u64)>,
    /// Who is signed in with it; nobody with a new one.
    login: Mutex<Option<KeyLogin>>,
    /// What is pending by it.
    pub(super) pending: Mutex<KeyPending>,
    /// Of whoever is not signed in.
    pub(super) flood_waits: FloodWaits,
    /// It was used on two connections at once: the authorization is void.
    pub(super) is_invalidated: AtomicBool,
    /// The MTProto sessions that have used it last.
    pub(super) sessions: Mutex<SessionTable>,
    /// The connections that have used it and have not ended.
    pub(super) connections: Mutex<Vec<ConnectionHandle>>,
    /// When its connections came and ended.
    pub(super) history: KeyHistory,
    /// How the last client with it has introduced itself.
    pub(super) introduction: Mutex<Option<ClientIntroduction>>,
    /// What its connections are sent of what comes in.
    pub(super) updates: Mutex<UpdateSession>,
}

impl Key {
    pub(super) fn login(&self) -> Option<KeyLogin> {
        *self.login.lock()
    }

    pub(super) fn set_login(&self, login: Option<KeyLogin>) {
        *self.login.lock() = login;
    }

    /// In which layer its client is answered.
    pub(super) fn schema(&self) -> Schema {
        let introduction = self.introduction.lock();
        introduction.as_ref().map(|it| Schema::of_layer(it.layer)).unwrap_or_default()
    }

    /// Whose it is.
    pub(super) fn account(&self) -> Option<AccountId> {
        self.login().map(|login| login.account)
    }

    /// What its connections were sent.
    pub(super) fn update_counts(&self) -> SessionUpdateCounts {
        let connections = self.connections.lock();
        let listens = connections.iter().any(|it| it.subscribed.load(Ordering::Relaxed));
        drop(connections);
        SessionUpdateCounts { listens, ..self.updates.lock().counts() }
    }
}

/// An authenticated connection, as the rest of the server reaches it.
#[derive(Clone)]
pub(super) struct ConnectionHandle {
    pub(super) socket: Arc<AcceptedSocket>,
    pub(super) commands: mpsc::Sender<ConnectionCommand>,
    /// It has made a call outside of `invokeWithoutUpdates`.
    pub(super) subscribed: Arc<AtomicBool>,
    /// It has missed updates because it did not read those before.
    pub(super) missed_updates: Arc<AtomicBool>,
}

/// What the rest of the server tells a connection to do.
#[derive(Debug)]
pub(super) enum ConnectionCommand {
    Push(PushedUpdate),
    Close,
    Reset,
    TransportError(u16),
}

impl User {
    pub(super) fn new(account: AccountId, id: i64, home_dc: i32) -> Self {
        Self {
            account,
            id,
            home_dc,
            keys: Mutex::default(),
            boxes: Mutex::default(),
            flood_waits: FloodWaits::default(),
            password: Mutex::default(),
            bot_token: Mutex::default(),
            logout_tokens: Mutex::default(),
            random_ids: RandomIds::default(),
            addresses: Mutex::default(),
            last_fault_ms: AtomicU64::new(0),
        }
    }

    /// What somebody gets who logs out: the next sign-in needs no code with it.
    pub(super) fn new_logout_token(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let token: Vec<u8> = (0..LOGOUT_TOKEN_LEN).map(|_| random.u8(..)).collect();
        let mut known = self.logout_tokens.lock();
        if known.len() == LOGOUT_TOKENS_MAX {
            known.remove(0);
        }
        known.push(token.clone());
        token
    }

    /// Whether one of these is good. That one is not any more.
    pub(super) fn take_logout_token(&self, tokens: &[Vec<u8>]) -> bool {
        let mut known = self.logout_tokens.lock();
        let at = known.iter().position(|token| tokens.contains(token));
        at.is_some_and(|at| !known.swap_remove(at).is_empty())
    }

    /// A key of it is used from an address.
    pub(super) fn note_address(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock();
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// From which addresses its keys were used, in the order in which they came.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.lock().clone()
    }
}

impl Key {
    pub(super) fn new(secret: AuthKey, login: Option<KeyLogin>) -> Self {
        Self {
            secret,
            first_salt: None,
            login: Mutex::new(login),
            pending: Mutex::default(),
            flood_waits: FloodWaits::default(),
            is_invalidated: AtomicBool::new(false),
            sessions: Mutex::default(),
            connections: Mutex::default(),
            history: KeyHistory::default(),
            introduction: Mutex::default(),
            updates: Mutex::default(),
        }
    }
}
