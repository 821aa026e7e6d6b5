//! Tokens: the secrets by which clients are known, and what is kept of them.
//!
//! Owns their look, and the hash that stands for one where it is kept. A token is `tp_`, an id of 8 characters
//! that is no secret, `_`, and 256 random bits in base64url. Never shows one but to whoever reveals it.

use std::fmt;
use std::io;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What begins every token, so that scanners of sources and logs find one that has got there.
const PREFIX: &str = "tp_";
/// How many characters an id has: with 40 random bits no two in a file are alike by chance.
const ID_LEN: usize = 8;
/// The characters of an id, of which none is taken for another.
const ID_LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The random bytes of a secret, and their length in base64url.
const SECRET_BYTES: usize = 32;
pub(super) const SECRET_LEN: usize = 43;

/// The id of a token, as it stands in the file and in the log. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; ID_LEN]);

/// A token: whoever has it is let in. It is shown once, when it is made; what is kept is its hash.
pub struct Token {
    id: TokenId,
    text: String,
}

/// The SHA-256 of a whole token. A token is 256 random bits, which nobody finds by trying: a slow hash
/// protects words that people have chosen, and here it would only make each request slow.
#[derive(Clone, Copy)]
pub(super) struct TokenHash([u8; 32]);

impl Token {
    /// Makes a new one of the system's random numbers.
    ///
    /// # Errors
    /// The system gives none.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; ID_LEN];
        fill(&mut bytes)?;
        let id = TokenId(bytes.map(|byte| ID_LETTERS[usize::from(byte % 32)]));
        let text = format!("{PREFIX}{id}_{}", secret()?);
        Ok(Self { id, text })
    }

    /// Returns the part that is no secret.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Returns the token in full, for whoever is to have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Returns the id of a text that looks like a token, and `None` of any other.
    #[must_use]
    pub fn id_of(text: &str) -> Option<TokenId> {
        let rest = text.strip_prefix(PREFIX)?;
        let (id, secret) = (rest.get(..ID_LEN)?, rest.get(ID_LEN..)?.strip_prefix('_')?);
        is_secret(secret).then(|| id.parse().ok()).flatten()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.id).finish()
    }
}

impl TokenHash {
    pub(super) fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Returns whether it is the same, in a time that tells nothing of where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Returns the 64 hexadecimal digits of it.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let is_hash = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        is_hash.then_some(Self(hash))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("BUG: an id is made of ASCII letters"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is no id of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a token is 8 characters from a to z and 2 to 7")]
pub struct ParseTokenIdError;

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, ParseTokenIdError> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().map_err(|_| ParseTokenIdError)?;
        let is_id = bytes.iter().all(|byte| ID_LETTERS.contains(byte));
        is_id.then_some(Self(bytes)).ok_or(ParseTokenIdError)
    }
}

/// 256 random bits in base64url.
pub(super) fn secret() -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether a text has the length and the characters of such.
pub(super) fn is_secret(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() == SECRET_LEN && text.bytes().all(is_base64url)
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_another_and_names_its_id() {
        let [one, other] = [Token::generate().unwrap(), Token::generate().unwrap()];
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(one.reveal().len(), 3 + 8 + 1 + 43);
        assert_eq!(Token::id_of(one.reveal()), Some(one.id()));
        assert_eq!(one.id().to_string().parse(), Ok(one.id()));
        assert!(one.reveal().starts_with(&format!("tp_{}_", one.id())));
        let shown = format!("{one:?}");
        assert_eq!(shown, format!("Token({})", one.id()), "the secret is not shown");
    }

    #[test]
    fn what_is_not_quite_a_token_has_no_id() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        for other in [
            String::new(),
            "tp_".to_owned(),
            text[..text.len() - 1].to_owned(),
            format!("{text}A"),
            format!("{text}="),
            format!(" {text}"),
            text.to_uppercase(),
            text.replacen("tp_", "tq_", 1),
            format!("tp_ééééé{}", &text[11..]),
            format!("{}+", &text[..text.len() - 1]),
            format!("tp_{}é{}", token.id(), &text[13..]),
        ] {
            assert_eq!(Token::id_of(&other), None, "{other}");
        }
    }

    #[test]
    fn a_hash_is_read_as_it_was_written_and_differs_with_any_bit() {
        let hash = TokenHash::of("abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.text(), text);
        assert!(TokenHash::parse(text).unwrap().is(&hash));
        for bit in 0..256 {
            let mut other = hash;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!hash.is(&other), "bit {bit}");
        }
        for bad in ["", &text[1..], &format!("{}+1", &text[..62]), &"é".repeat(32)] {
            assert!(TokenHash::parse(bad).is_none(), "{bad}");
        }
    }
}
