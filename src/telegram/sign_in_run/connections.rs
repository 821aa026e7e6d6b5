//! Keys and connections of a sign-in: one of each for every data centre that it comes to.
//!
//! Owns the keys, which are made here and never replaced by others, and the connections. A key is on one connection
//! at a time, in this process and on this machine, as any other is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::is_unknown_key;
use super::kept::SignInKey;
use super::{SignInRunError, SignInSettings};
use crate::ownership::Ownership;
use crate::session::KeyId;
use crate::telegram::bridge::dial;
use crate::telegram::health::ConnectionHealth;
use crate::telegram::key_lock::{KeyGuard, mark_ending};
use crate::telegram::key_memories::KeyMemories;
use crate::telegram::supervisor::fenced;
use crate::telegram::wire::{
    WireEnd, WireError, WireHandle, WireOptions, introduction, make_key, open,
};
use crate::telegram::wire_supervisor::{EndPolicy, WireKeyGuard};

/// A connection, and the task that ends with it.
struct SignInConnection {
    key: KeyId,
    handle: WireHandle,
    task: JoinHandle<()>,
    /// Its sender goes when the key is free, or rests.
    gone: watch::Receiver<()>,
}

/// What a sign-in makes its calls over.
pub(super) struct SignInConnections {
    settings: SignInSettings,
    ownership: Arc<dyn Ownership>,
    keys: Vec<SignInKey>,
    /// At which data centres the key was made by this run.
    made: BTreeSet<i32>,
    memories: Arc<KeyMemories>,
    open: BTreeMap<i32, SignInConnection>,
}

impl SignInConnections {
    pub(super) fn new(
        settings: SignInSettings,
        ownership: Arc<dyn Ownership>,
        keys: Vec<SignInKey>,
    ) -> Self {
        let (made, memories, open) = (BTreeSet::new(), Arc::default(), BTreeMap::new());
        Self { settings, ownership, keys, made, memories, open }
    }

    pub(super) fn settings(&self) -> &SignInSettings {
        &self.settings
    }

    pub(super) fn keys(&self) -> &[SignInKey] {
        &self.keys
    }

    /// Takes the keys that there are for this process, before a person is asked for what they are good for.
    pub(super) async fn claim(&mut self) -> Result<(), SignInRunError> {
        let ids: Vec<KeyId> = self.keys.iter().map(|key| KeyId::of(&key.key)).collect();
        let mut remaining = Duration::ZERO;
        for claim in self.ownership.claim(&ids).await {
            remaining = remaining.max(claim?.rest);
        }
        match remaining.is_zero() || !self.open.is_empty() {
            true => Ok(()),
            false => Err(SignInRunError::Resting { remaining }),
        }
    }

    /// Makes the key of a data centre, if there is none yet. It is to be kept before anything is done with it.
    pub(super) async fn prepare(&mut self, dc: i32) -> Result<(), SignInRunError> {
        if self.keys.iter().any(|key| key.dc == dc) {
            return Ok(());
        }
        let address = self.settings.address(dc).ok_or(SignInRunError::NoAddress { dc })?;
        let stream = self.dial(dc, address).await?;
        let (servers, limit) = (self.settings.server_keys.clone(), self.settings.call_timeout);
        let made = make_key(stream, servers, limit).await;
        let made = made.map_err(|error| SignInRunError::NoKey { dc, error })?;
        self.memories.note(KeyId::of(&made.key), &made.memory);
        self.keys.push(SignInKey { dc, address, key: made.key });
        self.made.insert(dc);
        Ok(())
    }

    /// Makes a call with the key of a data centre, which is prepared.
    pub(super) async fn call(
        &mut self,
        dc: i32,
        request: Vec<u8>,
    ) -> Result<Result<Vec<u8>, WireError>, SignInRunError> {
        let handle = self.connection(dc).await?;
        let answered = handle.call(request, self.settings.call_timeout).await;
        if matches!(answered, Ok(_) | Err(WireError::Rpc { .. })) {
            self.made.remove(&dc);
        } else {
            // It may be silent: another one begins anew.
            self.close(dc).await;
        }
        if answered.as_ref().is_err_and(is_unknown_key) {
            // At times a server does not know what another one has made just now. Nothing is pending by it.
            if !self.made.remove(&dc) {
                return Err(SignInRunError::KeyUnknown);
            }
            self.keys.retain(|key| key.dc != dc);
        }
        Ok(answered)
    }

    async fn dial(&self, dc: i32, address: SocketAddr) -> Result<TcpStream, SignInRunError> {
        let limit = self.settings.dial_timeout;
        let unreachable = |error| SignInRunError::Unreachable { dc, error };
        let stream = match &self.settings.proxy {
            Some(proxy) => dial(proxy, address, limit).await?,
            None => {
                let dialled = timeout(limit, TcpStream::connect(address)).await;
                let late = std::io::ErrorKind::TimedOut;
                dialled.unwrap_or_else(|_| Err(late.into())).map_err(unreachable)?
            }
        };
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    async fn connection(&mut self, dc: i32) -> Result<WireHandle, SignInRunError> {
        if let Some(open) = self.open.get(&dc)
            && !open.handle.is_ending()
        {
            return Ok(open.handle.clone());
        }
        self.close(dc).await;
        let key = self.keys.iter().find(|key| key.dc == dc);
        let SignInKey { address, key, .. } = key.expect("BUG: it is prepared before").clone();
        let id = KeyId::of(&key);
        for claim in self.ownership.claim(&[id]).await {
            let remaining = claim?.rest;
            if !remaining.is_zero() {
                return Err(SignInRunError::Resting { remaining });
            }
        }
        let mut guard = KeyGuard::lock_for_next(id).await?;
        let fence = self.ownership.fence();
        let epoch = guard.begin(&self.ownership)?;
        let stream = self.dial(dc, address).await?;
        let policy = EndPolicy {
            redial_after_loss: self.settings.redial_after_loss,
            is_proxied: self.settings.proxy.as_ref().is_some_and(|it| !it.is_of_this_machine()),
        };
        let (gone_sender, gone) = watch::channel(());
        let health = Arc::new(ConnectionHealth::unburdened());
        let memories = Arc::clone(&self.memories);
        let guard = WireKeyGuard::new(guard, health, memories, policy, gone_sender);
        let mut options = WireOptions::new(key);
        options.memory = self.memories.recall(id);
        let identity = self.settings.identity.clone();
        options.introduction = introduction(self.settings.application.id(), identity);
        let (handle, mut driver) = open(stream, guard, options, |_| {});
        let task = Handle::current().spawn(async move {
            tokio::select! {
                biased;
                stopped = fenced(fence, epoch) => {
                    driver.guard_mut().into_iter().for_each(|guard| guard.fence(stopped));
                }
                end = &mut driver => log_end(&end),
            }
        });
        self.open.insert(dc, SignInConnection { key: id, handle: handle.clone(), task, gone });
        Ok(handle)
    }

    /// Closes a connection in good order, and waits until its key is free or rests.
    pub(super) async fn close(&mut self, dc: i32) {
        let Some(open) = self.open.get_mut(&dc) else { return };
        open.handle.close_within(self.settings.close_grace);
        open.gone.changed().await.ok();
        (&mut open.task).await.ok();
        self.open.remove(&dc);
    }

    /// Closes all of them; the keys stay this run's.
    pub(super) async fn close_open(&mut self) {
        while let Some(dc) = self.open.keys().next().copied() {
            self.close(dc).await;
        }
    }

    /// Closes all of them, and gives their keys back.
    pub(super) async fn close_all(&mut self) {
        self.close_open().await;
        let ids: Vec<KeyId> = self.keys.iter().map(|key| KeyId::of(&key.key)).collect();
        self.ownership.release(&ids);
    }
}

fn log_end(end: &WireEnd) {
    tracing::debug!(%end, "a connection of a sign-in is closed");
}

/// Connections that nobody waits for any more are closed all the same.
impl Drop for SignInConnections {
    fn drop(&mut self) {
        for open in self.open.values() {
            // Whoever goes on with the sign-in waits for that.
            mark_ending(open.key);
            open.handle.close();
        }
    }
}
