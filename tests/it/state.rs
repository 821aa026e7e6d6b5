//! The file of `--state`: who may hold it, what a run says of it, and what an operator may do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use telepool::session::KeyId;
use telepool::session::{AuthKey, SessionRecord, lines};
use telepool::{AccountId, QuarantineReason};

use crate::command::{Running, fresh, run, telepool};

/// The phone number of all these sessions, whole and masked.
const NUMBER: u64 = 442_079_460_958;
const PHONE: &str = "+442079460958";
const MASKED: &str = "+4420******58";

fn key(slot: u16) -> AuthKey {
    AuthKey::new([u8::try_from(slot).unwrap() + 1; 256])
}

fn key_id(slot: u16) -> String {
    KeyId::of(&key(slot)).to_string()
}

/// Files of one test, which are removed with it.
struct Files {
    sessions: PathBuf,
    state: PathBuf,
}

impl Files {
    /// Sessions of one account at an address where nobody listens.
    fn new(name: &str, sessions: u16, change: impl Fn(&mut SessionRecord)) -> Self {
        let files = Self {
            sessions: fresh(&format!("{name}-sessions.jsonl")),
            state: fresh(&format!("{name}-state.jsonl")),
        };
        let mut text = Vec::new();
        for slot in 0..sessions {
            let account = AccountId::phone(NUMBER).unwrap();
            let address = "127.0.0.1:1".parse().unwrap();
            let mut record = SessionRecord::new(account, 2, address, key(slot));
            (record.slot, record.user_id, record.is_bot) = (slot, 1, false);
            change(&mut record);
            lines::write_line(&mut text, &record).unwrap();
        }
        std::fs::write(&files.sessions, text).unwrap();
        files
    }

    /// Quarantines the sessions from slot 0 on.
    fn quarantine(&self, reasons: &[&str]) {
        let line = |(slot, reason): (u16, &&str)| {
            let key = key_id(slot);
            format!(
                "{{\"account\":\"{PHONE}\",\"slot\":{slot},\"key_id\":\"{key}\",\
                 \"reason\":\"{reason}\",\"since\":1798117230}}\n"
            )
        };
        let lines: String = (0..).zip(reasons).map(line).collect();
        std::fs::write(&self.state, lines).unwrap();
    }

    /// The command in a world of its own: these tests use the same sessions.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = telepool(arguments);
        command.env("TELEPOOL_API_ID", "1").env("TELEPOOL_LOCKS", self.locks());
        command
    }

    fn locks(&self) -> PathBuf {
        self.sessions.with_extension("locks")
    }

    fn serve(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let paths = [&self.sessions, &self.state].map(|path| path.to_str().unwrap());
        let mut arguments = vec!["serve", "--json", "--listen=127.0.0.1:0"];
        arguments.extend(["--sessions", paths[0], "--state", paths[1]]);
        arguments.extend(more);
        let Output { status, stdout, stderr } = self.command(&arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    fn state(&self, action: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let mut arguments = vec!["state", action, "--state", self.state.to_str().unwrap()];
        arguments.extend(more);
        run(&arguments)
    }

    fn kept(&self) -> String {
        std::fs::read_to_string(&self.state).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.sessions, &self.state, &self.state.with_extension("jsonl.lock")] {
            std::fs::remove_file(path).ok();
        }
        std::fs::remove_dir_all(self.locks()).ok();
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_a_run_holds_is_refused_to_others_who_are_told_by_whom() {
    let files = Files::new("held", 1, |_| ());
    let [sessions, state] = [&files.sessions, &files.state].map(|path| path.to_str().unwrap());
    let serve = ["serve", "--listen=127.0.0.1:0", "--sessions", sessions, "--state", state];
    let mut holder = Running::of(&mut files.command(&serve));
    holder.address_after("metrics on http://");
    let named = format!("process {} (telepool) since 2", holder.id());

    let link = fresh("held-link.jsonl");
    std::os::unix::fs::symlink(&files.state, &link).unwrap();
    let by_link = Files { sessions: files.sessions.clone(), state: link.clone() };
    // A run may keep its quarantines elsewhere; whoever lifts one needs this file.
    let (other, lift) = ("or keep the quarantines in another file", "and start it again");
    for ((code, _, stderr), remedy, without) in [
        // Else the sessions are found in use before the state file is.
        (files.serve(&["--duration=1s", "--without-locks"]), other, lift),
        (by_link.serve(&["--duration=1s", "--without-locks"]), other, lift),
        (files.state("reinstate", &["--all"]), lift, other),
        (by_link.state("reinstate", &[PHONE]), lift, other),
    ] {
        assert_eq!(code, Some(3), "{stderr}");
        assert!(stderr.contains(&named) && stderr.contains("end that process first"), "{stderr}");
        assert!(stderr.contains(remedy) && !stderr.contains(without), "{stderr}");
    }
    // Looking is free.
    let (code, stdout, stderr) = files.state("list", &[]);
    assert_eq!((code, &*stdout), (Some(0), "no session is quarantined\n"), "{stderr}");

    holder.signal("-INT");
    holder.end();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let (code, _, stderr) = by_link.state("reinstate", &["--all"]);
    assert!(code == Some(1) && stderr.contains("there is nothing to lift"), "{stderr}");
}

#[test]
fn an_operator_sees_each_quarantine_with_its_remedy() {
    let files = Files::new("listed", 0, |_| ());
    files.quarantine(&["needs_login", "misconfigured"]);
    let (code, stdout, stderr) = files.state("list", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines.len(), lines[3]), (7, ""), "{stdout}");
    let remedies = lines[4..].join(" ").replace("   ", " ");
    for (line, slot, reason) in [
        (lines[1], 0, QuarantineReason::NeedsLogin),
        (lines[2], 1, QuarantineReason::Misconfigured),
    ] {
        for word in [PHONE, &key_id(slot), reason.label(), "2026-12-24T13:00:30Z"] {
            assert!(line.contains(word), "{word} in {stdout}");
        }
        let remedy = format!("{reason}: {}", reason.remedy());
        assert!(remedies.contains(&remedy), "{remedy} in {stdout}");
        let column = lines[0].find("slot").unwrap();
        assert!(line[column..].starts_with(&slot.to_string()), "{stdout}");
    }

    let (_, stdout, _) = files.state("list", &["--json"]);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 2);
    let second = &shown[1];
    assert_eq!((&second["account"], &second["slot"]), (&PHONE.into(), &1.into()));
    assert_eq!((&second["key_id"], &second["since"]), (&key_id(1).into(), &1_798_117_230.into()));
    assert_eq!(second["remedy"], QuarantineReason::Misconfigured.remedy());
    assert!(!lock_of(&files.state).exists(), "nothing was held or changed");
}

fn lock_of(state: &Path) -> PathBuf {
    state.with_extension("jsonl.lock")
}

#[test]
fn an_operator_lifts_a_session_an_account_a_key_or_all() {
    let files = Files::new("lifted", 0, |_| ());
    let dead = ["dead"; 3];
    let one = format!("{PHONE}/1");
    let last = key_id(2);
    for (which, left) in [
        (&["+44 20 7946-0958/1"][..], &[0, 2][..]),
        (&[&one], &[0, 2]),
        (&["--key-id", &last], &[0, 1]),
        (&[PHONE], &[]),
        (&["--all"], &[]),
    ] {
        files.quarantine(&dead);
        let (code, stdout, stderr) = files.state("reinstate", which);
        assert_eq!(code, Some(0), "{which:?}: {stderr}");
        assert!(stdout.starts_with(&format!("lifted {}:", 3 - left.len())), "{which:?}: {stdout}");
        let kept = files.kept();
        for slot in 0..3 {
            let is_left = left.contains(&slot);
            assert_eq!(kept.contains(&key_id(slot)), is_left, "{which:?}: {kept}");
            assert_eq!(stdout.contains(&key_id(slot)), !is_left, "{which:?}: {stdout}");
        }
        let (code, stdout, stderr) = files.state("reinstate", which);
        assert_eq!((code, &*stdout), (Some(1), ""), "{which:?}: {stderr}");
        let (nobody, others) = ("no session is quarantined in /", "telepool state list --state");
        assert_eq!(stderr.contains(nobody), left.is_empty(), "{which:?}: {stderr}");
        assert_eq!(stderr.contains(others), !left.is_empty(), "{which:?}: {stderr}");
    }
}

#[test]
fn a_command_that_is_not_clear_lifts_nothing() {
    let files = Files::new("unclear", 0, |_| ());
    files.quarantine(&["dead"]);
    for (which, words) in [
        (&[][..], "--all"),
        (&["--all", PHONE], "cannot be used with"),
        (&["12"], "7 to 15 digits"),
        (&["+442079460958/x"], "a number from 0 to 63"),
        (&["--key-id", "0x12"], "16 hexadecimal digits"),
    ] {
        let (code, _, stderr) = files.state("reinstate", which);
        assert!(code == Some(2) && stderr.contains(words), "{which:?}: {stderr}");
    }
    assert!(files.kept().contains("dead"));
    std::fs::remove_file(&files.state).unwrap();
    for (code, _, stderr) in [files.state("list", &[]), files.state("reinstate", &["--all"])] {
        assert!(code == Some(2) && stderr.contains("there is no such file"), "{stderr}");
    }
    assert!(!files.state.exists() && !lock_of(&files.state).exists());
}

#[test]
fn a_state_file_of_something_else_is_named_and_left_alone() {
    let files = Files::new("foreign", 1, |_| ());
    files.quarantine(&["dead"]);
    let wide = files.kept().encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let others = "name the file that the quarantines are kept in, or one that is not there yet";
    for (bytes, what, remedy) in [
        (b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec(), "an SQLite database", others),
        (std::fs::read(&files.sessions).unwrap(), "a file of sessions", others),
        (b"[pool]\nmax_idle_time = 5\n".to_vec(), "TOML", others),
        (b"\x00\x01\x02".to_vec(), "no text", others),
        (wide, "text in UTF-16", "save it as UTF-8, or name another file"),
        (
            b"{\"account\": \"caf\xe9\"}".to_vec(),
            "text in another encoding than UTF-8",
            "save it as UTF-8",
        ),
    ] {
        std::fs::write(&files.state, &bytes).unwrap();
        let served = files.serve(&["--duration=1s"]);
        assert!(served.2.contains("leave the flag away to keep no state"), "{}", served.2);
        for (code, _, stderr) in
            [files.state("list", &[]), files.state("reinstate", &["--all"]), served]
        {
            assert_eq!(code, Some(2), "{stderr}");
            assert!(stderr.contains(&format!("foreign-state.jsonl is {what}")), "{stderr}");
            assert!(stderr.contains(remedy) && !stderr.contains("correct the line"), "{stderr}");
            assert!(stderr.lines().count() == 1 && !stderr.contains(PHONE), "{stderr}");
        }
        assert_eq!(std::fs::read(&files.state).unwrap(), bytes, "{what}");
    }
    // Of a hole, which takes no room where it is.
    let hole = std::fs::File::create(&files.state).unwrap();
    hole.set_len(1 << 40).unwrap();
    let (code, _, stderr) = files.state("list", &[]);
    assert!(code == Some(2) && stderr.contains("is longer than 256 MiB"), "{stderr}");
}

#[test]
fn a_state_file_is_read_as_any_editor_saves_it() {
    let files = Files::new("edited", 0, |_| ());
    for mark in ["\u{feff}", "\u{feff}\u{feff}", "\u{a0}"] {
        for end in ["\n", "\r\n", "\r"] {
            files.quarantine(&["dead", "needs_login"]);
            let edited = format!("{mark}{}", files.kept().replace('\n', end));
            std::fs::write(&files.state, edited).unwrap();
            let (code, stdout, stderr) = files.state("list", &[]);
            assert_eq!(code, Some(0), "{mark:?} {end:?}: {stderr}");
            let rows = stdout
                .lines()
                .filter(|line| line.contains(" dead") || line.contains(" needs_login"));
            assert_eq!(rows.count(), 2, "{mark:?} {end:?}: {stdout}");
        }
    }
    let (code, _, stderr) = files.state("reinstate", &[&format!("{PHONE}/0")]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(files.kept().starts_with("{\"account\"") && files.kept().contains("needs_login"));
}

#[test]
fn a_run_says_who_is_quarantined_and_serves_the_others() {
    let files = Files::new("some", 13, |_| ());
    files.quarantine(&["key_duplicated"; 12]);
    let (_, stdout, stderr) = files.serve(&["--duration=1s"]);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["quarantined_before"], 12, "{stdout}");
    assert!(stderr.contains("12 of 13 sessions are quarantined, by /"), "{stderr}");
    let line = format!("{MASKED} slot 9: key_duplicated since 2026-12-24T13:00:30Z");
    assert!(stderr.contains(&line) && !stderr.contains("slot 10:"), "{stderr}");
    assert!(stderr.contains("and 2 more: telepool state list --state /"), "{stderr}");
    assert!(!stderr.contains(PHONE), "{stderr}");
}

#[test]
fn a_run_that_could_serve_nobody_is_refused_at_once() {
    let files = Files::new("none", 2, |_| ());
    files.quarantine(&["key_duplicated", "needs_login"]);
    // Without a duration: it would never end.
    let (code, stdout, stderr) = files.serve(&[]);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("2 of 2 sessions are quarantined"), "{stderr}");
    assert!(stderr.contains("telepool state reinstate"), "{stderr}");
    // One in doubt is dialled once more by itself.
    files.quarantine(&["key_duplicated", "suspect"]);
    let (_, stdout, stderr) = files.serve(&["--duration=1s"]);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["quarantined_before"], 2, "{stderr}");
}

#[test]
fn sessions_of_one_account_with_a_proxy_and_without_are_refused_before_the_start() {
    let files = Files::new("proxied", 3, |record| {
        if record.slot != 1 {
            record.proxy = Some(Arc::new("socks5://user:secret@127.0.0.1:9".parse().unwrap()));
        }
    });
    let (code, stdout, stderr) = files.serve(&[]);
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("slot 1 has another proxy than slot 0, or none"), "{stderr}");
    assert!(!stderr.contains("secret") && !stderr.contains(PHONE), "{stderr}");
    assert!(!files.state.exists());
}

#[test]
fn of_many_bad_lines_the_first_are_told() {
    let files = Files::new("bad-lines", 13, |_| ());
    let text = std::fs::read_to_string(&files.sessions).unwrap();
    let text = text.replace("\"slot\":", "\"proxy\":\"https://om:secret@x:1\",\"slot\":");
    std::fs::write(&files.sessions, text).unwrap();
    let (code, stdout, stderr) = files.serve(&[]);
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    for words in ["line 1: `proxy`: it must be socks5://", "line 10: ", "and 3 more bad lines"] {
        assert!(stderr.contains(words), "{stderr}");
    }
    assert!(!stderr.contains("line 11") && !stderr.contains("secret"), "{stderr}");
}

#[test]
fn a_proxy_that_is_down_is_told_and_quarantines_nothing() {
    let files = Files::new("proxy-down", 1, |record| {
        record.proxy = Some(Arc::new("http://user:secret@127.0.0.1:9".parse().unwrap()));
    });
    let (_, stdout, stderr) = files.serve(&["--duration=1s"]);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&summary["key_violations"], files.kept().as_str()), (&Value::from(0), ""));
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_as_a_state_file() {
    let files = Files::new("fifo", 1, |_| ());
    let made = Command::new("mkfifo").arg(&files.state).status().unwrap();
    assert!(made.success());
    let (code, _, stderr) = files.serve(&[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("is a FIFO"), "{stderr}");
    assert!(stderr.contains("leave the flag away to keep no state"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_run_is_reached_by_the_name_of_its_file_until_it_ends() {
    let files = Files::new("reached", 1, |_| ());
    let [sessions, state] = [&files.sessions, &files.state].map(|path| path.to_str().unwrap());
    let serve = ["serve", "--listen=127.0.0.1:0", "--sessions", sessions, "--state", state];
    let ctl = ["ctl", "--state", state, "config"];
    let mut holder = Running::of(&mut files.command(&serve));
    holder.address_after("metrics on http://");
    let (code, stdout, stderr) = run(&ctl);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("pool.max_idle_time"), "{stdout}");
    let socket = format!("{state}.sock");
    assert!(Path::new(&socket).exists());
    let id = holder.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    drop(holder);
    let (code, _, stderr) = run(&ctl);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        stderr.contains(&socket) && stderr.contains("is a run of telepool serve there"),
        "{stderr}"
    );
    std::fs::remove_file(socket).ok();
}
