//! Public key of a server, by which a client knows that it speaks to that one.
//!
//! Owns its written form and its fingerprint, and the encryption to it.

use std::fmt;

#[cfg(feature = "telegram")]
use grammers_crypto::rsa;
use grammers_tl_types::Serializable as _;
use num_bigint::BigUint;
use pkcs1::der::asn1::Uint;
use pkcs1::{DecodeRsaPublicKey as _, EncodeRsaPublicKey as _, LineEnding, RsaPublicKeyOwned};
use sha1::{Digest, Sha1};

/// An RSA key of 2,048 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerPublicKey {
    pub(super) modulus: BigUint,
    pub(super) exponent: BigUint,
    fingerprint: i64,
}

impl ServerPublicKey {
    /// `None` unless the modulus has 2,048 bits and both are odd.
    pub(super) fn new(modulus: BigUint, exponent: BigUint) -> Option<Self> {
        let is_sound = modulus.bits() == 2048 && modulus.bit(0) && exponent.bit(0);
        let is_short = (2..=64).contains(&exponent.bits());
        if !is_sound || !is_short {
            return None;
        }
        let mut written = modulus.to_bytes_be().to_bytes();
        exponent.to_bytes_be().serialize(&mut written);
        let hash = Sha1::digest(&written);
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&hash[12..]);
        Some(Self { modulus, exponent, fingerprint: i64::from_le_bytes(fingerprint) })
    }

    /// Reads the form that begins with `-----BEGIN RSA PUBLIC KEY-----`. `None` if it is not that, or not of 2,048
    /// bits.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        let key = RsaPublicKeyOwned::from_pkcs1_pem(text.trim()).ok()?;
        let number = |it: &Uint| BigUint::from_bytes_be(it.as_bytes());
        Self::new(number(&key.modulus), number(&key.public_exponent))
    }

    /// The same form.
    ///
    /// # Panics
    /// Never: two numbers of this length can be written.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let number = |it: &BigUint| Uint::new(&it.to_bytes_be()).expect("BUG: it is short");
        let key = RsaPublicKeyOwned {
            modulus: number(&self.modulus),
            public_exponent: number(&self.exponent),
        };
        key.to_pkcs1_pem(LineEnding::LF).expect("BUG: two short numbers are written")
    }

    /// What the server names it by.
    #[must_use]
    pub fn fingerprint(&self) -> i64 {
        self.fingerprint
    }

    /// Encrypts a message of at most 144 bytes, so that only the server can read it.
    #[cfg(feature = "telegram")]
    pub(super) fn seal(&self, message: &[u8], random: &[u8; 224]) -> Vec<u8> {
        let key = rsa::Key::new(&self.modulus.to_string(), &self.exponent.to_string());
        let key = key.expect("BUG: these are digits");
        rsa::encrypt_hashed(message, &key, random)
    }
}

impl fmt::Debug for ServerPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerPublicKey({:016x})", self.fingerprint.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_key_is_read_again_and_what_is_no_key_of_a_server_is_refused() {
        let modulus: BigUint = (BigUint::from(1_u8) << 2047) + 5_u8;
        let key = ServerPublicKey::new(modulus.clone(), BigUint::from(65_537_u32)).unwrap();
        let text = key.to_pem();
        assert!(text.starts_with("-----BEGIN RSA PUBLIC KEY-----\n"), "{text}");
        assert_eq!(ServerPublicKey::from_pem(&format!("\n {text}\n")), Some(key));
        let short: BigUint = &modulus >> 1;
        for (modulus, exponent) in [(short, 3_u8), (modulus.clone() + 1_u8, 3), (modulus, 4)] {
            assert_eq!(ServerPublicKey::new(modulus, exponent.into()), None);
        }
        for text in ["", "-----BEGIN RSA PUBLIC KEY-----", &text[..200], &text.replace("RSA ", "")]
        {
            assert_eq!(ServerPublicKey::from_pem(text), None, "{text}");
        }
    }
}
