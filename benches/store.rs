//! How fast sessions come into a store and out of it, and what they cost in memory.
//!
//! `cargo bench --bench store` imports 10,000 strings and 1,000 files of Telethon by the command, as a process of its
//! own, and opens a store of 100,000 accounts; it prints each figure with its aim and whether it was reached.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark may"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use telepool::AccountId;
use telepool::import::{FoundSession, Origin};
use telepool::session::{AuthKey, telethon_string};
use telepool::store::{NewSession, SessionStore as _, SqliteStore};
use telepool::telegram::{ServeOptions, SessionSource as _, StoreSource};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const ADDRESS: &str = "127.0.0.1:4430";

fn key(number: u64) -> AuthKey {
    let mut random = fastrand::Rng::with_seed(number);
    AuthKey::new(std::array::from_fn(|_| random.u8(..)))
}

fn tell(what: &str, unit: &str, figure: f64, aim: f64) {
    let verdict = if figure <= aim { "reached" } else { "NOT reached" };
    println!("| {what} | {figure:.2} {unit} | <= {aim:.0} {unit} | {verdict} |");
}

/// Runs an import as a process. Returns how long it took, and how much memory it had at most, in MiB.
fn import(folder: &Path, what: &Path) -> (Duration, f64) {
    let store = folder.join("accounts.db");
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_telepool"))
        .args(["session", "import", "--store"])
        .arg(&store)
        .arg(what)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let took = began.elapsed();
    assert!(status.success());
    std::fs::remove_file(&store).unwrap();
    (took, peak_of_children())
}

/// The most memory that any process had which this one has started and waited for.
#[cfg(unix)]
fn peak_of_children() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};

    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}

#[cfg(not(unix))]
fn peak_of_children() -> f64 {
    0.0
}

fn strings(folder: &Path, count: u64) -> Duration {
    let path = folder.join("strings.txt");
    let address = ADDRESS.parse().unwrap();
    let lines = (0..count).map(|number| telethon_string(2, address, &key(number)).unwrap());
    let text: Vec<String> = lines.map(|line| line.to_string()).collect();
    std::fs::write(&path, text.join("\n")).unwrap();
    import(folder, &path).0
}

/// Files of Telethon: the one that it has written itself, with a key of its own in each.
fn telethon_files(folder: &Path, count: u64) -> Duration {
    let files = folder.join("files");
    std::fs::create_dir(&files).unwrap();
    let made =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import/files/telethon-8.session");
    for number in 0..count {
        let path = files.join(format!("{number}.session"));
        std::fs::copy(&made, &path).unwrap();
        let database = rusqlite::Connection::open(&path).unwrap();
        let key = key(1 << 32 | number);
        database.execute("UPDATE sessions SET auth_key = ?1", [&key.expose()[..]]).unwrap();
        // Whose it is: an account has 64 sessions at most.
        let own = 1_000_000 + number.cast_signed();
        database.execute("DELETE FROM entities WHERE id = 0", ()).unwrap();
        database.execute("INSERT INTO entities (id, hash) VALUES (0, ?1)", [own]).unwrap();
    }
    import(folder, &files).0
}

/// How long a store of so many accounts takes to open, and how many bytes an account costs in memory.
fn open(folder: &Path, count: u64) -> (Duration, f64, Duration) {
    let path = folder.join("many.db");
    let store = SqliteStore::create(&path).unwrap();
    let address = ADDRESS.parse().unwrap();
    for begin in (0..count).step_by(1_000) {
        let new = |number: u64| {
            let mut found = FoundSession::new(Origin::Telethon, 2, key(1 << 40 | number));
            found.user_id = Some(1_000 + number.cast_signed());
            found.phone = Some(AccountId::phone(442_070_000_000 + number).unwrap());
            NewSession::new(found, address)
        };
        let sessions: Vec<NewSession> = (begin..count.min(begin + 1_000)).map(new).collect();
        store.add(&sessions).unwrap();
    }
    drop(store);
    let region = Region::new(ALLOCATOR);
    let began = Instant::now();
    let source = StoreSource::serve(SqliteStore::open(&path).unwrap(), &ServeOptions::default());
    let took = began.elapsed();
    let source = source.unwrap();
    let change = region.change();
    let bytes = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    let names: Vec<AccountId> = (0..1_000)
        .map(|number| AccountId::phone(442_070_000_000 + number % count).unwrap())
        .collect();
    let began = Instant::now();
    for name in &names {
        assert!(source.session(*name, 0).is_some());
    }
    let read = began.elapsed() / u32::try_from(names.len()).unwrap();
    assert!(source.close(Duration::from_secs(10)));
    (took, bytes / count as f64, read)
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let scale = |count: u64| if is_test { count / 100 } else { count };
    let folder = tempfile::tempdir().unwrap();
    println!("| what | figure | aim | verdict |\n|---|---:|---:|---|");
    let took = strings(folder.path(), scale(10_000));
    tell("10,000 strings imported", "s", took.as_secs_f64(), 5.0);
    let took = telethon_files(folder.path(), scale(1_000));
    tell("1,000 Telethon files imported", "s", took.as_secs_f64(), 3.0);
    tell("peak memory of these", "MiB", peak_of_children(), 100.0);
    let (took, bytes, read) = open(folder.path(), scale(100_000));
    tell("100,000 accounts opened", "s", took.as_secs_f64(), 1.0);
    tell("an account in memory", "bytes", bytes, 64.0);
    println!("| a key read for a dial | {:.1} us | | |", read.as_secs_f64() * 1e6);
}
