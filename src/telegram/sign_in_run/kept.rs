//! What is kept of a sign-in under way: where it is, and the keys by which it is there.
//!
//! Owns its written form, which holds secrets: it belongs where sessions are.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::SignInSettings;
use crate::session::{AuthKey, ClientIdentity};
use crate::sign_in::SavedSignIn;

/// A key that was made for a sign-in. Nobody is signed in with it, or nobody knows it yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SignInKey {
    pub(super) dc: i32,
    pub(super) address: SocketAddr,
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    pub(super) key: AuthKey,
}

/// All that another process needs to go on with a sign-in.
///
/// As long as one process has it, no other one can go on with it: the keys are locked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptSignIn {
    pub(super) saved: SavedSignIn,
    pub(super) keys: Vec<SignInKey>,
    api_id: i32,
    test_servers: bool,
    #[serde(with = "IdentityWords")]
    identity: ClientIdentity,
    /// By which proxy it was begun, with the proxy's password.
    proxy: Option<Zeroizing<String>>,
}

/// How an identity is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "ClientIdentity")]
struct IdentityWords {
    device_model: String,
    system_version: String,
    app_version: String,
    system_lang_code: String,
    lang_code: String,
}

impl KeptSignIn {
    pub(super) fn new(saved: SavedSignIn, keys: &[SignInKey], settings: &SignInSettings) -> Self {
        let proxy = settings.proxy.as_ref();
        Self {
            saved,
            keys: keys.to_vec(),
            api_id: settings.application.id(),
            test_servers: settings.test_servers,
            identity: settings.identity.clone(),
            proxy: proxy.map(|proxy| Zeroizing::new(proxy.expose_url().to_owned())),
        }
    }

    /// The settings with which it goes on: as whom and by which way it was begun. `None` if these are of another
    /// application, or of other servers.
    pub(super) fn settings(&self, mut settings: SignInSettings) -> Option<SignInSettings> {
        let is_same = self.api_id == settings.application.id();
        if !is_same || self.test_servers != settings.test_servers {
            return None;
        }
        settings.identity = self.identity.clone();
        let proxy = self.proxy.as_ref().map(|url| url.parse().map(Arc::new));
        settings.proxy = proxy.transpose().ok()?;
        Some(settings)
    }

    /// As which application it was begun: it can not go on as another.
    #[must_use]
    pub fn api_id(&self) -> i32 {
        self.api_id
    }

    /// Whether it is on Telegram's test servers.
    #[must_use]
    pub fn test_servers(&self) -> bool {
        self.test_servers
    }

    /// Its written form.
    ///
    /// # Panics
    /// Never: all of it can be written.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("BUG: all of it can be written"))
    }

    /// Reads the written form. `None` if it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

fn write_key<S: Serializer>(key: &AuthKey, to: S) -> Result<S::Ok, S::Error> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(key.expose());
    Zeroizing::new(text).serialize(to)
}

fn read_key<'de, D: Deserializer<'de>>(from: D) -> Result<AuthKey, D::Error> {
    use base64::Engine as _;
    use serde::de::Error as _;
    let text = Zeroizing::<String>::deserialize(from)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
    let bytes = bytes.map(Zeroizing::new).ok();
    let key = bytes.and_then(|bytes| AuthKey::from_slice(&bytes));
    key.ok_or_else(|| D::Error::custom("not a key"))
}
