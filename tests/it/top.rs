//! `telepool top` in a terminal: keys, signals, another size, and how the terminal is left.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::fresh;
use crate::ctl::Fixture;

/// Begins and ends a screen of its own.
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

/// `top` in a terminal, of which all is kept that was sent to it.
struct Screen {
    script: Child,
    sent: PathBuf,
    id: PathBuf,
    terminal: PathBuf,
}

impl Screen {
    fn open(name: &str, fixture: &Fixture) -> Self {
        let [sent, id, terminal] =
            ["sent", "id", "terminal"].map(|it| fresh(&format!("{name}-{it}")));
        let inside = format!(
            "stty rows 24 cols 80; tty > {}; sh -c 'echo $$ > {}; exec {} top --socket {}'; \
             echo \"ended $?\"; stty -a; echo all",
            terminal.display(),
            id.display(),
            env!("CARGO_BIN_EXE_telepool"),
            fixture.socket.display()
        );
        let script = Command::new("script")
            .args(["--quiet", "--flush", "--command", &inside])
            .arg(&sent)
            .envs([("TERM", "xterm"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("script, of Debian's package bsdutils");
        Self { script, sent, id, terminal }
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.sent).unwrap_or_default()).into_owned()
    }

    /// Waits until these words were sent, and returns all that was.
    fn until(&self, words: &str) -> String {
        let found = until(|| Some(self.sent()).filter(|sent| sent.contains(words)));
        found.unwrap_or_else(|| panic!("{words:?} was not shown: {:?}", self.sent()))
    }

    fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn kill(&self) {
        let id = fs::read_to_string(&self.id).unwrap();
        assert!(Command::new("kill").args(["-TERM", id.trim()]).status().unwrap().success());
    }

    fn resize(&self, rows: u16, columns: u16) {
        let terminal = fs::read_to_string(&self.terminal).unwrap();
        let size = ["rows", &rows.to_string(), "cols", &columns.to_string()].map(str::to_owned);
        let resized = Command::new("stty").args(["-F", terminal.trim()]).args(size).status();
        assert!(resized.unwrap().success());
    }

    /// Waits for the end, which leaves the terminal as it was.
    fn end(mut self) {
        let sent = self.until("\nall");
        assert!(sent.contains("ended 0"), "{sent}");
        let (_, after) = sent.rsplit_once(LEAVES).expect("it leaves its screen");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
        drop(self.script.stdin.take());
        self.script.wait().unwrap();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.script.kill().ok();
        self.script.wait().ok();
        for path in [&self.sent, &self.id, &self.terminal] {
            fs::remove_file(path).ok();
        }
    }
}

/// Looks again and again for what comes, on a busy machine late.
fn until<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    (0..2400).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        look()
    })
}

#[test]
fn keys_are_heeded_and_whatever_ends_it_the_terminal_is_as_it_was() {
    let fixture = Fixture::start("top-keys.sock");
    for end in ["q", "\u{3}", "SIGTERM"] {
        let mut screen = Screen::open("top-keys", &fixture);
        assert!(screen.until("acquires/s").contains(ENTERS), "it has a screen of its own");
        // What one before has asked for does not count.
        fixture.asked();
        screen.press("ss");
        let sorted = until(|| {
            let asked = fixture.asked();
            asked.iter().any(|it| it.contains("\"oldest_wait\"")).then_some(())
        });
        assert!(sorted.is_some(), "keys are heeded");
        if end == "SIGTERM" {
            screen.kill();
        } else {
            screen.press(end);
        }
        screen.end();
    }
}

#[test]
fn a_terminal_that_becomes_wider_gets_the_columns_that_have_room_then() {
    let fixture = Fixture::start("top-size.sock");
    let mut screen = Screen::open("top-size", &fixture);
    let narrow = screen.until("acquires/s");
    let column = "group ";
    assert!(!narrow.contains(column), "{narrow}");
    screen.resize(30, 130);
    screen.until(column);
    screen.press("q");
    screen.end();
}
