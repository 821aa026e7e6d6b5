//! `telepool top` in a terminal: keys, signals, another size, and how the terminal is left.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::command::{fresh, telepool};
use crate::ctl::Fixture;
use crate::screen::{Screen, until};

/// Begins and ends a screen of its own.
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

/// `top` in a terminal.
struct TopScreen {
    screen: Screen,
    id: PathBuf,
    terminal: PathBuf,
}

impl TopScreen {
    fn open(name: &str, fixture: &Fixture) -> Self {
        let [id, terminal] = ["id", "terminal"].map(|it| fresh(&format!("{name}-{it}")));
        let inside = format!(
            "stty rows 24 cols 80; tty > {}; sh -c 'echo $$ > {}; exec {} top --socket {}'",
            terminal.display(),
            id.display(),
            env!("CARGO_BIN_EXE_telepool"),
            fixture.socket.display()
        );
        Self { screen: Screen::open(name, &inside, &telepool(&[])), id, terminal }
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
    fn end(self) {
        let sent = self.screen.end(0);
        for path in [self.id, self.terminal] {
            fs::remove_file(path).ok();
        }
        let (_, after) = sent.rsplit_once(LEAVES).expect("it leaves its screen");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
    }
}

#[test]
fn keys_are_heeded_and_whatever_ends_it_the_terminal_is_as_it_was() {
    let fixture = Fixture::start("top-keys.sock");
    for end in ["q", "\u{3}", "SIGTERM"] {
        let mut top = TopScreen::open("top-keys", &fixture);
        assert!(top.screen.until("acquires/s").contains(ENTERS), "it has a screen of its own");
        // What one before has asked for does not count.
        fixture.asked();
        top.screen.press("ss");
        let sorted = until(|| {
            let asked = fixture.asked();
            asked.iter().any(|it| it.contains("\"oldest_wait\"")).then_some(())
        });
        assert!(sorted.is_some(), "keys are heeded");
        if end == "SIGTERM" {
            top.kill();
        } else {
            top.screen.press(end);
        }
        top.end();
    }
}

#[test]
fn a_terminal_that_becomes_wider_gets_the_columns_that_have_room_then() {
    let fixture = Fixture::start("top-size.sock");
    let mut top = TopScreen::open("top-size", &fixture);
    let narrow = top.screen.until("acquires/s");
    let column = "group ";
    assert!(!narrow.contains(column), "{narrow}");
    top.resize(30, 130);
    top.screen.until(column);
    top.screen.press("q");
    top.end();
}
