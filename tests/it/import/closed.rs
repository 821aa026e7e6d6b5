//! Databases that a program has open, or has not closed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use telepool::import::{FoundSession, ImportError, ImportOptions, open};

use super::{file, key, one};

fn fine() -> ImportOptions {
    let mut options = ImportOptions::default();
    options.in_use_is_fine = true;
    options
}

/// A session of Telethon in a folder of its own, as its program has it open.
fn live(folder: &Path, mode: &str) -> (PathBuf, Connection) {
    let path = folder.join("live.session");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA journal_mode = {mode};
         CREATE TABLE sessions (dc_id, server_address, port, auth_key);
         CREATE TABLE entities (id, hash, username, phone);"
    ))
    .unwrap();
    let key = key("live");
    db.execute("INSERT INTO sessions VALUES (2, '127.0.0.1', 443, ?1)", [&key.expose()[..]])
        .unwrap();
    (path, db)
}

/// All files of a folder with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn session(path: &Path, options: &ImportOptions) -> Result<FoundSession, ImportError> {
    open(path, options).map(one)
}

#[test]
fn a_file_that_was_closed_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["telethon-8", "pyrotgfork", "grammers"] {
        fs::copy(file(&format!("{name}.session")), folder.path().join(name)).unwrap();
    }
    let (wal, db) = live(folder.path(), "WAL");
    drop(db);
    let before = contents(folder.path());
    assert_eq!(before.len(), 4);
    assert!(session(&wal, &ImportOptions::default()).unwrap().key == key("live"));
    for name in ["telethon-8", "pyrotgfork", "grammers"] {
        session(&folder.path().join(name), &ImportOptions::default()).unwrap();
        session(&folder.path().join(name), &fine()).unwrap();
    }
    assert!(contents(folder.path()) == before, "nothing is changed, and nothing beside it");
}

#[test]
fn a_file_in_use_is_refused_unless_whoever_knows_says_it_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = live(folder.path(), "WAL");
    let error = session(&path, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("stop the program"), "{error}");
    // What it has written is not in the file yet.
    assert!(session(&path, &fine()).unwrap().key == key("live"));
    // By another name it is the same file.
    #[cfg(unix)]
    {
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link.session");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = session(&link, &ImportOptions::default()).unwrap_err();
        assert!(matches!(error, ImportError::InUse { .. }), "{error}");
        assert!(session(&link, &fine()).unwrap().key == key("live"));
    }
    drop(db);
    assert!(session(&path, &ImportOptions::default()).unwrap().key == key("live"));
}

#[test]
fn a_main_file_without_its_wal_is_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = live(folder.path(), "WAL");
    let alone = folder.path().join("copied");
    fs::copy(&path, &alone).unwrap();
    assert!(session(&alone, &ImportOptions::default()).is_err());
    drop(db);
}

#[test]
fn a_change_that_is_not_finished_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = live(folder.path(), "DELETE");
    assert!(session(&path, &ImportOptions::default()).is_ok());
    db.execute_batch("BEGIN; INSERT INTO entities VALUES (1, 2, NULL, NULL);").unwrap();
    let error = session(&path, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::InUse { .. }), "{error}");
    // Nothing of it is in the file yet.
    assert_eq!(session(&path, &fine()).unwrap().peers, []);
    // Until its program needs the room.
    db.execute_batch(
        "PRAGMA cache_size = 1;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO entities SELECT i, i, NULL, NULL FROM n;",
    )
    .unwrap();
    let error = session(&path, &fine()).unwrap_err();
    assert!(matches!(error, ImportError::InUse { .. }), "{error}");
    // A copy of that is what a program leaves that was killed.
    let killed = tempfile::tempdir().unwrap();
    let copied = killed.path().join("killed.session");
    fs::copy(&path, &copied).unwrap();
    let journal = folder.path().join("live.session-journal");
    fs::copy(journal, killed.path().join("killed.session-journal")).unwrap();
    let before = contents(killed.path());
    let error = session(&copied, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::InUse { .. }), "{error}");
    let error = session(&copied, &fine()).unwrap_err();
    assert!(matches!(error, ImportError::Unfinished), "{error}");
    assert!(contents(killed.path()) == before, "it is not for us to undo");
}

#[test]
fn any_name_is_a_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a b?mode=rwc&x=%00#y.session", "Ä:\u{202e}.session", "..session", "%2e%2e"] {
        let path = folder.path().join(name);
        fs::copy(file("telethon-1.session"), &path).unwrap();
        assert!(session(&path, &ImportOptions::default()).unwrap().key == key("telethon 1"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;

        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe\n.session"));
        fs::copy(file("telethon-1.session"), &path).unwrap();
        assert!(session(&path, &ImportOptions::default()).is_ok());
    }
}
