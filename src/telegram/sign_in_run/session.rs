//! The session that a sign-in comes to.
//!
//! Owns what goes with it into a store.

use std::net::SocketAddr;

use super::SignInSettings;
#[cfg(feature = "store")]
use crate::import::{FoundSession, Origin};
use crate::session::AuthKey;
use crate::sign_in::SignedIn;
#[cfg(feature = "store")]
use crate::store::NewSession;

/// A session that was signed in just now, whose connection is closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedInSession {
    /// Whose it is.
    pub signed_in: SignedIn,
    /// Its key.
    pub key: AuthKey,
    /// Where its data centre listens.
    pub address: SocketAddr,
    /// With what it was made, and is to be used from now on.
    pub settings: SignInSettings,
}

#[cfg(feature = "store")]
impl SignedInSession {
    /// The session as it goes into a store ([`SessionStore::finish_login`](crate::store::SessionStore::finish_login)).
    #[must_use]
    pub fn to_store(&self) -> NewSession {
        let Self { signed_in, settings, .. } = self;
        let mut found = FoundSession::new(Origin::SignIn, signed_in.dc, self.key.clone());
        found.address = Some(self.address);
        found.test_mode = Some(settings.test_servers);
        found.phone = signed_in.phone;
        found.user_id = Some(signed_in.user_id);
        found.is_bot = Some(signed_in.is_bot);
        found.api_id = Some(settings.application.id());
        found.proxy.clone_from(&settings.proxy);
        let mut new = NewSession::new(found, self.address);
        new.identity = Some(settings.identity.clone().into());
        new
    }
}
