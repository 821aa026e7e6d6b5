//! The connection of a session, as a lease gives it out.
//!
//! Owns the call with its deadline and the check of what may be sent. Never dials: a connection
//! that has ended stays ended.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use grammers_client::Client;
use grammers_client::sender::SenderPoolHandle;
use grammers_client::tl::{Identifiable as _, RemoteCall, enums, functions};
use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::health::{ConnectionHealth, PendingCall};
use super::supervisor::SupervisorHandle;
use super::{Refusal, TelegramError, client, error_names, rpc, verdict};
use crate::account_id::AccountId;
use crate::base::timer::{after, timeout_at};
use crate::manager::{CallOutcome, TrafficCounters};
use crate::ownership::{Epoch, Ownership};

/// The longest body that is sent. From 1,044,433 bytes on the client panics, and a body just
/// below that would never fit into a message beside the acknowledgements that go with it.
const BODY_LEN_MAX: usize = 1_040_000;
/// What names a method.
const BODY_LEN_MIN: usize = 4;

/// The live connection of one authorized session, shared by its borrowers.
///
/// It derefs to the plain client, for everything that the client can do. Calls made there know
/// no deadline, are not checked before they are sent and are counted in no metric; report their
/// errors to the lease. A clone of the client outlives its lease: it works until the connection
/// closes, the pool does not count it, and every call fails afterwards.
pub struct TelegramConnection {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    pub(super) data_centre: i32,
    /// Where the client runs.
    pub(super) runtime: Handle,
    pub(super) client: Client,
    pub(super) handle: SenderPoolHandle,
    pub(super) health: Arc<ConnectionHealth>,
    pub(super) supervisor: SupervisorHandle,
    pub(super) call_timeout: Duration,
    pub(super) ownership: Arc<dyn Ownership>,
    pub(super) epoch: Epoch,
    /// Of the account's group.
    pub(super) traffic: Arc<TrafficCounters>,
}

impl TelegramConnection {
    /// Whose connection this is.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Which of the account's sessions it belongs to.
    #[must_use]
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// The data centre at the other end.
    #[must_use]
    pub fn data_centre(&self) -> i32 {
        self.data_centre
    }

    /// The plain client; see the type's own words on clones of it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How many calls were given up before their answer came. A connection with many is
    /// replaced, since each leaves its request behind.
    #[must_use]
    pub fn abandoned_calls(&self) -> u32 {
        self.health.abandoned()
    }

    /// Calls a method in the home data centre, within the limit of the settings. Never sleeps
    /// and never retries. The caller may be on any runtime, or on none.
    ///
    /// # Errors
    /// What the server says, what becomes of the connection, [`TelegramError::Timeout`], or
    /// [`TelegramError::Refused`] for a request that would cost the connection.
    pub async fn invoke<R: RemoteCall>(&self, request: &R) -> Result<R::Return, TelegramError> {
        self.invoke_within(request, self.call_timeout).await
    }

    /// The same within a limit of the caller's.
    ///
    /// # Errors
    /// Those of [`invoke`](Self::invoke).
    pub async fn invoke_within<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Return, TelegramError> {
        // Dropped on the way, it counts as cancelled.
        let call = self.traffic.begin_call();
        let result = self.send(request, limit).await;
        call.end(result.as_ref().err().map_or(CallOutcome::Ok, |error| verdict(error).outcome));
        if let Err(TelegramError::Rpc { name, .. }) = &result {
            self.traffic.count_error(error_names::index_of(name));
        }
        result
    }

    /// The same for a call of our own, which is none of the traffic.
    async fn send<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Return, TelegramError> {
        let body = request.to_bytes();
        refuse(body.len())?;
        if self.health.is_dead() {
            return Err(TelegramError::NotSent);
        }
        if let Err(fenced) = self.ownership.guard(self.epoch) {
            self.health.mark_broken();
            return Err(fenced.into());
        }
        let call = PendingCall::begin(&self.health);
        let method = method(&body);
        let span = tracing::debug_span!(
            "call",
            account = %self.account,
            slot = self.slot,
            method = client::tl::name_for_id(method),
        );
        let answer = rpc::call::<R>(&self.handle, self.data_centre, body).instrument(span);
        // Whoever calls may be on another runtime than the connection, or on none.
        let answered = timeout_at(&self.runtime, after(limit), answer).await;
        let result = answered.unwrap_or(Err(TelegramError::Timeout { after: limit }));
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

    pub(super) fn is_broken(&self) -> bool {
        self.health.is_broken()
    }

    /// Asks what only a session that is logged in is told: who it is. Without its updates, which a
    /// call would subscribe the connection to.
    pub(super) async fn check(&self) -> Result<(), TelegramError> {
        let query = functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] };
        let query = functions::InvokeWithoutUpdates { query };
        match self.send(&query, self.call_timeout).await {
            // Only a session that is logged in has a limit to exceed.
            Ok(_) | Err(TelegramError::Rpc { code: 420, .. }) => {
                self.health.note_login();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the connection and waits until its key is free. The end comes even if the wait is
    /// abandoned.
    pub(super) async fn close(&self) {
        self.health.mark_broken();
        self.supervisor.stop();
        self.supervisor.gone().await;
    }
}

impl Deref for TelegramConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for TelegramConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramConnection")
            .field("account", &self.account)
            .field("slot", &self.slot)
            .field("data_centre", &self.data_centre)
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
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

/// The method that a body calls.
fn method(body: &[u8]) -> u32 {
    let word = |at: &[u8]| at.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    match word(body) {
        functions::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID => word(&body[4..]),
        method => method,
    }
}

/// Whether only a session that is logged in may call a method, so that its answer counts as a login check. Of
/// those that anybody may call, the ones that a session has reason to call while it serves.
fn needs_login(method: u32) -> bool {
    const FREE: [u32; 3] = [
        functions::Ping::CONSTRUCTOR_ID,
        functions::PingDelayDisconnect::CONSTRUCTOR_ID,
        functions::GetFutureSalts::CONSTRUCTOR_ID,
    ];
    // Whole families are free but for a few: for their sake the login is asked for once more. So it is
    // for what is wrapped in other ways.
    const FREE_FAMILIES: [&str; 5] = ["auth.", "help.", "langpack.", "invoke", "init"];
    if FREE.contains(&method) {
        return false;
    }
    let name = client::tl::name_for_id(method);
    name != "(unknown)" && !FREE_FAMILIES.iter().any(|family| name.starts_with(family))
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
