//! Sessions of other programs, read from what those programs have written: `make/run` makes the files anew, and
//! says by what each is written.

mod closed;
mod damage;
mod databases;
mod folders;
mod garbage;
mod places;
mod texts;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha512};
use telepool::import::{
    BotToken, Found, FoundSession, ImportError, ImportOptions, ImportedFile, ItemError, open, read,
};
use telepool::session::AuthKey;

/// The account that the files are of, and a bot.
const OWN: i64 = 1_234_567_890;
const BOT: i64 = 5_000_000_001;
const PHONE: &str = "+447700900123";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import/files").join(name)
}

/// The key of a label, as the programs of `make` have it.
fn key(label: &str) -> AuthKey {
    let parts = (0..4).map(|i| Sha512::digest(format!("{label} {i}")));
    AuthKey::from_slice(&parts.flatten().collect::<Vec<u8>>()).unwrap()
}

/// What a file holds, which is one session.
fn session(name: &str) -> FoundSession {
    one(open(&file(name), &ImportOptions::default()).unwrap())
}

fn one(file: ImportedFile<'_>) -> FoundSession {
    let mut items = all(file);
    assert_eq!(items.len(), 1);
    match items.remove(0) {
        Ok(Found::Session(session)) => *session,
        other => panic!("{other:?}"),
    }
}

fn all(file: ImportedFile<'_>) -> Vec<Result<Found, ItemError>> {
    file.collect()
}

/// What some bytes hold.
#[derive(Debug, Default)]
struct Contents {
    sessions: Vec<FoundSession>,
    tokens: Vec<BotToken>,
    /// What is wrong with the rest of them.
    errors: Vec<String>,
}

fn read_all(bytes: &[u8]) -> Result<Contents, ImportError> {
    let mut contents = Contents::default();
    let options = ImportOptions::default();
    for item in read(bytes, &options)? {
        match item {
            Ok(Found::Session(session)) => contents.sessions.push(*session),
            Ok(Found::Token(token)) => contents.tokens.push(token),
            Ok(other) => panic!("{other:?}"),
            Err(error) => contents.errors.push(error.to_string()),
        }
    }
    Ok(contents)
}
