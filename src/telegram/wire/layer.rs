//! Messages of a connection: calls and what else the protocol asks for, without any I/O.
//!
//! Owns the state of one MTProto session: which call went in which message, what the server has acknowledged,
//! refused or never answered, its clock and its salts. It is given packets and instants, and says what to send
//! and when to call again. Never reads a socket or a clock, and never has a call sent twice unless the server
//! has said that it did not take it.
//!
//! # The way of a call
//! `call` puts it behind the others; `poll_transmit` packs it with those that wait and with what else is to be
//! told, one message for each, in a container if there are several. An answer names the message. A refusal names
//! the message or the container, and puts all that was in it to the front again, at most
//! [`WireLimits::resends_max`] times, under other numbers; but a message that the server has asked for once more
//! keeps its number, since the first copy may have arrived. An acknowledgement changes nothing: whoever was heard still owes the answer.
//! A call whose time is over, or that nobody waits for any more, is forgotten, and the server is told that it may
//! drop the answer.
//!
//! # What the server is believed
//! Each packet has to be of the key, of the session, and made for a client; of its messages each is taken once.
//! What is no sound packet ends the connection. What is merely late or double is acknowledged, or left out.

mod calls;
mod incoming;
mod notices;
mod pack;
mod pings;
mod refusal;
mod service;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use grammers_crypto::{AuthKey, decrypt_data_v2};

use self::calls::{Calls, WaitingCall};
use self::notices::Notices;
use self::pings::Pings;
use super::clock::ServerClock;
use super::counts::LayerCounts;
use super::error::{Breach, WireEnd, WireError};
use super::limits::{WireLimits, WireTimes};
use super::observer::WireObserver;
use super::salts::{KeyMemory, KnownSalts};
use super::seen::SeenIds;
use super::session::WireSession;
use crate::base::clock::Instant;

/// What is to be told to whoever uses the connection.
#[derive(Debug)]
pub(super) enum LayerEvent<T> {
    /// A call has its answer: the bytes of the result.
    Answer { waiter: T, body: Vec<u8> },
    /// A call has none, and will get none.
    Failed { waiter: T, error: WireError },
    /// Updates that came unasked.
    Updates(Vec<u8>),
    /// An answer that has updates in it, with the call that it answers.
    OwnUpdates { request: Vec<u8>, answer: Vec<u8> },
    /// The server has begun a session: updates may be missing before it.
    Gap,
    /// What is known of the key has changed.
    Memory,
    /// The server has refused a call that nobody waits for any more, in words that may be about the key.
    Rejected { code: i32, message: Box<str> },
}

/// What a layer begins with.
pub(super) struct LayerStart<'a> {
    /// The authorization key.
    pub(super) key: &'a [u8; 256],
    /// What an earlier connection of the key has learnt.
    pub(super) memory: KeyMemory,
    /// What stands before the body of a call until one was answered; empty for nothing.
    pub(super) introduction: Arc<[u8]>,
    /// Whether somebody wants to hear of updates.
    pub(super) wants_updates: bool,
    pub(super) limits: WireLimits,
    pub(super) times: WireTimes,
    /// Who sees each message that comes in.
    pub(super) observer: Option<WireObserver>,
    /// The time of day.
    pub(super) unix_time: Duration,
    pub(super) now: Instant,
    /// Where ids of sessions and pings come from.
    pub(super) random: fastrand::Rng,
}

/// The messages of one connection. `T` waits for the answer of a call.
pub(super) struct WireLayer<T> {
    key: AuthKey,
    limits: WireLimits,
    times: WireTimes,
    clock: ServerClock,
    salts: KnownSalts,
    session: WireSession,
    /// The session before, of which answers may still come.
    former_session: Option<i64>,
    seen: SeenIds,
    random: fastrand::Rng,
    introduction: Arc<[u8]>,
    /// The server has carried out a call with the introduction.
    is_introduced: bool,
    wants_updates: bool,
    observer: Option<WireObserver>,
    calls: Calls<T>,
    notices: Notices,
    pings: Pings,
    /// Messages of ours that the server has asked for, to be sent as they were.
    repeats: Vec<i64>,
    /// The server takes no containers.
    is_single: bool,
    /// The server has announced a session of this connection's.
    has_session: bool,
    /// It has announced so many in this packet.
    sessions_told: u32,
    /// The server has taken something that was sent in a session of this connection's.
    is_taken: bool,
    /// How many packets were refused since one was taken.
    refusals: u32,
    /// Something was sent since a packet came.
    is_waiting: bool,
    events: VecDeque<LayerEvent<T>>,
    counts: LayerCounts,
}

impl<T> WireLayer<T> {
    pub(super) fn new(start: LayerStart<'_>) -> Self {
        let LayerStart { memory, introduction, wants_updates, limits, times, now, .. } = start;
        let mut random = start.random;
        Self {
            key: AuthKey::from_bytes(*start.key),
            limits,
            times,
            clock: ServerClock::new(start.unix_time, memory.clock_offset, now),
            salts: KnownSalts::new(memory.salts),
            session: WireSession::new(random.i64(..)),
            former_session: None,
            seen: SeenIds::new(limits.seen_max),
            random,
            is_introduced: introduction.is_empty(),
            introduction,
            wants_updates,
            observer: start.observer,
            calls: Calls::new(),
            notices: Notices::default(),
            pings: Pings::new(times.ping_every, now),
            repeats: Vec::new(),
            is_single: false,
            has_session: false,
            sessions_told: 0,
            is_taken: false,
            refusals: 0,
            is_waiting: false,
            events: VecDeque::new(),
            counts: LayerCounts::default(),
        }
    }

    /// Puts a call to be sent. Its body is one that may be sent, and its token one that no other has.
    pub(super) fn call(
        &mut self,
        token: u64,
        waiter: T,
        body: Vec<u8>,
        limit: Duration,
        now: Instant,
    ) {
        let deadline = now.checked_add(limit).unwrap_or(now + Duration::from_secs(86_400 * 365));
        self.calls.push(WaitingCall { token, waiter, body, limit, deadline, resends: 0 });
    }

    /// Nobody waits for a call any more. Returns who did, if it was still without an answer.
    pub(super) fn cancel(&mut self, token: u64) -> Option<T> {
        let (id, call) = self.calls.cancel(token)?;
        if let Some(id) = id {
            self.notices.drop_answer(id);
        }
        Some(call.waiter)
    }

    /// Whether somebody wants to hear of updates from here on.
    pub(super) fn want_updates(&mut self, wants_updates: bool) {
        self.wants_updates = wants_updates;
    }

    /// All that was packed has left.
    pub(super) fn note_written(&mut self, now: Instant) {
        self.pings.left(now);
    }

    /// When the last ping had left.
    pub(super) fn pinged_at(&self) -> Option<Instant> {
        self.pings.last_left_at()
    }

    /// Something has come, be it a part of a packet, or a socket that was full takes more.
    pub(super) fn hear(&mut self, now: Instant) {
        self.pings.heard(now);
    }

    /// Handles a packet, which is decrypted in place. An error is the end of the connection.
    pub(super) fn handle_packet(&mut self, packet: &mut [u8], now: Instant) -> Result<(), WireEnd> {
        let plain = decrypt_data_v2(packet, &self.key);
        let plain = plain.map_err(|_| Breach("a packet was damaged or is of another key"))?;
        self.counts.packets_received += 1;
        if std::mem::take(&mut self.is_waiting) && self.counts.answered_at.is_none() {
            self.counts.opening_round_trips += 1;
        }
        self.pings.heard(now);
        self.handle_plain(plain, now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(super) fn poll_timeout(&self) -> Instant {
        let others = self.notices.acks_due().into_iter().chain(self.calls.first_deadline());
        others.fold(self.pings.wakes_at(), Instant::min)
    }

    /// When the first call is to have its answer.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.calls.first_deadline()
    }

    /// Gives up the calls whose time is over.
    pub(super) fn expire_calls(&mut self, now: Instant) {
        for (id, call) in self.calls.expire(now) {
            if let Some(id) = id {
                self.notices.drop_answer(id);
            }
            let error = WireError::TimedOut { was_sent: id.is_some(), after: call.limit };
            self.events.push_back(LayerEvent::Failed { waiter: call.waiter, error });
        }
    }

    /// Does what the time asks for. An error is the end of the connection.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), WireEnd> {
        self.expire_calls(now);
        self.notices.tick(now);
        let next_ping = self.pings.next_at();
        self.pings.tick(now)?;
        if self.pings.next_at() != next_ping {
            self.forget_old_ids(now);
        }
        Ok(())
    }

    /// What is to be told next.
    pub(super) fn poll_event(&mut self) -> Option<LayerEvent<T>> {
        let event = self.events.pop_front();
        if event.is_none() && self.events.capacity() > 0 {
            self.events = VecDeque::new();
        }
        event
    }

    /// Tells every call that the connection has ended.
    pub(super) fn end(&mut self, end: &WireEnd) {
        for (was_sent, call) in self.calls.drain() {
            let error = WireError::Lost { was_sent, end: end.clone() };
            self.events.push_back(LayerEvent::Failed { waiter: call.waiter, error });
        }
    }

    /// No call is sent any more: tells those that wait for it.
    pub(super) fn end_ready(&mut self, end: &WireEnd) {
        for call in self.calls.drain_ready() {
            // One that goes again was not taken.
            self.fail(call, WireError::Lost { was_sent: false, end: end.clone() });
        }
    }

    /// Whether something is to be sent now.
    pub(super) fn wants_transmit(&self) -> bool {
        self.pings.is_due()
            || !self.repeats.is_empty()
            || self.calls.has_ready(self.limits.calls_max)
            || self.notices.is_urgent()
    }

    /// Whether a call waits for its answer.
    pub(super) fn has_calls_in_flight(&self) -> bool {
        self.calls.are_in_flight()
    }

    /// Whether no call waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// Gives back what many calls have taken; for when none waits.
    pub(super) fn release_memory(&mut self) {
        self.calls.release_memory();
    }

    /// Nothing was sent yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.counts.packets_sent == 0
    }

    /// What the next connection of the key has use for.
    pub(super) fn memory(&self, unix_time: Duration, now: Instant) -> KeyMemory {
        let salts = Arc::clone(self.salts.known());
        KeyMemory { salts, clock_offset: self.clock.offset(unix_time, now) }
    }

    pub(super) fn counts(&self) -> &LayerCounts {
        &self.counts
    }

    fn fail(&mut self, call: WaitingCall<T>, error: WireError) {
        self.events.push_back(LayerEvent::Failed { waiter: call.waiter, error });
    }
}
