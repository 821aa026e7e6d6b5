//! Why a store refuses.
//!
//! Owns the errors. They name accounts masked, and never repeat a key, a token or a password.

use std::io;
use std::path::PathBuf;

use crate::account_id::AccountId;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is none.
    #[error("{}: there is no store: `telepool session import` makes one", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// Something else stands in its place.
    #[error("{}: it is {what}: name the file of a store, or of one that is not there yet", path.display())]
    NotAStore {
        /// Where.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// Others may read it, or replace it.
    #[error("{}: {what}: {remedy}", path.display())]
    Exposed {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What mends it.
        remedy: &'static str,
    },
    /// It lies where several processes cannot share it.
    #[error(
        "{}: it lies on a network file system ({kind}), where two machines could not see each other's locks: put \
         the store on a disk of this machine", path.display()
    )]
    Network {
        /// Where.
        path: PathBuf,
        /// Which kind.
        kind: &'static str,
    },
    /// A later telepool has made it.
    #[error(
        "{}: it was written by a later telepool (version {version} of the store): use that one", path.display()
    )]
    Later {
        /// Where.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// What stands in it makes no sense.
    #[error("the store is damaged: {what}: restore it from a copy")]
    Damaged {
        /// What was found.
        what: &'static str,
    },
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database refuses.
    #[error("the store cannot be used: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Why a session contradicts what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// Its phone number is that of another user.
    #[error(
        "the number {phone} is that of another user in the store, with sessions of its own: correct the one that \
         is wrong, or remove that account"
    )]
    PhoneOfAnother {
        /// The number.
        phone: AccountId,
    },
    /// Its key is known as another user's.
    #[error(
        "its key is in the store as that of another account ({account}): one key is one account's, so correct \
         which of them it is"
    )]
    KeyOfAnother {
        /// The other account.
        account: AccountId,
    },
    /// It is of the test servers and the account is not, or the other way round.
    #[error(
        "the account {account} is known on other servers (the test servers and those that everybody uses have accounts \
         of their own under the same numbers): keep sessions of the test servers in a store of their own"
    )]
    OtherServers {
        /// The account.
        account: AccountId,
    },
    /// It was removed before.
    #[error(
        "its key was removed from the store before: `--even-if-removed` takes it back, if it is served nowhere else"
    )]
    Removed {
        /// When, in seconds since 1970.
        at: u64,
    },
    /// The account has as many sessions as it can have.
    #[error(
        "no slot of the account is free (it has 64, and those of removed sessions are free once the store is next \
         served): remove sessions first"
    )]
    NoSlotFree,
}
