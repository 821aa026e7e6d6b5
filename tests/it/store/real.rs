//! Files that other programs have written themselves: each is taken in, checked and served against the sandbox, and
//! nothing that is printed holds a part of any key.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use telepool::AccountId;
use telepool::import::{self, Found, FoundSession, ImportOptions};
use telepool::session::{AuthKey, KeyId, SessionRecord};

use super::command::Field;

/// The folder of the files.
pub(super) fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import/files")
}

/// The passcode of the folders that have one.
const PASSCODE: &str = "correct horse";

/// Every session that is in the files.
fn sessions() -> Vec<FoundSession> {
    let mut options = ImportOptions::default();
    options.passcode = Some(PASSCODE.to_owned().into());
    let opened =
        import::inputs(&files()).filter_map(|path| import::open(&path.unwrap(), &options).ok());
    let found: Vec<Found> = opened.flat_map(|file| file.flatten().collect::<Vec<_>>()).collect();
    let session = |found| match found {
        Found::Session(session) => Some(*session),
        _ => None,
    };
    found.into_iter().filter_map(session).collect()
}

/// Makes the sandbox know the keys, each of the user that its file names.
fn adopt(field: &Field, sessions: &[FoundSession]) {
    // Of a key that several files have, those count that know whose it is.
    let mut sessions: Vec<_> = sessions.iter().collect();
    sessions.sort_by_key(|session| session.user_id.is_none());
    let mut keys = std::collections::HashSet::new();
    sessions.retain(|session| keys.insert(KeyId::of(&session.key)));
    for (number, session) in (0..).zip(sessions) {
        let user = session.user_id.unwrap_or(900_000 + number);
        let account = match (session.is_bot, session.phone) {
            (Some(true), _) => AccountId::bot(user.unsigned_abs()),
            (_, Some(phone)) => Ok(phone),
            _ => AccountId::user(user.unsigned_abs()),
        };
        let address = field.centre.address();
        let mut record =
            SessionRecord::new(account.unwrap(), session.dc, address, session.key.clone());
        record.user_id = user;
        field.centre.adopt_session(&record);
    }
}

/// Parts of a key as texts hold them: in hexadecimal digits, in base64 of each alignment, and as it is.
pub(super) fn traces(key: &AuthKey) -> Vec<Vec<u8>> {
    let bytes = &key.expose()[64..112];
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut traces = vec![hex.to_uppercase().into_bytes(), hex.into_bytes(), bytes[..16].to_vec()];
    for skip in 0..3 {
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes[skip..skip + 18]);
        traces.push(text.replace('-', "+").replace('_', "/").into_bytes());
        traces.push(text.into_bytes());
    }
    traces
}

#[test]
fn every_file_of_another_program_is_taken_in_checked_and_served() {
    let field = Field::new();
    let all: Vec<_> =
        sessions().into_iter().filter(|session| session.test_mode != Some(true)).collect();
    assert!(all.len() > 25, "{}", all.len());
    adopt(&field, &all);
    let passcode = field.path("passcode");
    std::fs::write(&passcode, PASSCODE).unwrap();
    let at = field.centre.address();
    let mut arguments = vec!["session".to_owned(), "import".to_owned()];
    arguments.push(files().display().to_string());
    arguments.extend(["--passcode-file".to_owned(), passcode.display().to_string()]);
    for dc in 1..=5 {
        arguments.extend(["--set".to_owned(), format!("data_centres.{dc}={at}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, out, told) = field.run(&arguments);
    // Those of the test servers are of users that the others know as others, and some are signed out.
    assert_eq!(code, Some(1), "{out}{told}");
    let again = field.run(&arguments).1;
    assert!(!again.contains(": imported"), "importing twice changes nothing: {again}");
    let list = field.list();
    let keys: std::collections::HashSet<_> =
        all.iter().map(|it| KeyId::of(&it.key).to_string()).collect();
    let of_sandbox = list.iter().filter(|it| keys.contains(it["key_id"].as_str().unwrap())).count();
    assert_eq!(of_sandbox, keys.len(), "{out}");
    let (_, checked, told) = field.run(&["session", "check", "--json"]);
    let rows = checked.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let dead: Vec<_> = rows
        .filter(|row| keys.contains(row["key_id"].as_str().unwrap()) && row["state"] != "alive")
        .collect();
    assert!(dead.is_empty(), "{dead:?} {told}");
    assert_eq!(field.centre.stats().key_violations, 0);
}

#[test]
fn nothing_that_an_import_prints_holds_a_part_of_a_key() {
    let field = Field::new();
    let keys: Vec<AuthKey> = sessions().into_iter().map(|session| session.key).collect();
    // Whole, cut off, and with a part of each changed.
    let folder = field.path("broken");
    std::fs::create_dir(&folder).unwrap();
    for (number, path) in
        (0..).zip(import::inputs(&files()).flatten().filter(|path| path.is_file()))
    {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(folder.join(format!("{number}-changed")), &bytes).unwrap();
        std::fs::write(folder.join(format!("{number}-cut")), &bytes[..at]).unwrap();
    }
    let files = files().display().to_string();
    let broken = folder.display().to_string();
    for json in [&[][..], &["--json"]] {
        for dry in [&["--dry-run"][..], &[]] {
            let arguments = [&["session", "import", &files, &broken], json, dry].concat();
            let mut command = field.command(&arguments);
            let output = command.env("TELEPOOL_LOG", "trace").output().unwrap();
            for key in &keys {
                for trace in traces(key) {
                    for told in [&output.stdout, &output.stderr] {
                        let has = told.windows(trace.len()).any(|part| part == trace);
                        assert!(!has, "{arguments:?} prints a part of a key");
                    }
                }
            }
        }
    }
    for shown in [&["session", "list"][..], &["session", "list", "--json"]] {
        let out = field.done(shown);
        assert!(
            keys.iter()
                .flat_map(traces)
                .all(|trace| { !out.as_bytes().windows(trace.len()).any(|part| part == trace) })
        );
    }
}

#[test]
fn sessions_of_several_applications_are_served_by_one_process_each_as_itself() {
    let field = Field::new();
    let one = field.file("one.jsonl", &field.sessions("bot:5000", 1));
    let other = field.file("other.jsonl", &field.sessions("bot:5001", 1));
    let third = field.file("third.jsonl", &field.sessions("bot:5002", 1));
    field.done(&[
        "session",
        "import",
        &one,
        "--api-id",
        "17",
        "--device",
        "Pixel 9",
        "--system-version",
        "Android 16",
        "--app-version",
        "1.4.0",
        "--lang",
        "de",
    ]);
    field.done(&["session", "import", &other, "--api-id", "18", "--identity", "pyrogram:2.0.106"]);
    field.done(&["session", "import", &third]);
    field.done(&["session", "check"]);
    let told = |id: u64| {
        let account = AccountId::bot(id).unwrap();
        field.centre.introductions(account).pop().flatten().unwrap()
    };
    let (api_id, identity) = told(5000);
    assert_eq!((api_id, &*identity.device_model, &*identity.app_version), (17, "Pixel 9", "1.4.0"));
    assert_eq!((&*identity.system_version, &*identity.lang_code), ("Android 16", "de"));
    let (api_id, identity) = told(5001);
    assert_eq!((api_id, &*identity.app_version), (18, "Pyrogram 2.0.106"));
    // One that brings nothing is as the process is.
    let (api_id, identity) = told(5002);
    assert_eq!((api_id, &*identity.device_model), (7, "telepool"));
    // It stays so, whoever serves it and whatever is imported again.
    field.done(&["session", "import", &one, "--api-id", "99", "--device", "Other"]);
    field.done(&["session", "check"]);
    assert_eq!((told(5000).0, &*told(5000).1.device_model), (17, "Pixel 9"));
}
