//! `telepool session export`: what leaves a store is what came, and it leaves only when it is meant to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use telepool::QuarantineReason;
use telepool::import::{self, Found, FoundSession, ImportOptions};
use telepool::session::{KeyId, SessionString, telethon_string};
use telepool::store::{SessionStore as _, SqliteStore};

use super::command::Field;
use super::real::{files, traces};

const FORMATS: [&str; 4] = ["telethon", "telethon-file", "pyrogram", "pyrogram-file"];

/// The arguments that have a session exported, whatever is asked besides.
fn export<'a>(which: &[&'a str], format: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["session", "export"], which, &["--format", format], more].concat()
}

/// The only session of a file.
fn read(path: &Path) -> FoundSession {
    let options = ImportOptions::default();
    match import::open(path, &options).unwrap().next() {
        Some(Ok(Found::Session(session))) => *session,
        other => panic!("{other:?}"),
    }
}

/// What a format says that is not known of this session, by the command that tells it.
fn missing(row: &Value, format: &str) -> Option<&'static str> {
    match format.starts_with("pyrogram") {
        true if row["user_id"].is_null() || row["is_bot"].is_null() => {
            Some("telepool session check")
        }
        true if row["api_id"].is_null() => Some("telepool session set --api-id"),
        _ => None,
    }
}

#[test]
fn what_came_from_others_leaves_in_every_format_and_is_known_when_it_comes_back() {
    let field = Field::new();
    let passcode = field.path("passcode");
    fs::write(&passcode, "correct horse").unwrap();
    let from = files().display().to_string();
    let passcode = passcode.display().to_string();
    field.run(&["session", "import", &from, "--passcode-file", &passcode]);
    let list = field.list();
    assert!(list.len() > 15, "{}", list.len());
    let folder = field.path("exported");
    fs::create_dir(&folder).unwrap();
    let mut refused = 0;
    for row in &list {
        let key_id = row["key_id"].as_str().unwrap();
        for format in FORMATS {
            let path = folder.join(format!("{key_id}-{format}.session"));
            let out = path.display().to_string();
            let arguments = export(&["--key-id", key_id], format, &["--reveal", "--out", &out]);
            let (code, printed, told) = field.run(&arguments);
            assert_eq!(printed, "");
            match missing(row, format) {
                Some(remedy) => {
                    assert!(code == Some(2) && told.contains(remedy), "{told}");
                    assert!(!path.exists());
                    refused += 1;
                }
                None => {
                    assert_eq!(code, Some(0), "{row} {format}: {told}");
                    let session = read(&path);
                    assert_eq!(KeyId::of(&session.key).to_string(), key_id);
                    assert_eq!(i64::from(session.dc), row["dc"].as_i64().unwrap());
                }
            }
        }
    }
    let written = fs::read_dir(&folder).unwrap().count();
    assert!(written == 4 * list.len() - refused && refused < written, "{written} {refused}");
    let (code, out, told) = field.run(&["session", "import", &folder.display().to_string()]);
    assert_eq!(code, Some(0), "{out}{told}");
    assert_eq!(out.matches("already there").count(), written, "{out}");
    let keys = |list: &[Value]| list.iter().map(|row| row["key_id"].clone()).collect::<Vec<_>>();
    assert_eq!(keys(&field.list()), keys(&list));
}

#[test]
fn a_file_takes_what_the_account_has_met_along() {
    let field = Field::new();
    let from = files().join("telethon-8.session");
    field.done(&["session", "import", &from.display().to_string()]);
    let path = field.path("a.session");
    let out = path.display().to_string();
    let arguments = export(&["user:1234567890"], "telethon-file", &["--reveal", "--out", &out]);
    field.done(&arguments);
    let (came, left) = (read(&from), read(&path));
    assert!(came.key == left.key && came.address == left.address);
    assert_eq!((came.user_id, came.phone), (left.user_id, left.phone));
    assert_eq!(came.peers, left.peers);
    assert_eq!(came.update_state, left.update_state);
    assert_eq!(came.channel_states, left.channel_states);
}

#[test]
fn a_key_is_shown_only_to_whoever_asks_for_it_in_words() {
    let field = Field::new();
    let session = field.sessions("bot:5000", 1).remove(0);
    field.done(&["session", "import", &field.file("a.jsonl", std::slice::from_ref(&session))]);
    let key_id = KeyId::of(&session.key).to_string();
    let is_silent = |told: &str| {
        let has = |trace: &Vec<u8>| told.as_bytes().windows(trace.len()).any(|it| it == trace);
        !traces(&session.key).iter().any(has)
    };
    let (code, out, told) = field.run(&export(&["bot:5000"], "telethon", &[]));
    assert_eq!((code, &*out), (Some(2), ""));
    for part in ["--reveal", &key_id, "standard output", "is the account"] {
        assert!(told.contains(part) && is_silent(&told), "{told}");
    }
    let (code, out, told) = field.run(&export(&["bot:5000"], "telethon", &["--reveal"]));
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{told}");
    let string = SessionString::parse(out.as_bytes()).unwrap();
    assert!(string.key == session.key && string.address == Some(session.address));
    let removal = format!("telepool session remove --key-id {key_id}");
    assert!(told.contains("must stay stopped") && told.contains(&removal), "{told}");
    assert!(is_silent(&told));
    // Into a file.
    let path = field.path("a.txt");
    let into = path.display().to_string();
    let more = ["--reveal", "--out", &into];
    let (code, printed, told) = field.run(&export(&["bot:5000"], "telethon", &more));
    assert_eq!((code, &*printed), (Some(0), ""), "{told}");
    assert!(told.contains(&into) && is_silent(&told), "{told}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), out);
    for format in ["telethon", "telethon-file"] {
        let (code, printed, told) = field.run(&export(&["bot:5000"], format, &more));
        assert_eq!((code, &*printed), (Some(2), ""));
        assert!(told.contains("--out") && told.contains("nothing is overwritten"), "{told}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), out, "it is as it was");
    let (code, out, told) = field.run(&export(&["bot:5000"], "pyrogram-file", &["--reveal"]));
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(told.contains("--out NAME.session"), "{told}");
}

#[test]
fn what_nobody_knows_yet_is_asked_for_by_the_command_that_tells_it() {
    let field = Field::new();
    let session = field.sessions("bot:5000", 1).remove(0);
    let string = telethon_string(session.dc, session.address, &session.key).unwrap();
    let file = field.path("string.txt");
    fs::write(&file, &*string).unwrap();
    field.done(&["session", "import", &file.display().to_string()]);
    let key_id = KeyId::of(&session.key).to_string();
    let which = ["--key-id", &*key_id];
    // Telethon's says nothing of whose it is.
    assert_eq!(field.done(&export(&which, "telethon", &["--reveal"])).trim_end(), &**string);
    let refused = |remedy: &str| {
        let (code, out, told) = field.run(&export(&which, "pyrogram", &["--reveal"]));
        assert_eq!((code, &*out), (Some(2), ""));
        assert!(told.contains(remedy), "{told}");
    };
    refused("telepool session check");
    field.done(&["session", "check"]);
    refused("telepool session set --api-id");
    field.done(&["session", "set", "--key-id", &key_id, "--api-id", "12345"]);
    let text = field.done(&export(&["bot:5000"], "pyrogram", &["--reveal"]));
    let found = SessionString::parse(text.as_bytes()).unwrap();
    assert_eq!((found.api_id, found.user_id, found.is_bot), (Some(12345), Some(5000), Some(true)));
}

#[test]
fn one_session_is_exported_and_no_more() {
    let field = Field::new();
    let sessions = field.sessions("+9996620001", 3);
    field.done(&["session", "import", &field.file("sessions.jsonl", &sessions)]);
    let (code, out, told) = field.run(&export(&["+9996620001"], "telethon", &["--reveal"]));
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(told.contains("0, 1, 2"), "{told}");
    let (code, _, told) = field.run(&export(&["+9996620001/7"], "telethon", &["--reveal"]));
    assert_eq!(code, Some(2));
    assert!(told.contains("no such slot"), "{told}");
    let text = field.done(&export(&["+9996620001/1"], "telethon", &["--reveal"]));
    assert!(SessionString::parse(text.as_bytes()).unwrap().key == sessions[1].key);
    for slot in ["0", "2"] {
        field.done(&["session", "remove", &format!("+9996620001/{slot}"), "--yes"]);
    }
    let text = field.done(&export(&["+9996620001"], "telethon", &["--reveal"]));
    assert!(SessionString::parse(text.as_bytes()).unwrap().key == sessions[1].key);
}

#[test]
fn what_is_served_stays_unless_nobody_dials_it() {
    let field = Field::new();
    let sessions = field.sessions("bot:5000", 1);
    field.done(&["session", "import", &field.file("a.jsonl", &sessions)]);
    let running = field.serve();
    let out = field.path("a.session").display().to_string();
    let more = ["--reveal", "--out", &*out];
    let (code, printed, told) = field.run(&export(&["bot:5000"], "telethon-file", &more));
    assert_eq!((code, &*printed), (Some(3), ""));
    assert!(told.contains(&format!("process {}", running.id())), "{told}");
    assert!(told.contains("--although-served") && !Path::new(&out).exists(), "{told}");
    let although = [&more[..], &["--although-served"]].concat();
    field.done(&export(&["bot:5000"], "telethon-file", &although));
    assert!(read(Path::new(&out)).key == sessions[0].key);
    let store = SqliteStore::open(&field.path("accounts.db")).unwrap();
    let key = KeyId::of(&sessions[0].key);
    store.set_quarantine(key, Some(QuarantineReason::NeedsLogin)).unwrap();
    field.done(&export(&["bot:5000"], "telethon", &["--reveal"]));
    running.signal("-INT");
    running.end();
    assert_eq!(field.centre.stats().key_violations, 0);
}
