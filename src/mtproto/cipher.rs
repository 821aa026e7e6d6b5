//! Cipher of the server's side of a connection.
//!
//! Owns the key in the forms in which the library takes it. Never knows what is in a packet.

use grammers_crypto::{DequeBuffer, decrypt_data_v2, encrypt_data_v2};

use crate::session::AuthKey;

/// The library has the client's side only: it encrypts with one part of the key, and decrypts with another that
/// begins 8 bytes further on. A key rotated by as many bytes swaps the parts.
pub(crate) struct ServerCipher {
    outgoing: grammers_crypto::AuthKey,
    incoming: grammers_crypto::AuthKey,
    /// The id of the rotated key, which the library expects in place of the true one.
    incoming_id: [u8; 8],
    id: [u8; 8],
}

impl ServerCipher {
    pub(crate) fn new(key: &AuthKey) -> Self {
        let rotated = |rotate: fn(&mut [u8], usize)| {
            let mut bytes = *key.expose();
            rotate(&mut bytes, 8);
            bytes
        };
        let incoming = rotated(<[u8]>::rotate_right);
        Self {
            outgoing: grammers_crypto::AuthKey::from_bytes(rotated(<[u8]>::rotate_left)),
            incoming: grammers_crypto::AuthKey::from_bytes(incoming),
            incoming_id: AuthKey::new(incoming).id(),
            id: key.id(),
        }
    }

    /// Decrypts a packet in place. `None` if it is not of this key, or was tampered with.
    pub(crate) fn open<'a>(&self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let id = packet.first_chunk_mut::<8>()?;
        if *id != self.id {
            return None;
        }
        *id = self.incoming_id;
        decrypt_data_v2(packet, &self.incoming).ok().map(|plain| &*plain)
    }

    /// Encrypts a packet in place.
    pub(crate) fn seal(&self, plain: &mut DequeBuffer<u8>) {
        encrypt_data_v2(plain, &self.outgoing);
        plain[..8].copy_from_slice(&self.id);
    }
}
