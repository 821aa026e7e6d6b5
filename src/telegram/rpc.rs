//! RPC over the client: the body of a request, and its answer.
//!
//! Owns the reading of answers. Never checks what may be sent, and never retries.

use std::time::Duration;

use grammers_client::sender::SenderPoolHandle;
use grammers_client::tl::{
    Deserializable as _, Identifiable as _, RemoteCall, Serializable as _, functions,
};

use super::TelegramError;
use crate::base::text::display_safely;

/// What a call that asks for no updates is wrapped in.
const WRAPPER: u32 = functions::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID;
pub(super) const WRAPPER_LEN: usize = 4;

/// Where the bodies of requests go, by one connection. A clone does not keep it open.
#[derive(Clone)]
pub(super) struct RpcHandle {
    client: SenderPoolHandle,
    data_centre: i32,
}

impl RpcHandle {
    /// To the home data centre of a client.
    pub(super) const fn new(client: SenderPoolHandle, data_centre: i32) -> Self {
        Self { client, data_centre }
    }

    /// Sends the body of a request and waits for its answer.
    pub(super) async fn call<R: RemoteCall>(
        &self,
        body: Vec<u8>,
    ) -> Result<R::Return, TelegramError> {
        let called = method(&body);
        let answer = self.client.raw_invoke_in_dc(self.data_centre, body).await;
        // The client names the outermost part of the body.
        let answer = answer.map_err(|error| match error.into() {
            TelegramError::Rpc { code, name, value, method: Some(WRAPPER) } => {
                TelegramError::Rpc { code, name, value, method: Some(called) }
            }
            error => error,
        })?;
        R::Return::from_bytes(&answer)
            .map_err(|error| TelegramError::Answer(display_safely(&error).into()))
    }

    /// The same within a limit. For the connection's own runtime.
    pub(super) async fn call_within<R: RemoteCall>(
        &self,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<R::Return, TelegramError> {
        let answered = tokio::time::timeout(limit, self.call::<R>(body)).await;
        answered.unwrap_or(Err(TelegramError::Timeout { after: limit }))
    }

    /// Asks the client to end.
    pub(super) fn quit(&self) {
        self.client.quit();
    }
}

/// The body of a request that asks for no updates.
pub(super) fn without_updates<R: RemoteCall>(request: &R) -> Vec<u8> {
    let mut body = WRAPPER.to_bytes();
    request.serialize(&mut body);
    body
}

/// The same request without that.
pub(super) fn unwrapped(mut body: Vec<u8>) -> Vec<u8> {
    body.drain(..WRAPPER_LEN);
    body
}

/// The method that a body calls.
pub(super) fn method(body: &[u8]) -> u32 {
    let word = |at: &[u8]| at.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    match word(body) {
        WRAPPER => word(&body[4..]),
        method => method,
    }
}
