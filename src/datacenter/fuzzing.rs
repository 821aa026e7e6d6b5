//! What strangers may send, from any bytes.

use super::envelope::Envelope;
use super::frame::Framing;
use super::method::Request;

/// Bytes as they come from a socket, in two pieces.
pub(crate) fn frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let Some((mut whole, skip)) = Framing::recognise(bytes) else { return };
    let bytes = &bytes[skip..];
    let cut = usize::from(*cut).min(bytes.len());
    let Some((mut pieces, _)) = Framing::recognise(data.get(1..).unwrap_or_default()) else {
        return;
    };
    // What is found in the first piece is found the same in all of it.
    if let Ok(Some(found)) = pieces.next(&bytes[..cut]) {
        assert_eq!(whole.next(bytes), Ok(Some(found)));
        return;
    }
    let mut at = 0;
    while let Ok(Some(found)) = whole.next(&bytes[at..]) {
        assert!(found.payload.end <= found.next && found.next <= bytes.len() - at);
        at += found.next;
    }
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
