//! Messages of the server, one by one.
//!
//! Owns the checks of a packet, the way through containers and compressed messages, and what each answer is for.
//! Never believes a length.

use grammers_tl_types::{Identifiable as _, types};

use super::unpack::Allowance;
use super::{LayerEvent, WireLayer};
use crate::base::clock::Instant;
use crate::telegram::wire::error::{Breach, WireEnd, WireError};
use crate::telegram::wire::observer::WireMessage;
use crate::telegram::wire::seen::Novelty;
use crate::telegram::wire::session::{id_at, second_of};
use crate::telegram::wire::tl::{
    CONTAINER, COPY, GZIP_PACKED, RPC_ERROR, RPC_RESULT, WireReader, constructor,
};

/// How old a message may be, in seconds.
const AGE_MAX: i64 = 300;
/// What the server says to a call of a connection whose introduction it does not know.
const NOT_INTRODUCED: &[u8] = b"CONNECTION_NOT_INITED";

/// Errors with these codes may be about the key, whatever was called.
const OF_THE_KEY: [i32; 2] = [401, 406];
/// An answer that nobody waits for is unpacked only up to this length: errors are short.
const UNCLAIMED_LEN_MAX: usize = 1_024;

/// Answers that have updates in them.
const WITH_UPDATES: [u32; 9] = [
    types::UpdateShortMessage::CONSTRUCTOR_ID,
    types::UpdateShortChatMessage::CONSTRUCTOR_ID,
    types::UpdateShort::CONSTRUCTOR_ID,
    types::UpdatesCombined::CONSTRUCTOR_ID,
    types::Updates::CONSTRUCTOR_ID,
    types::UpdateShortSentMessage::CONSTRUCTOR_ID,
    types::messages::AffectedMessages::CONSTRUCTOR_ID,
    types::messages::InvitedUsers::CONSTRUCTOR_ID,
    types::messages::ChatInviteJoinResultOk::CONSTRUCTOR_ID,
];

/// A message on its way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct IncomingMessage<'a> {
    pub(super) id: i64,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
    /// How many others it lies in.
    pub(super) depth: usize,
}

impl<'a> IncomingMessage<'a> {
    /// Takes a message off the front.
    fn read(reader: &mut WireReader<'a>, depth: usize) -> Result<Self, Breach> {
        let (id, sequence, len) = (reader.long()?, reader.word()?, reader.len()?);
        if id & 1 == 0 {
            return Err(Breach("a message numbered as if it were a client's"));
        }
        if len < 4 || !len.is_multiple_of(4) {
            return Err(Breach("a message of no whole words"));
        }
        Ok(Self { id, sequence, body: reader.take(len)?, depth })
    }

    /// The same message with another body.
    fn with<'b>(&self, body: &'b [u8]) -> IncomingMessage<'b> {
        IncomingMessage { id: self.id, sequence: self.sequence, body, depth: self.depth + 1 }
    }
}

impl<T> WireLayer<T> {
    /// Handles what was in a packet.
    pub(super) fn handle_plain(&mut self, plain: &[u8], now: Instant) -> Result<(), WireEnd> {
        let mut reader = WireReader(plain);
        let (_salt, session) = (reader.long()?, reader.long()?);
        let message = IncomingMessage::read(&mut reader, 0)?;
        if !(12..=1024).contains(&reader.0.len()) {
            return Err(Breach("a packet with too little or too much behind it").into());
        }
        if session != self.session.id && Some(session) != self.former_session {
            self.counts.ignored_messages += 1;
            return Ok(());
        }
        self.clock.hear(second_of(message.id), now);
        self.sessions_told = 0;
        let mut allowance = Allowance::new(&self.limits);
        self.handle_message(message, &mut allowance, now)
    }

    /// Handles what a packet may be once it is decrypted: a message behind a sound head, so that a fuzzer need not
    /// find that out.
    #[cfg(any(fuzzing, test))]
    pub(in crate::telegram::wire) fn handle_message_bytes(
        &mut self,
        message: &[u8],
        now: Instant,
    ) -> Result<(), WireEnd> {
        let head = [[0; 8], self.session.id.to_le_bytes()].concat();
        self.handle_plain(&[&head[..], message, &[0; 12]].concat(), now)
    }

    fn handle_message(
        &mut self,
        message: IncomingMessage<'_>,
        allowance: &mut Allowance,
        now: Instant,
    ) -> Result<(), WireEnd> {
        allowance.message(message.depth)?;
        self.show(&message);
        if constructor(message.body) == CONTAINER {
            return self.handle_container(message, allowance, now);
        }
        let mut novelty = match second_of(message.id) < self.clock.seconds(now) - AGE_MAX {
            true if !self.seen.contains(message.id) => Novelty::Stale,
            _ => self.seen.insert(message.id),
        };
        // One that was asked for may be old, and comes once.
        if self.notices.take_asked(message.id) && novelty == Novelty::Stale {
            novelty = Novelty::New;
        }
        // One that comes again was not acknowledged, as far as the server knows.
        if message.sequence & 1 == 1 && novelty != Novelty::Stale {
            self.notices.ack(message.id, now, self.times.ack_after);
        }
        if novelty != Novelty::New {
            self.counts.ignored_messages += 1;
            return Ok(());
        }
        self.handle_body(message, allowance, now)
    }

    /// Shows a message to whoever wants to see each.
    fn show(&self, message: &IncomingMessage<'_>) {
        if let Some(observer) = &self.observer {
            let IncomingMessage { id, sequence, body, depth } = *message;
            observer.see(&WireMessage { id, sequence, depth, body });
        }
    }

    fn handle_container(
        &mut self,
        container: IncomingMessage<'_>,
        allowance: &mut Allowance,
        now: Instant,
    ) -> Result<(), WireEnd> {
        let mut reader = WireReader(&container.body[4..]);
        for _ in 0..reader.len()? {
            let message = IncomingMessage::read(&mut reader, container.depth + 1)?;
            self.handle_message(message, allowance, now)?;
        }
        Ok(())
    }

    /// Handles a message that is new.
    fn handle_body(
        &mut self,
        message: IncomingMessage<'_>,
        allowance: &mut Allowance,
        now: Instant,
    ) -> Result<(), WireEnd> {
        let body = WireReader(&message.body[4..]);
        match constructor(message.body) {
            RPC_RESULT => self.handle_result(body, allowance, now),
            GZIP_PACKED => {
                allowance.message(message.depth)?;
                let plain = allowance.unpack(body)?;
                if plain.len() < 4 {
                    return Err(Breach("a compressed message of less than a word").into());
                }
                let inner = message.with(&plain);
                match constructor(&plain) {
                    CONTAINER => self.handle_message(inner, allowance, now),
                    _ => {
                        self.show(&inner);
                        self.handle_body(inner, allowance, now)
                    }
                }
            }
            COPY => {
                let mut reader = body;
                let original = IncomingMessage::read(&mut reader, message.depth + 1)?;
                self.handle_message(original, allowance, now)
            }
            _ => self.handle_service(message, now),
        }
    }

    /// An answer: what follows the constructor of `rpc_result`.
    fn handle_result(
        &mut self,
        mut body: WireReader<'_>,
        allowance: &mut Allowance,
        now: Instant,
    ) -> Result<(), WireEnd> {
        let id = body.long()?;
        let answer = body.0;
        (self.refusals, self.is_taken) = (0, true);
        self.counts.answered_at = Some(now);
        if self.calls.flight(id).is_none() {
            self.counts.unclaimed_answers += 1;
            self.note_unclaimed(answer, allowance);
            return Ok(());
        }
        match constructor(answer) {
            GZIP_PACKED => match allowance.unpack(WireReader(&answer[4..])) {
                Ok(plain) if constructor(&plain) == RPC_ERROR => self.handle_error(id, &plain)?,
                Ok(plain) => self.answer(id, plain),
                Err(Breach(problem)) => {
                    if let Some(flight) = self.calls.take(id) {
                        self.fail(flight.call, WireError::Answer(problem));
                    }
                }
            },
            RPC_ERROR => self.handle_error(id, answer)?,
            _ => self.answer(id, answer.to_vec()),
        }
        Ok(())
    }

    /// An answer that nobody waits for any more may still tell what has become of the key.
    fn note_unclaimed(&mut self, answer: &[u8], allowance: &mut Allowance) {
        let unpacked = match constructor(answer) {
            GZIP_PACKED if answer.len() <= UNCLAIMED_LEN_MAX => {
                allowance.unpack(WireReader(&answer[4..])).ok()
            }
            _ => None,
        };
        let answer = unpacked.as_deref().unwrap_or(answer);
        if constructor(answer) != RPC_ERROR {
            return;
        }
        let mut reader = WireReader(&answer[4..]);
        let (Ok(code), Ok(words)) = (reader.int(), reader.bytes()) else { return };
        if OF_THE_KEY.contains(&code) {
            let message = String::from_utf8_lossy(words).into();
            self.events.push_back(LayerEvent::Rejected { code, message });
        }
    }

    /// A call is refused, in the words that follow.
    fn handle_error(&mut self, id: i64, body: &[u8]) -> Result<(), Breach> {
        let mut reader = WireReader(&body[4..]);
        let (code, words) = (reader.int()?, reader.bytes()?);
        let may_introduce = self.calls.flight(id).is_some_and(|flight| {
            !flight.introduces && flight.call.resends < self.limits.resends_max
        });
        if words == NOT_INTRODUCED && may_introduce && !self.introduction.is_empty() {
            // The server has forgotten who this is, and has carried nothing out.
            self.is_introduced = false;
            self.send_again(&[id], code);
            return Ok(());
        }
        if let Some(flight) = self.calls.take(id) {
            let message = String::from_utf8_lossy(words).into();
            self.fail(flight.call, WireError::Rpc { code, message });
        }
        Ok(())
    }

    /// Gives a call its answer.
    pub(super) fn answer(&mut self, id: i64, body: Vec<u8>) {
        let Some(flight) = self.calls.take(id) else { return };
        // Another session knows nothing of it.
        self.is_introduced |= flight.introduces && flight.session == self.session.number;
        if self.wants_updates && WITH_UPDATES.contains(&constructor(&body)) {
            let (request, answer) = (flight.call.body, body.clone());
            self.events.push_back(LayerEvent::OwnUpdates { request, answer });
        }
        self.events.push_back(LayerEvent::Answer { waiter: flight.call.waiter, body });
    }

    /// Forgets the ids of messages that would be too old by now.
    pub(super) fn forget_old_ids(&mut self, now: Instant) {
        if self.clock.is_told() {
            let age = std::time::Duration::from_secs(AGE_MAX.unsigned_abs());
            self.seen.forget_before(id_at(self.clock.time(now).saturating_sub(age)));
        }
    }
}
