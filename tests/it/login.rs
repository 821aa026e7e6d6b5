//! `telepool login` and `telepool logout`, as people and programs use them, at two data centres.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::command::telepool;

mod beside;
mod program;
mod terminal;

const PASSWORD: &str = "open sesame";

/// Two data centres with the same accounts, a store, and the commands over them.
struct Home {
    folder: TempDir,
    _runtime: Runtime,
    centres: [DataCentre; 2],
}

impl Home {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let of_number = |dc| {
            let mut options = DataCentreOptions::default();
            options.dc = dc;
            options
        };
        let first = runtime.block_on(DataCentre::start(of_number(1))).unwrap();
        let second = runtime.block_on(first.start_beside(of_number(2))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.pem"), DataCentre::public_key().to_pem()).unwrap();
        Self { folder, _runtime: runtime, centres: [first, second] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An account that lives at the first data centre, while sign-ins begin at the second.
    fn account(&self, number: &str) -> AccountId {
        let account = number.parse().unwrap();
        self.centres[0].create_account(account);
        account
    }

    fn protect(&self, account: AccountId) {
        assert!(self.centres[0].set_password(account, Some(PASSWORD), Some("a door")));
    }

    fn plain(&self, arguments: &[&str]) -> Command {
        let mut command = telepool(arguments);
        command.env("TELEPOOL_STORE", self.path("accounts.db"));
        command.env("TELEPOOL_LOCKS", self.path("locks"));
        command.env("TELEPOOL_API_ID", "7").env("TELEPOOL_API_HASH", "hush-hash");
        command
    }

    /// The arguments by which a command finds the data centres.
    fn servers(&self) -> Vec<String> {
        let mut arguments =
            vec!["--server-key".to_owned(), self.path("key.pem").display().to_string()];
        // A process that was killed is waited for.
        arguments.extend(["--set", "telegram.redial_after_loss=2s"].map(str::to_owned));
        for (dc, centre) in (1..).zip(&self.centres) {
            arguments
                .extend(["--set".to_owned(), format!("data_centres.{dc}={}", centre.address())]);
        }
        arguments
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let servers = self.servers();
        let all = arguments.iter().copied().chain(servers.iter().map(String::as_str));
        self.plain(&all.collect::<Vec<_>>())
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        output(&mut self.command(arguments))
    }

    /// A program that speaks with `telepool login --json`.
    fn talk(&self, arguments: &[&str]) -> Talk {
        let mut command = self.command(&[&["login", "--json"], arguments].concat());
        Talk::of(&mut command)
    }

    fn sessions(&self) -> Vec<Value> {
        let (code, out, told) = output(&mut self.plain(&["session", "list", "--json"]));
        assert_eq!(code, Some(0), "{told}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn left(&self) -> Vec<Value> {
        let (code, out, told) = output(&mut self.plain(&["login", "--list", "--json"]));
        assert_eq!(code, Some(0), "{told}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every session of the store is logged in, and no key was ever used twice.
    fn check(&self, count: usize) {
        let (code, out, told) = output(&mut self.plain(&[
            "session",
            "check",
            "--set",
            "telegram.redial_after_loss=2s",
        ]));
        assert_eq!((code, out.matches(": alive: ").count()), (Some(0), count), "{out}{told}");
        for centre in &self.centres {
            let stats = centre.stats();
            assert_eq!((stats.key_violations, stats.keys_unknown), (0, 0), "{stats:?}");
        }
    }
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A command that is spoken with by lines of JSON.
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Talk {
    fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, said: String::new() }
    }

    /// The next event, which is to be of this kind.
    fn hear(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        self.said.push_str(&line);
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        // A key whose process was killed rests for a while.
        if event["event"] == "waiting" && kind != "waiting" {
            return self.hear(kind);
        }
        assert_eq!(event["event"].as_str().unwrap_or_default(), kind, "{}", self.said);
        event
    }

    fn say(&mut self, line: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for its end: the status, and all that was said by either way.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut rest).unwrap();
        let mut told = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut told).unwrap();
        (self.child.wait().unwrap().code(), format!("{}{rest}{told}", self.said))
    }
}

/// A test that fails leaves no process behind.
impl Drop for Talk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn once(method: &str, fault: Fault) -> FaultPlan {
    FaultPlan::new([FaultRule::new(method, fault).limit(1)]).unwrap()
}
