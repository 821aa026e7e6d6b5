//! Codec of a connection: bytes on one side, packets on the other.
//!
//! Owns both buffers and the transport between them. It is sans-IO: a socket's bytes are put in
//! and taken out.

use std::ops::Range;

use super::frame::{FrameError, Framing};
use super::transport::Transport;
use super::unknown_protocol::UnknownProtocol;

/// How much is read at a time, and kept while the connection is idle.
pub(super) const READ_LEN: usize = 4096;

/// Why bytes make no packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PacketError {
    /// There was none before: the client speaks no transport of the server.
    UnknownProtocol(UnknownProtocol),
    /// After others that were good.
    Frame(FrameError),
}

/// Both buffers of a connection, and its transport once it is known.
#[derive(Default)]
pub(super) struct PacketCodec {
    /// What has arrived, deobfuscated once the transport is known.
    inbox: Vec<u8>,
    /// How much of it has been found to be packets.
    consumed: usize,
    /// What is to go out, not yet obfuscated.
    outbox: Vec<u8>,
    transport: Option<Transport>,
    had_packet: bool,
}

impl PacketCodec {
    /// Whether the transport is known.
    pub(super) fn is_recognised(&self) -> bool {
        self.transport.is_some()
    }

    /// Has more bytes read to the end of those that have arrived.
    pub(super) fn read_with<T>(&mut self, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.inbox.drain(..std::mem::take(&mut self.consumed));
        self.inbox.reserve(READ_LEN);
        let before = self.inbox.len();
        let outcome = read(&mut self.inbox);
        if let Some(transport) = &mut self.transport {
            transport.deobfuscate(&mut self.inbox[before..]);
        }
        outcome
    }

    /// Where the next whole packet lies, if it is there.
    pub(super) fn next_packet(&mut self) -> Result<Option<Range<usize>>, PacketError> {
        if self.transport.is_none() {
            let recognised =
                Transport::recognise(&self.inbox).map_err(PacketError::UnknownProtocol)?;
            let Some((mut transport, announced)) = recognised else { return Ok(None) };
            self.consumed = announced;
            transport.deobfuscate(&mut self.inbox[announced..]);
            self.transport = Some(transport);
        }
        let Some(transport) = &mut self.transport else { return Ok(None) };
        let found = transport.framing.next(&self.inbox[self.consumed..]);
        let found = found.map_err(|error| match self.had_packet {
            true => PacketError::Frame(error),
            false => {
                PacketError::UnknownProtocol(UnknownProtocol::guess(&self.inbox, error.into()))
            }
        })?;
        let Some(found) = found else { return Ok(None) };
        self.had_packet = true;
        let payload = self.consumed + found.payload.start..self.consumed + found.payload.end;
        self.consumed += found.next;
        Ok(Some(payload))
    }

    /// A packet that was found.
    pub(super) fn packet(&mut self, at: Range<usize>) -> &mut [u8] {
        &mut self.inbox[at]
    }

    /// Gives the buffer of a long packet back, once every packet is handled.
    pub(super) fn shrink(&mut self) {
        if self.consumed == self.inbox.len() && self.inbox.capacity() > 2 * READ_LEN {
            self.inbox = Vec::new();
            self.consumed = 0;
        }
    }

    /// How packets are framed, and the buffer that they are framed into.
    pub(super) fn writer(&mut self) -> Option<(&mut Framing, &mut Vec<u8>)> {
        let transport = self.transport.as_mut()?;
        Some((&mut transport.framing, &mut self.outbox))
    }

    /// Damages the packet that was framed last.
    pub(super) fn corrupt_last_packet(&mut self) {
        // At most three of the last four bytes are padding: one at least is the checksum's, or
        // without one the cipher's.
        for byte in self.outbox.iter_mut().rev().take(4) {
            *byte ^= 0x55;
        }
    }

    /// Everything that is to go out, obfuscated. Has to be followed by `clear_outgoing`.
    pub(super) fn outgoing(&mut self) -> &[u8] {
        if let Some(transport) = &mut self.transport {
            transport.obfuscate(&mut self.outbox);
        }
        &self.outbox
    }

    /// What was to go out has gone.
    pub(super) fn clear_outgoing(&mut self) {
        self.outbox.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::transport::tests::Client;

    /// Hands over these bytes in pieces of so many, and takes what is found.
    fn read_in_pieces(codec: &mut PacketCodec, bytes: &[u8], pieces: &[usize]) -> Vec<Vec<u8>> {
        let (mut packets, mut rest) = (vec![], bytes);
        for len in pieces.iter().copied().chain([bytes.len()]) {
            let (piece, more) = rest.split_at(len.min(rest.len()));
            rest = more;
            codec.read_with(|inbox| inbox.extend(piece));
            while let Some(at) = codec.next_packet().unwrap() {
                packets.push(codec.packet(at).to_vec());
            }
            codec.shrink();
        }
        packets
    }

    /// Every packet of the server's, as the client finds them.
    fn answers(client: &mut Client, bytes: &[u8]) -> Vec<Vec<u8>> {
        let bytes = client.receive(bytes.to_vec());
        let (mut packets, mut at) = (vec![], 0);
        while let Some(found) = client.framing.next(&bytes[at..]).unwrap() {
            packets.push(bytes[at + found.payload.start..at + found.payload.end].to_vec());
            at += found.next;
        }
        assert_eq!(at, bytes.len());
        packets
    }

    /// A packet of so many blocks.
    fn packet(blocks: usize, seed: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..24 + 16 * blocks).map(|_| random.u8(1..)).collect()
    }

    #[test]
    fn every_split_of_the_first_bytes_comes_to_the_same() {
        let packets = [packet(1, 1), packet(40, 2)];
        for index in 0..Client::all().len() {
            let mut client = Client::all().remove(index);
            let mut bytes = client.announced.clone();
            packets.iter().for_each(|packet| bytes.extend(client.send(packet)));
            for cut in 0..=bytes.len() {
                let found = read_in_pieces(&mut PacketCodec::default(), &bytes, &[cut]);
                assert_eq!(found, packets, "{:?} at {cut}", client.framing);
            }
            let singly = vec![1; bytes.len()];
            assert_eq!(read_in_pieces(&mut PacketCodec::default(), &bytes, &singly), packets);
        }
    }

    proptest! {
        #[test]
        fn packets_survive_every_transport_in_both_directions(
            which in 0..10_usize,
            blocks in prop::collection::vec(0..200_usize, 1..8),
            pieces in prop::collection::vec(0..3000_usize, 0..20),
            seed: u64,
        ) {
            let mut client = Client::all().remove(which);
            let packets: Vec<_> = blocks.iter().map(|len| packet(*len, seed)).collect();
            let mut bytes = client.announced.clone();
            packets.iter().for_each(|packet| bytes.extend(client.send(packet)));
            let mut codec = PacketCodec::default();
            prop_assert_eq!(&read_in_pieces(&mut codec, &bytes, &pieces), &packets);
            // Out in two batches, so that the cipher has to go on where it was.
            let (first, second) = packets.split_at(packets.len() / 2);
            for batch in [first, second] {
                let (framing, out) = codec.writer().unwrap();
                batch.iter().for_each(|packet| framing.pack(packet, out));
                prop_assert_eq!(answers(&mut client, codec.outgoing()), batch);
                codec.clear_outgoing();
            }
        }
    }

    #[test]
    fn damage_reaches_the_packet_behind_any_padding() {
        for (index, last) in (0..10).flat_map(|index| (0..4).map(move |last| (index, last))) {
            let mut client = Client::all().remove(index);
            let mut codec = PacketCodec::default();
            read_in_pieces(&mut codec, &client.announced, &[]);
            if matches!(client.framing, Framing::Full { .. }) {
                read_in_pieces(&mut codec, &client.send(&packet(1, 1)), &[]);
            }
            let sent = [&packet(2, 1)[1..], &[last]].concat();
            let (framing, out) = codec.writer().unwrap();
            framing.pack(&sent, out);
            codec.corrupt_last_packet();
            let bytes = client.receive(codec.outgoing().to_vec());
            match client.framing.next(&bytes) {
                Ok(found) => assert_ne!(bytes[found.unwrap().payload], sent),
                Err(error) => assert_eq!(error, FrameError::Checksum),
            }
        }
    }

    #[test]
    fn the_protocol_is_unknown_until_there_was_a_packet() {
        let mut codec = PacketCodec::default();
        codec.read_with(|inbox| inbox.extend([1, 0, 0, 0, 0, 0, 0, 0]));
        let reason = UnknownProtocol::Frame(FrameError::Length(1));
        assert_eq!(codec.next_packet(), Err(PacketError::UnknownProtocol(reason)));
        for mut client in Client::all() {
            let mut codec = PacketCodec::default();
            let bytes = [client.announced.clone(), client.send(&packet(1, 1))].concat();
            assert_eq!(read_in_pieces(&mut codec, &bytes, &[]).len(), 1);
            codec.read_with(|inbox| inbox.extend([0; 12]));
            while codec.next_packet().is_ok_and(|found| found.is_some()) {}
            let after = codec.next_packet();
            assert!(!matches!(after, Err(PacketError::UnknownProtocol(_))), "{after:?}");
        }
    }
}
