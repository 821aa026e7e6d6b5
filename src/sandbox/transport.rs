//! Transport of a connection: its framing, and its obfuscation if there is one.
//!
//! Owns the recognition by the first bytes, and the cipher of obfuscated connections. Never reads a socket: it is given
//! what has arrived so far.
//!
//! A client that obfuscates begins with 64 random bytes that look like none of the others: they
//! hold the keys of both directions and, encrypted, the transport beneath. The number of the data
//! centre that may follow it is of no matter here, where there is one.

use grammers_crypto::ObfuscatedCipher;

use super::frame::Framing;
use super::unknown_protocol::UnknownProtocol;

/// How many first bytes of a connection are enough to see the key of its first packet.
pub(super) const FIRST_BYTES_LEN: usize = HEADER_LEN + 4 + 8;
/// What an obfuscated connection begins with.
const HEADER_LEN: usize = 64;
/// Where the header names the transport.
const TAG_START: usize = 56;
/// Beginnings that no client obfuscates with, since others have a use for them.
const RESERVED: [&[u8; 4]; 5] = [b"GET ", b"POST", b"HEAD", b"OPTI", &[0x16, 3, 1, 2]];

/// How a connection's bytes become packets, and packets bytes.
pub(super) struct Transport {
    pub(super) framing: Framing,
    obfuscation: Option<Box<ObfuscatedCipher>>,
}

impl Transport {
    /// Recognises the transport by the first bytes of a connection. Returns also how many of them only
    /// announce it. `None`: too few bytes to tell.
    pub(super) fn recognise(bytes: &[u8]) -> Result<Option<(Self, usize)>, UnknownProtocol> {
        let plain = |framing, announced| Ok(Some((Self { framing, obfuscation: None }, announced)));
        if bytes.first() == Some(&0xef) {
            return plain(Framing::Abridged, 1);
        }
        let Some(word) = bytes.first_chunk::<4>() else { return Ok(None) };
        if let Some(framing) = tagged(*word).filter(|framing| *framing != Framing::Abridged) {
            return plain(framing, 4);
        }
        if RESERVED.contains(&word) {
            return Err(UnknownProtocol::guess(bytes, UnknownProtocol::ObfuscationHeader));
        }
        // The number of the first full frame, which follows its length.
        let Some(number) = bytes.get(4..8) else { return Ok(None) };
        if number == [0; 4] {
            return plain(Framing::Full { received: 0, sent: 0 }, 0);
        }
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        match Self::obfuscated(header) {
            Some(transport) => Ok(Some((transport, HEADER_LEN))),
            None => Err(UnknownProtocol::guess(bytes, UnknownProtocol::ObfuscationHeader)),
        }
    }

    /// Reads the header of an obfuscated connection.
    fn obfuscated(header: &[u8; HEADER_LEN]) -> Option<Self> {
        // The library has the client's side only, whose two directions a reversed header swaps.
        let mut reversed = *header;
        reversed.reverse();
        let mut cipher = ObfuscatedCipher::new(&reversed);
        let mut shown = *header;
        cipher.decrypt(&mut shown);
        let framing = tagged(*shown[TAG_START..].first_chunk()?)?;
        Some(Self { framing, obfuscation: Some(Box::new(cipher)) })
    }

    /// Undoes the obfuscation of what has arrived. Each byte has to be given once, in order.
    pub(super) fn deobfuscate(&mut self, arrived: &mut [u8]) {
        if let Some(cipher) = &mut self.obfuscation {
            cipher.decrypt(arrived);
        }
    }

    /// Obfuscates what goes out. Each byte has to be given once, in order.
    pub(super) fn obfuscate(&mut self, outgoing: &mut [u8]) {
        if let Some(cipher) = &mut self.obfuscation {
            cipher.encrypt(outgoing);
        }
    }
}

/// The transport that announces itself by a word, be it plain or in a header of obfuscation.
fn tagged(word: [u8; 4]) -> Option<Framing> {
    match word {
        [0xef, 0xef, 0xef, 0xef] => Some(Framing::Abridged),
        [0xee, 0xee, 0xee, 0xee] => Some(Framing::Intermediate),
        [0xdd, 0xdd, 0xdd, 0xdd] => Some(Framing::PaddedIntermediate),
        _ => None,
    }
}

/// The key id of the first packet, by the first bytes of a connection.
pub(super) fn first_key(bytes: &[u8]) -> Option<[u8; 8]> {
    let (mut transport, announced) = Transport::recognise(bytes).ok()??;
    let mut rest = bytes[announced..].to_vec();
    transport.deobfuscate(&mut rest);
    transport.framing.first_key(&rest)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client's end of a connection.
    pub(in crate::sandbox) struct Client {
        pub(in crate::sandbox) framing: Framing,
        pub(in crate::sandbox) announced: Vec<u8>,
        cipher: Option<ObfuscatedCipher>,
    }

    impl Client {
        /// One that does not obfuscate.
        pub(in crate::sandbox) fn plain(framing: Framing) -> Self {
            let announced = match framing {
                Framing::Full { .. } => vec![],
                Framing::Abridged => vec![0xef],
                Framing::Intermediate => vec![0xee; 4],
                Framing::PaddedIntermediate => vec![0xdd; 4],
            };
            Self { framing, announced, cipher: None }
        }

        /// One that obfuscates a transport for a data centre.
        pub(in crate::sandbox) fn obfuscated(tag: u8, dc: i16, seed: u64) -> Self {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut header = std::array::from_fn(|_| random.u8(1..0xdd));
            header[56..60].fill(tag);
            header[60..62].copy_from_slice(&dc.to_le_bytes());
            let mut cipher = ObfuscatedCipher::new(&header);
            let mut sealed = header;
            cipher.encrypt(&mut sealed);
            header[56..].copy_from_slice(&sealed[56..]);
            let framing = tagged([tag; 4]).unwrap();
            Self { framing, announced: header.to_vec(), cipher: Some(cipher) }
        }

        /// One of each kind.
        pub(in crate::sandbox) fn all() -> Vec<Self> {
            let full = Framing::Full { received: 0, sent: 0 };
            let plain =
                [full, Framing::Abridged, Framing::Intermediate, Framing::PaddedIntermediate];
            let tags = [0xef, 0xee, 0xdd].into_iter();
            let hidden = tags.flat_map(|tag| [(tag, 2), (tag, -10_002)]);
            let hidden = hidden.map(|(tag, dc)| Self::obfuscated(tag, dc, 7));
            plain.into_iter().map(Self::plain).chain(hidden).collect()
        }

        /// Frames a packet as it goes over the wire.
        pub(in crate::sandbox) fn send(&mut self, packet: &[u8]) -> Vec<u8> {
            let mut out = Vec::new();
            self.framing.pack(packet, &mut out);
            if let Some(cipher) = &mut self.cipher {
                cipher.encrypt(&mut out);
            }
            out
        }

        /// What the server sends, as frames.
        pub(in crate::sandbox) fn receive(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
            if let Some(cipher) = &mut self.cipher {
                cipher.decrypt(&mut bytes);
            }
            bytes
        }
    }

    #[test]
    fn the_first_bytes_tell_the_transport_and_the_key() {
        for mut client in Client::all() {
            let announced = client.announced.clone();
            let bytes = [announced.clone(), client.send(&[3; 8].repeat(5))].concat();
            let (recognised, skip) = Transport::recognise(&bytes).unwrap().unwrap();
            assert_eq!(skip, announced.len());
            let fresh = Framing::Full { received: 0, sent: 0 };
            let is_full = matches!(client.framing, Framing::Full { .. });
            assert_eq!(recognised.framing, if is_full { fresh } else { client.framing });
            assert_eq!(recognised.obfuscation.is_some(), skip == HEADER_LEN);
            assert_eq!(first_key(&bytes[..FIRST_BYTES_LEN.min(bytes.len())]), Some([3; 8]));
            // The announcement alone is enough; what is shorter is waited for.
            for len in 0..if is_full { 8 } else { skip } {
                assert!(Transport::recognise(&bytes[..len]).unwrap().is_none(), "{len}");
                assert_eq!(first_key(&bytes[..len]), None);
            }
        }
    }

    /// Bytes that OpenSSL has obfuscated, so that both ends are not wrong in the same way.
    #[test]
    fn the_cipher_is_that_of_others() {
        let header: [u8; 56] = std::array::from_fn(|at| u8::try_from((at * 7 + 1) % 251).unwrap());
        let sealed = [
            0xbe, 0x0b, 0x12, 0xfa, 0xcd, 0xfc, 0x7f, 0xa2, 0x8c, 0x21, 0x4b, 0xdb, 0xa2, 0x67,
            0xd8, 0xc1, 0x5f, 0x12, 0xd7, 0x87, 0xb1, 0x01, 0xca, 0x1c, 0x74, 0x7c, 0x81, 0x87,
            0x86, 0x2c, 0x59, 0x6f, 0x48, 0x23, 0xd9, 0x4c,
        ];
        let mut bytes = [&header[..], &sealed].concat();
        assert_eq!(first_key(&bytes), Some([3; 8]));
        let (mut transport, announced) = Transport::recognise(&bytes).unwrap().unwrap();
        assert_eq!((&transport.framing, announced), (&Framing::PaddedIntermediate, 64));
        transport.deobfuscate(&mut bytes[announced..]);
        assert_eq!(bytes[announced..], [&[24, 0, 0, 0][..], &[3; 24]].concat());
        let mut answer: [u8; 20] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        transport.obfuscate(&mut answer);
        let expected = [
            0x06, 0x7f, 0x1a, 0xed, 0xbb, 0x7a, 0xe5, 0x9d, 0x7a, 0xc4, 0xfe, 0x0b, 0x85, 0x6a,
            0x09, 0x45, 0xd8, 0x0e, 0x30, 0xc2,
        ];
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_is_no_transport_is_told_by_what_it_looks_like() {
        let reason = |bytes: &[u8]| Transport::recognise(bytes).err();
        assert_eq!(reason(b"GET /bot1"), Some(UnknownProtocol::Http));
        assert_eq!(reason(b"POST"), Some(UnknownProtocol::Http));
        assert_eq!(reason(&[0x16, 3, 1, 2, 0, 1]), Some(UnknownProtocol::Tls));
        assert_eq!(reason(&[0x42; 63]), None);
        assert_eq!(reason(&[0x42; 64]), Some(UnknownProtocol::ObfuscationHeader));
        let tls = [&[0x16, 3, 1, 0][..], &[7; 60]].concat();
        assert_eq!(reason(&tls), Some(UnknownProtocol::Tls));
        // The header of a client that has the secret of a proxy.
        let mut client = Client::obfuscated(0xef, 2, 1).announced;
        client[56] ^= 1;
        assert_eq!(reason(&client), Some(UnknownProtocol::ObfuscationHeader));
    }
}
