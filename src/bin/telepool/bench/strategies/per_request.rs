//! A connection for each request.
//!
//! A request takes a free session of its account, first come, first served; dials, calls, and gives
//! the session back once the connection is closed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use telepool::{AccountId, Manager as _};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::strategy::{ConnectionCounts, Strategy};
use crate::accounts::PoolManager;
use crate::calls::WorkloadCall;

pub(in crate::bench) struct PerRequest {
    manager: Arc<PoolManager>,
    accounts: Vec<Arc<FreeSessions>>,
    counts: Arc<DialCounts>,
}

/// The sessions of an account that no request has taken.
struct FreeSessions {
    account: AccountId,
    free: Mutex<Vec<u16>>,
    /// One for each of them. Whoever waits is served in the order of coming.
    permits: Arc<Semaphore>,
    count: u16,
}

/// Relaxed: counts guard nothing.
#[derive(Default)]
struct DialCounts {
    opened: AtomicU64,
    closed: AtomicU64,
}

impl PerRequest {
    pub(in crate::bench) fn new(manager: PoolManager, accounts: &[AccountId]) -> Self {
        let accounts = accounts.iter().map(|account| {
            let count = manager.profile(*account).map_or(0, |profile| profile.slots);
            Arc::new(FreeSessions {
                account: *account,
                free: Mutex::new((0..count).collect()),
                permits: Arc::new(Semaphore::new(count.into())),
                count,
            })
        });
        let accounts = accounts.collect();
        Self { manager: Arc::new(manager), accounts, counts: Arc::default() }
    }
}

impl Strategy for PerRequest {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn call(&self, account: usize, call: WorkloadCall) -> Result<(), String> {
        let sessions = &self.accounts[account];
        let permit = Arc::clone(&sessions.permits).acquire_owned().await;
        let permit = permit.expect("BUG: permits are given until the end");
        let slot = sessions.take();
        let guard = SessionGuard { sessions: Arc::clone(sessions), slot, _permit: permit };
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        let counted = CloseGuard(Arc::clone(&self.counts));
        let connection = self.manager.connect(sessions.account, slot).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let done = call.make(&connection).await.map_err(|error| error.to_string());
        let manager = Arc::clone(&self.manager);
        drop(Handle::current().spawn(async move {
            manager.close(&connection).await;
            drop(counted);
            drop(guard);
        }));
        done
    }

    fn connections(&self) -> ConnectionCounts {
        // In this order, so that no more are seen to be closed than opened.
        let closed = self.counts.closed.load(Ordering::Relaxed);
        let opened = self.counts.opened.load(Ordering::Relaxed);
        ConnectionCounts { open: opened.saturating_sub(closed), opened }
    }

    async fn close(&self) {
        for sessions in &self.accounts {
            // Whoever closes a connection gives its permit back after that.
            drop(sessions.permits.acquire_many(sessions.count.into()).await);
        }
    }
}

impl FreeSessions {
    fn take(&self) -> u16 {
        let slot = self.free.lock().expect("BUG: nobody panics with this lock").pop();
        slot.expect("BUG: whoever has a permit finds a session")
    }
}

/// Gives a session back, and the permit after it.
struct SessionGuard {
    sessions: Arc<FreeSessions>,
    slot: u16,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut free = self.sessions.free.lock().expect("BUG: nobody panics with this lock");
        free.push(self.slot);
    }
}

/// DialCounts a connection as closed.
struct CloseGuard(Arc<DialCounts>);

impl Drop for CloseGuard {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}
