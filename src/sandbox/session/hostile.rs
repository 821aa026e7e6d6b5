//! Faults of the protocol, as they strike a call.
//!
//! Owns what is made of an answer before it is numbered; what is forged later is for `forge`. Never decides
//! whether a fault strikes.

use std::sync::Arc;
use std::time::Duration;

use grammers_tl_types::{Serializable, enums, types};

use super::reply::{Forgery, Reply, ReplyKind, ReplyMessage};
use super::{ID_TOO_HIGH, ID_TOO_LOW, MtprotoSession};
use crate::sandbox::accounts::Key;
use crate::sandbox::faults::ProtocolFault;
use crate::sandbox::gzip_bomb::packed_zeros;
use crate::sandbox::request::Request;
use crate::sandbox::response::{self, result};
use crate::sandbox::server_state::ServerState;

const MSG_COPY: u32 = 0xe060_46b2;
/// What no object begins with.
const UNKNOWN: u32 = 0x0bad_0bad;
const BOOL_TRUE: u32 = 0x9972_75b5;
/// How far the call that was never made is from one that was.
const STRAY: i64 = 1 << 32;

impl MtprotoSession {
    /// Has a fault strike a call.
    pub(super) fn misbehave(&mut self, place: (i64, u32), request: &Request, fault: ProtocolFault) {
        let (id, sequence) = place;
        match fault {
            ProtocolFault::BadSalt => {
                let salt = self.server.salt(&self.key, self.now().as_secs());
                self.forget(id);
                self.notify(response::bad_salt(id, sequence.cast_signed(), salt));
            }
            ProtocolFault::BadMessage { code } => {
                self.forget(id);
                self.refuse(place, code);
            }
            ProtocolFault::ClockJump { seconds } => {
                self.jump(seconds);
                match self.clock_error(id) {
                    Some(code) => {
                        self.forget(id);
                        self.refuse(place, code);
                    }
                    None => self.answer(id, request, None),
                }
            }
            ProtocolFault::HalfClose => self.end(id, Reply::HalfClose),
            ProtocolFault::StopReading => self.end(id, Reply::StopReading),
            ProtocolFault::StrayAnswer => {
                let stray = result(id - STRAY, Ok(BOOL_TRUE.to_bytes()));
                self.reply(ReplyKind::Service, stray);
                self.answer(id, request, None);
            }
            ProtocolFault::StrayService => {
                let strays = stray_service(id - STRAY, &self.server, &self.key);
                strays.into_iter().for_each(|body| self.notify(body));
                self.answer(id, request, None);
            }
            ProtocolFault::AnswerTwice => {
                let body = self.response_to(id, request);
                self.reply(kind_of(id, request), body.clone());
                self.reply(kind_of(id, request), body);
            }
            ProtocolFault::MsgCopy => {
                let body = self.response_to(id, request);
                let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
                let mut copy = MSG_COPY.to_bytes();
                (id + 1).serialize(&mut copy);
                1_u32.serialize(&mut copy);
                len.serialize(&mut copy);
                copy.extend(body);
                self.reply(kind_of(id, request), copy);
            }
            ProtocolFault::GzipBomb { bytes } => {
                let bomb = packed_zeros(usize::try_from(bytes).unwrap_or(usize::MAX));
                let body = match request {
                    Request::Call(_) => result(id, Ok(bomb)),
                    _ => bomb,
                };
                self.reply(kind_of(id, request), body);
            }
            _ => self.answer(id, request, forgery(fault)),
        }
    }

    fn answer(&mut self, id: i64, request: &Request, forgery: Option<Forgery>) {
        let body = self.response_to(id, request);
        let (kind, session) = (kind_of(id, request), Some(Arc::clone(&self.current)));
        let message = ReplyMessage { body, kind, session, forgery };
        self.replies.push((Duration::ZERO, Reply::Message(message)));
    }

    /// Has the clock of this connection jump. Ids are given by the new time, be it earlier.
    pub(in crate::sandbox) fn jump(&mut self, seconds: i32) {
        self.clock_offset += i64::from(seconds);
        self.last_id = 0;
    }

    /// The code for an id that does not fit the clock.
    pub(super) fn clock_error(&self, id: i64) -> Option<i32> {
        let ahead = (id >> 32) - i64::try_from(self.now().as_secs()).unwrap_or(0);
        match () {
            () if ahead < -super::BEHIND_MAX => Some(ID_TOO_LOW),
            () if ahead > super::AHEAD_MAX => Some(ID_TOO_HIGH),
            () => None,
        }
    }
}

/// Messages about messages that were never sent, and one of no known kind.
fn stray_service(id: i64, server: &ServerState, key: &Key) -> Vec<Vec<u8>> {
    let asked = || vec![id];
    let salt = types::FutureSalt { valid_since: 1, valid_until: 2, salt: 3 };
    let states = types::MsgsStateReq { msg_ids: asked() };
    let all = types::MsgsAllInfo { msg_ids: asked(), info: vec![1] };
    let resend = types::MsgResendReq { msg_ids: asked() };
    vec![
        response::pong(id, 1),
        response::acknowledgement(id),
        response::future_salts(server, key, (id, 1), 2),
        enums::FutureSalt::Salt(salt).to_bytes(),
        response::bad_message(id, 1, ID_TOO_HIGH),
        response::message_states(id, vec![1]),
        response::detailed_info(Some(id), id | 1, 40),
        response::detailed_info(None, id | 1, 40),
        response::session_destroyed(id, false),
        enums::MsgsStateReq::Req(states).to_bytes(),
        enums::MsgsAllInfo::Info(all).to_bytes(),
        enums::MsgResendReq::Req(resend).to_bytes(),
        UNKNOWN.to_bytes(),
    ]
}

/// What the response to a call or a ping is to the client.
pub(super) fn kind_of(id: i64, request: &Request) -> ReplyKind {
    match request {
        Request::Call(_) => ReplyKind::Answer(id),
        _ => ReplyKind::Service,
    }
}

/// What is forged of an answer once it is numbered.
fn forgery(fault: ProtocolFault) -> Option<Forgery> {
    Some(match fault {
        ProtocolFault::FrameLength { length } => Forgery::FrameLength(length),
        ProtocolFault::MessageKey => Forgery::MessageKey,
        ProtocolFault::WrongSession => Forgery::Session,
        ProtocolFault::OldMessageId => Forgery::OldId,
        ProtocolFault::RepeatedMessageId => Forgery::RepeatedId,
        ProtocolFault::EvenMessageId => Forgery::EvenId,
        ProtocolFault::MessageLength { length } => Forgery::MessageLength(length),
        ProtocolFault::ContainerCount { count } => Forgery::ContainerCount(count),
        ProtocolFault::NestedContainers { depth } => Forgery::Nested(depth),
        ProtocolFault::MessageTwice => Forgery::MessageTwice,
        ProtocolFault::DetailedInfo => Forgery::Withheld,
        _ => return None,
    })
}
