//! Guard of the key of a connection of the wire: for how long the key rests after it.
//!
//! Owns that decision, and what the connection has learned for the next one. Never waits for anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::clock::now;
use crate::telegram::health::ConnectionHealth;
use crate::telegram::key_lock::KeyGuard;
use crate::telegram::key_memories::KeyMemories;
use crate::telegram::wire::{WireGuard, WireNote};

/// What the end of a connection means for its key.
#[derive(Clone, Copy, Debug)]
pub(in crate::telegram) struct EndPolicy {
    /// For how long the key rests if the server may not have noticed the end.
    pub(in crate::telegram) redial_after_loss: Duration,
    /// Whether somebody between here and the server has connections of his own.
    pub(in crate::telegram) is_proxied: bool,
}

impl EndPolicy {
    /// For how long a key rests after a connection that ended so.
    fn rest(&self, note: &WireNote<'_>, has_unanswered: bool) -> Duration {
        // Otherwise the server has never had a packet of the key.
        let Some(pinged_at) = note.pinged_at else { return Duration::ZERO };
        let is_noticed = match self.is_proxied {
            // A proxy resets on its own account, and of its own line nothing is known.
            true => note.is_orderly,
            false => note.is_confirmed || note.was_idle && !has_unanswered,
        };
        match is_noticed {
            true => Duration::ZERO,
            // What sets the server's timer is a ping.
            false => {
                let since = now().saturating_duration_since(pinged_at);
                self.redial_after_loss.saturating_sub(since)
            }
        }
    }

    /// The same after a process that did not run for so long, and whose clock may not have run either.
    fn rest_after_stop(&self, note: &WireNote<'_>, stopped: Duration) -> Duration {
        match note.pinged_at {
            None => Duration::ZERO,
            Some(_) => self.redial_after_loss.saturating_sub(stopped),
        }
    }
}

/// RAII guard of the key of a connection. The driver drops it after the socket.
pub(in crate::telegram) struct WireKeyGuard {
    // In this order they go: the key is free before anybody learns of it.
    key: KeyGuard,
    health: Arc<ConnectionHealth>,
    memories: Arc<KeyMemories>,
    policy: EndPolicy,
    /// For how long the process did not run before the end, if that is why it ends.
    stopped: Option<Duration>,
    /// It is settled for how long the key rests.
    is_settled: bool,
    _gone: watch::Sender<()>,
}

impl WireKeyGuard {
    /// Dropping `gone` tells of the end.
    pub(in crate::telegram) fn new(
        key: KeyGuard,
        health: Arc<ConnectionHealth>,
        memories: Arc<KeyMemories>,
        policy: EndPolicy,
        gone: watch::Sender<()>,
    ) -> Self {
        let (stopped, is_settled) = (None, false);
        Self { key, health, memories, policy, stopped, is_settled, _gone: gone }
    }

    /// The process did not run for so long, and the connection is about to be cut.
    pub(in crate::telegram) fn fence(&mut self, stopped: Duration) {
        self.stopped = Some(stopped);
    }
}

impl WireGuard for WireKeyGuard {
    fn note_end(&mut self, note: &WireNote<'_>) {
        let rest = match self.stopped {
            Some(stopped) => self.policy.rest_after_stop(note, stopped),
            None => self.policy.rest(note, self.health.has_unanswered()),
        };
        // First: a subscriber is somebody else's code.
        self.key.rest(rest);
        self.is_settled = true;
        self.memories.note(self.key.key(), note.memory);
        if !rest.is_zero() {
            tracing::info!(
                ?rest,
                "the server may not have noticed the end of a connection: the session rests"
            );
        }
    }
}

impl Drop for WireKeyGuard {
    fn drop(&mut self) {
        // Nobody takes the connection for sound any more.
        self.health.mark_broken();
        // Whatever kept the driver from saying how it ended.
        if !self.is_settled {
            self.key.rest(self.policy.redial_after_loss);
        }
    }
}
