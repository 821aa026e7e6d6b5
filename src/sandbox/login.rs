//! Signing in and out, from a key that is nobody's to one of an account.
//!
//! Owns what is pending by each key: a code, a password, a token that somebody is to accept. Never makes a key.

mod calls;
mod codes;
mod control;
mod password;
mod tokens;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use grammers_tl_types::{Identifiable as _, Serializable as _, enums, functions, types};

pub(super) use self::calls::LoginCall;
use self::codes::{CODE_LEN, CodeVerdict, PendingCode};
pub(super) use self::password::AccountPassword;
use self::password::{PasswordTrial, no_password};
use self::tokens::LoginTokens;
use self::transfer::LoginTransfers;
use super::accounts::{Key, KeyLogin, User};
use super::response::RpcError;
use super::server_state::{ServerState, next_slot};
use super::updates;
use crate::account_id::AccountId;
use crate::base::sync::Mutex;

/// After how many seconds another code may be asked for.
const NEXT_CODE_AFTER: i32 = 60;

/// What is pending by a key.
#[derive(Default)]
pub(super) struct KeyPending {
    code: Option<PendingCode>,
    /// Whoever has shown all but the password.
    password_of: Option<AccountId>,
    trial: Option<PasswordTrial>,
}

/// What the server keeps of all that is pending.
#[derive(Default)]
pub(super) struct Logins {
    /// The last code that was sent to each account.
    codes: Mutex<HashMap<AccountId, String>>,
    tokens: LoginTokens,
    transfers: LoginTransfers,
}

/// A call of somebody who signs in or out, and who he is.
pub(super) struct LoginCaller<'a> {
    pub(super) server: &'a ServerState,
    pub(super) key: &'a Arc<Key>,
    pub(super) user: Option<&'a Arc<User>>,
    pub(super) random: &'a mut fastrand::Rng,
}

fn refused(name: &str) -> RpcError {
    RpcError::new(400, name)
}

impl KeyPending {
    /// Whether all but the password was shown.
    pub(super) fn wants_password(&self) -> bool {
        self.password_of.is_some()
    }
}

impl LoginCaller<'_> {
    /// Carries a call out.
    pub(super) fn execute(mut self, call: &LoginCall) -> Result<Vec<u8>, RpcError> {
        match call {
            LoginCall::SendCode(it) => self.send_code(it),
            LoginCall::ResendCode(it) => self.resend_code(it),
            LoginCall::CancelCode(it) => {
                self.take_code(&it.phone_number, &it.phone_code_hash)?;
                Ok(true.to_bytes())
            }
            LoginCall::SignIn(it) => self.sign_in(it),
            LoginCall::ImportBot(it) => self.import_bot(it),
            LoginCall::ExportToken(it) => self.export_token(it),
            LoginCall::ImportToken(it) => self.import_token(&it.token),
            LoginCall::AcceptToken(it) => self.accept_token(&it.token),
            LoginCall::Password => self.password(),
            LoginCall::CheckPassword(it) => self.check_password(&it.password),
            LoginCall::LogOut => self.log_out(),
            LoginCall::Export(it) => self.export_login(it.dc_id),
            LoginCall::Import(it) => self.import_login(it),
        }
    }

    fn check_application(id: i32, hash: &str) -> Result<(), RpcError> {
        if id > 0 && !hash.is_empty() { Ok(()) } else { Err(refused("API_ID_INVALID")) }
    }

    fn send_code(&mut self, call: &functions::auth::SendCode) -> Result<Vec<u8>, RpcError> {
        Self::check_application(call.api_id, &call.api_hash)?;
        let account = phone(&call.phone_number)?;
        let enums::CodeSettings::Settings(settings) = &call.settings;
        let tokens = settings.logout_tokens.as_deref().unwrap_or_default();
        let user = self.server.user(account);
        if let Some(user) = &user {
            self.check_home(user, "PHONE")?;
        }
        let is_known = |user: &User| user.take_logout_token(tokens);
        if let Some(user) = user.filter(|user| is_known(user)) {
            let authorization = self.log_in_unless_protected(user)?;
            let success = types::auth::SentCodeSuccess::CONSTRUCTOR_ID;
            return Ok([success.to_bytes(), authorization].concat());
        }
        let mut code = PendingCode::new(account, self.random);
        if let Some(known) = &self.key.pending.lock().code {
            code.keep_hash_of(known);
        }
        self.code_sent(code)
    }

    fn resend_code(&mut self, call: &functions::auth::ResendCode) -> Result<Vec<u8>, RpcError> {
        let pending = self.take_code(&call.phone_number, &call.phone_code_hash)?;
        if pending.is_resent {
            self.key.pending.lock().code = Some(pending);
            return Err(RpcError::new(406, "SEND_CODE_UNAVAILABLE"));
        }
        let mut code = PendingCode::new(pending.account, self.random);
        code.is_resent = true;
        self.code_sent(code)
    }

    /// The code that this key has asked for, by what client and server know it by.
    fn take_code(&mut self, number: &str, hash: &str) -> Result<PendingCode, RpcError> {
        let account = phone(number)?;
        let mut pending = self.key.pending.lock();
        let is_it = |it: &mut PendingCode| it.account == account && it.hash == hash && it.is_good();
        pending.code.take_if(is_it).ok_or(refused("PHONE_CODE_EXPIRED"))
    }

    /// The first code goes to the apps of an account, and the next one by SMS.
    fn code_sent(&mut self, code: PendingCode) -> Result<Vec<u8>, RpcError> {
        let length = i32::try_from(CODE_LEN).unwrap_or(0);
        let r#type = match code.is_resent {
            false => types::auth::SentCodeTypeApp { length }.into(),
            true => types::auth::SentCodeTypeSms { length }.into(),
        };
        let sent = types::auth::SentCode {
            r#type,
            phone_code_hash: code.hash.clone(),
            next_type: (!code.is_resent).then_some(enums::auth::CodeType::Sms),
            timeout: (!code.is_resent).then_some(NEXT_CODE_AFTER),
        };
        tracing::info!(account = %code.account, code = code.code(), "a code is sent");
        self.server.world.logins.codes.lock().insert(code.account, code.code().to_owned());
        self.key.pending.lock().code = Some(code);
        Ok(enums::auth::SentCode::Code(sent).to_bytes())
    }

    fn sign_in(&mut self, call: &functions::auth::SignIn) -> Result<Vec<u8>, RpcError> {
        let account = phone(&call.phone_number)?;
        let code = call.phone_code.as_deref().filter(|code| !code.is_empty());
        let code = code.ok_or(refused("PHONE_CODE_EMPTY"))?;
        let mut pending = self.key.pending.lock();
        let judged = match &mut pending.code {
            Some(pending) => pending.judge(account, &call.phone_code_hash, code),
            None => CodeVerdict::Expired,
        };
        match judged {
            CodeVerdict::Right => pending.code = None,
            CodeVerdict::Wrong => return Err(refused("PHONE_CODE_INVALID")),
            CodeVerdict::Expired => return Err(refused("PHONE_CODE_EXPIRED")),
        }
        drop(pending);
        match self.server.user(account) {
            Some(user) => self.log_in_unless_protected(user),
            None => {
                let nobody = types::auth::AuthorizationSignUpRequired { terms_of_service: None };
                Ok(enums::auth::Authorization::SignUpRequired(nobody).to_bytes())
            }
        }
    }

    fn import_bot(
        &mut self,
        call: &functions::auth::ImportBotAuthorization,
    ) -> Result<Vec<u8>, RpcError> {
        Self::check_application(call.api_id, &call.api_hash)?;
        let number = call.bot_auth_token.split(':').next().and_then(|it| it.parse().ok());
        let account = number.and_then(|number| AccountId::bot(number).ok());
        let bot = account.and_then(|account| self.server.user(account));
        let bot = bot.filter(|bot| bot.bot_token.lock().as_deref() == Some(&call.bot_auth_token));
        let bot = bot.ok_or(refused("ACCESS_TOKEN_INVALID"))?;
        self.check_home(&bot, "USER")?;
        Ok(self.log_in(&bot))
    }

    /// Whoever signs in elsewhere than at home is sent there.
    fn check_home(&self, user: &User, what: &str) -> Result<(), RpcError> {
        match user.home_dc {
            home if home == self.server.dc => Ok(()),
            home => Err(RpcError::new(303, format!("{what}_MIGRATE_{home}"))),
        }
    }

    /// Whoever has a password has to prove it first.
    fn log_in_unless_protected(&mut self, user: Arc<User>) -> Result<Vec<u8>, RpcError> {
        if user.password.lock().is_some() {
            self.key.pending.lock().password_of = Some(user.account);
            return Err(RpcError::new(401, "SESSION_PASSWORD_NEEDED"));
        }
        Ok(self.log_in(&user))
    }

    /// From here on the key is one of the account's. Returns `auth.authorization`.
    fn log_in(&mut self, user: &Arc<User>) -> Vec<u8> {
        let account = user.account;
        if self.key.account() != Some(account) {
            self.forget();
            let mut keys = user.keys.lock();
            let slot = next_slot(&keys);
            self.key.set_login(Some(KeyLogin { account, slot }));
            if user.home_dc == self.server.dc {
                keys.push(Arc::clone(self.key));
            }
        }
        *self.key.pending.lock() = KeyPending::default();
        for connection in self.key.connections.lock().iter() {
            if let Ok(peer) = connection.socket.stream.peer_addr() {
                user.note_address(peer.ip());
            }
        }
        let mut body = types::auth::Authorization::CONSTRUCTOR_ID.to_bytes();
        let flags = 0_u32;
        flags.serialize(&mut body);
        updates::put_user(&mut body, self.key.schema(), (self.server, user), user.id);
        body
    }

    /// Nobody is signed in with the key any more.
    fn forget(&mut self) {
        let Some(account) = self.key.account() else { return };
        self.key.set_login(None);
        *self.key.pending.lock() = KeyPending::default();
        if let Some(user) = self.server.user(account) {
            user.keys.lock().retain(|key| !Arc::ptr_eq(key, self.key));
        }
    }

    fn log_out(&mut self) -> Result<Vec<u8>, RpcError> {
        let user = self.user.ok_or(RpcError::new(401, "AUTH_KEY_UNREGISTERED"))?;
        let is_person = !user.account.is_bot();
        let future_auth_token = is_person.then(|| user.new_logout_token(self.random));
        self.forget();
        let out = types::auth::LoggedOut { future_auth_token };
        Ok(enums::auth::LoggedOut::Out(out).to_bytes())
    }

    fn password(&mut self) -> Result<Vec<u8>, RpcError> {
        let mut pending = self.key.pending.lock();
        let awaited = pending.password_of.and_then(|account| self.server.user(account));
        let user = awaited.or_else(|| self.user.cloned());
        let user = user.ok_or(RpcError::new(401, "AUTH_KEY_UNREGISTERED"))?;
        let password = user.password.lock();
        let told = match &*password {
            None => no_password(self.random),
            Some(password) => {
                let trial = password.begin(self.random);
                let told = password.told(&trial, self.random);
                pending.trial = Some(trial);
                told
            }
        };
        Ok(enums::account::Password::Password(told).to_bytes())
    }

    fn check_password(
        &mut self,
        proof: &enums::InputCheckPasswordSrp,
    ) -> Result<Vec<u8>, RpcError> {
        let enums::InputCheckPasswordSrp::Srp(proof) = proof else {
            return Err(refused("PASSWORD_HASH_INVALID"));
        };
        let mut pending = self.key.pending.lock();
        let user = pending.password_of.and_then(|account| self.server.user(account));
        let user = user.ok_or(RpcError::new(401, "AUTH_KEY_UNREGISTERED"))?;
        let trial = pending.trial.take();
        drop(pending);
        let is_proved = {
            let password = user.password.lock();
            let password = password.as_ref().ok_or(refused("SRP_PASSWORD_CHANGED"))?;
            trial.and_then(|trial| password.is_proved(&trial, proof))
        };
        match is_proved {
            None => Err(refused("SRP_ID_INVALID")),
            Some(false) => Err(refused("PASSWORD_HASH_INVALID")),
            Some(true) => Ok(self.log_in(&user)),
        }
    }
}

/// A phone number as clients send it, with a plus or without.
fn phone(number: &str) -> Result<AccountId, RpcError> {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let account = digits.parse().ok().and_then(|digits| AccountId::phone(digits).ok());
    account.ok_or(refused("PHONE_NUMBER_INVALID"))
}
