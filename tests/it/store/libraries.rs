//! What was exported, opened by the libraries themselves: each takes it for its own, and finds in it what the store
//! has.
//!
//! Nothing is dialled: they are run in a network namespace that has the loopback interface and nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use telepool::import::{self, Found, FoundSession, ImportOptions};

use super::command::Field;
use super::real::files;

/// Brings the namespace's only interface up, and becomes the command that follows.
const INSIDE: &str = r#"ip link set lo up && exec "$0" "$@""#;

/// Each library, its packages, the file of its own that is taken in, and the formats that are its.
const LIBRARIES: [(&str, &str, &str); 5] = [
    ("telethon-1.45.0", "telethon-8.session", "telethon"),
    ("pyrogram-2.0.106", "pyrogram-2.session", "pyrogram"),
    ("kurigram-2.2.26", "kurigram.session", "pyrogram"),
    ("pyrofork-2.3.69", "pyrofork.session", "pyrogram"),
    ("pyrotgfork-2.2.24.1", "pyrotgfork.session", "pyrogram"),
];

/// What a library finds in a file, or in a string that lies in one.
fn read(library: &str, path: &Path, is_string: bool) -> Value {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let packages = target.join("libraries").join(library);
    assert!(packages.exists(), "{}: `.ci/run` says how to install it", packages.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/store/libraries/read.py");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", INSIDE, "timeout", "60", "python3"]).arg(script);
    command.arg(library.split('-').next().unwrap());
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    match is_string {
        true => command.arg("-").stdin(File::open(path).unwrap()),
        false => command.arg(path).stdin(Stdio::null()),
    };
    let ran = command.output().expect("unshare, of Debian's package util-linux");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{library} (this has to be run as root): {told}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// The session of a file of the library's own.
fn own(path: &Path) -> FoundSession {
    let options = ImportOptions::default();
    match import::open(path, &options).unwrap().next() {
        Some(Ok(Found::Session(session))) => *session,
        other => panic!("{other:?}"),
    }
}

fn digest(session: &FoundSession) -> String {
    use sha2::Digest as _;

    let digest = sha2::Sha256::digest(session.key.expose());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the library has to find.
fn expected(session: &FoundSession, format: &str, is_string: bool) -> Value {
    let mut expected = json!({ "dc": session.dc, "key": digest(session) });
    let more = match format {
        "telethon" => json!({ "address": "149.154.167.51", "port": 443 }),
        _ => json!({
            "api_id": 12345, "test_mode": false, "user_id": 1_234_567_890, "is_bot": false,
        }),
    };
    let in_files = match (is_string, format) {
        (true, _) => json!({}),
        (false, "telethon") => json!({
            "user_id": 1_234_567_890,
            "hashes": [i64::MIN, 55],
            "states": [[0, 101, 102, 1_700_000_001, 103], [1_987_654_321, 201, 0, 1_700_000_001, 0]],
        }),
        (false, _) => json!({ "hashes": [i64::MIN, 55] }),
    };
    for part in [more, in_files] {
        let Value::Object(part) = part else { unreachable!() };
        expected.as_object_mut().unwrap().extend(part);
    }
    expected
}

#[test]
#[ignore = "needs root and the libraries; `.ci/run` has a step for it"]
fn what_is_exported_is_opened_by_the_library_whose_format_it_is() {
    for (library, file, format) in LIBRARIES {
        let field = Field::new();
        let from: PathBuf = files().join(file);
        field.done(&["session", "import", &from.display().to_string()]);
        let session = own(&from);
        for is_string in [true, false] {
            let format_of = if is_string { format.to_owned() } else { format!("{format}-file") };
            let path = field.path(&format!("{format_of}.session"));
            let out = path.display().to_string();
            let account = "user:1234567890";
            let arguments = ["session", "export", account, "--format", &format_of, "--reveal"];
            field.done(&[&arguments[..], &["--out", &out]].concat());
            let found = read(library, &path, is_string);
            assert_eq!(found, expected(&session, format, is_string), "{library}, {format_of}");
        }
    }
}
