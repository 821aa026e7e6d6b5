//! By a person in a terminal.

use super::*;
use crate::screen::Screen;

/// The command in a terminal.
fn login_on_screen(home: &Home, name: &str, arguments: &[&str]) -> Screen {
    let servers = home.servers().join(" ");
    // The shell outlives the Ctrl-C that its child gets.
    let inside = format!(
        "trap : INT; {} login {} {servers}",
        env!("CARGO_BIN_EXE_telepool"),
        arguments.join(" ")
    );
    Screen::open(name, &inside, &home.plain(&[]))
}

#[test]
fn a_person_is_asked_leaves_comes_back_and_is_signed_in() {
    let home = Home::new();
    let account = home.account("+9996613131");
    home.protect(account);
    let mut screen = login_on_screen(&home, "login", &[]);
    screen.until("Phone number");
    screen.press("+9996613131\n");
    let shown = screen.until("Code (5 characters): ");
    assert!(shown.contains("in the apps in which the account is signed in"), "{shown}");
    assert!(shown.contains("no chat"), "{shown}");
    screen.press("99999\n");
    screen.until("That is not the code; 4 tries are left");
    screen.press("resend\n");
    screen.until("by SMS.");
    screen.press("\u{3}");
    let shown = screen.end(130);
    assert!(shown.contains("telepool login --resume +9996613131"), "{shown}");

    let mut screen = login_on_screen(&home, "login-again", &["--resume"]);
    screen.until("Code (5 characters): ");
    screen.press("11111\n");
    screen.until("a door");
    screen.press("not it\n");
    screen.until("That is not the password.");
    screen.press("\u{3}");
    screen.end(130);

    let mut screen = login_on_screen(&home, "login-at-last", &["--resume"]);
    screen.until("Password: ");
    screen.press(&format!("{PASSWORD}\n"));
    let shown = screen.end(0);
    assert!(shown.contains("is signed in, in slot 0"), "{shown}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("hush-hash"), "{shown}");
    home.check(1);
}

#[test]
fn a_person_is_shown_a_code_to_scan_and_can_give_up() {
    let home = Home::new();
    let mut screen = login_on_screen(&home, "login-scan", &["--qr"]);
    let shown = screen.until("Link Desktop Device");
    assert!(shown.contains('█') && shown.contains('▀'), "{shown}");
    screen.press("cancel\n");
    screen.end(130);
    assert!(home.left().is_empty());
}

#[test]
fn a_person_gives_up_at_the_code() {
    let home = Home::new();
    home.account("+9996614141");
    let mut screen = login_on_screen(&home, "login-give-up", &["+9996614141"]);
    screen.until("Code (5 characters): ");
    screen.press("cancel\n");
    let shown = screen.end(130);
    assert!(shown.contains("nothing is left of it"), "{shown}");
    assert!(home.left().is_empty());
}
