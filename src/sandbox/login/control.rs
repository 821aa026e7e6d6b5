//! What a test has happen while somebody signs in.
//!
//! Owns that part of [`DataCentre`]'s public face.

use crate::account_id::AccountId;
use crate::mtproto::key_exchange::{ServerPrivateKey, ServerPublicKey};
use crate::sandbox::DataCentre;

use super::{AccountPassword, tokens};

impl DataCentre {
    /// The public key of every sandbox. A client that is to make a key here needs it. Its other half is no secret.
    #[must_use]
    pub fn public_key() -> ServerPublicKey {
        ServerPrivateKey::of_sandboxes().public().clone()
    }

    /// Creates an account without any session, if there is none yet.
    pub fn create_account(&self, account: AccountId) {
        self.running.server.create_sessions(account, 0, None);
    }

    /// In how many sessions an account is signed in.
    #[must_use]
    pub fn session_count(&self, account: AccountId) -> usize {
        self.running.server.user(account).map_or(0, |user| user.keys.lock().len())
    }

    /// The last code that was sent to an account. For numbers of the form `99966XYYYY` it is `XXXXX`, as on Telegram's
    /// test servers.
    #[must_use]
    pub fn login_code(&self, account: AccountId) -> Option<String> {
        self.running.server.world.logins.codes.lock().get(&account).cloned()
    }

    /// Gives an account a password, or takes it away. Returns whether there is such an account. It takes a tenth of a
    /// second of a core, or more.
    pub fn set_password(
        &self,
        account: AccountId,
        password: Option<&str>,
        hint: Option<&str>,
    ) -> bool {
        let Some(user) = self.running.server.user(account) else { return false };
        let mut random = fastrand::Rng::new();
        let password = password.map(|it| AccountPassword::new(it, hint, &mut random));
        *user.password.lock() = password;
        true
    }

    /// The token of a bot, which is created if need be. `None` for whoever is no bot.
    #[must_use]
    pub fn bot_token(&self, account: AccountId) -> Option<String> {
        if !account.is_bot() {
            return None;
        }
        self.create_account(account);
        let user = self.running.server.user(account)?;
        let mut token = user.bot_token.lock();
        let made = || {
            let secret: String = (0..35).map(|_| fastrand::alphanumeric()).collect();
            format!("{}:{secret}", account.number())
        };
        Some(token.get_or_insert_with(made).clone())
    }

    /// Accepts the token of somebody who signs in by a code to be scanned, as an app of this account would. Returns
    /// whether it was good.
    pub fn accept_login(&self, account: AccountId, token: &[u8]) -> bool {
        let server = &self.running.server;
        let Some(user) = server.user(account) else { return false };
        match server.world.logins.tokens.accept(token, &user) {
            Ok(key) => {
                tokens::tell(&key);
                true
            }
            Err(_) => false,
        }
    }
}
