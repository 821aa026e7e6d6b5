//! Folders: those of Telegram Desktop, and those that hold what may be imported.

use std::fs;
use std::path::{Path, PathBuf};

use telepool::import::{
    Found, FoundSession, ImportError, ImportKind, ImportOptions, Origin, inputs, open,
};

use super::{BOT, OWN, all, file, key, one};

fn accounts(folder: &Path) -> Vec<Result<FoundSession, String>> {
    let options = ImportOptions::default();
    let session = |item| match item {
        Ok(Found::Session(session)) => Ok(*session),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(format!("{error}")),
    };
    all(open(folder, &options).unwrap()).into_iter().map(session).collect()
}

#[test]
fn a_folder_of_one_account_is_read() {
    let options = ImportOptions::default();
    let opened = open(&file("tdata"), &options).unwrap();
    assert_eq!(opened.kind(), ImportKind::TelegramDesktop { accounts: 1 });
    assert_eq!(opened.summary(), "tdata folder, 1 account");
    let found = one(opened);
    assert_eq!((found.origin, found.dc), (Origin::TelegramDesktop, 2));
    assert!(found.key == key("tdata 1234567890 2"));
    // Those that it has meant to destroy are not among them.
    assert_eq!(found.foreign_keys, [(4, key("tdata 1234567890 4"))]);
    assert_eq!((found.user_id, found.is_bot), (Some(OWN), Some(false)));
    assert_eq!((found.address, found.test_mode, found.api_id), (None, None, None));
}

#[test]
fn each_account_of_a_folder_is_read() {
    let options = ImportOptions::default();
    let opened = open(&file("tdata-two"), &options).unwrap();
    assert_eq!(opened.summary(), "tdata folder, 2 accounts");
    let found: Vec<_> = accounts(&file("tdata-two")).into_iter().map(Result::unwrap).collect();
    let known: Vec<_> = found.iter().map(|it| (it.user_id, it.dc, it.test_mode)).collect();
    assert_eq!(known, [(Some(OWN), 2, Some(false)), (Some(BOT), 5, Some(true))]);
    assert!(found[0].key == key("tdata-two 1234567890 2"));
    assert!(found[1].key == key("tdata-two 5000000001 5"));
    let foreign = [4, 203].map(|dc| (dc, key(&format!("tdata-two 1234567890 {dc}"))));
    assert_eq!(found[0].foreign_keys, foreign);
}

#[test]
fn a_folder_under_a_passcode_asks_for_it() {
    let folder = file("tdata-passcode");
    let mut options = ImportOptions::default();
    let error = open(&folder, &options).unwrap_err();
    assert!(matches!(error, ImportError::PasscodeMissing), "{error}");
    options.passcode = Some("wrong horse".to_owned().into());
    let error = open(&folder, &options).unwrap_err();
    assert!(matches!(error, ImportError::PasscodeWrong), "{error}");
    assert!(!error.to_string().contains("horse"), "{error}");
    options.passcode = Some("correct horse".to_owned().into());
    let found = one(open(&folder, &options).unwrap());
    assert!(found.key == key("tdata-passcode 1234567890 2"));
    // A folder that has none does not mind.
    assert!(one(open(&file("tdata"), &options).unwrap()).key == key("tdata 1234567890 2"));
}

/// A copy of a folder, to do harm to.
pub(super) fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    to
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => copy(&path, &to.join(entry.file_name())),
            path => drop(fs::copy(path, to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn a_file_may_have_its_older_names_and_the_whole_one_counts() {
    for (suffix, other) in [("0", "1"), ("1", "0")] {
        let folder = copied(&file("tdata"));
        for name in ["key_data", "D877F783D5D3EF8C"] {
            let path = |suffix| folder.path().join(format!("{name}{suffix}"));
            fs::rename(path("s"), path(suffix)).unwrap();
            let whole = fs::read(path(suffix)).unwrap();
            fs::write(path(other), &whole[..whole.len() - 1]).unwrap();
        }
        assert!(accounts(folder.path())[0].as_ref().unwrap().key == key("tdata 1234567890 2"));
    }
}

#[test]
fn the_folder_around_will_do() {
    let folder = tempfile::tempdir().unwrap();
    copy(&file("tdata"), &folder.path().join("tdata"));
    fs::write(folder.path().join("Telegram.exe"), "MZ\0\0").unwrap();
    assert_eq!(accounts(folder.path()).len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::Folder), "{error}");
}

#[test]
fn an_account_that_is_damaged_leaves_the_others() {
    let folder = copied(&file("tdata-two"));
    fs::remove_file(folder.path().join("D877F783D5D3EF8Cs")).unwrap();
    let found = accounts(folder.path());
    let error = found[0].as_ref().unwrap_err();
    assert!(error.starts_with("account 1: ") && error.contains("missing"), "{error}");
    assert_eq!(found[1].as_ref().unwrap().user_id, Some(BOT));
}

/// The paths that a walk comes by, beneath its beginning.
fn walked(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    inputs(folder).map(|it| below(it.unwrap())).collect()
}

#[test]
fn a_walk_comes_by_each_input_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    copy(&file("tdata"), &root.join("b/Telegram/tdata"));
    for name in ["c.session", "a.session", "b/z.txt", ".hidden", "b/.git/config", "d.session-wal"] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), "").unwrap();
    }
    for name in ["c.session-journal", "c.session-shm", "store.lock", "b/notes.md"] {
        fs::write(root.join(name), "").unwrap();
    }
    let mut wanted = vec!["a.session", "b/Telegram/tdata", "b/notes.md", "b/z.txt", "c.session"];
    #[cfg(unix)]
    {
        // To a file it is followed; to a folder it may lead in a circle.
        std::os::unix::fs::symlink(root.join("a.session"), root.join("e.session")).unwrap();
        std::os::unix::fs::symlink(root, root.join("b/loop")).unwrap();
        std::os::unix::fs::symlink("gone", root.join("f.session")).unwrap();
        wanted.extend(["e.session", "f.session"]);
    }
    let wanted: Vec<_> = wanted.into_iter().map(PathBuf::from).collect();
    assert_eq!(walked(root), wanted);
    let alone = root.join("a.session");
    assert_eq!(inputs(&alone).map(Result::unwrap).collect::<Vec<_>>(), [alone]);
    let tdata = root.join("b/Telegram/tdata");
    assert_eq!(inputs(&tdata).map(Result::unwrap).collect::<Vec<_>>(), [tdata]);
}

#[test]
fn a_walk_ends_at_a_depth_that_no_folder_has() {
    let folder = tempfile::tempdir().unwrap();
    let deep = (0..40).fold(folder.path().to_owned(), |path, _| path.join("x"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("a.session"), "").unwrap();
    fs::write(folder.path().join("y.session"), "").unwrap();
    let found: Vec<_> = inputs(folder.path()).collect();
    assert_eq!(found.len(), 2);
    assert!(found[0].as_ref().unwrap_err().to_string().contains("folders deep"));
    assert!(found[1].as_ref().unwrap().ends_with("y.session"));
}

#[test]
fn every_file_of_the_tests_is_an_input() {
    let options = ImportOptions::default();
    let mut told = Vec::new();
    for path in inputs(&file("")).map(Result::unwrap) {
        match open(&path, &options) {
            Ok(file) => told.push(file.kind().to_string()),
            Err(error) => assert!(!error.is_no_session(), "{error}"),
        }
    }
    assert_eq!(told.iter().filter(|it| it.contains("Telethon file")).count(), 10);
    assert_eq!(told.iter().filter(|it| it.contains("tdata folder")).count(), 2);
}
