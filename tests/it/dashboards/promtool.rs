//! The alerts before Prometheus' own judge.

use std::path::Path;
use std::process::{Command, Output};

use super::{folder, text_of};

/// Runs promtool; answers whether it was content, and what it said.
pub(super) fn promtool(arguments: &[&str], folder: &Path) -> (bool, String) {
    let ran = Command::new("promtool").args(arguments).current_dir(folder).output();
    let Output { status, stdout, stderr } =
        ran.unwrap_or_else(|error| panic!("promtool, of Debian's package prometheus: {error}"));
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (status.success(), text)
}

/// The rules with one line of an alert replaced; `None` if it has no such line.
fn mutated(alert: &str, change: impl Fn(&str) -> Option<String>) -> Option<String> {
    let text = text_of("alerts.yml");
    let start = text.find(&format!("- alert: {alert}\n")).unwrap();
    let end = text[start + 1..].find("- alert: ").map_or(text.len(), |at| start + 1 + at);
    let rule = &text[start..end];
    let (line, new) = rule.lines().find_map(|line| Some((line, change(line)?)))?;
    let rule = rule.replacen(line, &new, 1);
    Some(format!("{}{rule}{}", &text[..start], &text[end..]))
}

/// A line whose threshold, the number at its end, is so many times as large. Zero becomes large.
fn with_threshold(line: &str, times: f64) -> Option<String> {
    let (start, threshold) = line.rsplit_once(' ')?;
    let operator = start.chars().next_back().filter(|it| matches!(it, '>' | '<'))?;
    let threshold: f64 = threshold.parse().ok()?;
    let moved = match operator {
        '>' if threshold == 0.0 => 1e9,
        '>' => threshold * times,
        _ => threshold / times,
    };
    Some(format!("{start} {moved}"))
}

/// The tests that ask for an alert: no other one can notice that it has changed, and each takes half a second.
fn tests_of(alert: &str) -> String {
    let text = text_of("alerts_test.yml");
    let (head, tests) = text.split_once("\ntests:\n").unwrap();
    let asked = format!("alertname: {alert}\n");
    let tests = tests.split("\n  - name: ").map(|test| test.trim_start_matches("  - name: "));
    let of_it: Vec<_> = tests.filter(|test| test.contains(&asked)).collect();
    assert!(!of_it.is_empty(), "{alert} has no test");
    let of_it = of_it.iter().map(|test| format!("  - name: {test}\n")).collect::<String>();
    format!("{head}\ntests:\n{of_it}")
}

fn with_wait(line: &str, wait: &str) -> Option<String> {
    let (start, _) = line.split_once("for: ")?;
    Some(format!("{start}for: {wait}"))
}

#[test]
#[ignore = "needs promtool; `.ci/run` has a step for it"]
fn the_alerts_pass_their_tests_and_no_other_alerts_do() {
    let (passed, said) = promtool(&["check", "rules", "alerts.yml"], &folder());
    assert!(passed, "{said}");
    let (passed, said) = promtool(&["test", "rules", "alerts_test.yml"], &folder());
    assert!(passed, "{said}");

    let alerts = text_of("alerts.yml");
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let copy = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for name in names {
        std::fs::write(copy.path().join("alerts_test.yml"), tests_of(name)).unwrap();
        std::fs::write(copy.path().join("alerts.yml"), &alerts).unwrap();
        let (passed, said) = promtool(&["test", "rules", "alerts_test.yml"], copy.path());
        assert!(passed, "the tests of {name} by themselves: {said}");
        let ways: [(&str, Option<String>); 3] = [
            ("never fires", mutated(name, |line| with_threshold(line, 20.0))),
            ("waits for long", mutated(name, |line| with_wait(line, "1000h"))),
            ("waits for nothing", mutated(name, |line| with_wait(line, "0s"))),
        ];
        for (way, rules) in ways {
            let Some(rules) = rules else { continue };
            std::fs::write(copy.path().join("alerts.yml"), rules).unwrap();
            let (passed, said) = promtool(&["test", "rules", "alerts_test.yml"], copy.path());
            assert!(
                !passed && said.contains("FAILED"),
                "{name} {way}, and no test says so: {said}"
            );
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried} mutations");
    println!("{tried} mutations, all found");
}
