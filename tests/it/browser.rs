//! The live page in a browser, against the command as users run it: what an operator sees, does and finds.
//!
//! Each test is a file of scenes beside this one, which starts its own servers. They are run in a network
//! namespace that has the loopback interface and nothing else, so that whatever the page or the browser
//! asked for from outside would fail. With `PAGE_PICTURES=FOLDER` the pictures of the page are made anew.

mod many;

use std::path::Path;
use std::process::Command;

/// Brings the namespace's only interface up, and becomes the command that follows.
const INSIDE: &str = r#"ip link set lo up && exec "$0" "$@""#;
/// When scenes that hang are ended, in seconds.
const ENDED_AFTER: &str = "600";

fn scenes(name: &str) {
    scenes_with(name, &[]);
}

fn scenes_with(name: &str, variables: &[(&str, &str)]) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let packages = target.join("browser");
    assert!(packages.exists(), "{}: `.ci/run` says how to install it", packages.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/run.mjs");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", INSIDE, "timeout", ENDED_AFTER, "node"])
        .arg(script)
        .arg(name);
    command.env("BROWSER_PACKAGES", packages).env("TELEPOOL", env!("CARGO_BIN_EXE_telepool"));
    command.env("SCRATCH", env!("CARGO_TARGET_TMPDIR")).envs(variables.iter().copied());
    command.env_remove("TELEPOOL_LOG").env_remove("TELEPOOL_LOG_FORMAT");
    let ran = command.output().expect("unshare, of Debian's package util-linux");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success(),
        "{name}: {}; it needs root, node and chromium: {told}",
        ran.status
    );
}

/// They are made with `PAGE_PICTURES=$PWD/dashboards`.
#[test]
fn the_pictures_of_the_page_are_small_and_shown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let document = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for name in ["page", "page-dark", "page-account", "page-phone", "page-phone-dark"] {
        let picture = std::fs::read(folder.join(format!("{name}.webp"))).unwrap();
        assert!(picture.starts_with(b"RIFF") && &picture[8..12] == b"WEBP", "{name}");
        assert!(picture.len() < 150_000, "{name} has {} bytes", picture.len());
        assert!(document.contains(&format!("{name}.webp")), "{name} is not shown");
    }
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn charts_are_full_at_load_and_move_over_a_stream_or_by_polls() {
    scenes("live");
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn accounts_are_searched_sorted_filtered_and_opened_by_mouse_and_by_keys() {
    scenes("accounts");
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn operations_and_settings_need_a_token_and_say_what_they_did() {
    scenes("operations");
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn a_hundred_thousand_accounts_are_searched_and_turned_like_a_few() {
    let name = "browser::a_hundred_thousand_accounts_are_searched_and_turned_like_a_few";
    many::run(name, |variables| scenes_with("many", variables));
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn the_page_comes_back_after_its_server_was_killed() {
    scenes("restart");
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn each_view_is_accessible_and_fits_in_both_themes_and_on_a_phone() {
    scenes("looks");
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn the_cause_of_each_fault_is_found_within_three_clicks() {
    scenes("causes");
}

#[test]
#[ignore = "needs root, node and chromium; `.ci/run` has a step for it"]
fn names_that_are_markup_are_shown_as_text() {
    scenes("hostile");
}
