//! Packets of a client, once they are decrypted: what each message in them asks for.
//!
//! Owns the way through containers and compressed messages, and the answers that take nobody else. Never believes a
//! length, and knows no method but those of the protocol itself.

use std::io::Read as _;

use flate2::read::GzDecoder;
use grammers_tl_types::{
    Identifiable as _, LAYER, RawVec, Serializable as _, enums, functions, types,
};

use super::error::told;
use super::layer::{MESSAGE_LEN_MAX, MESSAGES_MAX, SALT};
use super::reply::EndpointReply;
use crate::base::clock::unix_time;
use crate::telegram::wire::tl::{
    ACK, CONTAINER, COPY, GET_FUTURE_SALTS, GZIP_PACKED, HTTP_WAIT, PING, PING_DELAY_DISCONNECT,
    WireReader, constructor,
};
use crate::telegram::wire::{Breach, WireError};

/// How many bytes the compressed messages of one packet may come to. The rest of them fail.
pub(super) const UNPACKED_LEN_MAX: usize = 64 << 20;
/// The most that may stand behind a message in a packet.
const PADDING_LEN_MAX: usize = 1_024;

/// What a message of the client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EndpointRequest {
    /// An answer from elsewhere, by the id of the message.
    Call { id: i64, body: Vec<u8> },
    /// Something that is said here.
    Service(EndpointReply),
}

/// What is known of a client by its packets.
#[derive(Debug)]
pub(super) struct RequestReader {
    /// The number of the home, which the client is told on its introduction.
    data_centre: i32,
    /// The client's session, from its first packet on.
    session: Option<i64>,
    /// The client has called something, which is its introduction as a rule.
    has_called: bool,
}

impl RequestReader {
    pub(super) const fn new(data_centre: i32) -> Self {
        Self { data_centre, session: None, has_called: false }
    }

    /// The client's session.
    pub(super) const fn session(&self) -> Option<i64> {
        self.session
    }

    /// Reads a packet. An error is the end of the connection.
    pub(super) fn read_packet(
        &mut self,
        plain: &[u8],
        requests: &mut Vec<EndpointRequest>,
    ) -> Result<(), Breach> {
        let mut reader = WireReader(plain);
        let (_salt, session) = (reader.long()?, reader.long()?);
        if self.session.is_some_and(|known| known != session) {
            return Err(Breach("a second session on one connection"));
        }
        self.session = Some(session);
        let (id, body) = message(&mut reader)?;
        if reader.0.len() > PADDING_LEN_MAX {
            return Err(Breach("a packet with too much behind it"));
        }
        let mut allowance = UNPACKED_LEN_MAX;
        if constructor(body) != CONTAINER {
            return self.read_message(id, body, &mut allowance, requests);
        }
        let mut inner = WireReader(&body[4..]);
        let count = inner.len()?;
        if count > MESSAGES_MAX {
            return Err(Breach("a container of too many messages"));
        }
        for _ in 0..count {
            let (id, body) = message(&mut inner)?;
            self.read_message(id, body, &mut allowance, requests)?;
        }
        Ok(())
    }

    fn read_message(
        &mut self,
        id: i64,
        body: &[u8],
        allowance: &mut usize,
        requests: &mut Vec<EndpointRequest>,
    ) -> Result<(), Breach> {
        if constructor(body) != GZIP_PACKED {
            requests.extend(self.read_body(id, body.into())?);
            return Ok(());
        }
        let packed = WireReader(&body[4..]).bytes()?;
        requests.extend(match unpack(packed, allowance)? {
            Some(plain) => self.read_body(id, plain)?,
            None => told(&WireError::Full { limit: UNPACKED_LEN_MAX })
                .map(|error| EndpointRequest::Service(EndpointReply::error(id, &error))),
        });
        Ok(())
    }

    /// What a message asks for, if anything.
    fn read_body(&mut self, id: i64, body: Vec<u8>) -> Result<Option<EndpointRequest>, Breach> {
        let mut reader = WireReader(&body);
        let service = match reader.word()? {
            ACK | HTTP_WAIT => return Ok(None),
            CONTAINER | GZIP_PACKED | COPY => return Err(Breach("messages within messages")),
            PING | PING_DELAY_DISCONNECT => {
                let ping_id = reader.long()?;
                enums::Pong::from(types::Pong { msg_id: id, ping_id }).to_bytes()
            }
            GET_FUTURE_SALTS => future_salts(id),
            _ if !std::mem::replace(&mut self.has_called, true) && is_introduction(&body) => {
                let reply = EndpointReply::result(id, config(self.data_centre));
                return Ok(Some(EndpointRequest::Service(reply)));
            }
            _ => return Ok(Some(EndpointRequest::Call { id, body })),
        };
        Ok(Some(EndpointRequest::Service(EndpointReply::service(service))))
    }
}

/// Takes a message off the front: its id and its body.
fn message<'a>(reader: &mut WireReader<'a>) -> Result<(i64, &'a [u8]), Breach> {
    let (id, _sequence, len) = (reader.long()?, reader.word()?, reader.len()?);
    if len < 4 || !len.is_multiple_of(4) {
        return Err(Breach("a message of no whole words"));
    }
    Ok((id, reader.take(len)?))
}

/// Unpacks a message within what is left of its frame's allowance; `None` if it would come to more.
fn unpack(packed: &[u8], allowance: &mut usize) -> Result<Option<Vec<u8>>, Breach> {
    let max = MESSAGE_LEN_MAX.min(*allowance);
    let mut plain = Vec::new();
    let read = GzDecoder::new(packed).take(max as u64 + 1).read_to_end(&mut plain);
    *allowance = allowance.saturating_sub(plain.len());
    match read {
        Err(_) => Err(Breach("a compressed message is damaged")),
        Ok(_) if plain.len() > MESSAGE_LEN_MAX => Err(Breach("a compressed message is too large")),
        Ok(_) if plain.len() > max => Ok(None),
        Ok(_) if plain.len() < 4 || !plain.len().is_multiple_of(4) => {
            Err(Breach("a message of no whole words"))
        }
        Ok(_) => Ok(Some(plain)),
    }
}

/// Whether a body is what a client begins a connection with: an introduction of this layer, with the question for
/// the data centres in it.
fn is_introduction(body: &[u8]) -> bool {
    const BEGIN: [u32; 3] = [
        functions::InvokeWithLayer::<()>::CONSTRUCTOR_ID,
        LAYER.cast_unsigned(),
        functions::InitConnection::<()>::CONSTRUCTOR_ID,
    ];
    let words = BEGIN.iter().flat_map(|word| word.to_le_bytes());
    body.len() > 12
        && body.iter().copied().zip(words).all(|(found, word)| found == word)
        && body.ends_with(&functions::help::GetConfig::CONSTRUCTOR_ID.to_le_bytes())
}

/// What an introduction is answered with: nothing is asked of the server for it, which has had one. The client looks
/// for data centres in it alone, whose addresses it does not take from a server here.
fn config(data_centre: i32) -> Vec<u8> {
    /// How many numbers and texts follow the list of data centres.
    const REST: usize = 26;
    const VECTOR: u32 = 0x1cb5_c415;
    let mut bytes = types::Config::CONSTRUCTOR_ID.to_bytes();
    // No flags, no dates.
    bytes.extend([0; 12]);
    false.serialize(&mut bytes);
    data_centre.serialize(&mut bytes);
    VECTOR.serialize(&mut bytes);
    bytes.resize(bytes.len() + 4 + 4 * REST, 0);
    bytes
}

fn future_salts(req_msg_id: i64) -> Vec<u8> {
    let now = i32::try_from(unix_time().as_secs()).unwrap_or(i32::MAX);
    let salt = types::FutureSalt { valid_since: 0, valid_until: i32::MAX, salt: SALT };
    let salts = types::FutureSalts { req_msg_id, now, salts: RawVec(vec![salt]) };
    enums::FutureSalts::from(salts).to_bytes()
}
