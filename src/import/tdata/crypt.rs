//! How Telegram Desktop encrypts its files: with one local key, which is under the passcode.
//!
//! Owns the derivation of keys and the check of what comes out. Wipes whatever it has decrypted.

use grammers_crypto::aes::ige_decrypt;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::import::ImportError;

/// Bytes that are wiped when dropped.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// How many rounds a passcode is worth, and none at all.
const ROUNDS: u32 = 100_000;
const ROUNDS_WITHOUT_PASSCODE: u32 = 1;
/// The length of a local key, and of the part of a hash that stands in front of what it is of.
const KEY_LEN: usize = 256;
const CHECK_LEN: usize = 16;
/// Which part of the key decrypts, in the first version of MTProto.
const X: usize = 8;

/// The key of all files.
pub(super) struct LocalKey(Secret);

/// The local key, which may be under a passcode. One that is given for a folder without does no harm.
pub(super) fn local_key(
    salt: &[u8],
    encrypted: &[u8],
    passcode: Option<&str>,
) -> Result<LocalKey, ImportError> {
    let is_wrong = |error: &ImportError| matches!(error, ImportError::PasscodeWrong);
    let key = match (passcode_key(salt, "").decrypted_by_passcode(encrypted), passcode) {
        (Err(error), Some(passcode)) if is_wrong(&error) => {
            passcode_key(salt, passcode).decrypted_by_passcode(encrypted)?
        }
        (Err(error), None) if is_wrong(&error) => return Err(ImportError::PasscodeMissing),
        (key, _) => key?,
    };
    if key.len() < KEY_LEN {
        return Err(ImportError::Damaged { what: "its local key is too short" });
    }
    Ok(LocalKey(key))
}

fn passcode_key(salt: &[u8], passcode: &str) -> LocalKey {
    let mut hash = Sha512::new();
    for part in [salt, passcode.as_bytes(), salt] {
        hash.update(part);
    }
    let mut password = Zeroizing::new([0; 64]);
    password.copy_from_slice(&hash.finalize());
    let rounds = if passcode.is_empty() { ROUNDS_WITHOUT_PASSCODE } else { ROUNDS };
    let mut key = Zeroizing::new(vec![0; KEY_LEN]);
    pbkdf2_hmac::<Sha512>(&*password, salt, rounds, &mut key);
    LocalKey(key)
}

impl LocalKey {
    /// What is in an array, if it is encrypted with this key.
    pub(super) fn decrypted(&self, encrypted: &[u8]) -> Result<Secret, ImportError> {
        self.opened(encrypted)?.ok_or(ImportError::Damaged {
            what: "one of its files is not encrypted with the key of the others",
        })
    }

    fn decrypted_by_passcode(&self, encrypted: &[u8]) -> Result<Secret, ImportError> {
        self.opened(encrypted)?.ok_or(ImportError::PasscodeWrong)
    }

    /// The same, or `None` with another key.
    fn opened(&self, encrypted: &[u8]) -> Result<Option<Secret>, ImportError> {
        let damaged =
            || ImportError::Damaged { what: "an encrypted part has a length that none has" };
        let (check, data) = encrypted.split_at_checked(CHECK_LEN).ok_or_else(damaged)?;
        if data.is_empty() || data.len() % 16 != 0 {
            return Err(damaged());
        }
        let mut data = Zeroizing::new(data.to_vec());
        let (key, iv) = self.key_and_iv(check);
        ige_decrypt(&mut data, &key, &iv);
        if Sha1::digest(&data)[..CHECK_LEN] != *check {
            return Ok(None);
        }
        // The length in front counts itself, and what is behind are less than a block.
        let mut len = [0; 4];
        len.copy_from_slice(&data[..4]);
        let len = usize::try_from(u32::from_le_bytes(len)).map_err(|_| damaged())?;
        if len < 4 || len > data.len() || len + 16 <= data.len() {
            return Err(damaged());
        }
        data.truncate(len);
        data.drain(..4);
        Ok(Some(data))
    }

    fn key_and_iv(&self, check: &[u8]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
        let part = |from: usize, len: usize| &self.0[X + from..X + from + len];
        let hash = |parts: &[&[u8]]| {
            let mut hash = Sha1::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize()
        };
        let a = hash(&[check, part(0, 32)]);
        let b = hash(&[part(32, 16), check, part(48, 16)]);
        let c = hash(&[part(64, 32), check]);
        let d = hash(&[check, part(96, 32)]);
        let joined = |parts: [&[u8]; 4]| {
            let mut joined = Zeroizing::new([0; 32]);
            let bytes = parts.into_iter().flatten();
            joined.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            joined
        };
        let key = joined([&a[..8], &b[8..20], &c[4..16], &[]]);
        let iv = joined([&a[8..20], &b[..8], &c[16..20], &d[..8]]);
        (key, iv)
    }
}
