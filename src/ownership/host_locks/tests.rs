//! Two values that were opened apart are two processes to each other: their locks belong to
//! descriptions of their own.

use std::path::Path;
use std::task::{Context, Poll, Waker};

use tempfile::TempDir;

use super::*;
use crate::ownership::locks::LockFile;

const TIMER: Duration = Duration::from_secs(120);

fn key(number: u8) -> KeyId {
    KeyId::of(&crate::session::AuthKey::new([number; 256]))
}

fn random_key() -> KeyId {
    format!("{:016x}", fastrand::u64(..)).parse().unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// As another process would open the folder.
fn process(folder: &Path, serves: &str) -> HostLocks {
    let named = Some(folder.to_owned());
    let options = HostLocksOptions { folder: named, timer: TIMER, ..HostLocksOptions::default() };
    let shared = FolderLocks::open(folder.to_owned(), Some(serves), TIMER, TIMER).unwrap();
    HostLocks { options, shared: OnceLock::from(shared), claimed: Mutex::default() }
}

fn claim(locks: &HostLocks, key: KeyId) -> Result<Claim, ClaimError> {
    locks.claim_now(&[key]).unwrap().remove(0)
}

fn is_free(locks: &HostLocks, key: KeyId) -> bool {
    claim(locks, key).is_ok()
}

/// Ends a process and waits until it is gone: its threads may hold on to it for a moment.
fn end(locks: HostLocks) {
    let numbers = LockFile::open(&locks.folder().join("processes")).unwrap();
    let living = || (0..16).filter(|number| numbers.holder(*number).unwrap().is_some()).count();
    let before = living();
    drop(locks);
    while living() == before {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("process-")).collect();
    names.sort();
    names
}

#[test]
fn a_key_is_held_by_one_process_and_others_are_told_by_whom() {
    let folder = folder();
    let (one, other) = (process(folder.path(), "a.jsonl"), process(folder.path(), "b.jsonl"));
    assert!(is_free(&one, key(1)) && is_free(&other, key(2)));
    let Err(ClaimError::Held(Some(holder))) = claim(&other, key(1)) else {
        panic!("it is held, and known by whom")
    };
    assert_eq!((holder.pid, &*holder.serves), (std::process::id(), &["a.jsonl".to_owned()][..]));
    let said = holder.to_string();
    assert!(said.contains("since 20") && said.ends_with("Z, serving a.jsonl"), "{said}");
    let Err(ClaimError::Held(Some(holder))) = claim(&one, key(2)) else { panic!("so is this") };
    assert_eq!(holder.serves, ["b.jsonl"]);
    end(one);
    assert!(is_free(&other, key(1)), "a lock ends with its process");
}

#[test]
fn pools_of_one_process_hold_a_key_together() {
    let folder = folder();
    let options = || {
        let folder = Some(folder.path().to_owned());
        HostLocksOptions { folder, ..HostLocksOptions::default() }
    };
    let (one, other) = (HostLocks::new(options()), HostLocks::new(options()));
    assert!(is_free(&one, key(1)) && is_free(&other, key(1)) && is_free(&one, key(1)));
    let stranger = process(folder.path(), "c.jsonl");
    drop(one);
    assert!(!is_free(&stranger, key(1)), "the other one holds it still");
    drop(other);
    assert!(is_free(&stranger, key(1)));
}

#[test]
fn an_orderly_end_leaves_nothing_behind() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    assert!(is_free(&one, key(1)));
    one.begin(key(1)).unwrap();
    assert_eq!(files(folder.path()), ["process-0.json", "process-0.keys"]);
    one.end(key(1), None);
    assert!(one.settle(Duration::from_secs(60)), "what it had is closed");
    end(one);
    assert!(files(folder.path()).is_empty());
    let next = process(folder.path(), "a.jsonl");
    assert_eq!(claim(&next, key(1)).unwrap(), Claim::default());
}

#[tokio::test]
async fn whoever_waits_for_what_was_open_to_be_settled_may_end_at_once() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    let is_marked = || {
        let said = std::fs::read(folder.path().join("process-0.json")).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        said["open"]["unix"] != 0
    };
    assert!(is_free(&one, key(1)));
    one.settled().await;
    one.begin(key(1)).unwrap();
    one.begin(key(1)).unwrap();
    one.end(key(1), None);
    assert!(poll_once(&mut one.settled()).is_pending(), "one of two is open");
    one.end(key(1), None);
    one.settled().await;
    assert!(!is_marked(), "what it has told is on the disk");
    assert!(std::fs::read(folder.path().join("process-0.keys")).unwrap().is_empty());
}

#[tokio::test]
async fn what_another_pool_of_the_process_has_open_is_not_waited_for() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    let (options, shared) = (one.options.clone(), one.shared.clone());
    let other = HostLocks { options, shared, claimed: Mutex::default() };
    assert!(is_free(&one, key(1)) && is_free(&other, key(2)));
    one.begin(key(1)).unwrap();
    other.begin(key(2)).unwrap();
    one.end(key(1), None);
    one.settled().await;
    assert!(poll_once(&mut other.settled()).is_pending());
}

fn poll_once(settled: &mut Settled<'_>) -> Poll<()> {
    settled.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn keys_that_a_process_had_open_when_it_died_rest_and_no_others() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    for key in [key(1), key(2), key(3)] {
        assert!(is_free(&one, key));
    }
    one.begin(key(1)).unwrap();
    one.begin(key(2)).unwrap();
    // It dies with its sockets: nothing tells of their end.
    end(one);
    let next = process(folder.path(), "a.jsonl");
    let rest = |key| claim(&next, key).unwrap().rest;
    for key in [key(1), key(2)] {
        assert!(rest(key) > TIMER - Duration::from_secs(60), "{:?}", rest(key));
    }
    assert!(rest(key(3)).is_zero(), "it was claimed and never dialled");
    // Whoever comes after this one has to wait as well.
    end(next);
    let third = process(folder.path(), "a.jsonl");
    assert!(!claim(&third, key(1)).unwrap().rest.is_zero());
}

#[test]
fn after_another_run_of_the_machine_every_key_rests() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    assert!(is_free(&one, key(1)));
    one.begin(key(1)).unwrap();
    end(one);
    let record = folder.path().join("process-0.json");
    let said = std::fs::read_to_string(&record).unwrap();
    let boot = folder::boot_id();
    assert!(!boot.is_empty() && said.contains(&boot), "{said}");
    std::fs::write(&record, said.replace(&boot, "another")).unwrap();
    let next = process(folder.path(), "a.jsonl");
    assert!(!claim(&next, key(9)).unwrap().rest.is_zero(), "what it wrote last may be lost");
}

#[test]
fn what_a_dead_process_left_is_cleared_once_it_is_of_no_use() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    assert!(is_free(&one, key(1)));
    one.begin(key(1)).unwrap();
    end(one);
    // Of long ago.
    let record = folder.path().join("process-0.json");
    let mut said: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    said["open"] = serde_json::json!({ "unix": 1, "up": 1 });
    std::fs::write(&record, said.to_string()).unwrap();
    let mut next = process(folder.path(), "a.jsonl");
    next.options.timer = Duration::ZERO;
    assert_eq!(claim(&next, key(1)).unwrap().rest, Duration::ZERO);
    assert_eq!(files(folder.path()), ["process-1.json", "process-1.keys"]);
}

#[test]
fn a_key_that_rests_goes_on_resting_after_an_orderly_end() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    for number in 1..=2 {
        assert!(is_free(&one, key(number)));
        one.begin(key(number)).unwrap();
    }
    one.end(key(1), Some(Duration::from_secs(50)));
    one.end(key(2), None);
    end(one);
    let next = process(folder.path(), "a.jsonl");
    let rest = claim(&next, key(1)).unwrap().rest;
    assert!(rest > Duration::from_secs(30) && rest <= Duration::from_secs(51), "{rest:?}");
    assert!(claim(&next, key(2)).unwrap().rest.is_zero());
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_a_remedy() {
    let folder = folder();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let folder = Some(file.join("locks"));
    let locks = HostLocks::new(HostLocksOptions { folder, ..HostLocksOptions::default() });
    let error = locks.claim_now(&[key(1)]).unwrap_err().to_string();
    assert!(error.contains("a file") && error.contains("TELEPOOL_LOCKS"), "{error}");
}

#[cfg(unix)]
#[test]
fn where_files_are_lacking_the_folder_is_not_to_blame() {
    use nix::errno::Errno;

    for errno in [Errno::EMFILE, Errno::ENFILE] {
        let error = std::io::Error::from_raw_os_error(errno as i32).into();
        let error = ClaimError::Folder { folder: "/locks".into(), error }.to_string();
        assert!(error.contains("ulimit -n") && error.contains("LimitNOFILE="), "{error}");
        assert!(!error.contains("TELEPOOL_LOCKS"), "{error}");
    }
}

#[test]
fn many_keys_are_claimed_and_given_back() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    let keys: Vec<KeyId> = (0..2_000).map(|_| random_key()).collect();
    assert!(one.claim_now(&keys).unwrap().iter().all(Result::is_ok));
    let other = process(folder.path(), "b.jsonl");
    assert!(other.claim_now(&keys).unwrap().iter().all(Result::is_err));
    one.release(&keys[..1_000]);
    let free = other.claim_now(&keys).unwrap().iter().filter(|it| it.is_ok()).count();
    assert_eq!(free, 1_000);
}

#[test]
fn a_key_that_is_asked_for_twice_at_once_shifts_no_answer() {
    let folder = folder();
    let (one, other) = (process(folder.path(), "a.jsonl"), process(folder.path(), "b.jsonl"));
    assert!(is_free(&other, key(3)));
    let claims = one.claim_now(&[key(1), key(1), key(3)]).unwrap();
    assert!(claims[0].is_ok() && claims[1].is_ok() && claims[2].is_err(), "{claims:?}");
    one.release(&[key(1)]);
    assert!(is_free(&other, key(1)), "it was claimed once");
}

#[test]
fn what_cannot_be_read_concerns_every_key() {
    for unreadable in ["process-0.json", "process-0.keys"] {
        let folder = folder();
        let one = process(folder.path(), "a.jsonl");
        assert!(is_free(&one, key(1)));
        one.begin(key(1)).unwrap();
        end(one);
        let path = folder.path().join(unreadable);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let next = process(folder.path(), "b.jsonl");
        assert!(!claim(&next, key(2)).unwrap().rest.is_zero(), "{unreadable}");
    }
}

#[test]
fn what_a_process_serves_is_said_once_and_not_without_end() {
    let folder = folder();
    let options = |serves: String| {
        let folder = Some(folder.path().to_owned());
        HostLocksOptions { folder, serves: Some(serves), ..HostLocksOptions::default() }
    };
    let first = HostLocks::new(options("first".into()));
    assert!(is_free(&first, key(1)));
    for number in 0..300 {
        assert!(is_free(&HostLocks::new(options(format!("sessions-{}", number % 100))), key(2)));
    }
    let stranger = process(folder.path(), "c.jsonl");
    let Err(ClaimError::Held(Some(holder))) = claim(&stranger, key(1)) else {
        panic!("it is held")
    };
    assert_eq!(holder.serves.len(), 16);
    assert_eq!(holder.serves[..2], ["first", "sessions-0"]);
}

#[test]
fn a_key_that_rests_stays_locked_when_it_is_given_back() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    assert!(is_free(&one, key(1)));
    one.begin(key(1)).unwrap();
    one.end(key(1), Some(Duration::from_secs(2)));
    one.release(&[key(1)]);
    let next = process(folder.path(), "b.jsonl");
    assert!(matches!(claim(&next, key(1)), Err(ClaimError::Held(Some(_)))));
    // The thread gives it back once it has rested.
    while !is_free(&next, key(1)) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn locks_that_were_removed_under_a_living_process_are_nobodys() {
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    assert!(is_free(&one, key(1)));
    one.begin(key(1)).unwrap();
    std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
    let next = process(folder.path(), "b.jsonl");
    assert!(matches!(claim(&next, key(1)), Err(ClaimError::Held(Some(_)))), "it says it has it");
}

#[test]
fn processes_that_come_and_go_hide_no_dead_one() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = folder();
    let one = process(folder.path(), "a.jsonl");
    assert!(is_free(&one, key(1)));
    one.begin(key(1)).unwrap();
    end(one);
    let next = process(folder.path(), "b.jsonl");
    let over = AtomicBool::new(false);
    let rests = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                drop(process(folder.path(), "c.jsonl"));
            }
        });
        let ask = |_| {
            let rest = claim(&next, key(1)).map(|claim| claim.rest);
            next.release(&[key(1)]);
            rest
        };
        let rests: Vec<_> = (0..1_000).map(ask).collect();
        over.store(true, Ordering::Relaxed);
        rests
    });
    for rest in rests {
        assert!(!rest.unwrap().is_zero(), "nobody knew of it");
    }
}
