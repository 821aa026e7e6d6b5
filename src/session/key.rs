//! The authorization key: 256 secret bytes that are wiped when dropped and never printed.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A permanent authorization key. Whoever holds it is the account.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AuthKey(Box<[u8; 256]>);

impl AuthKey {
    /// Takes a key into custody.
    #[must_use]
    pub fn new(bytes: [u8; 256]) -> Self {
        Self(Box::new(bytes))
    }

    /// The secret itself, for the wire and for the session store.
    #[must_use]
    pub fn expose(&self) -> &[u8; 256] {
        &self.0
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
