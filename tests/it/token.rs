//! `telepool token`: what an operator does with the file of tokens.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use telepool::http::{Token, TokenFile};

use crate::command::{fresh, run, telepool};

/// A file of tokens, which is removed with this.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(fresh(&format!("{name}-tokens.jsonl")))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn create(&self, more: &[&str]) -> (Option<i32>, String, String) {
        run(&[&["token", "create", "--file", self.path()], more].concat())
    }

    /// Makes one to read, and returns it.
    fn made(&self, name: &str) -> String {
        let (code, stdout, stderr) = self.create(&["--name", name, "--scope", "read"]);
        assert_eq!(code, Some(0), "{stderr}");
        stdout.trim_end().to_owned()
    }

    fn list(&self) -> Value {
        let (code, stdout, stderr) = run(&["token", "list", "--json", "--file", self.path()]);
        assert_eq!((code, &*stderr), (Some(0), ""));
        serde_json::from_str(&stdout).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let records = TokenFile::at(&self.0).read().unwrap();
        records.into_iter().map(|record| record.grant.name).collect()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
        std::fs::remove_file(format!("{}.lock", self.path())).ok();
    }
}

#[test]
fn a_token_is_printed_once_and_alone_and_listed_without_its_secret() {
    let file = File::new("made");
    let (code, stdout, stderr) = file.create(&[
        "--name=grafana",
        "--scope=read",
        "--scope=operate",
        "--group=bots",
        "--group=users",
        "--phones",
        "--expires=2999-01-31",
    ]);
    assert_eq!(code, Some(0), "{stderr}");
    let token = stdout.strip_suffix('\n').unwrap();
    let id = Token::id_of(token).unwrap().to_string();
    assert!(stderr.contains(&id) && stderr.contains("2999-01-31T00:00:00Z"), "{stderr}");
    assert!(!stderr.contains(&token[12..]) && !file.text().contains(&token[12..]), "{stderr}");
    file.made("other");

    let shown = file.list();
    assert_eq!(shown.as_array().unwrap().len(), 2);
    let first = &shown[0];
    assert_eq!((&first["id"], &first["name"]), (&id.clone().into(), &"grafana".into()));
    assert_eq!(first["scopes"], serde_json::json!(["read", "operate"]));
    assert_eq!(first["groups"], serde_json::json!(["bots", "users"]));
    assert_eq!((&first["phones"], &first["expired"]), (&true.into(), &false.into()));
    assert_eq!(first["expires_utc"], "2999-01-31T00:00:00Z");
    assert_eq!((&shown[1]["groups"], &shown[1]["expires"]), (&Value::Null, &Value::Null));

    let (_, stdout, _) = run(&["token", "list", "--file", file.path()]);
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("id ") && lines[1].starts_with(&id), "{stdout}");
    assert!(lines[1].contains("read,operate") && lines[1].contains("2999-01-31"), "{stdout}");
    assert!(lines[2].contains("masked") && lines[2].ends_with("never"), "{stdout}");
    assert_eq!(lines[4], format!("{id} sees bots, users alone"));
    assert!(!stdout.contains(&token[12..]));
}

#[test]
fn a_token_is_revoked_by_name_or_id_and_never_by_itself() {
    let file = File::new("revoked");
    let [first, second] = ["first", "second"].map(|name| file.made(name));
    let revoke = |which: &str| run(&["token", "revoke", "--file", file.path(), which]);
    let (code, stdout, stderr) = revoke(&first);
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    let id = Token::id_of(&first).unwrap().to_string();
    assert!(stderr.contains(&format!("its id is {id}")), "{stderr}");
    assert!(!stderr.contains(&first[12..]), "{stderr}");
    let (code, stdout, _) = revoke(&id);
    assert_eq!((code, stdout), (Some(0), format!("revoked {id} (first)\n")));
    let (code, _, stderr) = revoke("first");
    assert!(code == Some(1) && stderr.contains("telepool token list shows"), "{stderr}");
    assert_eq!(file.names(), ["second"]);
    assert_eq!(revoke("second").0, Some(0));
    let (_, stdout, _) = run(&["token", "list", "--file", file.path()]);
    assert_eq!(stdout, "there is no token\n");
    assert!(!second.is_empty() && file.list() == serde_json::json!([]));
}

#[test]
fn what_will_not_do_is_refused_with_the_remedy_and_changes_nothing() {
    let file = File::new("refused");
    let token = file.made("taken");
    let before = file.text();
    let long = "x".repeat(65);
    for (arguments, words) in [
        (&["--name=a"][..], "--scope"),
        (&["--scope=read"], "--name"),
        (&["--name=a", "--scope=admin"], "read, operate, call"),
        (&["--name=a", "--scope="], "read, operate, call"),
        (&["--name=taken", "--scope=read"], "revoke it first, or take another name"),
        (&["--name=", "--scope=read"], "is empty"),
        (&["--name= ", "--scope=read"], "with a space"),
        (&["--name=a\nb", "--scope=read"], "that cannot be seen"),
        (&["--name=a\u{1b}[31m", "--scope=read"], "that cannot be seen"),
        (&["--name", &long, "--scope=read"], "longer than 64"),
        (&["--name=loopback", "--scope=read"], "take another"),
        (&["--name=a", "--scope=read", "--group="], "the name of a group is empty"),
        (&["--name=a", "--scope=read", "--expires=2020-01-01"], "is over: give a time"),
        (&["--name=a", "--scope=read", "--expires=0s"], "has ended by then"),
        (&["--name=a", "--scope=read", "--expires=-1d"], "is no time: give a time"),
        (&["--name=a", "--scope=read", "--expires=soon"], "such as 90d"),
    ] {
        let (code, stdout, stderr) = file.create(arguments);
        assert_eq!((code, &*stdout), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
        assert!(!stderr.contains('\u{1b}'), "{arguments:?}: {stderr}");
        assert_eq!(file.text(), before, "{arguments:?}");
    }
    // A token in the wrong place is not repeated.
    let (code, _, stderr) = file.create(&["--name=a", "--scope=read", "--expires", &token]);
    assert!(code == Some(2) && !stderr.contains(&token[12..]), "{stderr}");
    for arguments in [
        &["token", "list", "--file", "/none/tokens"][..],
        &["token", "revoke", "--file", "/none/tokens", "a"],
        &["token", "create", "--file", "/none/tokens", "--name=a", "--scope=read"],
    ] {
        let (code, _, stderr) = run(arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("in a folder that is there"), "{stderr}");
    }
    std::fs::write(file.path(), "{\n").unwrap();
    let (code, _, stderr) = run(&["token", "list", "--file", file.path()]);
    assert!(code == Some(2) && stderr.contains("line 1: it is no JSON object"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = File::new("exposed");
    file.made("a");
    assert_eq!(std::fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = run(&["token", "list", "--file", file.path()]);
    assert!(code == Some(2) && stderr.contains("(mode 0644): run chmod 600"), "{stderr}");
}

/// A token that nobody has seen is not kept: whoever reads the output has gone, or its disk is full.
#[cfg(target_os = "linux")]
#[test]
fn a_token_that_cannot_be_printed_is_not_kept() {
    let file = File::new("unseen");
    file.made("before");
    let before = file.text();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    for out in [Stdio::from(full), Stdio::from(gone)] {
        let arguments = ["token", "create", "--file", file.path(), "--name=unseen", "--scope=read"];
        let Output { status, stderr, .. } = telepool(&arguments).stdout(out).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("was seen by nobody, and was not kept"), "{stderr}");
        assert_eq!(file.text(), before);
    }
    // What can be shown again is no loss.
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let listed = telepool(&["token", "list", "--file", file.path()]).stdout(gone).output().unwrap();
    assert_eq!(listed.status.code(), Some(0));
}

/// The disk on which the tokens are is full, or belongs to somebody else.
#[cfg(target_os = "linux")]
#[test]
fn where_nothing_can_be_written_the_tokens_stay_as_they_are_and_none_is_printed() {
    let folder = fresh("full-tokens");
    std::fs::create_dir(&folder).unwrap();
    let file = File(folder.join("tokens.jsonl"));
    file.made("before");
    // With the last one nothing would have to be written.
    file.made("other");
    let before = file.text();
    let binary = env!("CARGO_BIN_EXE_telepool");
    for arguments in [
        &["token", "create", "--file", file.path(), "--name=a", "--scope=read"][..],
        &["token", "revoke", "--file", file.path(), "before"],
    ] {
        // No file may get any longer.
        let limited = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
        let Output { status, stdout, stderr } =
            Command::new("sh").args(["-c", limited, binary]).args(arguments).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.is_empty()), (Some(2), true), "{stderr}");
        assert!(stderr.contains(file.path()), "{stderr}");
        assert_eq!(file.text(), before);
    }
    let left = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name());
    let left: Vec<_> =
        left.filter(|it| it != "tokens.jsonl" && it != "tokens.jsonl.lock").collect();
    assert!(left.is_empty(), "{left:?}");
    drop(file);
    std::fs::remove_dir(folder).unwrap();
    // Nobody may make a file there, not even root.
    let create = ["token", "create", "--file", "/proc/tokens", "--name=a", "--scope=read"];
    let (code, stdout, stderr) = run(&create);
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("--file /proc/tokens"), "{stderr}");
}

#[test]
fn commands_that_write_at_the_same_time_all_have_their_way() {
    let file = File::new("crowd");
    let started: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("--name=n{number}");
            let arguments = ["token", "create", "--file", file.path(), &name, "--scope=read"];
            telepool(&arguments).spawn().unwrap()
        })
        .collect();
    let mut tokens: Vec<_> = started
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .map(|output| {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!((tokens.len(), file.names().len()), (6, 6));
}
