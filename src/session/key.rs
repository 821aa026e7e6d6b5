//! The authorization key: 256 secret bytes that are wiped when dropped and never printed.
//!
//! Owns the secret. Never writes it anywhere by itself.

use std::fmt;

use sha1::{Digest, Sha1};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A permanent authorization key. Whoever holds it is the account.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AuthKey(Box<[u8; Self::LEN]>);

impl AuthKey {
    /// How many bytes a key has.
    pub const LEN: usize = 256;

    /// Moves a key onto the heap, and wipes what it came from.
    #[must_use]
    pub fn new(mut bytes: [u8; Self::LEN]) -> Self {
        let key = Self(Box::new(bytes));
        bytes.zeroize();
        key
    }

    /// Copies a key out of a buffer straight onto the heap, so that no copy stays on the stack.
    /// `None` unless the buffer has exactly 256 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LEN {
            return None;
        }
        let mut key = Self(Box::new([0; Self::LEN]));
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The secret itself, for the wire and for the session store.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The public id of the key, by which the server finds it: it stands in clear in front of every
    /// message (the last 8 of the 20 bytes of the key's SHA-1).
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        let hash = Sha1::digest(self.expose());
        let mut id = [0; 8];
        id.copy_from_slice(&hash[12..]);
        id
    }

    /// Whether every byte is zero: what an uninitialised or wiped buffer looks like.
    pub(crate) fn is_blank(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

impl PartialEq for AuthKey {
    fn eq(&self, other: &Self) -> bool {
        // Without an early exit, so that the time taken tells nothing about the bytes.
        self.0.iter().zip(other.0.iter()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl Eq for AuthKey {}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", AuthKey::new([0xab; 256])), "AuthKey(hidden)");
    }

    #[test]
    fn a_slice_of_another_length_is_no_key() {
        assert_eq!(AuthKey::from_slice(&[1; 256]), Some(AuthKey::new([1; 256])));
        assert_eq!(AuthKey::from_slice(&[1; 255]), None);
        assert_eq!(AuthKey::from_slice(&[1; 257]), None);
    }
}
