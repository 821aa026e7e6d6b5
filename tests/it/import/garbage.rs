//! Databases whose tables and values are not what they should be.

use std::path::Path;

use rusqlite::Connection;
use telepool::import::{FoundSession, ImportError, ImportOptions, Origin, PeerKind, open};

use super::{OWN, key, one};

const TELETHON: &str =
    "CREATE TABLE sessions (dc_id, server_address, port, auth_key, takeout_id, tmp_auth_key);
    CREATE TABLE entities (id, hash, username, phone, name, date);
    CREATE TABLE update_state (id, pts, qts, date, seq);";

/// The session of a database that such statements make, with the key for `?1` where it stands.
fn made(statements: &[&str]) -> Result<FoundSession, ImportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.session");
    write(&path, statements);
    open(&path, &ImportOptions::default()).map(one)
}

fn write(path: &Path, statements: &[&str]) {
    let db = Connection::open(path).unwrap();
    for statement in statements {
        match statement.contains("?1") {
            true => drop(db.execute(statement, [&key("made").expose()[..]]).unwrap()),
            false => db.execute_batch(statement).unwrap(),
        }
    }
}

fn telethon(values: &str) -> Result<FoundSession, ImportError> {
    made(&[TELETHON, &format!("INSERT INTO sessions VALUES ({values})")])
}

#[test]
fn a_database_of_something_else_is_passed_over() {
    for statements in [
        "CREATE TABLE notes (id, text)",
        "CREATE TABLE sessions (id, token)",
        "CREATE TABLE sessions (dc_id, auth_key)",
        // It may be anything, and never end.
        "CREATE VIEW sessions AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         SELECT i AS dc_id, i AS auth_key, i AS server_address, i AS port FROM n",
        "CREATE VIRTUAL TABLE sessions USING fts5(dc_id, auth_key, server_address, port)",
    ] {
        let error = made(&[statements]).unwrap_err();
        assert!(error.is_no_session(), "{statements}: {error}");
    }
}

#[test]
fn a_column_that_is_computed_is_none() {
    let table = "CREATE TABLE sessions (dc_id, server_address, port, auth_key AS (zeroblob(256)))";
    let error = made(&[table, "INSERT INTO sessions VALUES (2, '127.0.0.1', 443)"]).unwrap_err();
    assert!(error.is_no_session(), "{error}");
}

#[test]
fn who_is_signed_out_is_told_from_whose_key_is_damaged() {
    for values in ["NULL", "x''", "''", "zeroblob(256)"] {
        let error = telethon(&format!("2, '127.0.0.1', 443, {values}, NULL, ?1")).unwrap_err();
        assert!(matches!(error, ImportError::SignedOut { .. }), "{values}: {error}");
    }
    for (values, len) in [("zeroblob(255)", 255), ("zeroblob(257)", 257), ("'secret'", 6)] {
        let error = telethon(&format!("2, '127.0.0.1', 443, {values}, NULL, NULL")).unwrap_err();
        assert!(matches!(error, ImportError::KeyLength { len: it } if it == len), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
    for values in ["7", "7.5", "zeroblob(2000000)"] {
        let error = telethon(&format!("2, '127.0.0.1', 443, {values}, NULL, NULL")).unwrap_err();
        assert!(matches!(error, ImportError::Damaged { .. }), "{values}: {error}");
    }
    let error = made(&[TELETHON]).unwrap_err();
    assert!(matches!(error, ImportError::SignedOut { .. }), "{error}");
}

#[test]
fn a_data_centre_that_there_is_not_is_an_error() {
    for dc in ["0", "-1", "256", "4294967298", "NULL", "'two'", "x'02'", "2.5", "1e300"] {
        let error = telethon(&format!("{dc}, '127.0.0.1', 443, ?1, NULL, NULL")).unwrap_err();
        assert!(matches!(error, ImportError::DataCentre), "{dc}: {error}");
    }
    for dc in ["2", "'2'", "2.0"] {
        let found = telethon(&format!("{dc}, '127.0.0.1', 443, ?1, NULL, NULL")).unwrap();
        assert_eq!((found.origin, found.dc), (Origin::Telethon, 2));
    }
}

#[test]
fn an_address_that_is_none_is_left_out() {
    let address = |values: &str| telethon(&format!("2, {values}, ?1, NULL, NULL")).unwrap().address;
    for values in [
        "NULL, 443",
        "'', 443",
        "'venus.web.telegram.org', 443",
        "'0.0.0.0', 443",
        "'127.0.0.1', 0",
        "'127.0.0.1', 65536",
        "'127.0.0.1', NULL",
        "CAST(x'ff31' AS TEXT), 443",
        "5, 443",
    ] {
        assert_eq!(address(values), None, "{values}");
    }
    assert_eq!(address("' 127.0.0.1 ', '443'"), Some("127.0.0.1:443".parse().unwrap()));
}

#[test]
fn the_first_key_of_several_counts() {
    let found = made(&[
        TELETHON,
        "INSERT INTO sessions VALUES (1, '127.0.0.1', 1, x'', NULL, NULL)",
        "INSERT INTO sessions VALUES (2, '127.0.0.1', 2, ?1, NULL, NULL)",
        "INSERT INTO sessions VALUES (3, '127.0.0.1', 3, zeroblob(256), NULL, NULL)",
    ]);
    assert_eq!(found.unwrap().dc, 2);
}

#[test]
fn a_peer_that_is_none_is_passed_over() {
    let found = made(&[
        TELETHON,
        "INSERT INTO sessions VALUES (2, '127.0.0.1', 2, ?1, NULL, NULL)",
        "INSERT INTO entities VALUES
            (0, 1234567890, NULL, NULL, NULL, NULL), (1234567890, 1, NULL, 'none', NULL, NULL),
            (NULL, 1, NULL, NULL, NULL, NULL), (5, NULL, NULL, NULL, NULL, NULL), ('x', 'y', 1, 2, 3, 4),
            (6, 7, CAST(x'ff' AS TEXT), x'', zeroblob(9), -1), (-9223372036854775807 - 1, 8, NULL, NULL, NULL, NULL),
            (-1000000000000, 0, NULL, NULL, NULL, NULL), (7, 8, 'a b', NULL, NULL, NULL),
            (1.5, 2, NULL, NULL, NULL, NULL)",
        "INSERT INTO update_state VALUES
            (0, 'x', 1, 1, 1), (5, NULL, 1, 1, 1), (NULL, 1, 1, 1, 1), (6, 99999999999, 1, 1, 1)",
    ])
    .unwrap();
    assert_eq!((found.user_id, found.phone), (Some(OWN), None));
    let known: Vec<_> = found.peers.iter().map(|it| (it.kind, it.id, it.access_hash)).collect();
    let user = |id, hash| (PeerKind::User, id, hash);
    assert_eq!(known, [user(OWN, 1), user(6, 7), user(7, 8)]);
    assert!(found.peers.iter().all(|peer| peer.username.is_none()));
    assert_eq!((found.update_state, found.channel_states), (None, Vec::new()));
}

#[test]
fn a_file_of_pyrogram_with_garbage_in_it_gives_what_is_sound() {
    let found = made(&[
        "CREATE TABLE sessions (dc_id, api_id, test_mode, auth_key, date, user_id, is_bot)",
        "CREATE TABLE peers (id, access_hash, type, username, phone_number, last_update_on)",
        "INSERT INTO sessions VALUES (2, 'x', 'y', ?1, 0, -5, 1)",
        "INSERT INTO peers VALUES (1, 2, 3, 4, 5, 6), (1, 2, 'user', 'n', '1', 0), (NULL, 1, 'user', 'n', '1', 0),
            (3, NULL, 'user', 'n', '1', 0), (-5, NULL, 'user', 'n', '1', 0), (5, 1, 'group', 'n', '1', 0),
            (-7, NULL, 'group', 'n', '1', 0), (-7, 8, 'channel', 'n', '1', 0)",
    ])
    .unwrap();
    assert_eq!(
        (found.api_id, found.test_mode, found.user_id, found.is_bot),
        (None, None, None, None)
    );
    let known: Vec<_> = found.peers.iter().map(|it| (it.kind, it.id)).collect();
    assert_eq!(known, [(PeerKind::User, 1), (PeerKind::Chat, 7)]);
}

#[test]
fn a_file_of_grammers_without_a_key_at_home_is_signed_out() {
    let tables =
        "CREATE TABLE dc_home (dc_id); CREATE TABLE dc_option (dc_id, ipv4, ipv6, auth_key);";
    let option = "INSERT INTO dc_option VALUES (4, '127.0.0.1:443', 'nonsense', ?1)";
    let home = |dc: &str| format!("INSERT INTO dc_home VALUES ({dc})");
    let found = made(&[tables, option, &home("4")]).unwrap();
    assert_eq!((found.dc, found.address), (4, Some("127.0.0.1:443".parse().unwrap())));
    // Without a home nobody has moved.
    assert_eq!(made(&[tables, option]).unwrap().dc, 4);
    for statements in [vec![tables], vec![tables, option, &home("2")]] {
        let error = made(&statements).unwrap_err();
        assert!(matches!(error, ImportError::SignedOut { .. }), "{error}");
    }
    let error = made(&[tables, option, &home("'x'")]).unwrap_err();
    assert!(matches!(error, ImportError::DataCentre), "{error}");
}
