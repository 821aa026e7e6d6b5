//! What is named as a remedy exists: in alerts, in dashboards, in the documents and in the texts of errors.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use telepool::config::Setting;

use super::{exported_text, folder, text_of};

/// The settings of the command that are not the pool's.
const OF_THE_COMMAND: [&str; 2] = ["telegram.redial_after_loss", "telegram.engine"];
/// The sections that settings stand in.
const SECTIONS: [&str; 6] = ["dial", "flood", "health", "pool", "telegram", "watch"];
/// What alerts name besides settings and values of labels, and the words of the code that make it exist.
const NAMED: [(&str, &str, &str); 7] = [
    ("AddressDown", "src/events.rs", "AddressDown {"),
    ("capacity", "src/telegram/updates/options.rs", "pub capacity: usize"),
    ("Quarantined", "src/events.rs", "Quarantined {"),
    ("updates", "src/telegram/updates/stream.rs", "pub fn updates("),
    ("UpdateContent::Missed", "src/telegram/updates/received.rs", "Missed(MissedUpdates)"),
    ("telepool state list --state FILE", "src/bin/telepool/state.rs", "List(ListArguments)"),
    ("telepool state reinstate", "src/bin/telepool/state.rs", "Reinstate(ReinstateArguments)"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_setting(name: &str) -> bool {
    OF_THE_COMMAND.contains(&name) || Setting::all().iter().any(|setting| setting.key == name)
}

/// Every word of a text that looks like a setting. A method, which has its parentheses, is none, nor a
/// file.
fn settings_named(text: &str) -> BTreeSet<String> {
    let is_part = |it: char| it.is_ascii_lowercase() || matches!(it, '_' | '.');
    let mut named = BTreeSet::new();
    for section in SECTIONS {
        for (at, _) in text.match_indices(&format!("{section}.")) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '.' | '/')) {
                continue;
            }
            let rest = &text[at..];
            let end = rest.find(|it| !is_part(it)).unwrap_or(rest.len());
            let (word, after) = (rest[..end].trim_end_matches('.'), &rest[end..]);
            // Telegram's own site is no setting of [telegram].
            let is_a_site = word == "telegram.org";
            let is_code = after.starts_with('(') || word.ends_with(".rs");
            if word.contains('.') && !is_code && !is_a_site {
                named.insert(word.to_owned());
            }
        }
    }
    named
}

/// The texts between quotes of a source, without its comments and its tests.
fn literals(source: &str) -> String {
    let code = source.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n").replace("\\\"", "").replace("'\"'", "");
    code.split('"').skip(1).step_by(2).collect::<Vec<_>>().join("\n")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if !path.ends_with("tests.rs") => found.push(path),
            false => {}
        }
    }
}

#[test]
fn every_setting_that_a_text_names_is_one() {
    let mut texts =
        vec![("README.md".to_owned(), fs::read_to_string(root().join("README.md")).unwrap())];
    for file in ["README.md", "alerts.yml", "overview.json", "accounts.json", "connections.json"] {
        texts.push((format!("dashboards/{file}"), text_of(file)));
    }
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for path in files {
        texts.push((path.display().to_string(), literals(&fs::read_to_string(&path).unwrap())));
    }
    let mut seen = BTreeSet::new();
    for (place, text) in &texts {
        for name in settings_named(text) {
            assert!(is_setting(&name), "{place} names {name}, which is no setting");
            seen.insert(name);
        }
    }
    assert!(seen.len() > 15, "the settings are found in texts: {seen:?}");
    let found =
        settings_named("raise pool.updates_capacity, or `dial.handshakes`; pool.close() (pool.rs)");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["dial.handshakes", "pool.updates_capacity"]);
}

#[test]
fn whatever_an_alert_names_exists() {
    let exported = exported_text();
    for (name, file, words) in NAMED {
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert!(source.contains(words), "{name}: {words} is not in {file}");
    }
    let alerts = text_of("alerts.yml");
    let rules = alerts.split("\ngroups:").nth(1).unwrap();
    let prose = rules.split_whitespace().collect::<Vec<_>>().join(" ");
    let named: BTreeSet<_> = prose.split('`').skip(1).step_by(2).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        let is_label = exported.contains(&format!("=\"{name}\""));
        // The group of those that have no name comes with the 65th.
        let is_known = NAMED.iter().any(|(known, ..)| *known == name) || name == "other";
        assert!(is_setting(name) || is_label || is_known, "an alert names `{name}`: what is that?");
    }
    let proxies = "this version dials directly only";
    assert!(!rules.contains("proxies") && !rules.contains("a proxy"), "{proxies}");
}

/// What is provided takes nothing from a Grafana that has a data source: neither its name, which is
/// usually Prometheus, nor its place as the default one.
#[test]
fn the_data_source_that_is_provided_takes_no_others_place() {
    let path = folder().join("provisioning/datasources/telepool.yml");
    let text = fs::read_to_string(path).unwrap();
    let value = |key: &str| {
        let mut lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
        lines.find_map(|line| line.strip_prefix(&format!("{key}: "))).map(str::to_owned)
    };
    assert!(value("name").is_some_and(|it| it.contains("telepool")), "{text}");
    assert!(value("uid").is_some_and(|it| it.contains("telepool")), "{text}");
    assert_eq!(value("isDefault").as_deref(), Some("false"));
}
