//! Guard of the key of a connection of the wire: for how long the key rests after it.
//!
//! Owns that decision, and what the connection has learned for the next one. Never waits for anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::telegram::health::ConnectionHealth;
use crate::telegram::key_lock::KeyGuard;
use crate::telegram::key_memories::KeyMemories;
use crate::telegram::wire::{WireEnd, WireGuard, WireNote};

/// What the end of a connection means for its key.
#[derive(Clone, Copy, Debug)]
pub(in crate::telegram) struct EndPolicy {
    /// For how long the key rests if the server may not have noticed the end.
    pub(in crate::telegram) redial_after_loss: Duration,
    /// Whether somebody between here and the server has connections of his own.
    pub(in crate::telegram) is_proxied: bool,
}

impl EndPolicy {
    /// Whether the server has noticed the end of a connection.
    fn is_noticed(&self, note: &WireNote<'_>) -> bool {
        match note.end {
            // It has never had a packet of the key.
            _ if note.pinged_at.is_none() => true,
            // A proxy resets on its own account.
            WireEnd::Io(_) => note.is_confirmed && !self.is_proxied,
            _ => note.is_confirmed,
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
    /// It is settled for how long the key rests.
    is_settled: bool,
    _gone: watch::Sender<()>,
}

impl WireKeyGuard {
    /// Dropping `gone` tells of the end.
    pub(super) fn new(
        key: KeyGuard,
        health: Arc<ConnectionHealth>,
        memories: Arc<KeyMemories>,
        policy: EndPolicy,
        gone: watch::Sender<()>,
    ) -> Self {
        Self { key, health, memories, policy, is_settled: false, _gone: gone }
    }

    /// The process did not run for so long, and the connection is about to be cut.
    pub(super) fn fence(&mut self, stopped: Duration) {
        self.settle(self.policy.redial_after_loss.saturating_sub(stopped));
    }

    fn settle(&mut self, rest: Duration) {
        self.is_settled = true;
        if !rest.is_zero() {
            tracing::info!(
                ?rest,
                "the server may not have noticed the end of a connection: the session rests"
            );
            self.key.rest(rest);
        }
    }
}

impl WireGuard for WireKeyGuard {
    fn note_end(&mut self, note: &WireNote<'_>) {
        self.memories.note(self.key.key(), note.memory);
        let is_noticed = self.policy.is_noticed(note);
        self.settle(if is_noticed { Duration::ZERO } else { self.policy.redial_after_loss });
    }
}

impl Drop for WireKeyGuard {
    fn drop(&mut self) {
        // Nobody takes the connection for sound any more.
        self.health.mark_broken();
        // Cut short, with its runtime or by a panic: a sound line tells the server so. Of a proxy's own line nothing
        // is known.
        if !self.is_settled && (self.policy.is_proxied || self.health.has_unanswered()) {
            self.settle(self.policy.redial_after_loss);
        }
    }
}
