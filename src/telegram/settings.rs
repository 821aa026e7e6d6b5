//! Settings of the manager, for all accounts.
//!
//! Owns the defaults. Never asks the machine for anything: the client's own defaults start a
//! process to learn the name of the operating system.

use std::num::NonZeroUsize;
use std::time::Duration;

use grammers_client::sender::{ConnectionParams, NoRetries};

use crate::session::DataCentres;

/// How connections introduce themselves, and their limits.
///
/// The identity (device, versions, languages) shows in the account's list of devices. Telegram
/// expects it to stay the same for the life of a session, so set it once and keep it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TelegramSettings {
    /// The application id from my.telegram.org.
    pub api_id: i32,
    /// The device, as it shows in the account's list of devices.
    pub device_model: String,
    /// The operating system, as it shows there.
    pub system_version: String,
    /// The application's version, as it shows there.
    pub app_version: String,
    /// The language of the operating system (ISO 639-1).
    pub system_lang_code: String,
    /// The language of the application (ISO 639-1).
    pub lang_code: String,
    /// How many leases may share one connection. MTProto carries many requests at once.
    pub leases: u16,
    /// The longest that a call may take. Without a limit a silent server would hold it for ever.
    pub call_timeout: Duration,
    /// For how long a session that has passed its login check need not wait for the next one when it is
    /// dialled again: its connection is lent once the server has its introduction, one round trip
    /// earlier, and is replaced should the check fail. Zero: every dial waits.
    pub login_lasts: Duration,
    /// For how long a session is not dialled after a connection whose end the server may not have
    /// noticed: one that fell silent, or one of a process that was killed. The server closes its end
    /// 75 s after it last heard of ours, and what it hears may be 45 s late. Less risks the login where
    /// something between here and Telegram keeps connections open (a proxy, a relay, a broken line).
    pub redial_after_loss: Duration,
    /// How long a closing connection may take to finish by itself before it is cut.
    pub close_grace: Duration,
    /// How many unread updates a connection keeps before it drops the next one.
    pub updates_capacity: NonZeroUsize,
    /// Other data centres that the client may visit for files. Empty: files that are stored
    /// elsewhere than in the account's home cannot be fetched.
    pub data_centres: DataCentres,
    /// Whether the client remembers the users and chats it meets, so that they can be addressed
    /// by id alone. Costs memory per connection.
    pub cache_peers: bool,
}

impl TelegramSettings {
    /// The defaults, for this application id.
    #[must_use]
    pub fn new(api_id: i32) -> Self {
        Self {
            api_id,
            device_model: "telepool".into(),
            system_version: std::env::consts::OS.into(),
            app_version: "1.0".into(),
            system_lang_code: "en".into(),
            lang_code: "en".into(),
            leases: 32,
            call_timeout: Duration::from_secs(30),
            login_lasts: Duration::from_secs(3_600),
            redial_after_loss: Duration::from_secs(120),
            close_grace: Duration::from_millis(1_500),
            updates_capacity: const { NonZeroUsize::new(100).expect("BUG: 100 is not zero") },
            data_centres: DataCentres::new(),
            cache_peers: true,
        }
    }

    /// The client's own form, every field filled by hand. Retries are the pool's part: the
    /// client's would sleep out a flood while the lease is held.
    pub(super) fn connection_params(&self, use_ipv6: bool) -> ConnectionParams {
        ConnectionParams {
            device_model: self.device_model.clone(),
            system_version: self.system_version.clone(),
            app_version: self.app_version.clone(),
            system_lang_code: self.system_lang_code.clone(),
            lang_code: self.lang_code.clone(),
            use_ipv6,
            retry_policy: Box::new(NoRetries),
            updates_channel_capacity: self.updates_capacity,
            __non_exhaustive: (),
        }
    }
}
