//! Replies of an endpoint: answers of the wire in the form that the client reads.
//!
//! Owns their forms, and the compression of what would be too long. Never changes what an answer says.
//!
//! # How long an answer may be
//! The client reads no frame of more than 1,056,768 bytes and no message of more than 1,044,447: it ends the
//! connection, or panics. Real servers compress what is longer, and so does the endpoint. What is too long even so is
//! an error of its call.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use grammers_crypto::DequeBuffer;
use grammers_tl_types::{Identifiable as _, types};

use super::error::{LOCAL_CODE, TOO_LARGE, told};
use super::layer::MESSAGE_LEN_MAX;
use crate::telegram::wire::WireError;
use crate::telegram::wire::tl::{GZIP_PACKED, RPC_ERROR, RPC_RESULT, constructor, put_bytes};

/// What stands in front of a result.
const RESULT_HEAD_LEN: usize = 12;
/// The longest result.
const RESULT_LEN_MAX: usize = MESSAGE_LEN_MAX - RESULT_HEAD_LEN;
/// What is compressed at once; then others have their turn.
const CHUNK_LEN: usize = 64 << 10;

/// What the client takes for something else than an answer when it stands in the place of one.
const MISREAD: [u32; 5] = [
    RPC_ERROR,
    GZIP_PACKED,
    types::RpcAnswerUnknown::CONSTRUCTOR_ID,
    types::RpcAnswerDroppedRunning::CONSTRUCTOR_ID,
    types::RpcAnswerDropped::CONSTRUCTOR_ID,
];

/// A message to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndpointReply {
    /// The message that it is a result for.
    to: Option<i64>,
    body: Vec<u8>,
}

impl EndpointReply {
    /// A message of the protocol itself.
    pub(super) const fn service(body: Vec<u8>) -> Self {
        Self { to: None, body }
    }

    /// The result of a call.
    pub(super) const fn result(to: i64, body: Vec<u8>) -> Self {
        Self { to: Some(to), body }
    }

    /// An error in the place of a result.
    pub(super) fn error(to: i64, (code, name): &(i32, String)) -> Self {
        let mut body = RPC_ERROR.to_le_bytes().to_vec();
        body.extend(code.to_le_bytes());
        put_bytes(&mut body, name.as_bytes());
        Self::result(to, body)
    }

    /// How many bytes the message has, without its head.
    pub(super) fn len(&self) -> usize {
        self.body.len() + self.to.map_or(0, |_| RESULT_HEAD_LEN)
    }

    /// Writes the message, without its head.
    pub(super) fn put(&self, out: &mut DequeBuffer<u8>) {
        if let Some(to) = self.to {
            out.extend(RPC_RESULT.to_le_bytes());
            out.extend(to.to_le_bytes());
        }
        out.extend(&self.body);
    }
}

/// The reply to a call that was answered so. `None` if the connection is lost with it.
pub(super) async fn reply_to(
    id: i64,
    answered: Result<Vec<u8>, WireError>,
) -> Option<EndpointReply> {
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => return told(&error).map(|told| EndpointReply::error(id, &told)),
    };
    if answer.len() <= RESULT_LEN_MAX && !MISREAD.contains(&constructor(&answer)) {
        return Some(EndpointReply::result(id, answer));
    }
    Some(match pack(&answer).await {
        Some(packed) => EndpointReply::result(id, packed),
        None => EndpointReply::error(id, &(LOCAL_CODE, TOO_LARGE.to_owned())),
    })
}

/// Compresses an answer; `None` if it is too long even so.
async fn pack(answer: &[u8]) -> Option<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    for chunk in answer.chunks(CHUNK_LEN) {
        packer.write_all(chunk).ok()?;
        if packer.get_ref().len() > RESULT_LEN_MAX {
            return None;
        }
        tokio::task::yield_now().await;
    }
    let mut body = GZIP_PACKED.to_le_bytes().to_vec();
    put_bytes(&mut body, &packer.finish().ok()?);
    (body.len() <= RESULT_LEN_MAX).then_some(body)
}
