//! Two values that were opened apart are two processes to each other.

use std::fs;
use std::sync::Barrier;
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;

const TIMER: Duration = Duration::from_secs(120);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn key(number: u64) -> KeyId {
    format!("{:016x}", number.swap_bytes()).parse().unwrap()
}

fn process(folder: &TempDir) -> Arc<FolderLocks> {
    FolderLocks::open(folder.path().to_owned(), Some("a.jsonl"), TIMER, TIMER).unwrap()
}

fn held(folder: &TempDir, holder: Holder) -> HeldLocks {
    HeldLocks::open(folder.path(), holder, TIMER).unwrap()
}

fn claim(process: &FolderLocks, key: KeyId) -> Result<Claim, ClaimError> {
    process.claim(&[key], TIMER).and_then(|mut claims| claims.remove(0))
}

fn remove(folder: &TempDir, name: &str) {
    let path = folder.path().join(name);
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

#[test]
fn a_key_whose_lock_was_removed_while_it_was_idle_is_dialled_by_one() {
    let folder = folder();
    let one = process(&folder);
    assert!(claim(&one, key(1)).is_ok() && claim(&one, key(2)).is_ok());
    remove(&folder, "keys");
    fs::create_dir(folder.path().join("keys")).unwrap();
    let other = process(&folder);
    assert!(claim(&other, key(1)).is_ok(), "nothing tells of the other lock");
    assert_eq!(one.begin(key(1)), Err(Fenced::Unlocked));
    assert!(other.begin(key(1)).is_ok());
    // Nor may it dial, or claim once more, what nobody else has claimed as yet.
    assert_eq!(one.begin(key(2)), Err(Fenced::Unlocked));
    let refused = claim(&one, key(2)).unwrap_err().to_string();
    assert!(
        refused.contains("removed") && refused.contains("start the process again"),
        "{refused}"
    );
}

#[test]
fn a_key_is_dialled_by_one_though_the_numbers_of_processes_were_removed() {
    let folder = folder();
    let one = process(&folder);
    assert!(claim(&one, key(1)).is_ok());
    remove(&folder, "processes");
    let other = process(&folder);
    assert!(matches!(claim(&other, key(1)), Err(ClaimError::Held(_))), "its lock is held");
    assert_eq!(one.begin(key(1)), Err(Fenced::Unlocked));
    assert_eq!(other.begin(key(1)), Err(Fenced::Unlocked));
}

#[test]
fn locks_that_were_removed_are_found_out_once_and_end_every_dial() {
    for removed in ["keys", "processes"] {
        let folder = folder();
        let mut one = held(&folder, Holder::myself(None));
        for number in 1..=2 {
            one.claim(key(number)).unwrap().unwrap();
        }
        one.begin(key(1)).unwrap();
        assert!(!one.maintain());
        remove(&folder, removed);
        assert!(one.maintain() && !one.maintain(), "{removed}");
        assert!(one.begin(key(2)).is_err(), "{removed}");
    }
}

#[test]
fn only_a_key_that_is_claimed_is_dialled() {
    let folder = folder();
    let one = process(&folder);
    assert_eq!(one.begin(key(1)), Err(Fenced::Unlocked));
    assert!(claim(&one, key(1)).is_ok() && one.begin(key(1)).is_ok());
    one.end(key(1), None);
    one.release([key(1)].into_iter());
    assert_eq!(one.begin(key(1)), Err(Fenced::Unlocked));
}

#[test]
fn nothing_that_a_living_process_needs_looks_old() {
    let folder = folder();
    let mut one = held(&folder, Holder::myself(None));
    one.claim(key(1)).unwrap().unwrap();
    let keys = fs::read_dir(folder.path().join("keys")).unwrap();
    let own =
        ["processes", "process-0.json", "process-0.keys"].map(|name| folder.path().join(name));
    let all: Vec<PathBuf> = keys.map(|it| it.unwrap().path()).chain(own).collect();
    assert_eq!(all.len(), 4);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for path in &all {
        fs::File::options().append(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    one.touch();
    for path in &all {
        assert!(fs::metadata(path).unwrap().modified().unwrap() > long_ago, "{}", path.display());
    }
}

#[test]
fn a_fork_may_neither_claim_nor_dial_nor_give_back_what_its_parent_holds() {
    let folder = folder();
    let parent = Holder { pid: std::process::id() + 1, ..Holder::myself(None) };
    let mut held = held(&folder, parent);
    held.claim(key(1)).unwrap().unwrap();
    let fork = FolderLocks::start(folder.path().to_owned(), held, TIMER).unwrap();
    let refused = claim(&fork, key(2)).unwrap_err().to_string();
    assert!(refused.contains("forked") && refused.contains("after the fork"), "{refused}");
    assert!(!refused.contains("TELEPOOL_LOCKS"), "{refused}");
    let refused = fork.begin(key(1)).unwrap_err();
    assert_eq!(refused, Fenced::Forked);
    assert!(refused.to_string().contains("make the pool after the fork"), "{refused}");
    fork.release([key(1)].into_iter());
    let stranger = process(&folder);
    assert!(matches!(claim(&stranger, key(1)), Err(ClaimError::Held(Some(_)))));
}

#[test]
fn the_end_of_a_fork_leaves_the_word_of_its_parent() {
    for (is_fork, stays) in [(true, true), (false, false)] {
        let folder = folder();
        let holder = Holder::myself(None);
        let pid = holder.pid + u32::from(is_fork);
        drop(held(&folder, Holder { pid, ..holder }));
        assert_eq!(folder.path().join("process-0.json").exists(), stays);
    }
}

#[test]
fn whoever_comes_while_a_process_ends_gets_its_keys_or_is_told_its_name() {
    let folder = folder();
    let asks = process(&folder);
    let keys: Vec<KeyId> = (0..200).map(key).collect();
    for _ in 0..20 {
        let mut ends =
            HeldLocks::open(folder.path(), Holder::myself(Some("b.jsonl".into())), TIMER).unwrap();
        assert!(keys.iter().all(|key| ends.claim(*key).unwrap().is_ok()));
        let at_once = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                at_once.wait();
                drop(ends);
            });
            at_once.wait();
            let mut left = keys.clone();
            while !left.is_empty() {
                let claims = asks.claim(&left, TIMER).unwrap();
                let mut answers = claims.iter();
                left.retain(|_| match answers.next().unwrap() {
                    Ok(_) => false,
                    Err(ClaimError::Held(Some(holder))) => {
                        assert_eq!(holder.serves, ["b.jsonl"]);
                        true
                    }
                    Err(error) => panic!("{error}"),
                });
            }
        });
        asks.release(keys.iter().copied());
    }
}

#[test]
fn while_a_dead_process_is_cleared_away_nobody_takes_it_for_alive() {
    let folder = folder();
    let [clears, asks] = [process(&folder), process(&folder)];
    for _ in 0..100 {
        let mut dies = held(&folder, Holder::myself(None));
        dies.claim(key(1)).unwrap().unwrap();
        dies.begin(key(1)).unwrap();
        drop(dies);
        // Of so long ago that it is of no use.
        let record = folder.path().join("process-2.json");
        let said = fs::read(&record).unwrap();
        let mut said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        said["open"] = serde_json::json!({ "unix": 1, "up": 1 });
        said["timer"] = 0.into();
        fs::write(&record, said.to_string()).unwrap();
        let at_once = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                at_once.wait();
                clears.claim(&[key(2)], Duration::ZERO).unwrap().remove(0).unwrap();
            });
            at_once.wait();
            asks.claim(&[key(1)], Duration::ZERO).unwrap().remove(0).unwrap();
        });
        clears.release([key(2)].into_iter());
        asks.release([key(1)].into_iter());
        assert!(!record.exists(), "one of them has cleared it");
    }
}

#[test]
fn what_could_not_be_given_back_is_given_back_later() {
    let folder = folder();
    let one = process(&folder);
    let other = process(&folder);
    for number in 1..=2 {
        assert!(claim(&one, key(number)).is_ok() && one.begin(key(number)).is_ok());
    }
    // As a full disk would be: the file of keys cannot be written anew.
    let hindrance = folder.path().join("process-0.keys.new");
    fs::create_dir(&hindrance).unwrap();
    one.held.lock().end(key(1), None);
    one.release([key(1)].into_iter());
    let refused = claim(&other, key(1));
    assert!(matches!(refused, Err(ClaimError::Held(Some(_)))), "{refused:?}");
    fs::remove_dir(&hindrance).unwrap();
    // The thread tries again each second.
    while claim(&other, key(1)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
}
