//! Calls over one connection, by its borrowers and by the lane of its account.
//!
//! Owns the deadline of a call, the check of what may be sent, and what a call shows of the connection. Counts
//! nothing in the traffic, and never dials.

use std::sync::Arc;
use std::time::Duration;

use grammers_client::tl::{Identifiable as _, RemoteCall, functions};
use tracing::Instrument as _;

use super::health::{ConnectionHealth, PendingCall};
use super::rpc::RpcHandle;
use super::updates::Feed;
use super::{Refusal, TelegramError, client, rpc, verdict};
use crate::account_id::AccountId;
use crate::ownership::{Epoch, Ownership};

/// The longest body that is sent. From 1,044,433 bytes on the client panics, and a body just
/// below that would never fit into a message beside the acknowledgements that go with it.
const BODY_LEN_MAX: usize = 1_040_000;
/// What names a method.
const BODY_LEN_MIN: usize = 4;

/// What a call over a connection needs. A clone does not keep the connection open.
#[derive(Clone)]
pub(super) struct ConnectionCaller {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    pub(super) data_centre: i32,
    pub(super) rpc: RpcHandle,
    pub(super) health: Arc<ConnectionHealth>,
    pub(super) call_timeout: Duration,
    pub(super) ownership: Arc<dyn Ownership>,
    pub(super) epoch: Epoch,
    /// Where the updates of the connection go.
    pub(super) feed: Arc<Feed>,
}

impl ConnectionCaller {
    /// Calls a method in the home data centre. A connection that carries no updates does not ask for any by it.
    pub(super) async fn send<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Return, TelegramError> {
        let mut body = rpc::without_updates(request);
        refuse(body.len() - rpc::WRAPPER_LEN)?;
        let method = rpc::method(&body);
        if asks_for_updates(method, &self.feed) {
            body.drain(..rpc::WRAPPER_LEN);
        }
        if self.health.is_dead() || self.rpc.is_ending() {
            return Err(TelegramError::NotSent);
        }
        if let Err(fenced) = self.ownership.guard(self.epoch) {
            self.health.mark_broken();
            return Err(fenced.into());
        }
        let call = PendingCall::begin(&self.health);
        let span = tracing::debug_span!(
            "call",
            account = %self.account,
            slot = self.slot,
            method = client::tl::name_for_id(method),
        );
        let result = self.rpc.call::<R>(body, limit).instrument(span).await;
        match &result {
            // It counts as abandoned.
            Err(TelegramError::Timeout { .. }) => drop(call),
            Ok(_) => {
                call.end();
                self.health.note_answer();
                if needs_login(method) {
                    self.health.note_login();
                }
            }
            Err(TelegramError::Rpc { .. }) => {
                call.end();
                self.health.note_answer();
            }
            Err(_) => call.end(),
        }
        if result.as_ref().is_err_and(|error| verdict(error).ends_connection) {
            self.health.mark_broken();
        }
        result
    }
}

/// The body of a call, which asks for updates if the connection carries any.
pub(super) fn with_or_without_updates(body: Vec<u8>, feed: &Feed) -> Vec<u8> {
    if asks_for_updates(rpc::method(&body), feed) { body } else { rpc::wrapped(&body) }
}

/// Whether a call is not to be wrapped, so that it asks for updates.
fn asks_for_updates(method: u32, feed: &Feed) -> bool {
    feed.is_attached() || !is_wrappable(method)
}

/// Refuses what would make the client panic.
fn refuse(len: usize) -> Result<(), Refusal> {
    match len {
        len if len < BODY_LEN_MIN => Err(Refusal::TooShort { len }),
        len if len > BODY_LEN_MAX => Err(Refusal::TooLong { len, limit: BODY_LEN_MAX }),
        len if !len.is_multiple_of(4) => Err(Refusal::Unaligned { len }),
        _ => Ok(()),
    }
}

/// What belongs to the connection, and not to the session.
const SERVICE: [u32; 3] = [
    functions::Ping::CONSTRUCTOR_ID,
    functions::PingDelayDisconnect::CONSTRUCTOR_ID,
    functions::GetFutureSalts::CONSTRUCTOR_ID,
];
/// What wraps other calls, and has to stay outermost.
const WRAPPERS: [&str; 2] = ["invoke", "init"];

/// Whether a method may be called without asking for updates.
fn is_wrappable(method: u32) -> bool {
    let name = client::tl::name_for_id(method);
    !SERVICE.contains(&method) && name != UNKNOWN && !WRAPPERS.iter().any(|it| name.starts_with(it))
}

/// The name of what no layer knows.
const UNKNOWN: &str = "(unknown)";

/// Whether only a session that is logged in may call a method, so that its answer counts as a login check. Of
/// those that anybody may call, the ones that a session has reason to call while it serves.
fn needs_login(method: u32) -> bool {
    // Whole families are free but for a few: for their sake the login is asked for once more. So it is
    // for what is wrapped in other ways.
    const FREE_FAMILIES: [&str; 3] = ["auth.", "help.", "langpack."];
    let name = client::tl::name_for_id(method);
    is_wrappable(method) && !FREE_FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_login_check_if_nobody_else_would_get_one() {
        assert!(needs_login(functions::users::GetUsers::CONSTRUCTOR_ID));
        assert!(needs_login(functions::messages::SendMessage::CONSTRUCTOR_ID));
        for free in [
            functions::Ping::CONSTRUCTOR_ID,
            functions::help::GetNearestDc::CONSTRUCTOR_ID,
            functions::auth::SendCode::CONSTRUCTOR_ID,
            functions::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID,
            7,
        ] {
            assert!(!needs_login(free), "{free}");
        }
    }

    #[test]
    fn calls_of_the_api_may_do_without_updates_and_those_of_the_connection_may_not() {
        for method in [
            functions::users::GetUsers::CONSTRUCTOR_ID,
            functions::help::GetNearestDc::CONSTRUCTOR_ID,
        ] {
            assert!(is_wrappable(method), "{method}");
        }
        for method in [
            functions::Ping::CONSTRUCTOR_ID,
            functions::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID,
            functions::InvokeWithTakeout::<()>::CONSTRUCTOR_ID,
            functions::InitConnection::<()>::CONSTRUCTOR_ID,
            7,
        ] {
            assert!(!is_wrappable(method), "{method}");
        }
    }

    #[test]
    fn only_what_the_client_can_carry_is_sent() {
        for (len, refused) in [
            (0, Some(Refusal::TooShort { len: 0 })),
            (3, Some(Refusal::TooShort { len: 3 })),
            (4, None),
            (5, Some(Refusal::Unaligned { len: 5 })),
            (BODY_LEN_MAX, None),
            (BODY_LEN_MAX + 4, Some(Refusal::TooLong { len: 1_040_004, limit: BODY_LEN_MAX })),
            (usize::MAX, Some(Refusal::TooLong { len: usize::MAX, limit: BODY_LEN_MAX })),
        ] {
            assert_eq!(refuse(len).err(), refused, "{len}");
        }
    }
}
