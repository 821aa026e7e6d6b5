//! Exchange of a new key on a connection, before anything is encrypted.
//!
//! Owns the plain messages around it. A key that is made stays when the connection ends, and nobody is signed in
//! with it.

use std::io;
use std::ops::Range;

use super::ServerConnection;
use super::end::ConnectionEnd;
use crate::base::clock::unix_time;
use crate::mtproto::key_exchange::{
    KeyVerdict, NoExchange, ServerExchange, ServerExchangeStep, ServerPrivateKey,
};
use crate::sandbox::session::Reply;

/// The transport error for what begins or goes on with no exchange.
const NO_EXCHANGE: u16 = 404;
/// No key's id, the message's, and its length.
const HEADER_LEN: usize = 8 + 8 + 4;
/// What pads a packet may follow a message.
const PADDING_LEN_MAX: usize = 15;
/// The kind of a message's id that answers another.
const RESPONSE: i64 = 1;

/// Fills bytes with random ones.
type Random = fn(&mut [u8]) -> io::Result<()>;

/// An exchange, and the id of the last message.
pub(super) struct ConnectionExchange {
    exchange: ServerExchange<Random>,
    last_id: i64,
}

impl ConnectionExchange {
    fn new() -> Self {
        let random: Random =
            |bytes| getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()));
        Self { exchange: ServerExchange::new(ServerPrivateKey::of_sandboxes(), random), last_id: 0 }
    }

    /// A message that is not encrypted.
    fn plain(&mut self, body: &[u8]) -> Vec<u8> {
        let time = unix_time();
        let seconds = i64::try_from(time.as_secs()).unwrap_or(0);
        let id = seconds << 32 | i64::from(time.subsec_nanos() & !3) | RESPONSE;
        self.last_id = id.max(self.last_id + 4);
        let len = u32::try_from(body.len()).expect("BUG: such answers are short");
        [&[0; 8][..], &self.last_id.to_le_bytes(), &len.to_le_bytes(), body].concat()
    }
}

impl ServerConnection {
    /// Handles a packet that no key is named in.
    pub(super) fn handle_plain(&mut self, at: Range<usize>) -> Result<(), ConnectionEnd> {
        let server = &self.server;
        let request = plain_body(self.codec.packet(at)).ok_or(ConnectionEnd::ClientGone)?;
        let exchange = self.exchange.get_or_insert_with(|| Box::new(ConnectionExchange::new()));
        let unix_time = i32::try_from(unix_time().as_secs()).unwrap_or(i32::MAX);
        let step = exchange.exchange.handle(request, unix_time, |key| {
            match server.key(&key.id()).is_none() {
                true => KeyVerdict::Taken,
                false => KeyVerdict::Again,
            }
        });
        match step {
            Ok(ServerExchangeStep::Answer(answer)) => {
                let answer = exchange.plain(&answer);
                self.reply(Reply::Plain(answer));
            }
            Ok(ServerExchangeStep::Done(answer, made)) => {
                self.server.add_new_key(made);
                self.server.counters.keys_made.add(1);
                let answer = exchange.plain(&answer);
                self.reply(Reply::Plain(answer));
                self.exchange = None;
            }
            Err(NoExchange(why)) => {
                tracing::debug!(why, "a client has no key made");
                self.server.counters.keys_unknown.add(1);
                self.reply(Reply::TransportError(NO_EXCHANGE));
            }
        }
        Ok(())
    }
}

/// The body of a message that is not encrypted.
fn plain_body(packet: &[u8]) -> Option<&[u8]> {
    let (header, rest) = packet.split_at_checked(HEADER_LEN)?;
    let len = u32::from_le_bytes(*header.last_chunk()?) as usize;
    let (body, padding) = rest.split_at_checked(len)?;
    (padding.len() <= PADDING_LEN_MAX).then_some(body)
}
