//! The tokens that a running server knows.
//!
//! Owns when their file is read again, and what becomes of requests while it cannot be: a file that is broken,
//! gone or open to others lets nobody in.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::base::clock::{Instant, now, unix_time};
use crate::base::sync::Mutex;

use super::Access;
use super::token::{Token, TokenHash, TokenId};
use super::token_file::{TokenFile, TokenFileError, TokenFileStamp, TokenRecord};

/// How often it is looked at most whether the file has changed. With the time to read it, a token that is
/// revoked is refused within two seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The tokens of a file, taken up again whenever that changes. A clone is the same tokens.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<TokensInner>);

#[derive(Debug)]
struct TokensInner {
    file: TokenFile,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Instant,
    /// `None` if the file could not be looked at, or may change without another stamp.
    stamp: Option<TokenFileStamp>,
    set: Arc<TokenSet>,
    /// What is wrong with the file, which is told once.
    problem: Option<String>,
}

/// What the file said at one moment.
#[derive(Debug, Default)]
pub(super) struct TokenSet(HashMap<TokenId, LiveToken>);

/// A token as requests are held to it.
#[derive(Debug)]
pub(super) struct LiveToken {
    pub(super) record: TokenRecord,
    pub(super) access: Access,
}

/// Why a text that was shown as a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenRefusal {
    /// It does not look like one.
    Malformed,
    /// Nobody has it; so much of it may be told.
    Unknown(TokenId),
    /// Its time is over.
    Expired(TokenId),
}

impl Tokens {
    /// Reads the tokens of a file.
    ///
    /// # Errors
    /// It is not there or cannot be read, others can read it, or it is no file of tokens.
    pub fn open(file: TokenFile) -> Result<Self, TokenFileError> {
        let (records, stamp) = file.read_stamped()?;
        let set = Arc::new(TokenSet::of(records));
        let state = State { looked: now(), stamp, set, problem: None };
        Ok(Self(Arc::new(TokensInner { file, state: Mutex::new(state) })))
    }

    /// Returns the tokens, of a file that was looked at within the last second. Whoever is the first to ask
    /// after that looks at it, on a thread that may wait for a disk.
    pub(super) async fn current(&self) -> Arc<TokenSet> {
        {
            let mut state = self.0.state.lock();
            if state.looked + LOOK_EVERY > now() {
                return Arc::clone(&state.set);
            }
            state.looked = now();
        }
        let inner = Arc::clone(&self.0);
        if tokio::task::spawn_blocking(move || inner.look()).await.is_err() {
            // The runtime ends, or the reader has failed: nothing is known.
            return Arc::default();
        }
        Arc::clone(&self.0.state.lock().set)
    }
}

impl Tokens {
    /// Returns whether a token still lets somebody in, without waiting: if it is time to look at the file,
    /// that begins, and who asks next learns of it.
    pub(super) fn lets_in(&self, id: TokenId) -> bool {
        let mut state = self.0.state.lock();
        if state.looked + LOOK_EVERY <= now() {
            state.looked = now();
            let inner = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || inner.look());
        }
        state.set.find(id).is_some()
    }
}

impl TokensInner {
    /// Reads the file if it has changed.
    fn look(&self) {
        let stamp = self.file.stamp();
        if stamp.is_some() && self.state.lock().stamp == stamp {
            return;
        }
        let read = self.file.read_stamped();
        let mut state = self.state.lock();
        match read {
            Ok((records, stamp)) => {
                if state.problem.take().is_some() {
                    tracing::info!("{}: its tokens are accepted again", self.file.path().display());
                }
                state.set = Arc::new(TokenSet::of(records));
                state.stamp = stamp;
            }
            Err(error) => {
                let problem = error.to_string();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::error!("{problem}; until then no token is accepted");
                }
                state.problem = Some(problem);
                state.set = Arc::default();
                state.stamp = stamp;
            }
        }
    }
}

impl TokenSet {
    fn of(records: Vec<TokenRecord>) -> Self {
        let live = records
            .into_iter()
            .map(|record| (record.id, LiveToken { access: record.grant.access(), record }));
        Self(live.collect())
    }

    /// Returns the token that a client shows.
    pub(super) fn verify(&self, text: &str) -> Result<&LiveToken, TokenRefusal> {
        /// What nobody's token is compared with, so that it takes as long.
        static NOBODYS: LazyLock<TokenHash> = LazyLock::new(|| TokenHash::of("nobody's"));
        let id = Token::id_of(text).ok_or(TokenRefusal::Malformed)?;
        let found = self.0.get(&id);
        let is_it = TokenHash::of(text).is(found.map_or(&NOBODYS, |token| &token.record.hash));
        match found {
            Some(token) if is_it && token.is_expired() => Err(TokenRefusal::Expired(id)),
            Some(token) if is_it => Ok(token),
            _ => Err(TokenRefusal::Unknown(id)),
        }
    }

    /// Returns the token of that id, if it still lets somebody in.
    pub(super) fn find(&self, id: TokenId) -> Option<&LiveToken> {
        self.0.get(&id).filter(|token| !token.is_expired())
    }
}

impl LiveToken {
    fn is_expired(&self) -> bool {
        self.record.is_expired(unix_time().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::access::{Scope, TokenGrant};
    use tempfile::TempDir;

    fn file() -> (TempDir, TokenFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::at(folder.path().join("tokens.jsonl"));
        (folder, file)
    }

    async fn later(tokens: &Tokens) -> Arc<TokenSet> {
        tokio::time::advance(LOOK_EVERY).await;
        tokens.current().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_comes_and_goes_with_its_line() {
        let (_folder, file) = file();
        let (first, _) = file.create(TokenGrant::new("first", [Scope::Read])).unwrap();
        let tokens = Tokens::open(file.clone()).unwrap();
        let set = tokens.current().await;
        assert_eq!(&*set.verify(first.reveal()).unwrap().access.name, "first");
        let (second, _) = file.create(TokenGrant::new("second", [Scope::Operate])).unwrap();
        let unknown = Err(TokenRefusal::Unknown(second.id()));
        assert_eq!(tokens.current().await.verify(second.reveal()).map(|it| it.record.id), unknown);
        let set = later(&tokens).await;
        assert!(set.verify(second.reveal()).unwrap().access.may(Scope::Operate));
        file.revoke("second").unwrap();
        let set = later(&tokens).await;
        assert_eq!(set.verify(second.reveal()).map(|it| it.record.id), unknown);
        assert!(set.find(second.id()).is_none() && set.find(first.id()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_cannot_be_used_lets_nobody_in_until_it_can() {
        let (_folder, file) = file();
        let (token, _) = file.create(TokenGrant::new("a", [Scope::Read])).unwrap();
        let tokens = Tokens::open(file.clone()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let lets_in = async || later(&tokens).await.verify(token.reveal()).is_ok();
        assert!(lets_in().await);
        for broken in ["{", "not JSON", &format!("{text}{text}"), &text.replace("read", "root")] {
            std::fs::write(file.path(), broken).unwrap();
            assert!(!lets_in().await, "{broken}");
            std::fs::write(file.path(), &text).unwrap();
            assert!(lets_in().await, "after {broken}");
        }
        std::fs::remove_file(file.path()).unwrap();
        assert!(!lets_in().await);
        assert!(Tokens::open(file.clone()).is_err(), "a server does not begin without it");
        std::fs::write(file.path(), &text).unwrap();
        set_mode(file.path(), 0o644);
        assert_eq!(lets_in().await, cfg!(not(unix)));
        set_mode(file.path(), 0o600);
        assert!(lets_in().await);
    }

    fn set_mode(path: &std::path::Path, mode: u32) {
        #[cfg(unix)]
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_very_token_is_it() {
        let (_folder, file) = file();
        let mut grant = TokenGrant::new("a", [Scope::Read]);
        grant.expires = Some(unix_time().as_secs() + 3600);
        let (token, _) = file.create(grant).unwrap();
        let set = Tokens::open(file.clone()).unwrap().current().await;
        let text = token.reveal();
        assert!(set.verify(text).is_ok());
        for at in 12..text.len() {
            let letter = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let other = format!("{}{letter}{}", &text[..at], &text[at + 1..]);
            let refused = set.verify(&other).map(|it| it.record.id);
            assert_eq!(refused, Err(TokenRefusal::Unknown(token.id())), "{at}");
        }
        for other in
            ["", "a", &text[3..], &format!("{text} "), &Token::generate().unwrap().reveal()[1..]]
        {
            assert_eq!(
                set.verify(other).map(|it| it.record.id),
                Err(TokenRefusal::Malformed),
                "{other}"
            );
        }
        let line = std::fs::read_to_string(file.path()).unwrap();
        let ended = line.split("\"expires\":").next().unwrap().to_owned()
            + &line[line.find(",\"sha256\"").unwrap()..].replacen(',', "\"expires\":1,", 1);
        std::fs::write(file.path(), ended).unwrap();
        let set = Tokens::open(file).unwrap().current().await;
        let expired = Err(TokenRefusal::Expired(token.id()));
        assert_eq!(set.verify(text).map(|it| it.record.id), expired);
        assert!(set.find(token.id()).is_none());
    }
}
