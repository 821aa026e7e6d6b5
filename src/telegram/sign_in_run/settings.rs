//! Settings of sign-ins.
//!
//! Owns the defaults. Never asks the machine for anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::session::{ClientIdentity, DataCentres, Proxy};
use crate::sign_in::Application;
use crate::telegram::TelegramSettings;
use crate::telegram::wire::ServerPublicKey;

/// What sign-ins are made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignInSettings {
    /// As which application. The session stays that application's.
    pub application: Application,
    /// How the session introduces itself, now and later.
    pub identity: ClientIdentity,
    /// Where data centres listen (default: Telegram's own).
    pub data_centres: DataCentres,
    /// Whether Telegram's test servers are meant, which have accounts of their own.
    pub test_servers: bool,
    /// One of these keys a server must have (default: those of Telegram and of its test servers).
    pub server_keys: Vec<ServerPublicKey>,
    /// By which way it is dialled, now and later. Telegram may void a session that comes from elsewhere at once.
    pub proxy: Option<Arc<Proxy>>,
    /// How long a dial may take (default 10 s).
    pub dial_timeout: Duration,
    /// How long a call may take, and how long making a key (default 30 s).
    pub call_timeout: Duration,
    /// How long a close may take (default 5 s).
    pub close_grace: Duration,
    /// For how long a key is not dialled after a connection whose end the server may not have noticed (default 75 s): it
    /// closes its end 30 s after it last heard of ours, and what it hears may be 45 s late.
    pub redial_after_loss: Duration,
}

impl SignInSettings {
    /// The default of [`redial_after_loss`](Self::redial_after_loss).
    pub const REDIAL_AFTER_LOSS: Duration = Duration::from_secs(75);

    /// The defaults, for this application.
    #[must_use]
    pub fn new(application: Application) -> Self {
        let defaults = TelegramSettings::new(application.id());
        Self {
            application,
            identity: defaults.identity,
            data_centres: DataCentres::production(),
            test_servers: false,
            server_keys: [false, true].map(ServerPublicKey::of_telegram).into(),
            proxy: None,
            dial_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            close_grace: Duration::from_secs(5),
            redial_after_loss: Self::REDIAL_AFTER_LOSS,
        }
    }

    pub(super) fn address(&self, dc: i32) -> Option<SocketAddr> {
        match self.test_servers {
            true => self.data_centres.test_address(dc),
            false => self.data_centres.address(dc),
        }
    }
}
