//! Clients that others have written, over every transport that they speak.
//!
//! Left to themselves they dial Telegram's own addresses, so that they and the data centre are
//! run in a network namespace that has the loopback interface and nothing else.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::command::{Running, fresh, telepool};

/// Brings the namespace's only interface up, and becomes the command that follows.
const INSIDE: &str = r#"ip link set lo up && exec "$0" "$@""#;

/// A data centre in a namespace of its own.
struct Alone {
    running: Running,
    sessions: Vec<String>,
}

impl Alone {
    /// Starts it with so many accounts.
    fn start(name: &str, accounts: usize) -> Self {
        Self::start_with(name, accounts, &[])
    }

    fn start_with(name: &str, accounts: usize, arguments: &[&str]) -> Self {
        let tried = Command::new("unshare").args(["--net", "true"]).output();
        let tried = tried.expect("unshare, of Debian's package util-linux");
        assert!(
            tried.status.success(),
            "foreign clients run in a network namespace of their own, for which this has to be run \
             as root; none was run: {}",
            String::from_utf8_lossy(&tried.stderr),
        );
        let path = fresh(name);
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", INSIDE, env!("CARGO_BIN_EXE_telepool"), "datacenter"]);
        command.args(["--accounts", &accounts.to_string(), "--out"]).arg(&path).args(arguments);
        command.env_remove("TELEPOOL_LOG").env_remove("TELEPOOL_LOG_FORMAT");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::of(&mut command);
        // Before this is told, the process may still be outside.
        running.address_after("listens on ");
        let sessions = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Self { running, sessions: sessions.lines().map(str::to_owned).collect() }
    }

    /// Runs a client with a session, and answers with what it got.
    fn serve(&self, client: &Client, transport: &str, session: usize) -> Value {
        let mut line = tempfile::tempfile().unwrap();
        writeln!(line, "{}", self.sessions[session]).unwrap();
        std::io::Seek::rewind(&mut line).unwrap();
        client.run(self.running.id(), transport, line)
    }

    /// Ends it; answers with its numbers.
    fn end(self) -> Value {
        self.running.signal("-INT");
        let (code, stdout) = self.running.end();
        assert_eq!(code, Some(0), "{stdout}");
        serde_json::from_str(&stdout).unwrap()
    }
}

/// A client: what runs it, and where its packages are.
struct Client {
    program: [&'static str; 2],
    variable: &'static str,
    packages: PathBuf,
}

impl Client {
    fn new(program: [&'static str; 2], variable: &'static str, packages: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let packages = target.join("foreign").join(packages);
        assert!(packages.exists(), "{}: `.ci/run` says how to install it", packages.display());
        Self { program, variable, packages }
    }

    /// Runs in the namespace of another process. Whatever hangs is ended.
    fn run(&self, beside: u32, transport: &str, line: File) -> Value {
        let [interpreter, script] = self.program;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign").join(script);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{beside}/ns/net")).args(["timeout", "60", interpreter]);
        command.arg(script).arg(transport).env(self.variable, &self.packages).stdin(line);
        // Some write where they are run what they do not understand.
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        let ran = command.output().expect("nsenter, of Debian's package util-linux");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{interpreter}, {transport}: {} {told}", ran.status);
        // The client's own log may come before it.
        let said = String::from_utf8(ran.stdout).unwrap();
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}{told}"))
    }
}

/// Runs a client over each of these transports, each time with an account of its own.
fn all_are_served(name: &str, client: &Client, transports: &[&str], expected: &Value) {
    let alone = Alone::start(name, transports.len());
    for (session, transport) in transports.iter().enumerate() {
        assert_eq!(alone.serve(client, transport, session), *expected, "{transport}");
    }
    let stats = alone.end();
    assert_eq!(stats["handshakes"], transports.len(), "{stats}");
    for none in ["transports_unknown", "keys_unknown", "key_violations"] {
        assert_eq!(stats[none], 0, "{none} in {stats}");
    }
}

#[test]
#[ignore = "needs root and Telethon; `.ci/run` has a step for it"]
fn telethon_is_served_over_every_transport() {
    let client = Client::new(["python3", "telethon/client.py"], "PYTHONPATH", "telethon");
    let transports = [
        "full",
        "abridged",
        "intermediate",
        "padded",
        "obfuscated abridged",
        "obfuscated intermediate",
        "obfuscated padded",
    ];
    let pongs: Vec<u32> = (0..20).collect();
    let expected = json!({ "pongs": pongs, "is_self": [true], "pts": 1 });
    all_are_served("telethon.jsonl", &client, &transports, &expected);
}

/// What it gets is read by its own rules, which fetch what was lost.
#[test]
#[ignore = "needs root and Telethon; `.ci/run` has a step for it"]
fn telethon_hears_every_message_though_updates_are_lost_doubled_and_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults.toml");
    let rule = |fault| format!("[[rule]]\non = \"updates\"\nfault = \"{fault}\"\nchance = 0.1\n");
    std::fs::write(&faults, ["lose", "double", "reorder"].map(rule).concat()).unwrap();
    let faults = faults.display().to_string();
    let arguments = ["--incoming", "100", "--faults", &faults, "--seed", "7"];
    let alone = Alone::start_with("updates.jsonl", 1, &arguments);
    let client = Client::new(["python3", "telethon/updates.py"], "PYTHONPATH", "telethon");
    let heard = alone.serve(&client, "500", 0);
    assert_eq!(heard, json!({ "in_a_row": 500, "senders": 64 }));
    let stats = alone.end();
    assert!(stats["faults_injected"].as_u64().unwrap() > 50, "{stats}");
}

/// A store takes a session in and gives it away again: with that the client is who it was.
#[test]
#[ignore = "needs root and Telethon; `.ci/run` has a step for it"]
fn telethon_is_served_with_what_was_exported() {
    let mut alone = Alone::start("exported.jsonl", 1);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("sessions.jsonl"), &alone.sessions[0]).unwrap();
    let session = |arguments: &[&str]| {
        let mut command = telepool(&[&["session"], arguments].concat());
        let output = command.env("TELEPOOL_STORE", path("accounts.db")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    session(&["import", &path("sessions.jsonl")]);
    let account = note_updates(Path::new(&path("accounts.db")));
    let export = ["export", &account, "--reveal", "--format"];
    let string = session(&[&export[..], &["telethon"]].concat());
    let file = path("a.session");
    session(&[&export[..], &["telethon-file", "--out", &file]].concat());
    let client = Client::new(["python3", "telethon/client.py"], "PYTHONPATH", "telethon");
    for line in [json!({ "session": string.trim_end() }), json!({ "file": file })] {
        alone.sessions[0] = line.to_string();
        let served = alone.serve(&client, "full", 0);
        assert_eq!((&served["is_self"], &served["pts"]), (&json!([true]), &json!(1)), "{served}");
    }
    assert_eq!(alone.end()["key_violations"], 0);
}

/// Notes in a store how far the updates of its only account are read, and answers with its name.
fn note_updates(store: &Path) -> String {
    use ::telepool::session::{UpdateState, UpdateStates};
    use ::telepool::store::{SessionStore as _, SqliteStore};

    let store = SqliteStore::open(store).unwrap();
    let mut accounts = Vec::new();
    store.accounts_since(0, &mut |account| accounts.push(account)).unwrap();
    let state = UpdateState { pts: 1, qts: 0, date: 1_700_000_000, seq: 0 };
    let states = UpdateStates::new(Some(state), Vec::new());
    store.set_update_states(&[(accounts[0].id, states)]).unwrap();
    accounts[0].name().unwrap().reveal().to_string()
}

#[test]
#[ignore = "needs root and GramJS; `.ci/run` has a step for it"]
fn gramjs_is_served_over_every_transport_that_it_has() {
    let client = Client::new(["node", "gramjs/client.js"], "NODE_PATH", "gramjs/node_modules");
    let transports = ["full", "abridged", "obfuscated abridged"];
    let pongs: Vec<u32> = (0..20).collect();
    let expected = json!({ "pongs": pongs, "is_self": [true], "pts": 1 });
    all_are_served("gramjs.jsonl", &client, &transports, &expected);
}

#[test]
#[ignore = "needs root and mtcute; `.ci/run` has a step for it"]
fn mtcute_is_served_as_it_comes() {
    let client = Client::new(["node", "mtcute/client.js"], "NODE_PATH", "mtcute/node_modules");
    let pongs: Vec<u32> = (0..20).collect();
    let expected = json!({ "pongs": pongs, "is_self": [true], "pts": 1 });
    all_are_served("mtcute.jsonl", &client, &["intermediate"], &expected);
}

#[test]
#[ignore = "needs root and Pyrogram; `.ci/run` has a step for it"]
fn pyrogram_is_served_in_the_layer_that_it_speaks() {
    let packages = "../libraries/pyrogram-2.0.106";
    let client = Client::new(["python3", "pyrogram/client.py"], "PYTHONPATH", packages);
    let pongs: Vec<u32> = (0..20).collect();
    let expected = json!({ "pongs": pongs, "is_self": [true], "pts": 1 });
    all_are_served("pyrogram.jsonl", &client, &["abridged"], &expected);
}
