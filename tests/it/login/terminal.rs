//! By a person in a terminal.

use std::time::Duration;

use super::*;
use crate::command::fresh;

/// The command in a terminal, of which all is kept that was sent to it.
struct Screen {
    script: Child,
    sent: PathBuf,
}

impl Screen {
    fn open(home: &Home, name: &str, arguments: &[&str]) -> Self {
        let sent = fresh(&format!("{name}-sent"));
        let servers = home.servers().join(" ");
        let inside = format!(
            "trap : INT; {} login {} {servers}; echo \"ended $?\"; stty -a; echo all",
            env!("CARGO_BIN_EXE_telepool"),
            arguments.join(" ")
        );
        let mut script = home.plain(&[]);
        let variables: Vec<_> = script
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(std::ffi::OsStr::to_owned)))
            .collect();
        script = Command::new("script");
        for (name, value) in variables {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let script = script
            .args(["--quiet", "--flush", "--command", &inside])
            .arg(&sent)
            .envs([("TERM", "xterm"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("script, of Debian's package bsdutils");
        Self { script, sent }
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.sent).unwrap_or_default()).into_owned()
    }

    /// Waits until these words were sent so often.
    fn until(&self, words: &str, times: usize) -> String {
        for _ in 0..2400 {
            let sent = self.sent();
            if sent.matches(words).count() >= times {
                return sent;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{words:?} was not shown: {}", self.sent());
    }

    fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end, which leaves the terminal as it was.
    fn end(&mut self, code: i32) -> String {
        let sent = self.until("\nall", 1);
        assert!(sent.contains(&format!("ended {code}")), "{sent}");
        let (_, after) = sent.rsplit_once("ended ").unwrap();
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
        sent
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.script.kill().ok();
        self.script.wait().ok();
        std::fs::remove_file(&self.sent).ok();
    }
}

#[test]
fn a_person_is_asked_leaves_comes_back_and_is_signed_in() {
    let home = Home::new();
    let account = home.account("+9996613131");
    home.protect(account);
    let mut screen = Screen::open(&home, "login", &[]);
    screen.until("Phone number", 1);
    screen.press("+9996613131\n");
    let shown = screen.until("Code (5 characters): ", 1);
    assert!(shown.contains("in the apps in which the account is signed in"), "{shown}");
    assert!(shown.contains("no chat"), "{shown}");
    screen.press("99999\n");
    screen.until("That is not the code; 4 tries are left", 1);
    screen.press("resend\n");
    screen.until("by SMS.", 1);
    screen.press("\u{3}");
    let shown = screen.end(130);
    assert!(shown.contains("telepool login --resume +9996613131"), "{shown}");
    drop(screen);

    let mut screen = Screen::open(&home, "login-again", &["--resume"]);
    screen.until("Code (5 characters): ", 1);
    screen.press("11111\n");
    screen.until("a door", 1);
    screen.press("not it\n");
    screen.until("That is not the password.", 1);
    screen.press("\u{3}");
    screen.end(130);
    drop(screen);

    let mut screen = Screen::open(&home, "login-at-last", &["--resume"]);
    screen.until("Password: ", 1);
    screen.press(&format!("{PASSWORD}\n"));
    let shown = screen.end(0);
    assert!(shown.contains("is signed in, in slot 0"), "{shown}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("hush-hash"), "{shown}");
    home.check(1);
}

#[test]
fn a_person_is_shown_a_code_to_scan_and_can_give_up() {
    let home = Home::new();
    let mut screen = Screen::open(&home, "login-scan", &["--qr"]);
    let shown = screen.until("Link Desktop Device", 1);
    assert!(shown.contains('█') && shown.contains('▀'), "{shown}");
    screen.press("cancel\n");
    screen.end(130);
    assert!(home.left().is_empty());
}

#[test]
fn a_person_gives_up_at_the_code() {
    let home = Home::new();
    home.account("+9996614141");
    let mut screen = Screen::open(&home, "login-give-up", &["+9996614141"]);
    screen.until("Code (5 characters): ", 1);
    screen.press("cancel\n");
    let shown = screen.end(130);
    assert!(shown.contains("nothing is left of it"), "{shown}");
    assert!(home.left().is_empty());
}
