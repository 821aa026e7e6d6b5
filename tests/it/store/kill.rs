//! An import that is killed at any moment: what it has told to be in is in.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use telepool::session::{AuthKey, KeyId, telethon_string};
use telepool::store::{SessionStore as _, SqliteStore};

use crate::command::telepool;

/// How often it is killed.
const KILLS: u64 = 50;
/// How many files there are, one session in each.
const FILES: u16 = 800;

fn key(number: u16) -> AuthKey {
    let mut bytes = [0x3c; 256];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    AuthKey::new(bytes)
}

#[test]
fn nothing_that_was_told_is_lost_however_often_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let address = "127.0.0.1:4430".parse().unwrap();
    for number in 0..FILES {
        let text = telethon_string(2, address, &key(number)).unwrap();
        std::fs::write(files.join(format!("{number:04}.txt")), &*text).unwrap();
    }
    let store = folder.path().join("accounts.db");
    let mut told_of = std::collections::BTreeSet::new();
    let mut cut_short = 0;
    for kill in 0..KILLS {
        let mut command = telepool(&["session", "import"]);
        let mut child =
            command.arg(&files).arg("--store").arg(&store).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // At another place each time, and in the middle of whatever is done there.
        let after = fastrand::Rng::with_seed(kill).usize(1..20);
        let mut lines = lines.map_while(Result::ok).filter(|line| line.contains("imported"));
        let mut take = |count| {
            for line in lines.by_ref().take(count) {
                let name =
                    line.split(".txt").next().unwrap().rsplit('/').next().unwrap().to_owned();
                told_of.insert(name.parse::<u16>().unwrap());
            }
        };
        take(after);
        std::thread::sleep(Duration::from_micros(fastrand::Rng::with_seed(kill).u64(0..3_000)));
        child.kill().unwrap();
        take(usize::MAX);
        cut_short += u64::from(!child.wait().unwrap().success());
        let kept = SqliteStore::open(&store).unwrap();
        let mut keys = std::collections::HashSet::new();
        kept.sessions(None, &mut |session| {
            keys.insert(session.key_id);
        })
        .unwrap();
        for number in &told_of {
            assert!(keys.contains(&KeyId::of(&key(*number))), "{number} is lost (kill {kill})");
        }
    }
    assert!(cut_short > KILLS / 2, "it was killed before its end: {cut_short}");
    assert!(told_of.len() > 100, "{}", told_of.len());
    let kept = SqliteStore::open(&store).unwrap();
    let mut sessions = Vec::new();
    kept.sessions(None, &mut |session| sessions.push((session.account, session.slot))).unwrap();
    for (account, slot) in sessions {
        let name = "user:1".parse().unwrap();
        assert!(kept.record(account, slot, name).unwrap().is_some(), "a session without its key");
    }
}
