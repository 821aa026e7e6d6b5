//! The connection of a session, as a lease gives it out.
//!
//! Owns the counting of calls, and the end. Never dials: a connection
//! that has ended stays ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grammers_client::Client;
use grammers_client::tl::RemoteCall;

use super::caller::ConnectionCaller;
use super::endpoint::EndpointAccess;
use super::supervisor::SupervisorHandle;
use super::{TelegramError, error_names, rpc, verdict};
use crate::account_id::AccountId;
use crate::manager::{CallOutcome, TrafficCounters};

/// The live connection of one authorized session, shared by its borrowers.
///
/// Its [`client`](Self::client) is for everything else that the client library can do.
pub struct TelegramConnection {
    pub(super) caller: ConnectionCaller,
    pub(super) client: ClientAccess,
    pub(super) supervisor: SupervisorHandle,
    /// Of the account's group.
    pub(super) traffic: Arc<TrafficCounters>,
}

/// How the plain client comes to a connection.
pub(super) enum ClientAccess {
    /// It carries the connection.
    Own(Client),
    /// The wire carries it, and the client comes by an endpoint when it is asked for.
    Endpoint(Box<EndpointAccess>),
}

impl TelegramConnection {
    /// Whose connection this is.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.caller.account
    }

    /// Which of the account's sessions it belongs to.
    #[must_use]
    pub fn slot(&self) -> u16 {
        self.caller.slot
    }

    /// The data centre at the other end.
    #[must_use]
    pub fn data_centre(&self) -> i32 {
        self.caller.data_centre
    }

    /// The plain client, for everything that it can do. Calls made there are not checked before they are sent and are
    /// counted in no metric; report their errors to the lease. It outlives its lease: it works until the connection
    /// closes, the pool does not count it, and every call fails afterwards.
    ///
    /// Over grammers its calls know no deadline; over the wire each has that of the settings, and goes by an
    /// [endpoint](super#the-client-of-a-connection) that is opened now if it is not open yet.
    #[must_use]
    pub fn client(&self) -> Client {
        match &self.client {
            ClientAccess::Own(client) => client.clone(),
            ClientAccess::Endpoint(endpoint) => endpoint.client(&self.caller),
        }
    }

    /// How many calls were given up before their answer came. A connection of grammers with many is
    /// replaced, since each leaves its request behind there.
    #[must_use]
    pub fn abandoned_calls(&self) -> u32 {
        self.caller.health.abandoned()
    }

    /// Calls a method in the home data centre, within the limit of the settings. Never sleeps
    /// and never retries. The caller may be on any runtime, or on none.
    ///
    /// # Errors
    /// What the server says, what becomes of the connection, [`TelegramError::Timeout`], or
    /// [`TelegramError::Refused`] for a request that would cost the connection.
    pub async fn invoke<R: RemoteCall>(&self, request: &R) -> Result<R::Return, TelegramError> {
        self.invoke_within(request, self.caller.call_timeout).await
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
        let result = self.caller.send(request, limit).await;
        call.end(result.as_ref().err().map_or(CallOutcome::Ok, |error| verdict(error).outcome));
        if let Err(TelegramError::Rpc { name, .. }) = &result {
            self.traffic.count_error(error_names::index_of(name));
        }
        result
    }

    pub(super) fn is_broken(&self) -> bool {
        self.caller.health.is_broken() || self.caller.rpc.is_ending()
    }

    /// Asks what only a session that is logged in is told: who it is.
    pub(super) async fn check(&self) -> Result<(), TelegramError> {
        match self.caller.send(&rpc::oneself(), self.caller.call_timeout).await {
            // Only a session that is logged in has a limit to exceed.
            Ok(_) | Err(TelegramError::Rpc { code: 420, .. }) => {
                self.caller.health.note_login();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the connection and waits until its key is free. The end comes even if the wait is
    /// abandoned.
    pub(super) async fn close(&self) {
        self.caller.health.mark_broken();
        self.supervisor.stop();
        self.supervisor.gone().await;
    }
}

impl fmt::Debug for TelegramConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramConnection")
            .field("account", &self.caller.account)
            .field("slot", &self.caller.slot)
            .field("data_centre", &self.caller.data_centre)
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}
