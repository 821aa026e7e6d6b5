//! What must never be said: keys, session strings and phone numbers, in whatever spelling.
//!
//! The run prints all that a user could see (the log of every crate at its most talkative, events,
//! errors, metrics and the `Debug` form of everything), and its parent searches it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aho_corasick::AhoCorasick;
use telepool::metrics::Prometheus;
use telepool::session::{DataCentres, SessionRecord, lines};
use tracing_subscriber::layer::SubscriberExt;

use super::{TestAccounts, TestPool};

/// How much of the end of a run is shown.
const END_LEN: i64 = 20_000;

/// Leaves the secrets for the parent.
pub(super) fn deposit(records: &[SessionRecord]) {
    let Some(path) = std::env::var_os("CHAOS_SECRETS") else { return };
    let mut file = File::create(path).unwrap();
    for record in records {
        lines::write_line(&mut file, record).unwrap();
    }
}

/// Prints the log of every crate.
pub(super) fn listen() {
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::set_global_default(subscriber).unwrap();
}

/// Prints the numbers. Once is enough for their names and labels; and an exporter leaves a buffer
/// behind that its library frees only when there are many.
pub(super) fn show_metrics(pool: &TestPool) {
    println!("{}", Prometheus::new(pool).unwrap().render());
}

/// Prints everything else that can be printed.
pub(super) fn show(pool: &TestPool, cast: &TestAccounts) {
    println!("{pool:?} {:?} {:?} {:?}", pool.stats(), pool.config(), pool.manager());
    println!("{:?}", pool.manager().source());
    for (account, _) in cast.accounts.iter().copied() {
        println!("{account} {account:?} {:?}", pool.account_health(account));
        println!("{:?}", pool.account_stats(account));
        let Ok(handle) = pool.account(account) else { continue };
        let lease = handle.try_acquire();
        println!("{handle:?} {lease:?}");
        println!("{:?}", lease.ok().flatten().as_deref());
    }
}

/// The last words of a run.
pub(super) fn end_of(said: &Path) -> String {
    let mut file = File::open(said).unwrap();
    let len = i64::try_from(file.metadata().unwrap().len()).unwrap();
    file.seek(SeekFrom::End(-len.min(END_LEN))).unwrap();
    let mut end = Vec::new();
    file.read_to_end(&mut end).unwrap();
    String::from_utf8_lossy(&end).into_owned()
}

/// Pieces of a session that nothing else has, as they would look if somebody printed them.
fn spellings(record: &SessionRecord) -> Vec<String> {
    let key = record.key.expose();
    let mut spelled = Vec::new();
    // Somewhere in the key, should only a part of it be printed.
    for at in (0..240).step_by(24) {
        let piece = &key[at..at + 16];
        spelled.push(piece.iter().map(|byte| format!("{byte:02x}")).collect());
        spelled.push(piece.iter().map(|byte| format!("{byte:02X}")).collect());
        let listed: Vec<_> = piece.iter().map(u8::to_string).collect();
        spelled.push(listed.join(", "));
    }
    let mut line = Vec::new();
    lines::write_line(&mut line, record).unwrap();
    let line = String::from_utf8(line).unwrap();
    let session = line.split("\"session\":\"").nth(1).unwrap();
    for at in (12..300).step_by(24) {
        spelled.push(session[at..at + 20].to_owned());
        spelled.push(session[at..at + 20].replace('-', "+").replace('_', "/"));
    }
    if !record.account.is_bot() {
        spelled.push(record.account.number().to_string());
    }
    spelled
}

/// Searches all that a run has said.
pub(super) fn search(said: &Path, deposit: &Path) {
    let deposited = BufReader::new(File::open(deposit).unwrap());
    let records = lines::read_all(deposited, &DataCentres::new()).unwrap();
    let spelled: Vec<_> = records.iter().flat_map(spellings).collect();
    let searcher = AhoCorasick::new(&spelled).unwrap();
    let (mut lines, mut bytes) = (0_u64, 0);
    let mut said = BufReader::new(File::open(said).unwrap());
    let mut line = Vec::new();
    while said.read_until(b'\n', &mut line).unwrap() > 0 {
        if searcher.is_match(&line) {
            panic!("a secret was said: {}", String::from_utf8_lossy(&line));
        }
        (lines, bytes) = (lines + 1, bytes + line.len());
        line.clear();
    }
    println!("{lines} lines of {bytes} bytes hold none of {} secrets", spelled.len());
    // A search that finds nothing proves nothing unless it can find.
    let mut leak = Vec::new();
    write!(leak, "key: {:?}", &records[0].key.expose()[..]).unwrap();
    assert!(searcher.is_match(&leak) && lines > 1000);
}
