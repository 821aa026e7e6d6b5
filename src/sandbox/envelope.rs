//! Encrypted packets: one message, or a container of many.
//!
//! Owns the reader of containers and compressed messages with its limits, and the writer of answers. Never knows what
//! a message means.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::GzDecoder;
use grammers_crypto::DequeBuffer;

use crate::mtproto::cipher::ServerCipher;

/// The most messages of a container, as the protocol has it.
const MESSAGES_MAX: usize = 1020;
/// How much all compressed messages of one packet may come to.
const UNPACKED_LEN_MAX: usize = 4_000_000;
/// Salt, session, message id, sequence number and length.
const HEADER_LEN: usize = 32;
/// Message id, sequence number and length.
const MESSAGE_HEADER_LEN: usize = 16;

pub(super) const CONTAINER: u32 = 0x73f1_f8dc;
const GZIP_PACKED: u32 = 0x3072_cfa1;

/// A decrypted packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) salt: i64,
    pub(super) session: i64,
    /// Of the message or of the container, which is what errors refer to.
    pub(super) id: i64,
    pub(super) sequence: u32,
    pub(super) is_container: bool,
    /// Not so of a container that holds another, has other messages than it says or is not younger than all
    /// of them. Nothing is read of it.
    pub(super) is_valid: bool,
    pub(super) messages: Vec<Message<'a>>,
}

/// One message, unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) id: i64,
    pub(super) sequence: u32,
    pub(super) body: Cow<'a, [u8]>,
}

/// A packet that no client of good faith sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed packet")]
pub(super) struct Malformed;

impl<'a> Envelope<'a> {
    pub(super) fn read(plain: &'a [u8]) -> Result<Self, Malformed> {
        if plain.len() < HEADER_LEN {
            return Err(Malformed);
        }
        let salt = long(plain, 0)?;
        let session = long(plain, 8)?;
        let (id, sequence, body, padding) = message(&plain[16..])?;
        if !(12..=1024).contains(&padding.len()) {
            return Err(Malformed);
        }
        let is_container = word(body, 0)? == CONTAINER;
        let raw = match is_container {
            true => inner_messages(id, body),
            false => Some(vec![(id, sequence, body)]),
        };
        let (is_valid, mut unpacked) = (raw.is_some(), 0);
        let messages = raw.into_iter().flatten().map(|(id, sequence, body)| {
            Ok(Message { id, sequence, body: unpack(body, &mut unpacked)? })
        });
        let messages = messages.collect::<Result<_, Malformed>>()?;
        Ok(Self { salt, session, id, sequence, is_container, is_valid, messages })
    }
}

/// The messages of a container, by id, sequence number and body; `None` if it is not valid.
fn inner_messages(container: i64, body: &[u8]) -> Option<Vec<(i64, u32, &[u8])>> {
    let count = word(body, 4).ok()? as usize;
    if count > MESSAGES_MAX {
        return None;
    }
    let mut rest = &body[8..];
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let (id, sequence, body, next) = message(rest).ok()?;
        if id >= container || word(body, 0) == Ok(CONTAINER) {
            return None;
        }
        messages.push((id, sequence, body));
        rest = next;
    }
    rest.is_empty().then_some(messages)
}

/// A message's id, sequence number and body, and what follows it.
type Raw<'a> = (i64, u32, &'a [u8], &'a [u8]);

/// Takes a message off the front.
fn message(bytes: &[u8]) -> Result<Raw<'_>, Malformed> {
    let id = long(bytes, 0)?;
    let sequence = word(bytes, 8)?;
    let len = word(bytes, 12)? as usize;
    if len < 4 || !len.is_multiple_of(4) {
        return Err(Malformed);
    }
    let (body, rest) = bytes[MESSAGE_HEADER_LEN..].split_at_checked(len).ok_or(Malformed)?;
    Ok((id, sequence, body, rest))
}

/// Undoes the compression of a message, within what is left of the packet's allowance.
fn unpack<'a>(body: &'a [u8], unpacked: &mut usize) -> Result<Cow<'a, [u8]>, Malformed> {
    if word(body, 0)? != GZIP_PACKED {
        return Ok(Cow::Borrowed(body));
    }
    let packed = text(&body[4..]).ok_or(Malformed)?;
    let left = UNPACKED_LEN_MAX - *unpacked;
    let mut plain = Vec::new();
    let limit = left as u64 + 1;
    GzDecoder::new(packed).take(limit).read_to_end(&mut plain).map_err(|_| Malformed)?;
    if plain.len() > left || plain.len() < 4 {
        return Err(Malformed);
    }
    *unpacked += plain.len();
    Ok(Cow::Owned(plain))
}

/// A byte string as the schema language has it: a length of one byte or, after 254, of three.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let (start, len) = match bytes.first()? {
        254 => (4, (u32::from_le_bytes(*bytes.first_chunk()?) >> 8) as usize),
        len => (1, usize::from(*len)),
    };
    bytes.get(start..start + len)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u32::from_le_bytes(*word))
}

fn long(bytes: &[u8], at: usize) -> Result<i64, Malformed> {
    let long = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(i64::from_le_bytes(*long))
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutgoingMessage {
    pub(super) id: i64,
    pub(super) sequence: u32,
    pub(super) body: Vec<u8>,
}

/// Writes messages as one encrypted packet: a single one bare, several in a container.
/// `container` is the id and the sequence number of that.
pub(super) fn write(
    cipher: &ServerCipher,
    salt: i64,
    session: i64,
    messages: &[OutgoingMessage],
    container: (i64, u32),
) -> DequeBuffer<u8> {
    let bodies: usize = messages.iter().map(|it| it.body.len() + MESSAGE_HEADER_LEN).sum();
    // Room for the container's own header and for the padding behind, for the cipher's in front.
    let mut plain = DequeBuffer::with_capacity(HEADER_LEN + 8 + bodies + 32, 32);
    plain.extend(salt.to_le_bytes());
    plain.extend(session.to_le_bytes());
    if let [message] = messages {
        put(&mut plain, message);
    } else {
        let (id, sequence) = container;
        put_header(&mut plain, id, sequence, 8 + bodies);
        plain.extend(CONTAINER.to_le_bytes());
        plain.extend(short(messages.len()).to_le_bytes());
        for message in messages {
            put(&mut plain, message);
        }
    }
    cipher.seal(&mut plain);
    plain
}

/// Writes what is to be one encrypted packet whatever it is: a message with its header, in good faith.
pub(super) fn write_plain(
    cipher: &ServerCipher,
    salt: i64,
    session: i64,
    message: &[u8],
) -> DequeBuffer<u8> {
    let mut plain = DequeBuffer::with_capacity(HEADER_LEN + message.len() + 32, 32);
    plain.extend(salt.to_le_bytes());
    plain.extend(session.to_le_bytes());
    plain.extend(message);
    cipher.seal(&mut plain);
    plain
}

/// A message with its header.
pub(super) fn put_message(message: &OutgoingMessage, out: &mut Vec<u8>) {
    out.extend(message.id.to_le_bytes());
    out.extend(message.sequence.to_le_bytes());
    out.extend(short(message.body.len()).to_le_bytes());
    out.extend(&message.body);
}

fn put(plain: &mut DequeBuffer<u8>, message: &OutgoingMessage) {
    put_header(plain, message.id, message.sequence, message.body.len());
    plain.extend(&message.body);
}

fn put_header(plain: &mut DequeBuffer<u8>, id: i64, sequence: u32, len: usize) {
    plain.extend(id.to_le_bytes());
    plain.extend(sequence.to_le_bytes());
    plain.extend(short(len).to_le_bytes());
}

fn short(len: usize) -> u32 {
    u32::try_from(len).expect("BUG: answers are short")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use grammers_crypto::{decrypt_data_v2, encrypt_data_v2};

    use super::*;
    use crate::session::AuthKey;

    fn plain(body: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.extend(1_i64.to_le_bytes());
        plain.extend(2_i64.to_le_bytes());
        plain.extend(enclose(3, body));
        plain.extend([0; 12]);
        plain
    }

    fn enclose(id: i64, body: &[u8]) -> Vec<u8> {
        [&id.to_le_bytes()[..], &5_u32.to_le_bytes(), &short(body.len()).to_le_bytes(), body]
            .concat()
    }

    fn container(messages: &[Vec<u8>]) -> Vec<u8> {
        let count = short(messages.len()).to_le_bytes();
        [&CONTAINER.to_le_bytes()[..], &count, &messages.concat()].concat()
    }

    fn packed(len: usize) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![7; len]).unwrap();
        let bytes = encoder.finish().unwrap();
        let mut body = GZIP_PACKED.to_le_bytes().to_vec();
        body.extend((short(bytes.len()) << 8 | 254).to_le_bytes());
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        body
    }

    #[test]
    fn one_message_many_messages_and_compressed_ones_are_read() {
        let single = plain(&[9; 8]);
        let envelope = Envelope::read(&single).unwrap();
        assert_eq!((envelope.salt, envelope.session), (1, 2));
        assert_eq!((envelope.id, envelope.sequence), (3, 5));
        let message = Message { id: 3, sequence: 5, body: Cow::Borrowed(&[9; 8]) };
        assert_eq!((envelope.messages, envelope.is_container), (vec![message], false));

        let inner = [enclose(0, &[1; 4]), enclose(1, &packed(4000)), enclose(2, &[2; 16])];
        let many = plain(&container(&inner));
        let envelope = Envelope::read(&many).unwrap();
        assert!(envelope.is_container && envelope.is_valid);
        let seen: Vec<_> = envelope.messages.iter().map(|it| (it.id, it.body.len())).collect();
        assert_eq!(seen, [(0, 4), (1, 4000), (2, 16)]);
    }

    #[test]
    fn a_container_that_is_not_valid_is_told_from_what_is_malformed() {
        let nested = container(&[enclose(1, &container(&[]))]);
        let mut crowd = container(&[]);
        crowd[4..8].copy_from_slice(&1021_u32.to_le_bytes());
        let mut short_of_one = container(&[enclose(1, &[1; 4])]);
        short_of_one[4..8].copy_from_slice(&2_u32.to_le_bytes());
        let mut one_too_many = container(&[enclose(1, &[1; 4])]);
        one_too_many[4..8].copy_from_slice(&0_u32.to_le_bytes());
        let not_younger = container(&[enclose(1, &[1; 4]), enclose(3, &[1; 4])]);
        for body in [nested, crowd, short_of_one, one_too_many, not_younger] {
            let packet = plain(&body);
            let envelope = Envelope::read(&packet).unwrap();
            assert!(!envelope.is_valid && envelope.messages.is_empty());
        }
    }

    #[test]
    fn malformed_packets_are_refused() {
        let bombs: Vec<_> = (0..5).map(|id| enclose(id - 5, &packed(1_000_000))).collect();
        let mut not_gzip = packed(100);
        not_gzip[8] ^= 0xff;
        for body in [container(&bombs), not_gzip] {
            assert_eq!(Envelope::read(&plain(&body)), Err(Malformed));
        }
        let whole = plain(&[9; 8]);
        for len in 0..whole.len() - 1 {
            assert_eq!(Envelope::read(&whole[..len]), Err(Malformed), "{len}");
        }
        let mut ragged = plain(&[9; 8]);
        ragged[28] = 7;
        assert_eq!(Envelope::read(&ragged), Err(Malformed));
    }

    #[test]
    fn a_client_reads_what_is_sealed_and_its_own_is_opened() {
        let key: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap() ^ 0x5a);
        let (cipher, client) =
            (ServerCipher::new(&AuthKey::new(key)), grammers_crypto::AuthKey::from_bytes(key));
        let one = OutgoingMessage { id: 4, sequence: 1, body: vec![8; 12] };
        for messages in [vec![one.clone()], vec![one.clone(), one]] {
            let mut sealed = write(&cipher, 1, 2, &messages, (5, 0));
            let plain = decrypt_data_v2(&mut sealed[..], &client).unwrap();
            let envelope = Envelope::read(plain).unwrap();
            assert_eq!((envelope.salt, envelope.session), (1, 2));
            assert_eq!(envelope.messages.len(), messages.len());
        }
        let mut own = DequeBuffer::with_capacity(64, 64);
        own.extend(plain(&[1; 4]));
        encrypt_data_v2(&mut own, &client);
        let mut packet = own[..].to_vec();
        assert_eq!(Envelope::read(cipher.open(&mut packet).unwrap()).unwrap().id, 3);
        let mut tampered = own[..].to_vec();
        *tampered.last_mut().unwrap() ^= 1;
        assert_eq!(cipher.open(&mut tampered), None);
        assert_eq!(
            ServerCipher::new(&AuthKey::new([7; 256])).open(&mut own[..]),
            None,
            "another key's"
        );
    }
}
