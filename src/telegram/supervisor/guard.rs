//! Guard of a connection's sockets: its key stays locked until they are closed, whatever ends the supervisor.
//!
//! Owns the hand-over to the reaper of orphaned connections. Never waits for a socket itself.

use std::sync::Arc;
use std::time::Duration;

use grammers_client::session::updates::UpdatesLike;
use tokio::sync::mpsc;

use crate::telegram::health::ConnectionHealth;
use crate::telegram::orphan_reaper::{OpenSockets, reap_later};

/// RAII guard of a connection's sockets and of the key that they lock. Dropped before it is proved that
/// every socket is closed, it leaves them to the reaper.
pub(super) struct SocketGuard {
    health: Arc<ConnectionHealth>,
    redial_after_loss: Duration,
    /// `None` once it is proved that the sockets are closed.
    sockets: Option<OpenSockets>,
}

impl SocketGuard {
    pub(super) fn new(
        health: Arc<ConnectionHealth>,
        redial_after_loss: Duration,
        sockets: OpenSockets,
    ) -> Self {
        Self { health, redial_after_loss, sockets: Some(sockets) }
    }

    pub(super) fn updates(&mut self) -> &mut mpsc::Receiver<UpdatesLike> {
        &mut self.sockets.as_mut().expect("BUG: updates of a connection that has ended").updates
    }

    /// The key must rest for so long once the sockets are closed.
    pub(super) fn rest(&mut self, rest: Duration) {
        if let Some(sockets) = &mut self.sockets {
            sockets.guard.rest(rest);
        }
    }

    /// No socket of the way by a proxy is left, and it is known whether the server has noticed.
    pub(super) fn note_bridge_ended(&mut self) {
        if let Some(sockets) = &mut self.sockets {
            sockets.bridge = None;
        }
    }

    /// Every socket is closed here.
    pub(super) fn end(mut self) {
        drop(self.sockets.take());
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        // Nobody takes the connection for sound any more.
        self.health.mark_broken();
        if let Some(mut sockets) = self.sockets.take() {
            // Cut short, it has asked for no last answer.
            let is_open = sockets.bridge.as_ref().is_some_and(|bridge| {
                bridge.cut();
                bridge.may_be_open()
            });
            if is_open || self.health.has_unanswered() {
                sockets.guard.rest(self.redial_after_loss);
            }
            reap_later(sockets);
        }
    }
}
