//! What has arrived on a connection, and what is to go out on it: bytes on one side, packets on the
//! other.
//!
//! Owns both buffers and the transport between them. It is sans-IO: a socket's bytes are put in
//! and taken out.

use std::ops::Range;

use super::frame::{FrameError, Framing};
use super::stranger::Stranger;
use super::transport::Transport;

/// How much is read at a time, and kept while the connection is idle.
pub(super) const READ_LEN: usize = 4096;

/// Bytes that make no packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nonsense {
    /// From the first of them: nobody knows what the client speaks.
    Stranger(Stranger),
    /// After the client was understood.
    Frame(FrameError),
}

/// Both directions of a connection.
#[derive(Default)]
pub(super) struct Wire {
    /// What has arrived, in plain sight once the transport is known.
    inbox: Vec<u8>,
    /// How much of it has been found to be packets.
    taken: usize,
    /// What is to go out, in plain sight.
    outbox: Vec<u8>,
    transport: Option<Transport>,
    /// There was a packet.
    is_understood: bool,
}

impl Wire {
    /// Whether the transport is known.
    pub(super) fn is_recognised(&self) -> bool {
        self.transport.is_some()
    }

    /// Has more bytes read to the end of those that have arrived.
    pub(super) fn fill<T>(&mut self, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.inbox.drain(..std::mem::take(&mut self.taken));
        self.inbox.reserve(READ_LEN);
        let before = self.inbox.len();
        let outcome = read(&mut self.inbox);
        if let Some(transport) = &mut self.transport {
            transport.reveal(&mut self.inbox[before..]);
        }
        outcome
    }

    /// Where the next whole packet lies, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Range<usize>>, Nonsense> {
        if self.transport.is_none() {
            let recognised = Transport::recognise(&self.inbox).map_err(Nonsense::Stranger)?;
            let Some((mut transport, announced)) = recognised else { return Ok(None) };
            self.taken = announced;
            transport.reveal(&mut self.inbox[announced..]);
            self.transport = Some(transport);
        }
        let Some(transport) = &mut self.transport else { return Ok(None) };
        let found = transport.framing.next(&self.inbox[self.taken..]);
        let found = found.map_err(|error| match self.is_understood {
            true => Nonsense::Frame(error),
            false => Nonsense::Stranger(Stranger::guess(&self.inbox, error.into())),
        })?;
        let Some(found) = found else { return Ok(None) };
        self.is_understood = true;
        let payload = self.taken + found.payload.start..self.taken + found.payload.end;
        self.taken += found.next;
        Ok(Some(payload))
    }

    /// A packet that was found.
    pub(super) fn packet(&mut self, at: Range<usize>) -> &mut [u8] {
        &mut self.inbox[at]
    }

    /// Every packet has been seen to: gives up the room of a long one.
    pub(super) fn settle(&mut self) {
        if self.taken == self.inbox.len() && self.inbox.capacity() > 2 * READ_LEN {
            self.inbox = Vec::new();
            self.taken = 0;
        }
    }

    /// The way out for packets: how they are framed, and where to.
    pub(super) fn way_out(&mut self) -> Option<(&mut Framing, &mut Vec<u8>)> {
        let transport = self.transport.as_mut()?;
        Some((&mut transport.framing, &mut self.outbox))
    }

    /// Damages the packet that was framed last.
    pub(super) fn damage(&mut self) {
        // At most three of the last four bytes are padding: one at least is the checksum's, or
        // without one the cipher's.
        for byte in self.outbox.iter_mut().rev().take(4) {
            *byte ^= 0x55;
        }
    }

    /// Everything that is to go out, as it does. Has to be followed by `sent`.
    pub(super) fn outgoing(&mut self) -> &[u8] {
        if let Some(transport) = &mut self.transport {
            transport.obfuscate(&mut self.outbox);
        }
        &self.outbox
    }

    /// What was to go out has gone.
    pub(super) fn sent(&mut self) {
        self.outbox.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::transport::tests::Client;

    /// Hands over these bytes in pieces of so many, and takes what is found.
    fn read_in_pieces(wire: &mut Wire, bytes: &[u8], pieces: &[usize]) -> Vec<Vec<u8>> {
        let (mut packets, mut rest) = (vec![], bytes);
        for len in pieces.iter().copied().chain([bytes.len()]) {
            let (piece, more) = rest.split_at(len.min(rest.len()));
            rest = more;
            wire.fill(|inbox| inbox.extend(piece));
            while let Some(at) = wire.next().unwrap() {
                packets.push(wire.packet(at).to_vec());
            }
            wire.settle();
        }
        packets
    }

    /// Every packet of the server's, as the client finds them.
    fn answers(client: &mut Client, bytes: &[u8]) -> Vec<Vec<u8>> {
        let bytes = client.hear(bytes.to_vec());
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
            packets.iter().for_each(|packet| bytes.extend(client.say(packet)));
            for cut in 0..=bytes.len() {
                let found = read_in_pieces(&mut Wire::default(), &bytes, &[cut]);
                assert_eq!(found, packets, "{:?} at {cut}", client.framing);
            }
            let singly = vec![1; bytes.len()];
            assert_eq!(read_in_pieces(&mut Wire::default(), &bytes, &singly), packets);
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
            packets.iter().for_each(|packet| bytes.extend(client.say(packet)));
            let mut wire = Wire::default();
            prop_assert_eq!(&read_in_pieces(&mut wire, &bytes, &pieces), &packets);
            // Out in two batches, so that the cipher has to go on where it was.
            let (first, second) = packets.split_at(packets.len() / 2);
            for batch in [first, second] {
                let (framing, out) = wire.way_out().unwrap();
                batch.iter().for_each(|packet| framing.pack(packet, out));
                prop_assert_eq!(answers(&mut client, wire.outgoing()), batch);
                wire.sent();
            }
        }
    }

    #[test]
    fn damage_reaches_the_packet_behind_any_padding() {
        for (index, last) in (0..10).flat_map(|index| (0..4).map(move |last| (index, last))) {
            let mut client = Client::all().remove(index);
            let mut wire = Wire::default();
            read_in_pieces(&mut wire, &client.announced, &[]);
            if matches!(client.framing, Framing::Full { .. }) {
                read_in_pieces(&mut wire, &client.say(&packet(1, 1)), &[]);
            }
            let sent = [&packet(2, 1)[1..], &[last]].concat();
            let (framing, out) = wire.way_out().unwrap();
            framing.pack(&sent, out);
            wire.damage();
            let bytes = client.hear(wire.outgoing().to_vec());
            match client.framing.next(&bytes) {
                Ok(found) => assert_ne!(bytes[found.unwrap().payload], sent),
                Err(error) => assert_eq!(error, FrameError::Checksum),
            }
        }
    }

    #[test]
    fn nonsense_is_a_strangers_until_there_was_a_packet() {
        let mut wire = Wire::default();
        wire.fill(|inbox| inbox.extend([1, 0, 0, 0, 0, 0, 0, 0]));
        let reason = Stranger::Frame(FrameError::Length(1));
        assert_eq!(wire.next(), Err(Nonsense::Stranger(reason)));
        for mut client in Client::all() {
            let mut wire = Wire::default();
            let bytes = [client.announced.clone(), client.say(&packet(1, 1))].concat();
            assert_eq!(read_in_pieces(&mut wire, &bytes, &[]).len(), 1);
            wire.fill(|inbox| inbox.extend([0; 12]));
            while wire.next().is_ok_and(|found| found.is_some()) {}
            let after = wire.next();
            assert!(!matches!(after, Err(Nonsense::Stranger(_))), "{after:?}");
        }
    }
}
