//! `telepool session` and `serve --store`, as an operator uses them, against a sandbox.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::session::{SessionRecord, lines};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::command::{Running, telepool};

/// A data centre, a store beside it, and the commands over both.
pub(super) struct Field {
    folder: TempDir,
    runtime: Runtime,
    pub(super) centre: DataCentre,
}

impl Field {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let centre = runtime.block_on(DataCentre::start(DataCentreOptions::default())).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime, centre }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn sessions(&self, account: &str, count: u16) -> Vec<SessionRecord> {
        self.centre.create_sessions(account.parse().unwrap(), count, None)
    }

    /// Writes sessions into a file of lines.
    pub(super) fn file(&self, name: &str, sessions: &[SessionRecord]) -> String {
        let mut text = Vec::new();
        sessions.iter().for_each(|it| lines::write_line(&mut text, it).unwrap());
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = telepool(arguments);
        command.env("TELEPOOL_STORE", self.path("accounts.db")).env("TELEPOOL_API_ID", "7");
        command.env("TELEPOOL_LOCKS", self.path("locks"));
        command
    }

    /// The status, what was printed, and what was said besides.
    pub(super) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// What a command prints that has to go well.
    pub(super) fn done(&self, arguments: &[&str]) -> String {
        let (code, out, told) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{told}");
        out
    }

    pub(super) fn list(&self) -> Vec<Value> {
        let out = self.done(&["session", "list", "--json"]);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn serve(&self) -> Running {
        let running = self.command(&["serve", "--store", "--listen", "127.0.0.1:0"]);
        let mut running = Running::of(&mut { running });
        running.address_after("metrics on http://");
        running
    }

    /// Waits for something to become so.
    pub(super) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn live(&self, account: &str) -> usize {
        self.centre.live_connections(account.parse::<AccountId>().unwrap())
    }
}

#[test]
fn what_is_imported_is_listed_checked_and_served() {
    let field = Field::new();
    let mut all = field.sessions("+9996620001", 2);
    all.extend(field.sessions("bot:5000", 1));
    let file = field.file("sessions.jsonl", &all);
    let (code, out, told) = field.run(&["session", "import", &file, "--dry-run"]);
    assert_eq!((code, out.contains("3 imported")), (Some(0), true), "{out}");
    assert!(told.contains("nothing was changed") && !field.path("accounts.db").exists(), "{told}");
    assert!(field.done(&["session", "import", &file]).ends_with("3 JSON lines: 3 imported\n"));
    assert!(field.done(&["session", "import", &file]).ends_with("3 JSON lines: 3 already there\n"));
    let list = field.list();
    assert_eq!(list.len(), 3);
    assert!(list.iter().all(|it| it["login_at"].is_null() && it["quarantine"].is_null()));
    let out = field.done(&["session", "check"]);
    assert_eq!(out.matches(": alive: ").count(), 3, "{out}");
    assert!(out.contains("alive: bot 5000,") && !out.contains("9996620001"), "masked: {out}");
    assert!(field.list().iter().all(|it| it["login_at"].as_u64().is_some()));
    let running = field.serve();
    field.until("all are served", || field.live("+9996620001") > 0 && field.live("bot:5000") > 0);
    running.signal("-INT");
    let (code, _, told) = running.end_with_log();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(field.centre.stats().key_violations, 0);
}

#[test]
fn a_session_of_nobody_known_is_asked_once_and_merged() {
    let field = Field::new();
    let sessions = field.sessions("+9996620001", 2);
    // A string tells nothing of the account.
    let string = telepool::session::telethon_string(2, sessions[1].address, &sessions[1].key);
    std::fs::write(field.path("string.txt"), &*string.unwrap()).unwrap();
    let known = field.file("known.jsonl", &sessions[..1]);
    let unknown = field.path("string.txt").display().to_string();
    let out = field.done(&["session", "import", &known, &unknown]);
    assert!(out.contains("nobody knows whose it is yet"), "{out}");
    assert_eq!(field.list().iter().filter(|it| it["account"].is_null()).count(), 1);
    let (_, _, told) = field.run(&["session", "import", &unknown]);
    assert!(!told.contains("1 of unknown accounts imported"), "{told}");
    let out = field.done(&["session", "check", "--unidentified"]);
    assert_eq!(out.matches(": alive: ").count(), 1, "{out}");
    // It is merged by whoever next may serve the store.
    field.done(&["session", "check"]);
    let list = field.list();
    assert!(list.iter().all(|it| it["account"] == "+9996620001"), "{list:?}");
    let slots: Vec<_> = list.iter().map(|it| it["slot"].as_u64().unwrap()).collect();
    assert_eq!(slots, [0, 1]);
}

#[test]
fn a_run_takes_up_what_others_change_in_its_store() {
    let field = Field::new();
    let first = field.file("first.jsonl", &field.sessions("+9996620001", 1));
    field.done(&["session", "import", &first]);
    let running = field.serve();
    field.until("the first is served", || field.live("+9996620001") == 1);
    // Added.
    let second = field.file("second.jsonl", &field.sessions("bot:5000", 1));
    field.done(&["session", "import", &second]);
    field.until("the second is served", || field.live("bot:5000") == 1);
    // Who serves is asked, and nothing is dialled.
    let total = field.centre.stats().connections_total;
    let alive = || field.done(&["session", "check"]).matches(": alive: ").count() == 2;
    field.until("the check tells what the run knows", alive);
    assert_eq!(field.centre.stats().connections_total, total);
    // Nobody else may dial.
    let mut other =
        field.command(&["serve", "--store", "--listen", "127.0.0.1:0", "--duration", "1s"]);
    let output = other.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("process {}", running.id())), "{told}");
    // Changed: it is dialled anew, and the other is left alone.
    let before = field.centre.stats().connections_total;
    field.done(&["session", "set", "bot:5000", "--device", "Pixel 9"]);
    field.until("it is dialled anew", || field.centre.stats().connections_total > before);
    field.until("it is served again", || field.live("bot:5000") == 1);
    assert_eq!(field.live("+9996620001"), 1);
    // Removed.
    field.done(&["session", "remove", "+9996620001", "--yes"]);
    field.until("it is closed", || field.live("+9996620001") == 0);
    assert_eq!(field.live("bot:5000"), 1);
    running.signal("-INT");
    let (code, _, told) = running.end_with_log();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(field.centre.stats().key_violations, 0);
    drop(field.runtime);
}

#[test]
fn what_was_removed_comes_back_only_when_it_is_meant_to() {
    let field = Field::new();
    let file = field.file("sessions.jsonl", &field.sessions("+9996620001", 1));
    field.done(&["session", "import", &file]);
    let (code, _, told) = field.run(&["session", "remove", "+9996620001"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--yes"), "{told}");
    field.done(&["session", "remove", "+9996620001", "--yes"]);
    let (code, out, _) = field.run(&["session", "import", &file]);
    assert_eq!(code, Some(1));
    assert!(out.contains("--even-if-removed"), "{out}");
    field.done(&["session", "import", &file, "--even-if-removed"]);
    field.done(&["session", "remove", "+9996620001", "--yes", "--forget"]);
    field.done(&["session", "import", &file]);
    assert_eq!(field.list().len(), 1);
}

#[test]
fn the_file_of_earlier_runs_is_taken_over_with_its_quarantines() {
    let field = Field::new();
    let sessions = field.sessions("+9996620001", 2);
    let file = field.file("sessions.jsonl", &sessions);
    let state = field.path("state.jsonl");
    quarantine(&state, &sessions, 1);
    let state = state.display().to_string();
    let (code, _, told) = field.run(&["session", "import", &file, "--state", &state]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1 quarantines of"), "{told}");
    let list = field.list();
    assert_eq!(list[1]["quarantine"], "needs_login");
    let (code, out, _) = field.run(&["session", "check"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("): ended: needs_login since"), "{out}");
    assert_eq!(out.matches(": alive: ").count(), 1, "{out}");
    field.done(&["session", "reinstate", "+9996620001/1"]);
    assert_eq!(field.done(&["session", "check"]).matches(": alive: ").count(), 2);
    let (code, ..) = field.run(&["session", "reinstate", "+9996620001"]);
    assert_eq!(code, Some(1), "there is nothing to reinstate");
}

fn quarantine(state: &Path, sessions: &[SessionRecord], slot: u16) {
    use telepool::telegram::{MemorySource, QuarantineFile, SessionSource as _};

    let source = MemorySource::new(sessions.iter().cloned()).unwrap();
    let file = QuarantineFile::open(state, source).unwrap();
    let reason = Some(telepool::QuarantineReason::NeedsLogin);
    file.set_quarantine(sessions[0].account, slot, reason);
    assert!(file.flush(Duration::from_secs(10)));
}

#[test]
fn a_store_of_another_machine_is_refused() {
    use telepool::store::{ServeMark, SessionStore as _, SqliteStore};

    let field = Field::new();
    let file = field.file("sessions.jsonl", &field.sessions("+9996620001", 1));
    field.done(&["session", "import", &file]);
    let store = SqliteStore::open(&field.path("accounts.db")).unwrap();
    let mark = ServeMark::new("another-machine".into(), 7, 1_790_000_000);
    store.set_serve_mark(&mark).unwrap();
    let serve = ["serve", "--store", "--listen", "127.0.0.1:0", "--duration", "1s"];
    for arguments in [&serve[..], &["session", "check"]] {
        let (code, _, told) = field.run(arguments);
        assert_eq!(code, Some(3), "{told}");
        assert!(told.contains("another-machine") && told.contains("--take-over"), "{told}");
    }
    assert_eq!(field.centre.stats().connections_total, 0);
    field.done(&[&serve[..], &["--take-over"]].concat());
    // It was given up at the end, here.
    assert!(store.serve_mark().unwrap().is_some_and(|mark| mark.released));
    let mut moved = store.serve_mark().unwrap().unwrap();
    moved.machine = "another-machine".into();
    store.set_serve_mark(&moved).unwrap();
    field.done(&serve);
}

#[test]
fn an_operator_finds_an_account_by_each_of_its_names() {
    let field = Field::new();
    let sessions = field.sessions("+9996620001", 1);
    let user = format!("user:{}", sessions[0].user_id);
    field.done(&["session", "import", &field.file("sessions.jsonl", &sessions)]);
    let key_id = telepool::session::KeyId::of(&sessions[0].key).to_string();
    for which in [&["+9996620001"][..], &["9996620001/0"], &[&user], &["--key-id", &key_id]] {
        let out = field.done(&[&["session", "show", "--json"], which].concat());
        let shown: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(shown["account"], "+9996620001", "{which:?}");
        assert_eq!(shown["sessions"][0]["key_id"], key_id);
    }
    let (code, _, told) = field.run(&["session", "show", "+9996620002"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("telepool session list"), "{told}");
}

#[test]
fn after_a_crash_sessions_rest_although_the_locks_are_gone() {
    let field = Field::new();
    field.done(&[
        "session",
        "import",
        &field.file("sessions.jsonl", &field.sessions("bot:5000", 1)),
    ]);
    let running = field.serve();
    field.until("it is served", || field.live("bot:5000") == 1);
    running.signal("-KILL");
    running.end_with_log();
    field.until("its connections are gone", || field.live("bot:5000") == 0);
    let total = field.centre.stats().connections_total;
    // As in a container that is made anew: the store is there, and the folder of the locks is not.
    let mut again =
        field.command(&["serve", "--store", "--listen", "127.0.0.1:0", "--duration", "1s"]);
    let output = again.env("TELEPOOL_LOCKS", field.path("other-locks")).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("all sessions rest for"), "{told}");
    assert_eq!(field.centre.stats().connections_total, total, "nothing was dialled");
}

#[test]
fn what_stands_where_a_path_should_is_not_repeated() {
    let field = Field::new();
    let sessions = field.sessions("bot:5000", 1);
    let string =
        telepool::session::telethon_string(2, sessions[0].address, &sessions[0].key).unwrap();
    let token = "5000000001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
    for secret in [&**string, token] {
        for json in [&[][..], &["--json"]] {
            let arguments = [&["session", "import", secret], json].concat();
            let (code, out, told) = field.run(&arguments);
            assert_eq!(code, Some(1));
            assert!(!out.contains(&secret[..40]) && !told.contains(&secret[..40]), "{out}{told}");
        }
    }
}

#[test]
fn the_store_itself_is_no_input() {
    let field = Field::new();
    field.done(&[
        "session",
        "import",
        &field.file("sessions.jsonl", &field.sessions("bot:5000", 1)),
    ]);
    let store = field.path("accounts.db").display().to_string();
    let (code, out, _) = field.run(&["session", "import", &store]);
    assert_eq!(code, Some(1));
    assert!(out.contains("it is the store"), "{out}");
    assert_eq!(field.list().len(), 1);
}
