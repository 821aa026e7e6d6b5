//! What a connection has to tell the server besides calls: acknowledgements, requests about messages, replies.
//!
//! Owns their queues, each with its limit, and when they leave without company. Never numbers a message.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::telegram::wire::tl::{
    ACK, DROP_ANSWER, PONG, RESEND_REQUEST, STATE_INFO, STATE_REQUEST, put_bytes, put_longs,
};

/// So many acknowledgements leave without company.
const ACKS_ENOUGH: usize = 64;
/// The most ids of one message, as the protocol has it.
const IDS_MAX: usize = 8_192;
/// The most ids of a queue. What is beyond them is left out: the server asks or sends again.
const QUEUE_MAX: usize = 2 * IDS_MAX;
/// The most messages that are asked for at a time.
const ASKED_MAX: usize = 1_024;
/// A request for more messages than that is not kept in case it is refused: the server announces them again.
const ASKED_KEPT_MAX: usize = 64;
/// What stands before the ids of a message: two constructors and their count.
const LIST_HEADER_LEN: usize = 12;
/// A constructor and an id.
const CALL_LEN: usize = 12;
/// The most replies that wait.
const REPLIES_MAX: usize = 64;
/// The most messages that a refusal is waited for of.
const SENT_MAX: usize = 64;

/// A message that is no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Ping,
    FutureSalts,
    /// Asks what became of our messages.
    StateRequest(Vec<i64>),
    /// Asks for messages of the server's.
    ResendRequest(Vec<i64>),
}

/// One that was sent and may be refused.
#[derive(Debug)]
pub(super) struct SentService {
    pub(super) id: i64,
    pub(super) packet: i64,
    /// The number of the session.
    pub(super) session: u32,
    pub(super) service: Service,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Notices {
    acks: Vec<i64>,
    /// When the first of them leaves at the latest.
    acks_due: Option<Instant>,
    /// That was before now.
    are_acks_due: bool,
    drops: Vec<i64>,
    resends: Vec<i64>,
    /// The messages that were asked for and have not come.
    asked: Vec<i64>,
    states: Vec<i64>,
    replies: Vec<Vec<u8>>,
    sent: Vec<SentService>,
}

/// A message to be sent: its body, whether it wants an acknowledgement, and what to keep of it.
pub(super) type Notice = (Vec<u8>, bool, Option<Service>);

impl Notices {
    /// A message of the server's wants an acknowledgement.
    pub(super) fn ack(&mut self, id: i64, now: Instant, within: Duration) {
        if self.acks.len() < QUEUE_MAX {
            self.acks.push(id);
        }
        if !self.are_acks_due {
            self.acks_due.get_or_insert(now + within);
        }
    }

    /// To be called at [`acks_due`](Self::acks_due). From then on they are urgent, and nothing more is waited for:
    /// when they leave is not up to them.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.acks_due.is_some_and(|due| due <= now) {
            (self.acks_due, self.are_acks_due) = (None, true);
        }
    }

    /// Nobody waits for the answer of this message of ours.
    pub(super) fn drop_answer(&mut self, id: i64) {
        push(&mut self.drops, id);
    }

    /// A message of the server's is wanted that has not come.
    pub(super) fn ask_for(&mut self, id: i64) {
        if self.resends.len() < ASKED_MAX && !self.resends.contains(&id) {
            self.resends.push(id);
        }
        if self.asked.len() < ASKED_MAX && !self.asked.contains(&id) {
            self.asked.push(id);
        }
    }

    /// A message has come. Returns whether it was asked for.
    pub(super) fn take_asked(&mut self, id: i64) -> bool {
        let Some(place) = self.asked.iter().position(|asked| *asked == id) else { return false };
        self.asked.swap_remove(place);
        if self.asked.is_empty() {
            self.asked = Vec::new();
        }
        true
    }

    /// What has become of these messages of ours?
    pub(super) fn ask_state(&mut self, ids: &[i64]) {
        ids.iter().for_each(|id| push(&mut self.states, *id));
    }

    /// The states of messages that the server has asked for.
    pub(super) fn tell_states(&mut self, request: i64, states: &[u8]) {
        let mut body = STATE_INFO.to_le_bytes().to_vec();
        body.extend(request.to_le_bytes());
        put_bytes(&mut body, states);
        self.reply(body);
    }

    /// The server has pinged.
    pub(super) fn pong(&mut self, message: i64, ping: i64) {
        let mut body = PONG.to_le_bytes().to_vec();
        body.extend(message.to_le_bytes());
        body.extend(ping.to_le_bytes());
        self.reply(body);
    }

    fn reply(&mut self, body: Vec<u8>) {
        if self.replies.len() < REPLIES_MAX {
            self.replies.push(body);
        }
    }

    /// Another session begins, which knows nothing of the messages of the one before. Only a refusal is still
    /// waited for of what goes again by itself.
    pub(super) fn begin_session(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        sent.retain(|it| matches!(it.service, Service::Ping | Service::FutureSalts));
        *self = Self { sent, ..Self::default() };
    }

    /// When something leaves without company.
    pub(super) fn acks_due(&self) -> Option<Instant> {
        self.acks_due
    }

    /// Whether something leaves now, be it without company.
    pub(super) fn is_urgent(&self) -> bool {
        self.acks.len() >= ACKS_ENOUGH
            || self.are_acks_due
            || !(self.drops.is_empty()
                && self.resends.is_empty()
                && self.states.is_empty()
                && self.replies.is_empty())
    }

    /// How many bytes the bodies come to, at the least.
    pub(super) fn len(&self) -> usize {
        let ids = self.acks.len() + self.resends.len() + self.states.len();
        let replies: usize = self.replies.iter().map(Vec::len).sum();
        ids * 8 + replies + self.drops.len() * CALL_LEN
    }

    /// Takes the next message whose body comes to no more than so many bytes, with how many acknowledgements it
    /// holds.
    pub(super) fn pop(&mut self, len_max: usize) -> Option<(Notice, usize)> {
        let bare = |body, keeps| Some(((body, false, keeps), 0));
        let ids_max = (len_max.saturating_sub(LIST_HEADER_LEN) / 8).min(IDS_MAX);
        if !self.acks.is_empty() && ids_max > 0 {
            let acks = take(&mut self.acks, ids_max);
            if self.acks.is_empty() {
                (self.acks, self.acks_due, self.are_acks_due) = (Vec::new(), None, false);
            }
            return Some(((listing(ACK, &acks), false, None), acks.len()));
        }
        if self.replies.last().is_some_and(|reply| reply.len() <= len_max) {
            return self.replies.pop().and_then(|reply| bare(reply, None));
        }
        if !self.states.is_empty() && ids_max > 0 {
            let ids = take(&mut self.states, ids_max);
            return bare(listing(STATE_REQUEST, &ids), Some(Service::StateRequest(ids)));
        }
        if !self.resends.is_empty() && ids_max > 0 {
            let ids = take(&mut self.resends, ids_max);
            let body = listing(RESEND_REQUEST, &ids);
            let is_kept = ids.len() <= ASKED_KEPT_MAX;
            return bare(body, is_kept.then_some(Service::ResendRequest(ids)));
        }
        if len_max < CALL_LEN {
            return None;
        }
        // A call of its own, as the server sees it.
        let id = self.drops.pop()?;
        Some((([&DROP_ANSWER.to_le_bytes()[..], &id.to_le_bytes()].concat(), true, None), 0))
    }

    /// Keeps what was sent, until it is answered or refused.
    pub(super) fn keep(&mut self, sent: SentService) {
        if self.sent.len() == SENT_MAX {
            // Whatever else is forgotten: without its ping a server that answers would count as silent.
            let place = self.sent.iter().position(|it| it.service != Service::Ping).unwrap_or(0);
            self.sent.remove(place);
        }
        self.sent.push(sent);
    }

    /// Takes what was sent by its message's id, if it is of this kind.
    pub(super) fn answered(
        &mut self,
        id: i64,
        is_kind: fn(&Service) -> bool,
    ) -> Option<SentService> {
        let place = self.sent.iter().position(|it| it.id == id && is_kind(&it.service))?;
        let sent = self.sent.remove(place);
        self.release_memory();
        Some(sent)
    }

    /// Takes what was sent in a packet.
    pub(super) fn refused(&mut self, packet: i64) -> Vec<SentService> {
        let is_refused = |it: &mut SentService| it.packet == packet || it.id == packet;
        self.sent.extract_if(.., is_refused).collect()
    }

    /// A refused request about messages is put again.
    pub(super) fn put_again(&mut self, service: Service) {
        match service {
            Service::StateRequest(ids) => self.ask_state(&ids),
            Service::ResendRequest(ids) => ids.into_iter().for_each(|id| self.ask_for(id)),
            Service::Ping | Service::FutureSalts => {}
        }
    }

    fn release_memory(&mut self) {
        if self.sent.is_empty() {
            self.sent = Vec::new();
        }
    }
}

fn push(queue: &mut Vec<i64>, id: i64) {
    if queue.len() < QUEUE_MAX {
        queue.push(id);
    }
}

/// Takes what goes into one message.
fn take(queue: &mut Vec<i64>, ids_max: usize) -> Vec<i64> {
    let rest = queue.split_off(queue.len().min(ids_max));
    std::mem::replace(queue, rest)
}

fn listing(constructor: u32, ids: &[i64]) -> Vec<u8> {
    let mut body = constructor.to_le_bytes().to_vec();
    put_longs(&mut body, ids);
    body
}
