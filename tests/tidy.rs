//! The layering, checked: which module may name which, and what no module may do at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up: folders of `src`, and the files beside them, which are the words that
/// users and all floors share. A room uses what lies on lower floors, and those that are named before it on
/// its own.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &[
        "account_id",
        "connection",
        "manager",
        "account_health",
        "config",
        "error",
        "events",
        "noop",
        "stats",
    ],
    &["engine"],
    &["limits", "expiry"],
    &["registry"],
    &["runtime"],
    &["pool"],
];

/// The floors of features, above all others. One uses what lies below it, and nothing beside it.
const FEATURES: &[&[&str]] = &[
    &["session", "metrics"],
    // What whoever dials has to ask.
    &["ownership"],
    &["telegram", "sandbox", "http", "store", "gateway"],
];

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the package") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The library's files: top module, path, text up to the unit tests.
fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    files
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&root).ok()?.to_str()?.to_owned();
            let module = relative.split(['/', '.']).next()?.to_owned();
            let text = fs::read_to_string(&path).ok()?;
            let is_test = ["/tests.rs", "/model.rs"].iter().any(|name| relative.ends_with(name))
                || ["/machine", "/tests/", "/model/"].iter().any(|it| relative.contains(it));
            let code = text.split("\n#[cfg(all(test").next()?.split("\n#[cfg(test)]").next()?;
            let library =
                !matches!(module.as_str(), "lib" | "bin" | "design" | "fuzzing") && !is_test;
            library.then(|| (module, relative.clone(), code.to_owned()))
        })
        .collect()
}

/// The text without its comments.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default())
}

/// The floor of a room, and its place there: features have none.
fn rank(room: &str) -> (usize, usize) {
    let place = |row: &&[&str]| row.iter().position(|name| *name == room);
    let floors = FLOORS.iter().enumerate();
    let mut ranks = floors.filter_map(|(floor, row)| Some((floor, place(row)?)));
    let mut features = (FLOORS.len()..).zip(FEATURES).filter(|(_, row)| place(row).is_some());
    ranks
        .next()
        .or_else(|| features.next().map(|(floor, _)| (floor, 0)))
        .unwrap_or_else(|| panic!("{room} has no place on the floors"))
}

/// What a file names of the crate: the first word of each path.
fn rooms_used(text: &str) -> Vec<String> {
    let paths = code_lines(text).flat_map(|line| line.split("crate::").skip(1));
    paths
        .map(|path| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn a_room_uses_only_what_lies_below_it() {
    for (room, path, text) in sources() {
        for used in rooms_used(&text) {
            // A macro by its name, or a word that is imported one by one.
            assert!(!used.is_empty(), "{path}: name what is used of the crate one by one");
            assert!(
                used.starts_with(char::is_lowercase),
                "{path} uses crate::{used}: write the path of its own file"
            );
            assert!(
                used == room || rank(&used) < rank(&room),
                "{path} uses crate::{used}, which does not lie below it"
            );
        }
    }
}

/// What may stand only in some modules.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("sync::atomic", &["base/sync"]),
    ("std::sync::Mutex", &["base/sync"]),
    ("Ordering::SeqCst", &["base/sync", "sandbox"]),
    ("Instant::now", &["base/clock"]),
    ("SystemTime::now", &["base/clock"]),
    ("catch_unwind", &["base/panics", "base/timer", "events"]),
    (
        "tokio::time::",
        &["base/clock", "base/timer", "limits", "runtime", "pool", "telegram", "sandbox", "http"],
    ),
    // A map's guard locks a shard: whoever holds one is seen here.
    ("dashmap", &["registry", "limits/dialing", "sandbox"]),
    ("thread::", &["base/sync", "base/timer", "limits", "runtime", "ownership", "telegram"]),
    // The timers of callers that are not on their pool's runtime.
    ("block_on", &["base/timer"]),
    ("spawn_blocking", &["metrics", "http", "runtime/tasks"]),
    (
        "spawn(",
        &["base/timer", "runtime/tasks", "pool", "ownership", "telegram", "sandbox", "http"],
    ),
    ("grammers_", &["telegram", "sandbox"]),
    ("axum", &["http"]),
    ("metrics::", &["metrics", "http"]),
    ("metrics_", &["metrics", "http"]),
    ("clap::", &[]),
    ("toml::", &[]),
    ("println!", &[]),
    ("print!", &[]),
    ("dbg!", &[]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
    ("unsafe ", &[]),
    (".unwrap()", &[]),
];

/// Nothing below the machinery waits: the engine and all that it stands on are plain functions.
/// Only whoever reads the events waits for the next one.
#[test]
fn the_engine_and_what_it_stands_on_never_wait() {
    for (module, path, text) in sources() {
        if rank(&module).0 > rank("engine").0
            || module == "events"
            || module == "noop"
            || path == "base/panics.rs"
            || path == "base/timer.rs"
        {
            continue;
        }
        let mut words = code_lines(&text).flat_map(|line| line.split(|c: char| !c.is_alphabetic()));
        assert!(words.all(|word| word != "async" && word != "await"), "{path} must not wait");
    }
}

/// An answer of the registry is a clone: nobody outside holds a lock of it.
#[test]
fn the_registry_answers_with_clones() {
    let inside = sources().into_iter().filter(|(module, ..)| module == "registry");
    for (_, path, text) in inside {
        for line in code_lines(&text).filter(|line| line.contains("->")) {
            for guard in ["Ref<", "RefMulti", "RefMut", "Iter<", "MutexGuard"] {
                assert!(!line.contains(guard), "{path} gives a guard away: {line}");
            }
        }
    }
}

#[test]
fn what_belongs_to_one_module_stands_in_no_other() {
    for (_, path, text) in sources() {
        for (words, allowed) in ONLY_IN {
            let found = code_lines(&text).any(|line| line.contains(words));
            let is_allowed = allowed.iter().any(|place| {
                path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']))
            });
            assert!(!found || is_allowed, "{path} must not say {words:?}");
        }
    }
}

/// Words that stand for what has another in the field, and that one.
const RETIRED: &[(&str, &str)] = &[
    ("Answers whether", "Returns whether"),
    ("Answers with", "Returns"),
    ("answers with", "returns"),
];

#[test]
fn retired_words_stand_nowhere() {
    for (module, path, text) in sources() {
        // A server answers with something.
        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        for line in comments.filter(|_| module != "sandbox") {
            for (word, instead) in RETIRED {
                assert!(!line.contains(word), "{path}: write {instead:?}: {line}");
            }
        }
    }
}

#[test]
fn every_file_opens_with_what_it_owns_and_stays_readable() {
    for (_, path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not say what it owns");
        assert!(text.lines().count() <= 520, "{path} is too long to read at one go");
    }
}

#[test]
fn a_drop_neither_spawns_nor_blocks_nor_awaits() {
    for (_, path, text) in sources() {
        for drop in text.split("fn drop(&mut self)").skip(1) {
            let body = drop.split("\n    }").next().unwrap_or_default();
            for words in ["spawn", ".await", "block_on", "sleep", ".join(", "blocking_"] {
                assert!(!body.contains(words), "a drop in {path} says {words}");
            }
        }
    }
}

#[test]
fn every_module_with_atomics_says_why_its_orderings_hold() {
    let mut modules: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for (room, path, text) in sources() {
        // The containers stand by themselves; elsewhere a floor explains itself in one place.
        let parts = if ["base", "limits", "registry"].contains(&&*room) { 2 } else { 1 };
        let module: Vec<_> = path.split(['/', '.']).take(parts).collect();
        let entry = modules.entry(module.join("/")).or_default();
        entry.0 |=
            text.contains("Ordering::") && !text.contains("pub(crate) use std::sync::atomic");
        entry.1 |= text.contains("# Orderings");
    }
    for (module, (atomics, explained)) in modules {
        let only_counts = ["pool", "expiry", "runtime", "telegram", "sandbox", "registry/mod"];
        let told = explained || only_counts.contains(&module.as_str());
        assert!(!atomics || told, "{module} has atomics and no section on orderings");
    }
}

/// The facts of the table in `design`: of any pool, and of Telegram.
fn facts() -> Vec<String> {
    let pool = (1..=26).map(|number| format!("I{number}"));
    pool.chain((1..=6).map(|number| format!("T{number}"))).collect()
}

#[test]
fn every_fact_is_held_by_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        rust_files(&root.join(folder), &mut files);
    }
    let code: String = files.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let design = fs::read_to_string(root.join("src/design.rs")).expect("the page is there");
    let rows = design.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut seen = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [fact, _, tests, ..] = cells[..] else { continue };
        if !fact.starts_with(['I', 'T']) {
            continue;
        }
        seen.push(fact.to_owned());
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{fact} is held by nothing");
        for test in tests {
            assert!(code.contains(&format!("fn {test}(")), "{fact}: there is no test {test}");
        }
    }
    assert_eq!(seen, facts());
}
