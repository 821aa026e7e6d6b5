//! Client identity: how a session introduces itself to Telegram.
//!
//! Owns the words of `initConnection`. Never makes any of them up: whoever sets none keeps those of the process.

/// The device and application that a session shows in the account's list of devices.
///
/// Telegram expects it to stay the same for the life of a session, so it belongs to the session and never
/// changes by itself.
///
/// ```
/// use telepool::session::ClientIdentity;
///
/// let mut identity = ClientIdentity::new("Pixel 9", "Android 16", "1.4.0");
/// identity.lang_code = "de".into();
/// assert_eq!(identity.system_lang_code, "en");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClientIdentity {
    /// The device.
    pub device_model: String,
    /// The operating system and its version.
    pub system_version: String,
    /// The application's version.
    pub app_version: String,
    /// The language of the operating system (ISO 639-1).
    pub system_lang_code: String,
    /// The language of the application (ISO 639-1).
    pub lang_code: String,
}

impl ClientIdentity {
    /// An identity in English.
    #[must_use]
    pub fn new(
        device_model: impl Into<String>,
        system_version: impl Into<String>,
        app_version: impl Into<String>,
    ) -> Self {
        Self {
            device_model: device_model.into(),
            system_version: system_version.into(),
            app_version: app_version.into(),
            system_lang_code: "en".into(),
            lang_code: "en".into(),
        }
    }
}
