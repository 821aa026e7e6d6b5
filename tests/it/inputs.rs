//! The files that the command is given to read: in which encodings, of which kinds, and how long.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use telepool::session::{AuthKey, telethon_string};

use crate::command::{fresh, run, telepool};

/// A file of the build's own folder, which is removed with this.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(fresh(name))
    }

    fn with(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let file = Self::new(name);
        std::fs::write(&file.0, bytes).unwrap();
        file
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Each way of giving the command a file to read.
fn readers(path: &str) -> [Vec<&str>; 4] {
    [
        vec!["serve", "--sessions", path],
        vec!["config", "--config", path],
        vec!["serve", "--sandbox", "--duration=1s", "--faults", path],
        vec!["datacenter", "--out=/nonexist/x", "--faults", path],
    ]
}

/// One session, at an address where nobody listens.
fn session() -> String {
    let at = "127.0.0.1:1".parse().unwrap();
    let session = telethon_string(2, at, &AuthKey::new([7; 256])).unwrap();
    format!("{{\"phone\": \"+442079460958\", \"session\": \"{}\"}}\n", *session)
}

#[test]
fn text_in_another_encoding_is_named_wherever_it_is_given() {
    let wide: Vec<u8> = "[pool]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wider: Vec<u8> = "[pool]\n".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    for (bytes, words) in [
        (wide.clone(), "text in UTF-16"),
        ([b"\xff\xfe", &wide[..]].concat(), "text in UTF-16"),
        (wider, "text in UTF-32"),
        (b"[pool] # caf\xe9\nmax_connections = 5\n".to_vec(), "such as Latin-1"),
        (b"SQLite format 3\0".to_vec(), "an SQLite database"),
    ] {
        let file = Temporary::with("encoded", &bytes);
        for arguments in readers(file.path()) {
            let (code, _, stderr) = run(&arguments);
            assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
            assert!(stderr.contains(words), "{arguments:?}: {stderr}");
            assert!(
                words.contains("SQL") || stderr.contains("as UTF-8"),
                "{arguments:?}: {stderr}"
            );
            assert!(!stderr.contains("valid UTF-8"), "{arguments:?}: {stderr}");
        }
    }
}

#[test]
fn a_configuration_is_read_as_any_editor_saves_it() {
    let text = "[pool]\nmax_connections = 5\n\n[data_centres]\n9 = \"127.0.0.1:1\"\n";
    let rule = "[[rule]]\non = \"nothing\"\nfault = \"close\"\n";
    for mark in ["\u{feff}", "\u{feff}\u{feff}", "\u{a0}\u{200b}"] {
        for end in ["\n", "\r\n", "\r"] {
            let file = Temporary::with("marked.toml", format!("{mark}{text}").replace('\n', end));
            let (code, stdout, stderr) = run(&["config", "--config", file.path()]);
            assert_eq!(code, Some(0), "{mark:?} {end:?}: {stderr}");
            assert!(stdout.contains("\nmax_connections = 5\n"), "{stdout}");
            assert!(stdout.contains("9 = \"127.0.0.1:1\""), "{stdout}");
            let file = Temporary::with("marked.toml", format!("{mark}{rule}").replace('\n', end));
            let (_, _, stderr) = run(&["serve", "--sandbox", "--faults", file.path()]);
            assert!(stderr.contains("on = \"nothing\": must be one of"), "{end:?}: {stderr}");
        }
    }
}

#[test]
fn a_file_that_is_far_too_long_is_not_read() {
    let hole = Temporary::new("hole");
    std::fs::File::create(&hole.0).unwrap().set_len(1 << 40).unwrap();
    for arguments in readers(hole.path()) {
        let (code, _, stderr) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        let words = if arguments.contains(&"--sessions") { "1024 MiB" } else { "1 MiB" };
        assert!(stderr.contains(&format!("longer than {words}")), "{arguments:?}: {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn what_never_ends_and_what_nobody_writes_to_is_refused() {
    let fifo = Temporary::new("fifo");
    assert!(Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    for (path, words) in [
        ("/dev/zero", "it is a device"),
        (fifo.path(), "a FIFO that nobody writes to: start its writer first"),
        (env!("CARGO_TARGET_TMPDIR"), "it is a folder"),
    ] {
        // At once: each waits a moment for a writer.
        let all = readers(path).map(|arguments| (telepool(&arguments).spawn().unwrap(), arguments));
        for (child, arguments) in all {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
            assert!(stderr.contains(words), "{arguments:?}: {stderr}");
        }
    }
    // It ends, and says nothing.
    assert_eq!(run(&["config", "--config", "/dev/null"]).0, Some(0));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_like_a_file() {
    let served = |path: &str, feed: &dyn Fn(&mut std::process::Child)| {
        let arguments = ["serve", "--duration=1s", "--listen=127.0.0.1:0", "--sessions", path];
        let mut command = telepool(&arguments);
        command.env("TELEPOOL_LOCKS", fresh("pipe-locks")).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        feed(&mut child);
        let output = child.wait_with_output().unwrap();
        std::fs::remove_dir_all(fresh("pipe-locks")).ok();
        String::from_utf8(output.stderr).unwrap()
    };
    // The sessions are read before it is seen that there is no application.
    let sound = "TELEPOOL_API_ID is not set";
    let told = served("/dev/stdin", &|child| {
        child.stdin.take().unwrap().write_all(session().as_bytes()).unwrap();
    });
    assert!(told.contains(sound), "{told}");

    let fifo = Temporary::new("pipe");
    assert!(Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    let write = |path: &Path| {
        let mut file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all(session().as_bytes()).unwrap();
    };
    let told = served(fifo.path(), &|_| write(&fifo.0));
    assert!(told.contains(sound), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_the_wait_for_a_writer_that_says_nothing() {
    use std::os::unix::process::ExitStatusExt as _;

    let fifo = Temporary::new("silent");
    assert!(Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    for arguments in readers(fifo.path()) {
        // As a shell starts it: whoever runs the tests in the background has the signal ignored, which all
        // that they start inherit.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_telepool")]).args(&arguments);
        let mut child = command.spawn().unwrap();
        // Returns when the other end is open as well.
        let writer = std::fs::File::options().write(true).open(&fifo.0).unwrap();
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(2), "{arguments:?}: {status:?}");
        drop(writer);
    }
}
