//! Authentication of a connection by the authorization key that its first packet names.
//!
//! Owns the count of duplicate keys, and the faults on `connect`. Never makes a key.

use std::sync::Arc;

use super::ServerConnection;
use super::end::ConnectionEnd;
use crate::base::sync::{AtomicBool, Ordering};
use crate::mtproto::cipher::ServerCipher;
use crate::sandbox::accounts::ConnectionHandle;
use crate::sandbox::duplicate_key;
use crate::sandbox::faults::{CONNECT, Fault, ProtocolFault};
use crate::sandbox::session::{MtprotoSession, Reply};

/// The transport error for an unknown key.
const KEY_UNKNOWN: u16 = 404;

impl ServerConnection {
    /// Looks up the key that the first packet names, and starts the session. Returns whether the packet
    /// is to be handled.
    pub(super) async fn authenticate(&mut self, key_id: [u8; 8]) -> Result<bool, ConnectionEnd> {
        let Some(key) = self.server.key(&key_id) else {
            self.server.counters.keys_unknown.add(1);
            self.reply(Reply::TransportError(KEY_UNKNOWN));
            return Ok(false);
        };
        let account = key.account();
        let user = account.and_then(|account| self.server.user(account));
        self.server.counters.handshakes.add(1);
        if let Some(user) = &user
            && let Ok(peer) = self.socket.stream.peer_addr()
        {
            user.note_address(peer.ip());
        }
        let mut random = fastrand::Rng::with_seed(self.server.seed ^ self.socket.id << 20);
        let subscribed = Arc::new(AtomicBool::new(false));
        let handle = ConnectionHandle {
            socket: Arc::clone(&self.socket),
            commands: self.sender.clone(),
            subscribed: Arc::clone(&subscribed),
            missed_updates: Arc::clone(&self.missed_updates),
        };
        self.key = Some(Arc::clone(&key));
        let is_duplicate = duplicate_key::register(&self.server, handle, &key, &key_id).await;
        key.history.note_first_packet(self.socket.id, self.accepted, self.server.next_moment());
        if is_duplicate {
            self.server.counters.key_violations.add(1);
            key.is_invalidated.store(true, Ordering::Relaxed);
            let login = key.login();
            let (account, slot) = (login.map(|it| it.account), login.map(|it| it.slot));
            tracing::warn!(?account, slot, "a key is used twice");
        }
        let fault = self.server.faults.load().draw(CONNECT, account, &mut random);
        if fault.is_some() {
            self.server.record_fault(user.as_deref());
        }
        let cipher = ServerCipher::new(&key.secret);
        let server = Arc::clone(&self.server);
        let mut session = MtprotoSession::new(server, key, user, cipher, random, subscribed);
        match fault {
            Some(Fault::Close) => return Err(ConnectionEnd::Graceful),
            Some(Fault::Reset) => return Err(ConnectionEnd::Reset),
            Some(Fault::Transport { code }) => {
                self.reply(Reply::TransportError(code));
                session.stop_answering();
            }
            Some(Fault::Silence | Fault::BlackHole) => session.stop_answering(),
            Some(Fault::Protocol(ProtocolFault::ClockJump { seconds })) => session.jump(seconds),
            Some(Fault::Protocol(ProtocolFault::HalfClose)) => {
                return Err(ConnectionEnd::HalfClosed);
            }
            Some(Fault::Protocol(ProtocolFault::StopReading)) => self.reads_no_more = true,
            // A plan has no other fault on `connect`.
            Some(_) | None => {}
        }
        self.session = Some(session);
        Ok(!self.reads_no_more)
    }
}
