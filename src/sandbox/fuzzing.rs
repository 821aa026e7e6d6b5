//! What strangers may send, from any bytes.

use super::envelope::Envelope;
use super::method::Request;
use super::transport::{GLANCE_LEN, first_key};
use super::wire::Wire;

/// Bytes as they come from a socket: what is found in them is the same in two pieces.
pub(crate) fn frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let (whole, pieces) = (packets_of(&[bytes]), packets_of(&[first, second]));
    assert_eq!(whole, pieces);
    // What the judge sees of the key is what is heard of it later.
    if let Some(packet) = whole.0.first() {
        let key = first_key(&bytes[..GLANCE_LEN.min(bytes.len())]);
        assert_eq!(key.as_ref(), packet.first_chunk());
    }
}

/// Every packet of a connection, and whether it ends with nonsense.
fn packets_of(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut wire, mut packets) = (Wire::default(), vec![]);
    for piece in pieces {
        wire.fill(|inbox| inbox.extend_from_slice(piece));
        loop {
            match wire.next() {
                Ok(Some(at)) => packets.push(wire.packet(at).to_vec()),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
        wire.settle();
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
