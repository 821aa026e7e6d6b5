//! Messages of the server about messages and sessions.
//!
//! Owns what each of them changes here. What it does not know is an update.

use super::calls::Flight;
use super::incoming::IncomingMessage;
use super::notices::Service;
use super::{LayerEvent, WireLayer};
use crate::base::clock::Instant;
use crate::telegram::wire::error::{Breach, WireEnd, WireError};
use crate::telegram::wire::salts::ServerSalt;
use crate::telegram::wire::tl::{
    ACK, ALL_INFO, BAD_MESSAGE, BAD_SALT, DETAILED_INFO, FUTURE_SALTS, HTTP_WAIT,
    NEW_DETAILED_INFO, NEW_SESSION, NO_SUCH_SESSION, PING, PONG, RESEND_ANSWER_REQUEST,
    RESEND_REQUEST, SESSION_DESTROYED, STATE_INFO, STATE_REQUEST, WireReader, constructor,
};

/// The most ids that one message may ask about, as the protocol has it.
const IDS_MAX: usize = 8_192;
/// So many sessions may begin in one packet: a sound server begins one.
const SESSIONS_MAX: u32 = 4;
/// What is known of a message of ours that the server has asked for: nothing.
const UNKNOWN: u8 = 1;

impl<T> WireLayer<T> {
    pub(super) fn handle_service(
        &mut self,
        message: IncomingMessage<'_>,
        now: Instant,
    ) -> Result<(), WireEnd> {
        let IncomingMessage { id, body, .. } = message;
        let mut rest = WireReader(&body[4..]);
        self.is_taken |= !matches!(constructor(body), BAD_MESSAGE | BAD_SALT);
        match constructor(body) {
            BAD_MESSAGE => self.handle_refusal(id, rest, false, now)?,
            BAD_SALT => self.handle_refusal(id, rest, true, now)?,
            PONG => self.handle_pong(rest.long()?, body, now),
            FUTURE_SALTS => self.handle_salts(rest, body, now)?,
            NEW_SESSION => self.handle_new_session(rest, now)?,
            STATE_REQUEST => {
                let states: Vec<u8> = ids(rest)?.map(|id| self.seen.state(id)).collect();
                self.notices.tell_states(id, &states);
            }
            STATE_INFO => self.handle_states(rest)?,
            RESEND_REQUEST | RESEND_ANSWER_REQUEST => self.handle_resend_request(id, rest)?,
            DETAILED_INFO => {
                let (call, answer) = (rest.long()?, rest.long()?);
                // An answer that nobody waits for need not come.
                let is_wanted = self.calls.flight(call).is_some();
                self.handle_detailed_info(answer, is_wanted, now);
            }
            NEW_DETAILED_INFO => self.handle_detailed_info(rest.long()?, true, now),
            PING => self.notices.pong(id, rest.long()?),
            // Whoever has taken a message may still refuse it: nothing follows from it.
            ACK | ALL_INFO | SESSION_DESTROYED | NO_SUCH_SESSION | HTTP_WAIT => {}
            _ if self.wants_updates => {
                self.events.push_back(LayerEvent::Updates(body.to_vec()));
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_pong(&mut self, to: i64, body: &[u8], now: Instant) {
        self.refusals = 0;
        self.counts.answered_at = Some(now);
        match self.notices.answered(to, |it| *it == Service::Ping) {
            Some(_) => self.pings.answered(),
            // One that the application has sent.
            None => self.answer(to, body.to_vec()),
        }
    }

    fn handle_salts(
        &mut self,
        mut rest: WireReader<'_>,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Breach> {
        let (to, _now) = (rest.long()?, rest.int()?);
        let count = rest.len()?.min(IDS_MAX);
        let mut salts = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let (valid_since, valid_until) = (rest.int()?, rest.int()?);
            salts.push(ServerSalt { value: rest.long()?, valid_since, valid_until });
        }
        let is_ours = self.notices.answered(to, |it| *it == Service::FutureSalts).is_some();
        if is_ours || self.calls.flight(to).is_some() {
            self.salts.replace(salts.into_iter(), self.clock.seconds(now));
            self.note_memory();
        }
        if !is_ours {
            self.answer(to, body.to_vec());
        }
        Ok(())
    }

    fn handle_new_session(&mut self, mut rest: WireReader<'_>, now: Instant) -> Result<(), Breach> {
        let (first, _unique, salt) = (rest.long()?, rest.long()?, rest.long()?);
        if self.salts.tell(salt, self.clock.seconds(now), false) {
            self.note_memory();
        }
        self.sessions_told += 1;
        if self.sessions_told > SESSIONS_MAX {
            return Err(Breach("a packet begins one session after the other"));
        }
        if std::mem::replace(&mut self.has_session, true) {
            // A server that has forgotten the session may have forgotten who we are, and what it had to tell.
            self.is_introduced = self.introduction.is_empty();
            if self.wants_updates {
                self.events.push_back(LayerEvent::Gap);
            }
        }
        // What went before may be lost, or carried out already: the server is asked.
        let session = self.session.number;
        let before = self.calls.ids(|_, flight| flight.session == session && flight.packet < first);
        self.notices.ask_state(&before);
        Ok(())
    }

    /// What the server says has become of our messages.
    fn handle_states(&mut self, mut rest: WireReader<'_>) -> Result<(), Breach> {
        let (to, states) = (rest.long()?, rest.bytes()?);
        let is_request = |it: &Service| matches!(it, Service::StateRequest(_));
        let Some(request) = self.notices.answered(to, is_request) else { return Ok(()) };
        let Service::StateRequest(asked) = request.service else { return Ok(()) };
        let mut not_received = Vec::new();
        for (id, state) in asked.into_iter().zip(states) {
            // Of another session the server knows nothing, and of what went after the question neither.
            let is_meant = |it: &Flight<T>| it.session == request.session && it.packet < to;
            if !self.calls.flight(id).is_some_and(is_meant) {
                continue;
            }
            match state & 7 {
                UNKNOWN => {
                    if let Some(flight) = self.calls.take(id) {
                        self.fail(flight.call, WireError::Forgotten);
                    }
                }
                2 | 3 => not_received.push(id),
                _ => {}
            }
        }
        not_received.dedup();
        self.send_again(&not_received, 0);
        Ok(())
    }

    /// The server wants messages of ours again, which it has not taken: each goes as it was, under its own number.
    fn handle_resend_request(&mut self, request: i64, rest: WireReader<'_>) -> Result<(), Breach> {
        let ids = ids(rest)?;
        let has =
            |id: &i64| self.calls.flight(*id).is_some_and(|it| it.session == self.session.number);
        let known: Vec<i64> = ids.clone().filter(has).collect();
        let (known_count, asked_count) = (known.len(), ids.clone().count());
        known.into_iter().for_each(|id| self.repeat(id));
        if known_count < asked_count {
            let state = |id| if id & 1 == 0 { UNKNOWN } else { self.seen.state(id) };
            let states: Vec<u8> = ids.map(state).collect();
            self.notices.tell_states(request, &states);
        }
        Ok(())
    }

    /// The server has a message for us that it has sent before, or finds too large to send unasked.
    fn handle_detailed_info(&mut self, id: i64, is_wanted: bool, now: Instant) {
        if is_wanted && !self.seen.contains(id) {
            self.notices.ask_for(id);
        } else {
            self.notices.ack(id, now, self.times.ack_after);
        }
    }

    /// What is known of the key has changed.
    pub(super) fn note_memory(&mut self) {
        self.events.push_back(LayerEvent::Memory);
    }
}

/// The ids that a message asks about.
fn ids(mut rest: WireReader<'_>) -> Result<impl Iterator<Item = i64> + Clone, Breach> {
    Ok(rest.longs()?.take(IDS_MAX))
}
