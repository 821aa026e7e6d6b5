//! Tokens that somebody scans who is signed in elsewhere.
//!
//! Owns by which key each was asked for, how long it is good and who has accepted it.

use std::sync::Arc;

use grammers_tl_types::{Identifiable as _, Serializable as _, enums, functions, types};

use super::{LoginCaller, refused};
use crate::account_id::AccountId;
use crate::base::clock::unix_time;
use crate::base::sync::Mutex;
use crate::sandbox::accounts::{ConnectionCommand, Key, User};
use crate::sandbox::response::RpcError;
use crate::sandbox::updates::PushedUpdate;

/// For how many seconds a token is good.
const LASTS: i32 = 30;
const TOKEN_LEN: usize = 32;

/// A token.
struct LoginToken {
    token: Vec<u8>,
    key: Arc<Key>,
    expires: i32,
    accepted_by: Option<AccountId>,
}

/// All that are good, and some that were.
#[derive(Default)]
pub(super) struct LoginTokens(Mutex<Vec<LoginToken>>);

fn time() -> i32 {
    i32::try_from(unix_time().as_secs()).unwrap_or(i32::MAX)
}

impl LoginTokens {
    /// Somebody accepts a token. Returns by which key it was asked for.
    pub(super) fn accept(&self, token: &[u8], user: &User) -> Result<Arc<Key>, RpcError> {
        let mut tokens = self.0.lock();
        let found = tokens.iter_mut().find(|it| it.token == token);
        let found = found.ok_or(refused("AUTH_TOKEN_INVALID"))?;
        if found.accepted_by.is_some() {
            return Err(refused("AUTH_TOKEN_ALREADY_ACCEPTED"));
        }
        if found.expires <= time() {
            return Err(refused("AUTH_TOKEN_EXPIRED"));
        }
        found.accepted_by = Some(user.account);
        Ok(Arc::clone(&found.key))
    }

    /// One that was asked for by this key, if somebody has accepted it.
    fn accepted(&self, key: &Arc<Key>) -> Option<Vec<u8>> {
        let tokens = self.0.lock();
        let found = tokens.iter().find(|it| Arc::ptr_eq(&it.key, key) && it.accepted_by.is_some());
        found.map(|it| it.token.clone())
    }

    /// Who has accepted one.
    fn accepted_by(&self, token: &[u8]) -> Option<AccountId> {
        self.0.lock().iter().find(|it| it.token == token)?.accepted_by
    }

    fn forget(&self, token: &[u8]) {
        self.0.lock().retain(|it| it.token != token);
    }

    /// The token of a key, which is another one once the last is not good any more.
    fn of(&self, key: &Arc<Key>, random: &mut fastrand::Rng) -> (Vec<u8>, i32) {
        let mut tokens = self.0.lock();
        tokens.retain(|it| it.expires > time());
        if let Some(known) = tokens.iter().find(|it| Arc::ptr_eq(&it.key, key)) {
            return (known.token.clone(), known.expires);
        }
        let token: Vec<u8> = (0..TOKEN_LEN).map(|_| random.u8(..)).collect();
        let (key, expires) = (Arc::clone(key), time().saturating_add(LASTS));
        tokens.push(LoginToken { token: token.clone(), key, expires, accepted_by: None });
        (token, expires)
    }
}

impl LoginCaller<'_> {
    pub(super) fn export_token(
        &mut self,
        call: &functions::auth::ExportLoginToken,
    ) -> Result<Vec<u8>, RpcError> {
        Self::check_application(call.api_id, &call.api_hash)?;
        let tokens = &self.server.world.logins.tokens;
        if let Some(token) = tokens.accepted(self.key) {
            return self.import_token(&token);
        }
        if let Some(user) = self.user {
            return Ok(Self::success(self.log_in(user)));
        }
        let (token, expires) = tokens.of(self.key, self.random);
        let token = types::auth::LoginToken { expires, token };
        Ok(enums::auth::LoginToken::Token(token).to_bytes())
    }

    /// Takes a login over that somebody has accepted, where he is at home.
    pub(super) fn import_token(&mut self, token: &[u8]) -> Result<Vec<u8>, RpcError> {
        let tokens = &self.server.world.logins.tokens;
        let user = tokens.accepted_by(token).and_then(|account| self.server.user(account));
        let user = user.ok_or(refused("AUTH_TOKEN_EXPIRED"))?;
        if user.home_dc != self.server.dc {
            let (dc_id, token) = (user.home_dc, token.to_vec());
            let elsewhere = types::auth::LoginTokenMigrateTo { dc_id, token };
            return Ok(enums::auth::LoginToken::MigrateTo(elsewhere).to_bytes());
        }
        tokens.forget(token);
        Ok(Self::success(self.log_in_unless_protected(user)?))
    }

    fn success(authorization: Vec<u8>) -> Vec<u8> {
        let success = types::auth::LoginTokenSuccess::CONSTRUCTOR_ID;
        [success.to_bytes(), authorization].concat()
    }

    pub(super) fn accept_token(&mut self, token: &[u8]) -> Result<Vec<u8>, RpcError> {
        let user = self.user.ok_or(RpcError::new(401, "AUTH_KEY_UNREGISTERED"))?;
        let key = self.server.world.logins.tokens.accept(token, user)?;
        tell(&key);
        let introduction = key.introduction.lock().clone();
        let word = |of: fn(&crate::session::ClientIdentity) -> &String| {
            introduction.as_ref().map(|it| of(&it.identity).clone()).unwrap_or_default()
        };
        let session = types::Authorization {
            current: false,
            official_app: false,
            password_pending: user.password.lock().is_some(),
            encrypted_requests_disabled: false,
            call_requests_disabled: false,
            unconfirmed: true,
            hash: self.random.i64(..),
            device_model: word(|it| &it.device_model),
            platform: String::new(),
            system_version: word(|it| &it.system_version),
            api_id: introduction.as_ref().map_or(0, |it| it.api_id),
            app_name: "sandbox".to_owned(),
            app_version: word(|it| &it.app_version),
            date_created: time(),
            date_active: time(),
            ip: "127.0.0.1".to_owned(),
            country: "ZZ".to_owned(),
            region: String::new(),
        };
        Ok(enums::Authorization::Authorization(session).to_bytes())
    }
}

/// Tells whoever shows a token that it was accepted.
pub(super) fn tell(key: &Key) {
    let (update, date) = (enums::Update::LoginToken, time());
    let body = enums::Updates::UpdateShort(types::UpdateShort { update, date }).to_bytes();
    for connection in key.connections.lock().iter() {
        let update = PushedUpdate::new(body.clone());
        connection.commands.try_send(ConnectionCommand::Push(update)).ok();
    }
}
