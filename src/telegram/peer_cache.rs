//! Peer cache that outlasts connections: an application's own memory of users and chats.
//!
//! Owns the trait. Remembers nothing itself: each client has a memory of its own beside it.

use grammers_client::session::types::{PeerId, PeerInfo};

use crate::account_id::AccountId;

/// Where the clients of connections look up users and chats that they have not met themselves, and tell of those that
/// they meet. Without one a client knows whom its own connection has met, and its helpers that look others up fail
/// (`message.respond`, for one).
///
/// What is remembered is of one account: an access hash of another is worth nothing. Both are called by a client in
/// the middle of its work, so they must be quick and must not block; a panic costs the connection's client.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
///
/// use telepool::AccountId;
/// use telepool::telegram::client::session::types::{PeerId, PeerInfo};
/// use telepool::telegram::{PeerCache, TelegramSettings};
///
/// #[derive(Debug, Default)]
/// struct Remembered(Mutex<HashMap<(AccountId, PeerId), PeerInfo>>);
///
/// impl PeerCache for Remembered {
///     fn peer(&self, account: AccountId, peer: PeerId) -> Option<PeerInfo> {
///         self.0.lock().unwrap().get(&(account, peer)).cloned()
///     }
///
///     fn cache_peer(&self, account: AccountId, peer: &PeerInfo) {
///         self.0.lock().unwrap().insert((account, peer.id()), peer.clone());
///     }
/// }
///
/// let mut settings = TelegramSettings::new(12345);
/// settings.peer_cache = Some(Arc::new(Remembered::default()));
/// ```
pub trait PeerCache: std::fmt::Debug + Send + Sync {
    /// Returns what is known of a user or a chat.
    fn peer(&self, account: AccountId, peer: PeerId) -> Option<PeerInfo>;

    /// A client has met a user or a chat, or learned more of one.
    fn cache_peer(&self, account: AccountId, peer: &PeerInfo);
}
