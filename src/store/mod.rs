//! The store: sessions and all that belongs to them, kept past the process.
//!
//! Owns the trait, [`SessionStore`], what goes through it, and its first implementation, [`SqliteStore`]: one file.
//! Never dials, and never decides who may: that is the part of whoever dials ([`ownership`](crate::ownership)).
//!
//! # Accounts and their names
//! An account has an id of the store's own. Its user id, once known, is its identity: no two accounts have the same.
//! Phone numbers are aliases of it, and so are `bot:ID` and `user:ID`. Two accounts that turn out to be one person
//! are merged when nobody serves them ([`SessionStore::settle`]): what an account is called must not change under a
//! running process.
//!
//! # What is durable when
//! Every method that writes has written to disk when it returns.

mod error;
mod place;
mod sqlite;
mod types;

use std::fmt;

pub use error::{Conflict, StoreError};
pub use sqlite::{Rehearsal, SqliteStore};
pub use types::{
    Added, Addition, NewSession, PendingLogin, Removal, ServeMark, SessionChange, StoreId,
    StoredAccount, StoredSession,
};

use zeroize::Zeroizing;

use crate::account_id::AccountId;
use crate::import::{BotToken, KnownPeer};
use crate::manager::QuarantineReason;
use crate::session::{KeyId, SessionRecord, SessionUser, UpdateStates};

/// Where sessions are kept.
///
/// Methods block for as long as the storage takes, which is microseconds to read and a write to disk otherwise. What
/// is shown to a visitor is read while others wait: it must not call the store.
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Adds sessions, all in one step: after an error none of them is in. One answer for each, in the order given.
    ///
    /// # Errors
    /// The storage fails.
    fn add(&self, sessions: &[NewSession]) -> Result<Vec<Addition>, StoreError>;

    /// Keeps the token of a bot. Returns whether it is another one than before.
    ///
    /// # Errors
    /// The storage fails.
    fn add_bot_token(&self, token: &BotToken) -> Result<bool, StoreError>;

    /// The tokens of bots that are kept.
    ///
    /// # Errors
    /// The storage fails.
    fn bot_tokens(&self) -> Result<Vec<BotToken>, StoreError>;

    /// Removes the token of a bot. Returns whether there was one.
    ///
    /// # Errors
    /// The storage fails.
    fn remove_bot_token(&self, bot: AccountId) -> Result<bool, StoreError>;

    /// Begins to keep a sign-in. Returns whether none of that name was there.
    ///
    /// # Errors
    /// The storage fails.
    fn begin_login(&self, login: &PendingLogin) -> Result<bool, StoreError>;

    /// Keeps where a sign-in is, in place of what was kept of it before. Returns whether it was there still.
    ///
    /// # Errors
    /// The storage fails.
    fn keep_login(&self, login: &PendingLogin) -> Result<bool, StoreError>;

    /// The sign-ins under way, in the order in which they were begun.
    ///
    /// # Errors
    /// The storage fails.
    fn pending_logins(&self) -> Result<Vec<PendingLogin>, StoreError>;

    /// Forgets a sign-in that was given up. Returns whether there was one.
    ///
    /// # Errors
    /// The storage fails.
    fn forget_login(&self, name: &str, id: u64) -> Result<bool, StoreError>;

    /// Adds the session that a sign-in (by its name and its id) has come to, and forgets the sign-in, in one step; one
    /// that is refused leaves it as it was. A session that it takes the place of counts as removed, so that it does not
    /// come in by mistake.
    ///
    /// # Errors
    /// The storage fails.
    fn finish_login(
        &self,
        login: (&str, u64),
        session: &NewSession,
        replaces: Option<KeyId>,
    ) -> Result<Addition, StoreError>;

    /// Whether a session with this key was removed, or replaced.
    ///
    /// # Errors
    /// The storage fails.
    fn was_removed(&self, key: KeyId) -> Result<bool, StoreError>;

    /// Keeps what is left of a session that was ended at the server: with it the user's next sign-in needs no code. The
    /// last 20 of each user stay.
    ///
    /// # Errors
    /// The storage fails.
    fn add_logout_token(&self, user_id: i64, token: &[u8]) -> Result<(), StoreError>;

    /// What is left of a user's ended sessions, the oldest first.
    ///
    /// # Errors
    /// The storage fails.
    fn logout_tokens(&self, user_id: i64) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError>;

    /// A number that grows with each change of accounts and sessions, whoever makes it. Cheap while there is none.
    ///
    /// # Errors
    /// The storage fails.
    fn revision(&self) -> Result<u64, StoreError>;

    /// Shows every account that has changed since a revision, in the order of their ids; all of them since 0. One
    /// whose sessions are all gone is among them, with none.
    ///
    /// # Errors
    /// The storage fails.
    fn accounts_since(
        &self,
        revision: u64,
        visit: &mut dyn FnMut(StoredAccount),
    ) -> Result<(), StoreError>;

    /// The account that has this name.
    ///
    /// # Errors
    /// The storage fails.
    fn account(&self, name: AccountId) -> Result<Option<StoredAccount>, StoreError>;

    /// Shows every session, without its keys, in the order of accounts and slots; of one account if one is named.
    ///
    /// # Errors
    /// The storage fails.
    fn sessions(
        &self,
        of: Option<StoreId>,
        visit: &mut dyn FnMut(StoredSession),
    ) -> Result<(), StoreError>;

    /// One session with its key, for a dial; the record names the account as `name`.
    ///
    /// # Errors
    /// The storage fails.
    fn record(
        &self,
        account: StoreId,
        slot: u16,
        name: AccountId,
    ) -> Result<Option<SessionRecord>, StoreError>;

    /// The key of a session by its place. As long as nobody [settles](Self::settle) the store, a place is that of one
    /// session, or of none any more.
    ///
    /// # Errors
    /// The storage fails.
    fn key_at(&self, account: StoreId, slot: u16) -> Result<Option<KeyId>, StoreError>;

    /// Quarantines a session, or lifts its quarantine. Returns whether there is such a session.
    ///
    /// # Errors
    /// The storage fails.
    fn set_quarantine(
        &self,
        key: KeyId,
        reason: Option<QuarantineReason>,
    ) -> Result<bool, StoreError>;

    /// Notes that sessions were seen to be logged in, and as whom if that was asked. One that is logged in as somebody
    /// else than the store has it is a conflict, and is told.
    ///
    /// # Errors
    /// The storage fails.
    fn note_logins(
        &self,
        logins: &[(KeyId, Option<SessionUser>)],
    ) -> Result<Vec<Option<Conflict>>, StoreError>;

    /// Changes what an operator says of sessions. What belongs to an account is changed for all that it has. Returns how
    /// many of the sessions there are.
    ///
    /// # Errors
    /// The storage fails.
    fn change(&self, keys: &[KeyId], change: &SessionChange) -> Result<usize, StoreError>;

    /// Removes sessions with their keys. Returns what they were. A key that was removed is refused when it is added
    /// again, unless it is forgotten as well.
    ///
    /// # Errors
    /// The storage fails.
    fn remove(&self, keys: &[KeyId], how: Removal) -> Result<Vec<StoredSession>, StoreError>;

    /// Forgets that keys were removed. Returns how many were known of these.
    ///
    /// # Errors
    /// The storage fails.
    fn forget_removed(&self, keys: &[KeyId]) -> Result<usize, StoreError>;

    /// Carries out what must wait until nobody serves the accounts: merges those that are one person, and closes
    /// gaps between their slots. Whoever calls it must be the one who may serve. Returns how many accounts were
    /// merged; two that have more than 64 sessions together stay two.
    ///
    /// # Errors
    /// The storage fails.
    fn settle(&self) -> Result<usize, StoreError>;

    /// Shows the users and chats that an account has met.
    ///
    /// # Errors
    /// The storage fails.
    fn peers(&self, account: StoreId, visit: &mut dyn FnMut(KnownPeer)) -> Result<(), StoreError>;

    /// How far the updates of an account have been read.
    ///
    /// # Errors
    /// The storage fails.
    fn update_states(&self, account: StoreId) -> Result<UpdateStates, StoreError>;

    /// Notes how far the updates of accounts have been read, of many at once. Channels that are said to be gone are
    /// kept no longer.
    ///
    /// # Errors
    /// The storage fails.
    fn set_update_states(&self, states: &[(StoreId, UpdateStates)]) -> Result<(), StoreError>;

    /// Who serves the store, or has last done so.
    ///
    /// # Errors
    /// The storage fails.
    fn serve_mark(&self) -> Result<Option<ServeMark>, StoreError>;

    /// Notes who serves it.
    ///
    /// # Errors
    /// The storage fails.
    fn set_serve_mark(&self, mark: &ServeMark) -> Result<(), StoreError>;
}
