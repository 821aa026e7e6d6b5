//! What a session does that is signed in already: accept another one, or end.
//!
//! Owns those two calls, each over a connection of its own that is closed after it. Never forgets a session anywhere
//! but at the server.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use grammers_tl_types::{Deserializable as _, Serializable, enums, functions};
use zeroize::Zeroizing;

use super::connections::SignInConnections;
use super::kept::SignInKey;
use super::{SignInRunError, SignInSettings};
use crate::ownership::Ownership;
use crate::session::AuthKey;
use crate::sign_in::LoginLink;
use crate::telegram::wire::WireError;

/// What is left of a session that was ended.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SignedOut {
    /// With this the next sign-in of the account needs no code.
    pub logout_token: Option<Zeroizing<Vec<u8>>>,
}

/// It is as good as a code.
impl fmt::Debug for SignedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_token = self.logout_token.is_some();
        f.debug_struct("SignedOut").field("has_token", &has_token).finish_non_exhaustive()
    }
}

/// Ends a session at the server: nobody is signed in with its key any more.
///
/// # Errors
/// It could not be reached, or refuses. One that was ended elsewhere is ended.
pub async fn sign_out(
    settings: SignInSettings,
    (dc, address): (i32, SocketAddr),
    key: AuthKey,
    ownership: Arc<dyn Ownership>,
) -> Result<SignedOut, SignInRunError> {
    let answered =
        alone(settings, (dc, address), key, ownership, &functions::auth::LogOut {}).await?;
    match answered {
        Ok(answer) => {
            let token = enums::auth::LoggedOut::from_bytes(&answer).ok().and_then(|out| {
                let enums::auth::LoggedOut::Out(out) = out;
                out.future_auth_token.map(Zeroizing::new)
            });
            Ok(SignedOut { logout_token: token })
        }
        Err(WireError::Rpc { code: 401, .. }) => Ok(SignedOut::default()),
        Err(error) => Err(SignInRunError::of_call(dc, error)),
    }
}

/// Accepts what a sign-in shows, as an app of this session's account does with what it scans: so an account gets a
/// further session without a code. The session is not in use meanwhile, and stays as it is.
///
/// # Errors
/// It could not be reached, or refuses.
pub async fn accept_login(
    settings: SignInSettings,
    (dc, address): (i32, SocketAddr),
    key: AuthKey,
    ownership: Arc<dyn Ownership>,
    link: &LoginLink,
) -> Result<(), SignInRunError> {
    let call = functions::auth::AcceptLoginToken { token: link.token().to_vec() };
    let answered = alone(settings, (dc, address), key, ownership, &call).await?;
    answered.map(drop).map_err(|error| SignInRunError::of_call(dc, error))
}

/// Makes one call over a connection that is opened for it, and closed.
async fn alone(
    settings: SignInSettings,
    (dc, address): (i32, SocketAddr),
    key: AuthKey,
    ownership: Arc<dyn Ownership>,
    call: &impl Serializable,
) -> Result<Result<Vec<u8>, WireError>, SignInRunError> {
    let keys = vec![SignInKey { dc, address, key }];
    let mut connections = SignInConnections::new(settings, ownership, keys);
    let answered = connections.call(dc, call.to_bytes()).await;
    connections.close_all().await;
    answered
}
