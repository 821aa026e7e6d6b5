use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;
use crate::base::disk::HOPS_MAX;
use crate::telegram::{MemorySource, QuarantineFile, lift_quarantines, read_quarantines};

fn no_sessions() -> MemorySource {
    MemorySource::new([]).unwrap()
}

/// A folder, by its whole path.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    (folder, path)
}

#[test]
fn links_are_followed_and_stay_links() {
    let (_held, folder) = folder();
    fs::create_dir(folder.join("real")).unwrap();
    fs::create_dir(folder.join("names")).unwrap();
    // One by one: an absolute link to a relative one to a file that is not there yet.
    let [first, second] = ["first", "second"].map(|name| folder.join("names").join(name));
    symlink(&second, &first).unwrap();
    symlink("../real/state.jsonl", &second).unwrap();
    let file = folder.join("real/state.jsonl");
    assert_eq!(resolve(&first).unwrap(), file);

    let kept = QuarantineFile::open(&first, no_sessions()).unwrap();
    assert!(file.is_file() && folder.join("real/state.jsonl.lock").is_file());
    for name in [&second, &file] {
        let error = QuarantineFile::open(name, no_sessions()).unwrap_err();
        assert!(matches!(error, QuarantineFileError::InUse { .. }), "{error}");
    }
    drop(kept);
    drop(QuarantineFile::open(&second, no_sessions()).unwrap());
    for link in [&first, &second] {
        assert!(fs::symlink_metadata(link).unwrap().is_symlink(), "{}", link.display());
    }
}

#[test]
fn a_folder_may_be_a_link_as_well() {
    let (_held, folder) = folder();
    fs::create_dir(folder.join("real")).unwrap();
    symlink("real", folder.join("link")).unwrap();
    let named = folder.join("link/state.jsonl");
    assert_eq!(resolve(&named).unwrap(), folder.join("real/state.jsonl"));
}

#[test]
fn links_that_lead_nowhere_in_the_end_are_refused() {
    let (_held, folder) = folder();
    symlink("b", folder.join("a")).unwrap();
    symlink("a", folder.join("b")).unwrap();
    let error = resolve(&folder.join("a")).unwrap_err();
    assert!(matches!(error, QuarantineFileError::NotAFile { .. }), "{error}");
    assert!(error.to_string().contains("leads to itself"), "{error}");

    let link = |number: usize| folder.join(format!("link {number}"));
    for number in 1..=HOPS_MAX + 1 {
        symlink(link(number - 1), link(number)).unwrap();
    }
    assert_eq!(resolve(&link(HOPS_MAX)).unwrap(), link(0));
    resolve(&link(HOPS_MAX + 1)).unwrap_err();
}

#[test]
fn what_is_no_file_is_neither_opened_nor_replaced() {
    let (_held, folder) = folder();
    let [fifo, socket, link] = ["fifo", "socket", "link"].map(|name| folder.join(name));
    // Opening it would wait until somebody opens its other end.
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _listener = UnixListener::bind(&socket).unwrap();
    symlink(&fifo, &link).unwrap();
    for (path, found) in [
        (&*fifo, "a FIFO"),
        (&*link, "a FIFO"),
        (&*socket, "a socket"),
        (&*folder, "a folder"),
        (Path::new("/"), "a folder"),
    ] {
        let errors = [
            QuarantineFile::open(path, no_sessions()).unwrap_err(),
            lift_quarantines(path, |_| true).unwrap_err(),
            read_quarantines(path).unwrap_err(),
        ];
        for error in errors {
            let QuarantineFileError::NotAFile { what, .. } = error else { panic!("{error}") };
            assert_eq!(what, found);
        }
    }
    // Only looked at: whoever may write its folder would replace it.
    let error = resolve(Path::new("/dev/null")).unwrap_err();
    assert!(error.to_string().starts_with("/dev/null is a device: name a regular file"), "{error}");
    resolve(Path::new("")).unwrap_err();
}

#[test]
fn what_has_come_in_place_of_the_file_since_is_not_replaced_either() {
    let (_held, folder) = folder();
    let path = folder.join("state.jsonl");
    let kept = QuarantineFile::open(&path, no_sessions()).unwrap();
    fs::rename(&path, folder.join("elsewhere")).unwrap();
    symlink("elsewhere", &path).unwrap();
    assert!(!kept.flush(std::time::Duration::from_millis(20)));
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    fs::rename(folder.join("elsewhere"), &path).unwrap();
    assert!(kept.flush(std::time::Duration::from_secs(60)));
}
