//! Fuzz targets of the sandbox: what any client may send.

use super::codec::PacketCodec;
use super::envelope::Envelope;
use super::request::Request;
use super::transport::{FIRST_BYTES_LEN, first_key};

/// Bytes as they come from a socket: the same packets are found in them when they come in two pieces.
pub(crate) fn frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let (whole, pieces) = (packets_of(&[bytes]), packets_of(&[first, second]));
    assert_eq!(whole, pieces);
    // The key that the detection of duplicates sees is the one of the packet.
    if let Some(packet) = whole.0.first() {
        let key = first_key(&bytes[..FIRST_BYTES_LEN.min(bytes.len())]);
        assert_eq!(key.as_ref(), packet.first_chunk());
    }
}

/// Every packet of a connection, and whether it ends with what is none.
fn packets_of(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut codec, mut packets) = (PacketCodec::default(), vec![]);
    for piece in pieces {
        codec.read_with(|inbox| inbox.extend_from_slice(piece));
        loop {
            match codec.next_packet() {
                Ok(Some(at)) => packets.push(codec.packet(at).to_vec()),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
        codec.shrink();
    }
    (packets, false)
}

/// A decrypted packet.
pub(crate) fn packets(data: &[u8]) {
    if let Ok(envelope) = Envelope::read(data) {
        for message in &envelope.messages {
            drop(Request::read(&message.body));
        }
    }
    drop(Request::read(data));
}
