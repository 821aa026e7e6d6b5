//! gotd's session: JSON with the key in base64, a file or a line of it.
//!
//! Owns its layout and the check of the key against its id. Never repeats any of the text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{FoundSession, ImportError, Origin};
use crate::session::AuthKey;
use crate::session::lines::text_of;

/// The longest session: most of it are addresses of data centres.
pub(super) const LEN_MAX: usize = 1 << 20;

/// What a session is wrapped in.
#[derive(Deserialize)]
struct GotdFile<'a> {
    #[serde(rename = "Version")]
    version: i64,
    #[serde(borrow, rename = "Data")]
    data: GotdData<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GotdData<'a> {
    #[serde(rename = "DC")]
    dc: i64,
    #[serde(default, borrow)]
    addr: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    auth_key: Option<Cow<'a, str>>,
    #[serde(default, borrow, rename = "AuthKeyID")]
    auth_key_id: Option<Cow<'a, str>>,
    #[serde(default)]
    config: Option<GotdConfig>,
}

/// What the server has told of itself; all zeros until it has been asked.
#[derive(Deserialize)]
struct GotdConfig {
    #[serde(default, rename = "TestMode")]
    test_mode: bool,
    #[serde(default, rename = "ThisDC")]
    this_dc: i64,
}

/// Whether a JSON object begins as gotd's does.
pub(super) fn is_begun(text: &[u8]) -> bool {
    let mut rest = text.trim_ascii_start();
    for mark in [&b"{"[..], b"\""] {
        let Some(behind) = rest.strip_prefix(mark) else { return false };
        rest = behind.trim_ascii_start();
    }
    rest.starts_with(b"Version\"") || rest.starts_with(b"Data\"")
}

/// Reads a session.
pub(super) fn read(text: &[u8]) -> Result<FoundSession, ImportError> {
    // Some editors put a mark in front.
    let text = text_of(text);
    if !is_begun(text) {
        return Err(ImportError::NotASession {
            what: "a JSON object that is not gotd's (JSON lines go into a file of their own)",
        });
    }
    let file: GotdFile<'_> = serde_json::from_slice(text)
        .map_err(|_| ImportError::Damaged { what: "it is no whole session of gotd" })?;
    if file.version != 1 {
        return Err(ImportError::Damaged { what: "only version 1 of gotd's sessions is known" });
    }
    let data = file.data;
    let key = decoded(data.auth_key)?;
    if key.iter().all(|byte| *byte == 0) {
        return Err(ImportError::SignedOut { origin: Origin::Gotd });
    }
    let key = AuthKey::from_slice(&key).ok_or(ImportError::KeyLength { len: key.len() })?;
    let id = decoded(data.auth_key_id)?;
    if id[..] != key.id() {
        return Err(ImportError::KeyId);
    }
    let dc = i32::try_from(data.dc).ok().filter(|dc| (1..=255).contains(dc));
    let mut found = FoundSession::new(Origin::Gotd, dc.ok_or(ImportError::DataCentre)?, key);
    found.address = data.addr.and_then(|text| text.parse().ok());
    found.test_mode = data.config.filter(|it| it.this_dc != 0).map(|it| it.test_mode);
    Ok(found)
}

/// Bytes in base64; none where there is no text.
fn decoded(text: Option<Cow<'_, str>>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let bytes = STANDARD.decode(text.as_deref().unwrap_or_default().as_bytes());
    bytes.map(Zeroizing::new).map_err(|_| ImportError::Damaged { what: "its key is not base64" })
}
