//! RPC over the client: the body of a request, and its answer.
//!
//! Owns the reading of answers. Never checks what may be sent, and never retries.

use std::time::Duration;

use grammers_client::sender::SenderPoolHandle;
use grammers_client::tl::{Deserializable as _, RemoteCall};

use super::TelegramError;
use crate::base::text::display_safely;

/// Sends the body of a request and waits for its answer, within a limit. For the connection's own runtime.
pub(super) async fn call_within<R: RemoteCall>(
    handle: &SenderPoolHandle,
    data_centre: i32,
    body: Vec<u8>,
    limit: Duration,
) -> Result<R::Return, TelegramError> {
    let answered = tokio::time::timeout(limit, call::<R>(handle, data_centre, body)).await;
    answered.unwrap_or(Err(TelegramError::Timeout { after: limit }))
}

/// Sends the body of a request and waits for its answer.
pub(super) async fn call<R: RemoteCall>(
    handle: &SenderPoolHandle,
    data_centre: i32,
    body: Vec<u8>,
) -> Result<R::Return, TelegramError> {
    let answer = handle.raw_invoke_in_dc(data_centre, body).await?;
    R::Return::from_bytes(&answer)
        .map_err(|error| TelegramError::Answer(display_safely(&error).into()))
}
