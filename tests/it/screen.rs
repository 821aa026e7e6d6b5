//! A terminal in which a command runs, as a person has one.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::fresh;

/// A command in a terminal, of which all is kept that was sent to it. The last that it shows is the state of the
/// terminal, and `all`.
pub(crate) struct Screen {
    script: Child,
    sent: PathBuf,
}

impl Screen {
    /// Runs these words of a shell, with the variables of a command.
    pub(crate) fn open(name: &str, inside: &str, variables: &Command) -> Self {
        let sent = fresh(&format!("{name}-sent"));
        let mut script = Command::new("script");
        for (variable, value) in variables.get_envs() {
            match value {
                Some(value) => script.env(variable, value),
                None => script.env_remove(variable),
            };
        }
        let inside = format!("{inside}; echo \"ended $?\"; stty -a; echo all");
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

    pub(crate) fn sent(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.sent).unwrap_or_default()).into_owned()
    }

    /// Waits until these words were sent, and returns all that was.
    pub(crate) fn until(&self, words: &str) -> String {
        let found = until(|| Some(self.sent()).filter(|sent| sent.contains(words)));
        found.unwrap_or_else(|| panic!("{words:?} was not shown: {:?}", self.sent()))
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end with this status, which leaves the terminal as it was. Returns all that was sent.
    pub(crate) fn end(mut self, status: i32) -> String {
        let sent = self.until("\nall");
        let (_, after) = sent.rsplit_once("ended ").expect("it has ended");
        assert!(after.starts_with(&format!("{status}\r\n")), "{sent}");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
        drop(self.script.stdin.take());
        self.script.wait().unwrap();
        sent
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.script.kill().ok();
        self.script.wait().ok();
        fs::remove_file(&self.sent).ok();
    }
}

/// Looks again and again for what comes, on a busy machine late.
pub(crate) fn until<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    (0..2400).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        look()
    })
}
