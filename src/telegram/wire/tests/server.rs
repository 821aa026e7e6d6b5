//! The server's side of a key, which says whatever a test wants it to.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};

use crate::telegram::wire::session::id_at;
use crate::telegram::wire::tl::{
    BAD_MESSAGE, BAD_SALT, CONTAINER, FUTURE_SALTS, GZIP_PACKED, NEW_SESSION, PONG, RPC_ERROR,
    RPC_RESULT, WireReader, put_bytes, short,
};

pub(in crate::telegram::wire) const KEY: [u8; 256] = [0x5a; 256];
/// The time of day on a server at the beginning of a test.
pub(in crate::telegram::wire) const NOON: Duration = Duration::from_secs(1_700_000_000);

/// A message as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::telegram::wire) struct Sent {
    pub(in crate::telegram::wire) id: i64,
    pub(in crate::telegram::wire) sequence: u32,
    pub(in crate::telegram::wire) body: Vec<u8>,
}

impl Sent {
    pub(in crate::telegram::wire) fn constructor(&self) -> u32 {
        WireReader(&self.body).word().unwrap()
    }
}

/// A packet as a client sent it.
#[derive(Clone, Debug)]
pub(in crate::telegram::wire) struct SentPacket {
    pub(in crate::telegram::wire) salt: i64,
    pub(in crate::telegram::wire) session: i64,
    /// Of the message or of the container.
    pub(in crate::telegram::wire) id: i64,
    pub(in crate::telegram::wire) messages: Vec<Sent>,
}

impl SentPacket {
    pub(in crate::telegram::wire) fn constructors(&self) -> Vec<u32> {
        self.messages.iter().map(Sent::constructor).collect()
    }

    /// The message of this kind.
    pub(in crate::telegram::wire) fn find(&self, constructor: u32) -> &Sent {
        let found = self.messages.iter().find(|sent| sent.constructor() == constructor);
        found.unwrap_or_else(|| panic!("no {constructor:x} in {:x?}", self.constructors()))
    }
}

/// The cipher of the server's side: the library has the client's only, which begins 8 bytes before or after.
pub(in crate::telegram::wire) struct TestServer {
    outgoing: AuthKey,
    incoming: AuthKey,
    /// The time of day.
    pub(in crate::telegram::wire) time: Duration,
    /// The session that it speaks in: that of the last packet that it read.
    pub(in crate::telegram::wire) session: i64,
    last_id: i64,
}

impl TestServer {
    pub(in crate::telegram::wire) fn new() -> Self {
        let rotated = |rotate: fn(&mut [u8], usize)| {
            let mut key = KEY;
            // All bytes are the same, so that the id of the key stays the same.
            rotate(&mut key, 8);
            AuthKey::from_bytes(key)
        };
        let (outgoing, incoming) = (rotated(<[u8]>::rotate_left), rotated(<[u8]>::rotate_right));
        Self { outgoing, incoming, time: NOON, session: 0, last_id: 0 }
    }

    /// Reads a packet of the client's.
    pub(in crate::telegram::wire) fn open(&mut self, packet: &[u8]) -> SentPacket {
        let mut packet = packet.to_vec();
        let plain = decrypt_data_v2(&mut packet, &self.incoming).unwrap();
        let mut reader = WireReader(plain);
        let (salt, session) = (reader.long().unwrap(), reader.long().unwrap());
        let only = message(&mut reader);
        assert!((12..=1024).contains(&reader.0.len()));
        self.session = session;
        let id = only.id;
        if only.constructor() != CONTAINER {
            return SentPacket { salt, session, id, messages: vec![only] };
        }
        let mut inner = WireReader(&only.body[4..]);
        let count = inner.len().unwrap();
        let messages: Vec<Sent> = (0..count).map(|_| message(&mut inner)).collect();
        assert!(inner.0.is_empty());
        assert!(messages.windows(2).all(|two| two[0].id < two[1].id && two[1].id < id));
        SentPacket { salt, session, id, messages }
    }

    /// A number for a message.
    pub(in crate::telegram::wire) fn next_id(&mut self) -> i64 {
        self.last_id = (id_at(self.time) | 1).max(self.last_id + 4);
        self.last_id
    }

    /// A packet of one message that wants an acknowledgement.
    pub(in crate::telegram::wire) fn say(&mut self, body: &[u8]) -> Vec<u8> {
        let id = self.next_id();
        self.seal(&enclose(id, 1, body))
    }

    /// A packet of several.
    pub(in crate::telegram::wire) fn say_all(&mut self, bodies: &[Vec<u8>]) -> Vec<u8> {
        let messages: Vec<Vec<u8>> =
            bodies.iter().map(|body| enclose(self.next_id(), 1, body)).collect();
        let id = self.next_id();
        self.seal(&enclose(id, 0, &container(&messages)))
    }

    /// Encrypts a message with its header.
    pub(in crate::telegram::wire) fn seal(&self, message: &[u8]) -> Vec<u8> {
        let mut plain = 7_i64.to_le_bytes().to_vec();
        plain.extend(self.session.to_le_bytes());
        plain.extend(message);
        self.seal_plain(&plain)
    }

    pub(in crate::telegram::wire) fn seal_plain(&self, plain: &[u8]) -> Vec<u8> {
        let mut buffer = DequeBuffer::with_capacity(plain.len() + 32, 32);
        buffer.extend(plain);
        encrypt_data_v2(&mut buffer, &self.outgoing);
        buffer[..].to_vec()
    }
}

fn message(reader: &mut WireReader<'_>) -> Sent {
    let (id, sequence) = (reader.long().unwrap(), reader.word().unwrap());
    let len = reader.len().unwrap();
    assert!(id % 4 == 0 && len.is_multiple_of(4));
    Sent { id, sequence, body: reader.take(len).unwrap().to_vec() }
}

pub(in crate::telegram::wire) fn enclose(id: i64, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = short(body.len()).to_le_bytes();
    [&id.to_le_bytes()[..], &sequence.to_le_bytes(), &len, body].concat()
}

pub(in crate::telegram::wire) fn container(messages: &[Vec<u8>]) -> Vec<u8> {
    let count = short(messages.len()).to_le_bytes();
    [&CONTAINER.to_le_bytes()[..], &count, &messages.concat()].concat()
}

pub(in crate::telegram::wire) fn longs(constructor: u32, longs: &[i64]) -> Vec<u8> {
    let mut body = constructor.to_le_bytes().to_vec();
    longs.iter().for_each(|long| body.extend(long.to_le_bytes()));
    body
}

pub(in crate::telegram::wire) fn result(to: i64, answer: &[u8]) -> Vec<u8> {
    [&longs(RPC_RESULT, &[to])[..], answer].concat()
}

pub(in crate::telegram::wire) fn rpc_error(code: i32, words: &str) -> Vec<u8> {
    let mut body = [RPC_ERROR.to_le_bytes(), code.to_le_bytes()].concat();
    put_bytes(&mut body, words.as_bytes());
    body
}

pub(in crate::telegram::wire) fn pong(to: i64) -> Vec<u8> {
    longs(PONG, &[to, 5])
}

pub(in crate::telegram::wire) fn new_session(first: i64, salt: i64) -> Vec<u8> {
    longs(NEW_SESSION, &[first, 9, salt])
}

pub(in crate::telegram::wire) fn refusal(packet: i64, code: i32) -> Vec<u8> {
    [&longs(BAD_MESSAGE, &[packet])[..], &[0; 4], &code.to_le_bytes()].concat()
}

pub(in crate::telegram::wire) fn bad_salt(packet: i64, salt: i64) -> Vec<u8> {
    let head = [&longs(BAD_SALT, &[packet])[..], &[0; 4], &48_i32.to_le_bytes()].concat();
    [head, salt.to_le_bytes().to_vec()].concat()
}

/// Salts of an hour each, one every half of it.
pub(in crate::telegram::wire) fn future_salts(to: i64, values: &[i64]) -> Vec<u8> {
    let second = i32::try_from(NOON.as_secs()).unwrap();
    let mut body = longs(FUTURE_SALTS, &[to]);
    body.extend(second.to_le_bytes());
    body.extend(short(values.len()).to_le_bytes());
    for (at, value) in (0..).zip(values) {
        let since = second - 600 + at * 1800;
        body.extend(since.to_le_bytes());
        body.extend((since + 3600).to_le_bytes());
        body.extend(value.to_le_bytes());
    }
    body
}

pub(in crate::telegram::wire) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    let mut body = GZIP_PACKED.to_le_bytes().to_vec();
    put_bytes(&mut body, &encoder.finish().unwrap());
    body
}
