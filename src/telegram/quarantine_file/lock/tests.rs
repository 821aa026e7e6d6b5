use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

fn lock_path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.lock");
    (folder, path)
}

#[test]
fn one_holds_it_at_a_time_and_says_who_it_is_to_its_owner_alone() {
    let (_folder, path) = lock_path();
    let lock = FileLock::take(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told: Holder = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(told.pid == std::process::id() && !told.program.is_empty(), "{told}");
    let Err(LockError::Held(Some(holder))) = FileLock::take(&path) else { panic!("it is held") };
    assert_eq!(holder, told);
    drop(lock);
    assert!(path.exists(), "removing it would race");
    FileLock::take(&path).unwrap();
}

#[test]
fn a_line_counts_only_while_the_lock_is_held() {
    let (_folder, path) = lock_path();
    std::fs::write(&path, r#"{"pid":1,"since":1,"program":"a crashed one"}"#).unwrap();
    let lock = FileLock::take(&path).unwrap();
    let Err(LockError::Held(Some(holder))) = FileLock::take(&path) else { panic!("it is held") };
    assert_eq!(holder.pid, std::process::id());
    drop(lock);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "nobody is taken for the next holder");
}

#[test]
fn a_holder_that_has_written_nothing_of_itself_is_unknown() {
    let (_folder, path) = lock_path();
    let lock = FileLock::take(&path).unwrap();
    lock.0.file().set_len(0).unwrap();
    assert!(matches!(FileLock::take(&path), Err(LockError::Held(None))));
}

#[test]
fn a_lock_whose_file_is_gone_is_known_to_be_worth_nothing() {
    let (_folder, path) = lock_path();
    let lock = FileLock::take(&path).unwrap();
    assert!(lock.is_current());
    std::fs::remove_file(&path).unwrap();
    assert!(!lock.is_current());
    let other = FileLock::take(&path).unwrap();
    assert!(other.is_current() && !lock.is_current());
}

#[test]
fn what_is_no_file_is_neither_opened_nor_locked() {
    let (folder, path) = lock_path();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(matches!(FileLock::take(&path), Err(LockError::Io(_))));
    assert!(matches!(FileLock::take(folder.path()), Err(LockError::Io(_))));
}
