//! The public id of an authorization key, by which it is known without being shown.

use std::fmt;
use std::str::FromStr;

use super::AuthKey;

/// The public id of an authorization key, as it stands in clear in front of every message. It is
/// written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id of a key.
    #[must_use]
    pub fn of(key: &AuthKey) -> Self {
        Self(key.id())
    }

    /// The id of a number, as [`number`](Self::number) gives it.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number.to_le_bytes())
    }

    /// The id as a number.
    #[must_use]
    pub const fn number(self) -> u64 {
        u64::from_le_bytes(self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A sign is taken by the parser of numbers.
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseKeyIdError);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| ParseKeyIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// A text that is no [`KeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key is 16 hexadecimal digits, such as 00f1e2d3c4b5a697")]
pub struct ParseKeyIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_key_is_read_as_it_is_written() {
        let id = KeyId::of(&AuthKey::new([7; 256]));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for text in ["", "00", "+0f1e2d3c4b5a697", "00f1e2d3c4b5a69g", "00f1e2d3c4b5a69700"] {
            assert_eq!(text.parse::<KeyId>(), Err(ParseKeyIdError), "{text}");
        }
    }
}
