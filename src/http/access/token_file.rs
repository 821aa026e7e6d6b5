//! The token file: which tokens there are, one JSON object a line.
//!
//! Owns what an operator does with it: make a token, list them, revoke one. What stands in it lets nobody in:
//! of each token there is a hash. Where it stands and who may read it is checked by `disk`, what its lines say
//! by `lines`.

mod disk;
mod lines;

use std::io;
use std::path::{Path, PathBuf};

use crate::base::clock::unix_time;

use super::grant::{GrantError, TokenGrant, distinct};
use super::token::{Token, TokenHash, TokenId};
pub(super) use disk::TokenFileStamp;

/// How many tokens a file may have.
const TOKENS_MAX: usize = 10_000;

/// A file of tokens. Each line of it is a JSON object:
///
/// ```json
/// {"id":"k3f5x2ab","name":"grafana","scopes":["read"],"groups":null,"phones":false,"created":1798117230,"expires":null,"sha256":"ba78.."}
/// ```
///
/// Others than its owner may not read it: if they can, it is refused, where the system knows of such rights.
/// It is replaced as a whole by a rename within its folder, so that a reader finds the old tokens or the new
/// ones, and a lock beside it, `<file>.lock`, keeps two writers apart.
///
/// ```
/// # use telepool::http::{Scope, TokenFile, TokenGrant, Tokens};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("tokens.jsonl");
/// let file = TokenFile::at(path);
/// let (token, record) = file.create(TokenGrant::new("grafana", [Scope::Read]))?;
/// assert!(token.reveal().starts_with("tp_"));
///
/// // A server takes up what changes in the file by itself.
/// let tokens = Tokens::open(file.clone())?;
/// file.revoke("grafana")?;
/// # drop((tokens, record));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

/// A token as its file has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The part of the token that is no secret.
    pub id: TokenId,
    /// What it is good for.
    pub grant: TokenGrant,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    pub(super) hash: TokenHash,
}

impl TokenRecord {
    /// Returns whether it has ended by then, in seconds since 1970.
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        self.grant.expires.is_some_and(|expires| expires <= now)
    }
}

/// Why a file of tokens could not be used. Each text names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// The system refuses.
    #[error("{}: {error}{}", path.display(), disk::remedy_for(error))]
    Io {
        /// Of which file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Others can read it.
    #[error(
        "{}: others than its owner can use it (mode {mode:04o}): run chmod 600 on it, and replace its \
         tokens if it was written by somebody else", path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// The bits of its mode.
        mode: u32,
    },
    /// It is another kind of file.
    #[error("{}: it is {what}: name the file that telepool token create writes", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A line of it is no token.
    #[error(
        "{}: line {line}: {problem}: mend that line or remove it, and make its token anew", path.display()
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process writes it.
    #[error("{}: another process is writing it: try again when it has ended", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// No token can be for that.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// There is one of that name.
    #[error("{}: there is a token named {name:?}: revoke it first, or take another name", path.display())]
    NameTaken {
        /// Which file.
        path: PathBuf,
        /// That name.
        name: String,
    },
    /// There are too many.
    #[error("{}: 10000 tokens are the most there may be: revoke some", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// There is none such.
    #[error(
        "{}: no token has that name or id: telepool token list shows which there are", path.display()
    )]
    NoSuchToken {
        /// Which file.
        path: PathBuf,
    },
    /// One has it for its name, another for its id.
    #[error("{}: one token has that name, and another that id: give the id of the one", path.display())]
    Ambiguous {
        /// Which file.
        path: PathBuf,
    },
}

impl TokenFile {
    /// Names a file, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the tokens in it, in the order of their making.
    ///
    /// # Errors
    /// It is not there or cannot be read, others can read it, or it is no file of tokens.
    pub fn read(&self) -> Result<Vec<TokenRecord>, TokenFileError> {
        self.read_stamped().map(|(records, _)| records)
    }

    /// The same, and by what it is noticed that it changes, if a change is sure to show in that.
    pub(super) fn read_stamped(
        &self,
    ) -> Result<(Vec<TokenRecord>, Option<TokenFileStamp>), TokenFileError> {
        let (text, stamp) = disk::read(&self.path)?;
        Ok((lines::read(&self.path, &text)?, stamp))
    }

    pub(super) fn stamp(&self) -> Option<TokenFileStamp> {
        disk::stamp(&self.path)
    }

    /// Makes a token, and the file if there is none.
    ///
    /// # Errors
    /// There can be no such token, there is one of that name, or the file could not be read or written. Then
    /// it is as it was.
    pub fn create(&self, mut grant: TokenGrant) -> Result<(Token, TokenRecord), TokenFileError> {
        let created = unix_time().as_secs();
        grant.scopes = distinct(grant.scopes);
        grant.check()?;
        if grant.expires.is_some_and(|expires| expires <= created) {
            return Err(GrantError::Expired.into());
        }
        let lock = disk::lock(&self.path)?;
        let mut records = match self.read() {
            Err(TokenFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Vec::new()
            }
            read => read?,
        };
        let path = || self.path.clone();
        if records.iter().any(|record| record.grant.name == grant.name) {
            return Err(TokenFileError::NameTaken { path: path(), name: grant.name });
        }
        if records.len() >= TOKENS_MAX {
            return Err(TokenFileError::Full { path: path() });
        }
        let token = loop {
            let token =
                Token::generate().map_err(|error| TokenFileError::Io { path: path(), error })?;
            if records.iter().all(|record| record.id != token.id()) {
                break token;
            }
        };
        let hash = TokenHash::of(token.reveal());
        let record = TokenRecord { id: token.id(), grant, created, hash };
        records.push(record.clone());
        lock.replace(&lines::write(&records))?;
        Ok((token, record))
    }

    /// Removes the token of a name or an id, and returns what it was.
    ///
    /// # Errors
    /// There is none such, or the file could not be read or written. Then it is as it was.
    pub fn revoke(&self, which: &str) -> Result<TokenRecord, TokenFileError> {
        // Nothing is made beside a file that is not there.
        self.read()?;
        let lock = disk::lock(&self.path)?;
        let mut records = self.read()?;
        let id: Option<TokenId> = which.parse().ok();
        let mut found = (0..records.len())
            .filter(|at| records[*at].grant.name == which || Some(records[*at].id) == id);
        let path = || self.path.clone();
        let at = found.next().ok_or_else(|| TokenFileError::NoSuchToken { path: path() })?;
        if found.next().is_some() {
            return Err(TokenFileError::Ambiguous { path: path() });
        }
        let revoked = records.remove(at);
        lock.replace(&lines::write(&records))?;
        Ok(revoked)
    }
}

#[cfg(test)]
mod tests;
