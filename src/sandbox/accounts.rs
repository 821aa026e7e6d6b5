//! Accounts of the sandbox: users, their authorization keys, and the open connections of each key.
//!
//! Owns the state of each, flood waits included. Never reads a socket.
//!
//! The atomics here are relaxed: each stands for itself. What must agree lies behind a lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::observer::KeyHistory;
use super::random_ids::RandomIds;
use super::request::ClientIntroduction;
use super::session::SessionTable;
use super::socket::AcceptedSocket;
use super::updates::{AccountBoxes, PushedUpdate, SessionUpdateCounts, UpdateSession};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::session::AuthKey;

/// So many addresses of an account are told apart.
const ADDRESSES_MAX: usize = 64;

/// One account, as a Telegram user.
pub(super) struct User {
    pub(super) account: AccountId,
    pub(super) id: i64,
    pub(super) keys: Mutex<Vec<Arc<Key>>>,
    /// What came in, of which its sessions get updates.
    pub(super) boxes: Mutex<AccountBoxes>,
    /// Until when each method is refused with `FLOOD_WAIT_X`.
    flood_waits: Mutex<HashMap<u32, Instant>>,
    /// The ids of what it has sent.
    pub(super) random_ids: RandomIds,
    /// From which addresses its keys were used, the first so many.
    addresses: Mutex<Vec<IpAddr>>,
    /// When a fault was last injected, in milliseconds since the start, plus one.
    pub(super) last_fault_ms: AtomicU64,
}

/// One authorization key.
pub(super) struct Key {
    pub(super) secret: AuthKey,
    pub(super) account: AccountId,
    pub(super) slot: u16,
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
    pub(super) fn new(account: AccountId, id: i64) -> Self {
        Self {
            account,
            id,
            keys: Mutex::default(),
            boxes: Mutex::default(),
            flood_waits: Mutex::default(),
            random_ids: RandomIds::default(),
            addresses: Mutex::default(),
            last_fault_ms: AtomicU64::new(0),
        }
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

    /// For how many seconds a method is still refused.
    pub(super) fn flood_wait_remaining(&self, method: u32) -> Option<u32> {
        let mut flood_waits = self.flood_waits.lock();
        let left = flood_waits.get(&method)?.saturating_duration_since(now());
        if left.is_zero() {
            flood_waits.remove(&method);
            return None;
        }
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Refuses a method from now on, for so many seconds.
    pub(super) fn start_flood_wait(&self, method: u32, seconds: u32) {
        let until = now() + Duration::from_secs(seconds.into());
        self.flood_waits.lock().insert(method, until);
    }
}

impl Key {
    pub(super) fn new(secret: AuthKey, account: AccountId, slot: u16) -> Self {
        Self {
            secret,
            account,
            slot,
            is_invalidated: AtomicBool::new(false),
            sessions: Mutex::default(),
            connections: Mutex::default(),
            history: KeyHistory::default(),
            introduction: Mutex::default(),
            updates: Mutex::default(),
        }
    }
}
