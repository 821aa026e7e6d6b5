//! Authorized sessions: what one login of one account consists of, and how other programs
//! write it down.
//!
//! Owns the types and the text forms. Never stores, dials or logs anything.

mod data_centres;
mod identity;
mod key;
mod key_id;
pub mod lines;
mod proxy;
mod string;
mod update_states;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

pub use data_centres::DataCentres;
pub use identity::ClientIdentity;
pub use key::AuthKey;
pub use key_id::{KeyId, ParseKeyIdError};
pub use proxy::{Proxy, ProxyCredentials, ProxyServer, ProxyUrlError, ProxyWay, proxy_label};
#[cfg(feature = "store")]
pub(crate) use string::bot_token;
pub use string::{SessionFormat, SessionString, SessionStringError, telethon_string};
pub use update_states::{ChannelState, UpdateState, UpdateStates};

use crate::account_id::AccountId;

/// One authorized session: enough to open its main connection.
///
/// Made by [`SessionRecord::new`], and its fields are set by name: more may come.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionRecord {
    /// Whose session this is.
    pub account: AccountId,
    /// Which of the account's slots it fills, from 0.
    pub slot: u16,
    /// The home data centre.
    pub dc: i32,
    /// Where the home data centre listens.
    pub address: SocketAddr,
    /// The user id that the session is logged in as; 0 if nobody said.
    pub user_id: i64,
    /// Whether the user is a bot.
    pub is_bot: bool,
    /// The authorization key.
    pub key: AuthKey,
    /// An operator's label on the account.
    pub group: Option<Arc<str>>,
    /// The proxy to dial by, or the address to dial from.
    pub proxy: Option<Arc<Proxy>>,
    /// The application that logged in; that of the process if nobody said.
    pub api_id: Option<i32>,
    /// How it introduces itself; as the process does if nobody said.
    pub identity: Option<Arc<ClientIdentity>>,
}

impl SessionRecord {
    /// A session of an account, in its first slot, of a user that nobody has named but by the account itself.
    #[must_use]
    pub fn new(account: AccountId, dc: i32, address: SocketAddr, key: AuthKey) -> Self {
        Self {
            account,
            slot: 0,
            dc,
            address,
            user_id: if account.is_phone() { 0 } else { account.number().cast_signed() },
            is_bot: account.is_bot(),
            key,
            group: None,
            proxy: None,
            api_id: None,
            identity: None,
        }
    }
}

/// Who a session is logged in as, as the server has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionUser {
    /// The user.
    pub user_id: i64,
    /// Whether it is a bot.
    pub is_bot: bool,
    /// Its phone number, if it shows.
    pub phone: Option<AccountId>,
}

impl SessionUser {
    /// A user by what the server has told of it.
    #[must_use]
    pub const fn new(user_id: i64, is_bot: bool, phone: Option<AccountId>) -> Self {
        Self { user_id, is_bot, phone }
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("account", &self.account)
            .field("slot", &self.slot)
            .field("dc", &self.dc)
            .field("address", &self.address)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
