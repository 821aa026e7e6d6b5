//! Messages about messages and sessions, which no fault strikes.
//!
//! Owns the second sending of what the client has not acknowledged. See
//! <https://core.telegram.org/mtproto/service_messages_about_messages>.

use std::sync::Arc;
use std::time::Duration;

use super::MtprotoSession;
use super::memory::ServerSession;
use super::received::Fate;
use super::reply::{Reply, ReplyKind};
use crate::sandbox::envelope::OutgoingMessage;
use crate::sandbox::request::Request;
use crate::sandbox::response::{self, DroppedAnswer, result};

/// The longest message that is sent again without being asked for: of a longer one the client is only told.
const RESENT_LEN_MAX: usize = 1024;

impl MtprotoSession {
    pub(super) fn handle_service(&mut self, id: i64, request: &Request) {
        match request {
            Request::Acknowledgement(ids) => {
                let mut memory = self.current.memory.lock();
                ids.iter().for_each(|id| drop(memory.kept.remove(*id)));
            }
            Request::FutureSalts(count) => {
                let now = self.now().as_secs();
                let body = response::future_salts(&self.server, &self.key, (id, now), *count);
                self.reply(ReplyKind::Service, body);
            }
            Request::MessageStates(asked) => self.tell_states(id, asked),
            Request::Resend(asked) => self.send_again(id, asked),
            Request::ResendAnswers(asked) => {
                for call in asked {
                    let answer = self.answer_to(*call);
                    answer.into_iter().for_each(|(id, _)| self.send_one_again(id));
                }
                self.tell_states(id, asked);
            }
            Request::DropAnswer(call) => self.drop_answer(id, *call),
            Request::DestroySession(session) => {
                // The one that asks cannot be meant.
                let is_other = *session != self.current.id;
                let is_known = is_other && self.key.sessions.lock().destroy(*session);
                self.reply(ReplyKind::Service, response::session_destroyed(*session, is_known));
            }
            _ => {}
        }
    }

    fn tell_states(&mut self, id: i64, asked: &[i64]) {
        let states = {
            let memory = self.current.memory.lock();
            asked.iter().map(|id| memory.received.state(*id)).collect()
        };
        self.reply(ReplyKind::Service, response::message_states(id, states));
    }

    /// Sends messages again. If one of them is not there any more, the client is told what is known of all.
    fn send_again(&mut self, id: i64, asked: &[i64]) {
        let mut is_any_gone = false;
        for id in asked {
            let is_kept = self.current.memory.lock().kept.find(*id).is_some();
            is_any_gone |= !is_kept;
            if is_kept {
                self.send_one_again(*id);
            }
        }
        if is_any_gone {
            self.tell_states(id, asked);
        }
    }

    fn send_one_again(&mut self, id: i64) {
        let session = Arc::clone(&self.current);
        self.replies.push((Duration::ZERO, Reply::Again { session, id }));
    }

    /// The id of an answer that is kept, and its length.
    fn answer_to(&self, call: i64) -> Option<(i64, usize)> {
        let memory = self.current.memory.lock();
        memory.kept.answer_to(call).map(|it| (it.message.id, it.message.body.len()))
    }

    /// A call came again whose answer may have been lost. Nothing is said of one that is not answered yet, nor
    /// of one whose answer the client has.
    pub(super) fn offer_answer_to(&mut self, call: i64) {
        if let Some((answer, len)) = self.answer_to(call) {
            self.offer(Some(call), answer, len);
        }
    }

    /// Sends a message again, or tells the client of it if it is long.
    fn offer(&mut self, call: Option<i64>, id: i64, len: usize) {
        match len {
            0..=RESENT_LEN_MAX => self.send_one_again(id),
            _ => self.notify(response::detailed_info(call, id, len)),
        }
    }

    /// On a new connection, offers what the last one has left without an acknowledgement.
    pub(super) fn offer_what_is_left(&mut self) {
        let (kept, unsent) = {
            let mut memory = self.current.memory.lock();
            let kept = memory.kept.iter().map(|it| (it.to, it.message.id, it.message.body.len()));
            (kept.collect::<Vec<_>>(), std::mem::take(&mut memory.unsent))
        };
        kept.into_iter().for_each(|(call, id, len)| self.offer(call, id, len));
        let unsent = unsent.into_iter().map(|mut message| {
            message.session = Some(Arc::clone(&self.current));
            (Duration::ZERO, Reply::Message(message))
        });
        self.replies.extend(unsent);
    }

    /// The client does not want the answer to a call any more.
    fn drop_answer(&mut self, id: i64, call: i64) {
        let dropped = drop_answer_of(&self.current, call);
        if dropped == DroppedAnswer::Running {
            let told = result(call, Ok(response::dropped_answer(&dropped)));
            self.reply(ReplyKind::AnswerDropped(call), told);
        }
        self.reply(ReplyKind::Answer(id), result(id, Ok(response::dropped_answer(&dropped))));
    }
}

fn drop_answer_of(session: &ServerSession, call: i64) -> DroppedAnswer {
    let mut memory = session.memory.lock();
    match memory.received.fate(call) {
        Some(Fate::Running | Fate::Acknowledged) => {
            memory.received.set_fate(call, Fate::Dropped);
            DroppedAnswer::Running
        }
        Some(Fate::Answered) => {
            let answer = memory.kept.answer_to(call).map(|it| it.message.id);
            let answer = answer.and_then(|id| memory.kept.remove(id));
            answer.map_or(DroppedAnswer::Unknown, |it| {
                let OutgoingMessage { id, sequence, body } = it.message;
                DroppedAnswer::Sent { id, sequence, len: body.len() }
            })
        }
        _ => DroppedAnswer::Unknown,
    }
}
