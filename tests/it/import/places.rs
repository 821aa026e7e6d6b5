//! What lies in the place of a file.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use telepool::import::{ImportError, ImportOptions, open};

use super::{file, key, one};

fn error(path: &Path) -> ImportError {
    open(path, &ImportOptions::default()).map(drop).unwrap_err()
}

#[test]
fn what_is_not_there_or_a_folder_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone.session");
    assert!(matches!(error(&path), ImportError::Read(_)));
    fs::create_dir(&path).unwrap();
    assert!(matches!(error(&path), ImportError::Folder));
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert!(error(&empty).is_no_session());
}

#[test]
fn a_file_longer_than_any_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, begin, is_session) in [
        ("database", &b"SQLite format 3\0"[..], true),
        ("lines", b"{\"phone\": \"+442079460958\", \"session\": \"\"}\n", false),
        ("zeros", b"", false),
    ] {
        let path = folder.path().join(name);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(begin).unwrap();
        file.set_len(2 << 30).unwrap();
        let error = error(&path);
        assert_eq!(matches!(error, ImportError::TooLong { .. }), is_session, "{name}: {error}");
        assert_eq!(error.is_no_session(), !is_session, "{name}: {error}");
    }
    let path = folder.path().join("text");
    let text = "1".repeat(353) + "\n";
    fs::write(&path, text.repeat(200)).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(2 << 30).unwrap();
    assert!(matches!(error(&path), ImportError::TooLong { .. }));
    // Of Telegram Desktop nothing is read that is longer than its files are.
    let tdata = super::folders::copied(&file("tdata"));
    let path = tdata.path().join("key_datas");
    fs::File::options().write(true).open(path).unwrap().set_len(2 << 30).unwrap();
    assert!(matches!(error(tdata.path()), ImportError::TooLong { .. }));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let tdata = super::folders::copied(&file("tdata"));
    fs::remove_file(tdata.path().join("key_datas")).unwrap();
    for (path, what) in [
        (fifo.as_path(), "a FIFO"),
        (&socket, "a socket"),
        (Path::new("/dev/zero"), "a device"),
        (Path::new("/dev/null"), "a device"),
    ] {
        let told = error(path).to_string();
        assert!(told.contains(what), "{told}");
        // Nor where a file of Telegram Desktop should be.
        let key = tdata.path().join("key_datas");
        std::os::unix::fs::symlink(path, &key).unwrap();
        assert!(matches!(error(tdata.path()), ImportError::Folder));
        fs::rename(&key, tdata.path().join("key_data1")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_its_file_and_a_circle_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.session");
    std::os::unix::fs::symlink(file("telethon-8.session"), &link).unwrap();
    let options = ImportOptions::default();
    assert!(one(open(&link, &options).unwrap()).key == key("telethon 8"));
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    std::os::unix::fs::symlink(&a, &b).unwrap();
    std::os::unix::fs::symlink(&b, &a).unwrap();
    assert!(matches!(error(&a), ImportError::Read(_)));
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.session");
    fs::copy(file("telethon-8.session"), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read whatever there is.
    if !nix::unistd::geteuid().is_root() {
        assert!(matches!(error(&path), ImportError::Read(_)));
    }
}
