//! MTProto session of an authenticated connection.
//!
//! Owns the message ids, the checks of salts and clocks, and the faults of calls. It is sans-IO:
//! packets go in, replies come out with the delay that they are due after.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{Key, User};
use super::envelope::{Cipher, Envelope, Malformed, Message, OutgoingMessage, write};
use super::faults::Fault;
use super::frame::Framing;
use super::request::{Method, Request, RpcCall};
use super::response::{self, RpcError, execute, result};
use super::server_state::ServerState;
use crate::base::clock::unix_time;
use crate::base::sync::{AtomicBool, Ordering};

/// How far behind and ahead of the server's clock a client's message may be, in seconds.
const BEHIND_MAX: i64 = 300;
const AHEAD_MAX: i64 = 30;
/// What the low bits of a message id say of it: a response to a client's message, a notification.
const RESPONSE: i64 = 1;
const NOTIFICATION: i64 = 3;

/// What the server sends, or does in place of that.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Message {
        body: Vec<u8>,
        /// A response to a request; otherwise a notification.
        is_response: bool,
        /// It goes out with a wrong checksum.
        damaged: bool,
    },
    /// And the end of the connection.
    TransportError(u16),
    Close,
    Reset,
}

impl Reply {
    fn response(body: Vec<u8>) -> Self {
        Self::Message { body, is_response: true, damaged: false }
    }

    pub(super) fn notification(body: Vec<u8>) -> Self {
        Self::Message { body, is_response: false, damaged: false }
    }
}

/// The server's end of a session.
pub(super) struct MtprotoSession {
    server: Arc<ServerState>,
    key: Arc<Key>,
    user: Arc<User>,
    cipher: Cipher,
    random: fastrand::Rng,
    session: i64,
    /// The client has sent `initConnection`.
    is_initialised: bool,
    /// Nothing is answered any more.
    is_unresponsive: bool,
    /// Whether updates are sent here; shared with the handle of the connection.
    subscribed: Arc<AtomicBool>,
    /// After how long the last `ping_delay_disconnect` has the connection closed.
    disconnect_delay: Option<Duration>,
    /// How many messages went out.
    sent: u32,
    last_id: i64,
    /// With the delay of each, on top of the latency.
    replies: Vec<(Duration, Reply)>,
}

impl MtprotoSession {
    pub(super) fn new(
        server: Arc<ServerState>,
        key: Arc<Key>,
        user: Arc<User>,
        cipher: Cipher,
        random: fastrand::Rng,
        subscribed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            server,
            key,
            user,
            cipher,
            random,
            session: 0,
            is_initialised: false,
            is_unresponsive: false,
            subscribed,
            disconnect_delay: None,
            sent: 0,
            last_id: 0,
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
            self.server.record_fault(&self.user);
            return Ok(());
        }
        let plain = self.cipher.open(packet).ok_or(Malformed)?;
        let envelope = Envelope::read(plain)?;
        self.session = envelope.session;
        if let Some(error) = self.check_header(&envelope) {
            self.replies.push((Duration::ZERO, Reply::notification(error)));
            return Ok(());
        }
        self.announce_new_session(&envelope);
        for message in &envelope.messages {
            self.handle_message(message);
        }
        Ok(())
    }

    /// The error that the ids or the salt of a packet deserve, if any.
    fn check_header(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        let (id, sequence) = (envelope.id, envelope.sequence.cast_signed());
        let ahead = (id >> 32) - i64::try_from(unix_time().as_secs()).unwrap_or(0);
        let code = match () {
            () if id & 3 != 0 => 18,
            () if ahead < -BEHIND_MAX => 16,
            () if ahead > AHEAD_MAX => 17,
            () if !self.server.accepts_salt(&self.key, envelope.salt) => {
                return Some(response::bad_salt(id, sequence, self.server.salt(&self.key)));
            }
            () => return None,
        };
        Some(response::bad_message(id, sequence, code))
    }

    /// Sends `new_session_created` if the session is not the last one of its key.
    fn announce_new_session(&mut self, envelope: &Envelope<'_>) {
        let session = envelope.session.cast_unsigned();
        if self.key.session.swap(session, Ordering::Relaxed) != session {
            let first = envelope.messages.first().map_or(envelope.id, |message| message.id);
            let salt = self.server.salt(&self.key);
            let body = response::new_session(first, self.random.i64(..), salt);
            self.replies.push((Duration::ZERO, Reply::notification(body)));
        }
    }

    fn handle_message(&mut self, message: &Message<'_>) {
        let (id, request) = (message.id, Request::read(&message.body));
        let body = match &request {
            Request::NoReply => return,
            Request::Ping(_) | Request::PingDelayDisconnect { .. } | Request::Call(_) => {
                return self.handle_call(id, &request);
            }
            Request::FutureSalts(count) => {
                response::future_salts(&self.server, &self.key, id, *count)
            }
            Request::MessageStates(asked) => response::message_states(id, asked),
            Request::DestroySession(session) => response::no_such_session(*session),
            Request::DropAnswer => result(id, Ok(response::nothing_to_drop())),
        };
        if !self.is_unresponsive {
            self.replies.push((Duration::ZERO, Reply::response(body)));
        }
    }

    /// A call or a ping, which a fault may be injected into.
    fn handle_call(&mut self, id: i64, request: &Request) {
        self.server.counters.calls.add(1);
        if self.is_unresponsive {
            return self.server.record_fault(&self.user);
        }
        let name = request.name();
        let method = if let Request::Call(call) = request { call.id } else { 0 };
        let mut delay = Duration::ZERO;
        let mut damaged = false;
        let fault = match self.user.flood_wait_remaining(method) {
            Some(seconds) => Some(Fault::FloodWait { seconds }),
            None => {
                let faults = self.server.faults.load();
                let fault = faults.draw(name, self.key.account, &mut self.random);
                if let Some(Fault::FloodWait { seconds }) = fault {
                    self.user.start_flood_wait(method, seconds);
                }
                fault.or_else(|| self.server.send_flood(&self.user, request))
            }
        };
        if fault.is_some() {
            self.server.record_fault(&self.user);
        }
        let body = match fault {
            Some(Fault::Close) => return self.replies.push((delay, Reply::Close)),
            Some(Fault::Reset) => return self.replies.push((delay, Reply::Reset)),
            Some(Fault::Transport { code }) => {
                return self.replies.push((delay, Reply::TransportError(code)));
            }
            Some(Fault::Silence) => return,
            Some(Fault::BlackHole) => return self.stop_answering(),
            Some(Fault::FloodWait { seconds }) => {
                result(id, Err(RpcError::new(420, format!("FLOOD_WAIT_{seconds}"))))
            }
            Some(Fault::Error { code, message }) => result(id, Err(RpcError::new(code, message))),
            Some(Fault::Delay(time)) => {
                delay = time;
                self.response_to(id, request)
            }
            Some(Fault::BadCrc) => {
                damaged = true;
                self.response_to(id, request)
            }
            // A plan has no fault of updates on a call.
            Some(Fault::Lose | Fault::Double | Fault::Reorder) | None => {
                self.response_to(id, request)
            }
        };
        self.replies.push((delay, Reply::Message { body, is_response: true, damaged }));
    }

    fn response_to(&mut self, id: i64, request: &Request) -> Vec<u8> {
        match request {
            Request::Ping(number) => response::pong(id, *number),
            Request::PingDelayDisconnect { ping_id, disconnect_delay } => {
                // A delay of zero or less has passed at once.
                let seconds = u64::try_from(*disconnect_delay).unwrap_or(0);
                let longest = self.server.disconnect_delay_max.unwrap_or(Duration::MAX);
                self.disconnect_delay = Some(Duration::from_secs(seconds).min(longest));
                response::pong(id, *ping_id)
            }
            Request::Call(call) => result(id, self.execute(call)),
            _ => unreachable!("BUG: only calls and pings have a response"),
        }
    }

    fn execute(&mut self, call: &RpcCall) -> Result<Vec<u8>, RpcError> {
        if self.key.is_invalidated.load(Ordering::Relaxed) {
            return Err(RpcError::new(406, "AUTH_KEY_DUPLICATED"));
        }
        if let Some(introduction) = call.introduction.as_deref()
            && call.method != Method::Malformed
        {
            self.is_initialised = true;
            *self.key.introduction.lock() = Some(introduction.clone());
        }
        if !self.is_initialised {
            return Err(RpcError::new(400, "CONNECTION_NOT_INITED"));
        }
        if !call.without_updates && !self.subscribed.load(Ordering::Relaxed) {
            self.key.updates.lock().begin_connection();
            self.subscribed.store(true, Ordering::Relaxed);
        }
        execute(&self.server, (&self.key, &self.user), call)
    }

    /// Encrypts messages as one packet, and frames it.
    pub(super) fn seal(
        &mut self,
        messages: Vec<(Vec<u8>, bool)>,
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) {
        let messages: Vec<OutgoingMessage> = messages
            .into_iter()
            .map(|(body, is_response)| {
                let id = self.next_id(if is_response { RESPONSE } else { NOTIFICATION });
                // Odd: the client is to acknowledge it.
                let sequence = self.sent * 2 + 1;
                self.sent += 1;
                OutgoingMessage { id, sequence, body }
            })
            .collect();
        // A container is numbered after what it holds, and wants no acknowledgement.
        let container = (self.next_id(NOTIFICATION), self.sent * 2);
        let salt = self.server.salt(&self.key);
        let packet = write(&self.cipher, salt, self.session, &messages, container);
        framing.pack(&packet[..], out);
    }

    /// A message id: the time of day, made greater than the last one.
    fn next_id(&mut self, kind: i64) -> i64 {
        let now = unix_time();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
        let fraction = (i64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let id = (seconds << 32 | (fraction & !3)).max((self.last_id & !3) + 4);
        self.last_id = id;
        id | kind
    }
}

#[cfg(test)]
mod tests;
