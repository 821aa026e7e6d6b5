//! MTProto session of an authenticated connection: packets go in, replies come out.
//!
//! Owns the checks of salts, clocks, ids and sequence numbers. It is sans-IO: each reply comes with the delay
//! that it is due after. What has to outlast the connection lies in `memory`.

mod calls;
mod forge;
mod hostile;
mod kept;
mod memory;
mod received;
mod reply;
mod seal;
mod service;

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{Key, User};
use super::envelope::{Envelope, Malformed, Message};
use super::request::Request;
use super::response;
use super::server_state::ServerState;
use crate::base::clock::unix_time;
use crate::base::sync::AtomicBool;
use crate::mtproto::cipher::ServerCipher;
use received::{Fate, MessageRefusal};
use reply::ReplyKind;

pub(super) use memory::{ServerSession, SessionTable};
pub(super) use received::SequenceParity;
pub(super) use reply::Reply;

/// How far behind and ahead of the server's clock a client's message may be, in seconds.
const BEHIND_MAX: i64 = 300;
const AHEAD_MAX: i64 = 30;

/// The codes of `bad_msg_notification` that a packet is refused with, whatever came before.
const ID_TOO_LOW: i32 = 16;
const ID_TOO_HIGH: i32 = 17;
const ID_OF_A_SERVER: i32 = 18;
const CONTAINER_ID_USED: i32 = 19;
const INVALID_CONTAINER: i32 = 64;

/// The server's end of the sessions of a connection: one at a time.
pub(super) struct MtprotoSession {
    server: Arc<ServerState>,
    key: Arc<Key>,
    /// Who is signed in with the key.
    user: Option<Arc<User>>,
    cipher: ServerCipher,
    random: fastrand::Rng,
    /// The session of the last packet, which may still be unknown to others.
    current: Arc<ServerSession>,
    /// It was used on another connection before, and what that has left was not offered yet.
    owes_offer: bool,
    /// The client has sent `initConnection`.
    is_initialised: bool,
    /// Nothing is answered any more.
    is_unresponsive: bool,
    /// Whether updates are sent here; shared with the handle of the connection.
    subscribed: Arc<AtomicBool>,
    /// After how long the last `ping_delay_disconnect` has the connection closed.
    disconnect_delay: Option<Duration>,
    /// The last message id that was used here, and that of the last message.
    last_id: i64,
    last_message: i64,
    /// How many seconds the clock is ahead, since it has jumped.
    clock_offset: i64,
    /// With the delay of each, on top of the latency.
    replies: Vec<(Duration, Reply)>,
}

impl MtprotoSession {
    pub(super) fn new(
        server: Arc<ServerState>,
        key: Arc<Key>,
        user: Option<Arc<User>>,
        cipher: ServerCipher,
        random: fastrand::Rng,
        subscribed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            server,
            key,
            user,
            cipher,
            random,
            current: Arc::new(ServerSession::none()),
            owes_offer: false,
            is_initialised: false,
            is_unresponsive: false,
            subscribed,
            disconnect_delay: None,
            last_id: 0,
            last_message: 0,
            clock_offset: 0,
            replies: Vec::new(),
        }
    }

    /// Answers nothing any more, whatever comes.
    pub(super) fn stop_answering(&mut self) {
        self.is_unresponsive = true;
    }

    /// After how long the connection is to be closed, if the last packet has set that timer.
    pub(super) fn take_disconnect_delay(&mut self) -> Option<Duration> {
        self.disconnect_delay.take()
    }

    pub(super) fn take_replies(&mut self) -> std::vec::Drain<'_, (Duration, Reply)> {
        self.replies.drain(..)
    }

    /// Handles a packet, whose replies then wait to be taken.
    pub(super) fn handle_packet(&mut self, packet: &mut [u8]) -> Result<(), Malformed> {
        if self.is_unresponsive {
            self.server.record_fault(self.user.as_deref());
            return Ok(());
        }
        let plain = self.cipher.open(packet).ok_or(Malformed)?;
        let envelope = Envelope::read(plain)?;
        self.find_user();
        self.enter(envelope.session);
        if let Some(error) = self.check_packet(&envelope) {
            self.notify(error);
            return Ok(());
        }
        self.announce_new_session(&envelope);
        if envelope.is_container {
            let memory = &self.current.memory;
            let container = (envelope.id, envelope.sequence);
            let admitted =
                memory.lock().received.admit(container, SequenceParity::Even, Fate::Notice);
            if let Err(refusal) = admitted {
                let code = match refusal {
                    MessageRefusal::Duplicate => CONTAINER_ID_USED,
                    MessageRefusal::Code(code) => code,
                };
                self.refuse(container, code);
                return Ok(());
            }
        }
        for message in &envelope.messages {
            self.handle_message(message);
        }
        if std::mem::take(&mut self.owes_offer) {
            // Afterwards: what the packet acknowledges is not offered.
            self.offer_what_is_left();
        }
        Ok(())
    }

    /// Who is signed in may have changed since the last packet, by another connection of the key or by the handle.
    pub(super) fn find_user(&mut self) {
        let account = self.key.account();
        if account != self.user.as_ref().map(|user| user.account) {
            self.user = account.and_then(|account| self.server.user(account));
        }
    }

    /// The time of day on this connection, since 1970.
    fn now(&self) -> Duration {
        let offset = Duration::from_secs(self.clock_offset.unsigned_abs());
        match self.clock_offset {
            0.. => unix_time().saturating_add(offset),
            _ => unix_time().saturating_sub(offset),
        }
    }

    /// Goes over to the session of a packet.
    fn enter(&mut self, id: i64) {
        if self.current.id == id && !self.current.memory.lock().is_destroyed {
            return;
        }
        let known = self.key.sessions.lock().find(id);
        self.owes_offer = known.is_some();
        self.current = known.unwrap_or_else(|| Arc::new(ServerSession::new(id)));
    }

    /// The error that the ids or the salt of a packet deserve, if any.
    fn check_packet(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        let (id, sequence) = (envelope.id, envelope.sequence.cast_signed());
        let now = self.now().as_secs();
        let clock_error = self.clock_error(id);
        let code = match clock_error {
            _ if id & 3 != 0 => ID_OF_A_SERVER,
            Some(code) => code,
            None if !self.server.accepts_salt(&self.key, envelope.salt, now) => {
                return Some(response::bad_salt(id, sequence, self.server.salt(&self.key, now)));
            }
            None if !envelope.is_valid => INVALID_CONTAINER,
            None => return None,
        };
        Some(response::bad_message(id, sequence, code))
    }

    /// Sends `new_session_created` if the session is not known, or if a message comes that is older than what
    /// it was told to begin with.
    fn announce_new_session(&mut self, envelope: &Envelope<'_>) {
        let ids = envelope.messages.iter().map(|message| message.id);
        let first = ids.min().unwrap_or(envelope.id);
        let announced = {
            let mut memory = self.current.memory.lock();
            if memory.announced.is_some_and(|id| id <= first) {
                return;
            }
            memory.announced.replace(first)
        };
        if announced.is_none() {
            self.key.sessions.lock().add(Arc::clone(&self.current));
        }
        let salt = self.server.salt(&self.key, self.now().as_secs());
        let body = response::new_session(first, self.random.i64(..), salt);
        self.reply(ReplyKind::Update, body);
    }

    fn handle_message(&mut self, message: &Message<'_>) {
        let place = (message.id, message.sequence);
        if message.id & 3 != 0 {
            return self.refuse(place, ID_OF_A_SERVER);
        }
        let request = Request::read(&message.body);
        let fate = match &request {
            Request::Call(_) => Fate::Running,
            _ => Fate::Notice,
        };
        let admitted =
            self.current.memory.lock().received.admit(place, request.sequence_parity(), fate);
        match admitted {
            Ok(()) => {}
            Err(MessageRefusal::Duplicate) => return self.offer_answer_to(message.id),
            Err(MessageRefusal::Code(code)) => return self.refuse(place, code),
        }
        match &request {
            Request::Ping(_) | Request::PingDelayDisconnect { .. } | Request::Call(_) => {
                self.handle_call(place, &request);
            }
            _ if self.is_unresponsive => {}
            _ => self.handle_service(message.id, &request),
        }
    }

    /// Refuses a message with a code of `bad_msg_notification`.
    fn refuse(&mut self, (id, sequence): (i64, u32), code: i32) {
        self.notify(response::bad_message(id, sequence.cast_signed(), code));
    }

    fn notify(&mut self, body: Vec<u8>) {
        self.reply(ReplyKind::Notice, body);
    }

    /// Replies at once.
    fn reply(&mut self, kind: ReplyKind, body: Vec<u8>) {
        self.replies.push((Duration::ZERO, Reply::message(&self.current, kind, body)));
    }

    /// Keeps what has not left when the connection ends, for the next one of the session.
    pub(super) fn keep_unsent(&self, reply: Reply) {
        let Reply::Message(message) = reply else { return };
        if message.kind.wants_acknowledgement() {
            let session = message.session.clone();
            session.unwrap_or_else(|| Arc::clone(&self.current)).keep_unsent(message);
        }
    }
}

#[cfg(test)]
mod tests;
