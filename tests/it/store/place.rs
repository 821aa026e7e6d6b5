//! The file of a store: who may read it, what it must not lie on, and what else may stand in its place.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use telepool::import::{FoundSession, Origin};
use telepool::session::AuthKey;
use telepool::store::{Added, NewSession, SessionStore as _, SqliteStore, StoreError};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.db");
    (folder, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn session(number: u8) -> NewSession {
    let mut found = FoundSession::new(Origin::Telethon, 2, AuthKey::new([number; 256]));
    found.user_id = Some(700 + i64::from(number));
    NewSession::new(found, "127.0.0.1:4430".parse().unwrap())
}

#[test]
fn a_store_and_all_that_belongs_to_it_is_its_users_alone() {
    let (folder, _) = folder();
    let path = folder.path().join("deep/within/accounts.db");
    let store = SqliteStore::create(&path).unwrap();
    store.add(&[session(1)]).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(files.len(), 3, "with its log, and the index of that");
    for file in files {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_store_that_others_may_reach_is_refused_with_the_remedy() {
    let (folder, path) = folder();
    drop(SqliteStore::create(&path).unwrap());
    for bits in [0o640, 0o604, 0o620] {
        set_mode(&path, bits);
        let error = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
    set_mode(&path, 0o600);
    set_mode(folder.path(), 0o777);
    let error = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("chmod go-w"), "{error}");
    set_mode(folder.path(), 0o1777);
    drop(SqliteStore::open(&path).unwrap());
}

#[test]
fn what_else_stands_there_is_left_alone() {
    let (folder, path) = folder();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Missing { .. })));
    for (name, text) in [("text", "hello, this is no database"), ("short", "x")] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        assert!(matches!(SqliteStore::create(&path), Err(StoreError::NotAStore { .. })), "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // A database of another program, as one that was meant for the import.
    let other = folder.path().join("other.session");
    fs::copy("tests/it/import/files/telethon-8.session", &other).unwrap();
    set_mode(&other, 0o600);
    let before = fs::read(&other).unwrap();
    let error = SqliteStore::create(&other).unwrap_err().to_string();
    assert!(error.contains("telepool session import"), "{error}");
    assert_eq!(fs::read(&other).unwrap(), before);
    assert!(matches!(SqliteStore::create(folder.path()), Err(StoreError::NotAStore { .. })));
    // A link is followed, and one that leads nowhere leads to a new store.
    let link = folder.path().join("link.db");
    symlink(&path, &link).unwrap();
    assert_eq!(SqliteStore::create(&link).unwrap().path(), fs::canonicalize(&path).unwrap());
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    drop(SqliteStore::create(&path).unwrap());
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Later { version: 99, .. }), "{error}");
}

#[test]
fn what_was_removed_leaves_no_byte_of_its_key_behind() {
    let (folder, path) = folder();
    let store = SqliteStore::create(&path).unwrap();
    store.add(&[session(0xa7), session(0xa8)]).unwrap();
    let holds = |byte: u8| {
        fs::read_dir(folder.path()).unwrap().any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            bytes.windows(64).any(|part| part == [byte; 64])
        })
    };
    assert!(holds(0xa7) && holds(0xa8));
    let key = telepool::session::KeyId::of(&AuthKey::new([0xa7; 256]));
    store.remove(&[key], telepool::store::Removal::KeepKeyId).unwrap();
    assert!(!holds(0xa7), "secure deletion, and the log is cut");
    assert!(holds(0xa8));
}

#[test]
fn a_rehearsal_adds_nothing_and_remembers_what_it_would_have_added() {
    let (_folder, path) = folder();
    let store = SqliteStore::create(&path).unwrap();
    store.add(&[session(1)]).unwrap();
    let rehearsal = store.rehearsal().unwrap();
    let outcomes = |sessions: &[NewSession]| -> Vec<Added> {
        rehearsal.add(sessions).unwrap().iter().map(|it| it.outcome).collect()
    };
    assert_eq!(outcomes(&[session(1), session(2)]), [Added::AlreadyThere, Added::NewAccount]);
    assert_eq!(outcomes(&[session(2)]), [Added::AlreadyThere]);
    let mut count = 0;
    store.sessions(None, &mut |_| count += 1).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn two_processes_of_a_store_see_what_the_other_writes() {
    let (_folder, path) = folder();
    let (one, other) = (SqliteStore::create(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let before = other.revision().unwrap();
    one.add(&[session(1)]).unwrap();
    assert!(other.revision().unwrap() > before);
    assert!(other.account("user:701".parse().unwrap()).unwrap().is_some());
}
