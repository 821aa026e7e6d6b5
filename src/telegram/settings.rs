//! Settings of the manager, for all accounts.
//!
//! Owns the defaults. Never asks the machine for anything: the client's own defaults start a
//! process to learn the name of the operating system.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use grammers_client::sender::{ConnectionParams, NoRetries};

use super::pacing::Pacing;
use super::wire::introduction;
use super::{Engine, PeerCache};
use crate::session::{ClientIdentity, DataCentres, SessionRecord};

/// How connections introduce themselves, and their limits.
///
/// Telegram expects the application id and the identity to stay the same for the life of a session, so set them
/// once and keep them. A session may have its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TelegramSettings {
    /// The application id from my.telegram.org, of sessions that name none. 0: such sessions are refused.
    pub api_id: i32,
    /// How sessions introduce themselves that have no identity of their own.
    pub identity: ClientIdentity,
    /// What carries the connections (default: grammers, until the wire was tried against real servers).
    pub engine: Engine,
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
    /// 75 s after it last heard of ours (30 s over the wire), and what it hears may be 45 s late. Less risks the login where
    /// something between here and Telegram keeps connections open (a proxy, a relay, a broken line).
    pub redial_after_loss: Duration,
    /// How long the way by a session's proxy may take to open, from the look-up of its name to its word that
    /// the data centre is there. Less than `pool.dial_timeout`, which ends the whole dial and does not know
    /// what it waited for.
    pub proxy_timeout: Duration,
    /// How long a closing connection may take to finish by itself before it is cut.
    pub close_grace: Duration,
    /// How many unread updates a connection of the client keeps before it drops the next one.
    pub updates_capacity: NonZeroUsize,
    /// Other data centres that the client may visit for files. Empty: files that are stored
    /// elsewhere than in the account's home cannot be fetched.
    pub data_centres: DataCentres,
    /// Whether the client remembers the users and chats it meets, so that they can be addressed
    /// by id alone. Costs memory per connection.
    pub cache_peers: bool,
    /// Where clients look up users and chats that their own connection has not met, and tell of those that they
    /// meet, as far as [`cache_peers`](Self::cache_peers) has them do so. By default nowhere: what a client knows
    /// goes with its connection.
    pub peer_cache: Option<Arc<dyn PeerCache>>,
    /// Which accounts keep to limits when they send, ahead of the server's floods; by default none does.
    /// [`Account::invoke`](crate::Account::invoke) and its like wait for their turn, without a lease and in the
    /// order in which they came to a chat; [`Lease::invoke`](crate::Lease::invoke) never waits. What is
    /// called on the client itself is not paced.
    pub pacing: Pacing,
}

impl TelegramSettings {
    /// The defaults, for this application id.
    #[must_use]
    pub fn new(api_id: i32) -> Self {
        Self {
            api_id,
            identity: ClientIdentity::new("telepool", std::env::consts::OS, "1.0"),
            engine: Engine::default(),
            leases: 32,
            call_timeout: Duration::from_secs(30),
            login_lasts: Duration::from_secs(3_600),
            redial_after_loss: Duration::from_secs(120),
            proxy_timeout: Duration::from_secs(8),
            close_grace: Duration::from_millis(1_500),
            updates_capacity: const { NonZeroUsize::new(100).expect("BUG: 100 is not zero") },
            data_centres: DataCentres::new(),
            cache_peers: true,
            peer_cache: None,
            pacing: Pacing::none(),
        }
    }

    /// How a session introduces itself over the wire: as it does over the client.
    pub(super) fn introduction(&self, session: &SessionRecord) -> Arc<[u8]> {
        let identity = session.identity.as_deref().unwrap_or(&self.identity).clone();
        introduction(session.api_id.unwrap_or(self.api_id), identity)
    }

    /// The client's own form, every field filled by hand. Retries are the pool's part: the
    /// client's would sleep out a flood while the lease is held.
    pub(super) fn connection_params(&self, session: &SessionRecord) -> ConnectionParams {
        let identity = session.identity.as_deref().unwrap_or(&self.identity).clone();
        ConnectionParams {
            device_model: identity.device_model,
            system_version: identity.system_version,
            app_version: identity.app_version,
            system_lang_code: identity.system_lang_code,
            lang_code: identity.lang_code,
            // By a proxy the client only dials the loopback interface.
            use_ipv6: session.address.is_ipv6() && session.proxy.is_none(),
            retry_policy: Box::new(NoRetries),
            updates_channel_capacity: self.updates_capacity,
            __non_exhaustive: (),
        }
    }
}
