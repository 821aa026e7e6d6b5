//! Calls of a session, and the faults that are injected into them.
//!
//! Owns what a fault does to a call. Never makes an answer's body: `response` does.

use std::sync::Arc;
use std::time::Duration;

use super::MtprotoSession;
use super::hostile::kind_of;
use super::received::Fate;
use super::reply::{Forgery, Reply, ReplyMessage};
use crate::base::sync::Ordering;
use crate::sandbox::faults::{Fault, INTRODUCTION};
use crate::sandbox::flood_waits::FloodWaits;
use crate::sandbox::login::LoginCaller;
use crate::sandbox::request::{INIT_CONNECTION, Method, Request, RpcCall};
use crate::sandbox::response::{self, RpcError, execute, result};

impl MtprotoSession {
    /// A call or a ping, which a fault may be injected into.
    pub(super) fn handle_call(&mut self, place: (i64, u32), request: &Request) {
        let id = place.0;
        self.server.counters.calls.add(1);
        if self.is_unresponsive {
            return self.server.record_fault(self.user.as_deref());
        }
        let fault = self.draw_fault(request);
        if fault.is_some() {
            self.server.record_fault(self.user.as_deref());
        }
        let mut delay = Duration::ZERO;
        let mut forgery = None;
        let body = match fault {
            Some(Fault::Close) => return self.end(id, Reply::Close),
            Some(Fault::Reset) => return self.end(id, Reply::Reset),
            Some(Fault::Transport { code }) => return self.end(id, Reply::TransportError(code)),
            Some(Fault::Silence) => return,
            Some(Fault::BlackHole) => return self.stop_answering(),
            Some(Fault::FloodWait { seconds }) => {
                result(id, Err(RpcError::new(420, format!("FLOOD_WAIT_{seconds}"))))
            }
            Some(Fault::Protocol(fault)) => return self.misbehave(place, request, fault),
            Some(Fault::Error { code, message }) => result(id, Err(RpcError::new(code, message))),
            Some(Fault::Delay(time)) => {
                delay = time;
                self.acknowledge(id, request);
                self.response_to(id, request)
            }
            Some(Fault::BadCrc) => {
                forgery = Some(Forgery::Damage);
                self.response_to(id, request)
            }
            // A plan has no fault of updates on a call.
            Some(Fault::Lose | Fault::Double | Fault::Reorder) | None => {
                self.response_to(id, request)
            }
        };
        let (kind, session) = (kind_of(id, request), Some(Arc::clone(&self.current)));
        self.replies.push((delay, Reply::Message(ReplyMessage { body, kind, session, forgery })));
    }

    fn draw_fault(&mut self, request: &Request) -> Option<Fault> {
        let (method, is_introduction) = match request {
            Request::Call(call) => (call.id, call.introduction.is_some()),
            _ => (0, false),
        };
        let introduction = is_introduction.then_some((INIT_CONNECTION, INTRODUCTION));
        let faults = self.server.faults.load();
        for (method, name) in introduction.into_iter().chain([(method, request.name())]) {
            if let Some(seconds) = self.flood_waits().remaining(method) {
                return Some(Fault::FloodWait { seconds });
            }
            let fault = faults.draw(name, self.key.account(), &mut self.random);
            if let Some(Fault::FloodWait { seconds }) = fault {
                self.flood_waits().start(method, seconds);
            }
            if fault.is_some() {
                return fault;
            }
        }
        self.server.send_flood(self.user.as_deref(), request)
    }

    /// Those of whoever is signed in, or of the key.
    fn flood_waits(&self) -> &FloodWaits {
        self.user.as_ref().map_or(&self.key.flood_waits, |user| &user.flood_waits)
    }

    /// Says that a call has come whose answer is a long time coming.
    fn acknowledge(&mut self, id: i64, request: &Request) {
        if let Request::Call(_) = request {
            self.current.memory.lock().received.set_fate(id, Fate::Acknowledged);
            self.notify(response::acknowledgement(id));
        }
    }

    /// Ends the connection instead of carrying a call out, which may come again by the same id.
    pub(super) fn end(&mut self, id: i64, how: Reply) {
        self.forget(id);
        self.replies.push((Duration::ZERO, how));
    }

    /// As if a call had not come: it may come again.
    pub(super) fn forget(&mut self, id: i64) {
        self.current.memory.lock().received.forget(id);
    }

    pub(super) fn response_to(&mut self, id: i64, request: &Request) -> Vec<u8> {
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
        if let Method::Login(login) = &call.method {
            let Self { server, key, user, random, .. } = self;
            let caller = LoginCaller { server, key, user: user.as_ref(), random };
            let outcome = caller.execute(login);
            self.find_user();
            return outcome;
        }
        execute(&self.server, (&self.key, self.user.as_deref()), call)
    }
}
