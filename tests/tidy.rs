//! The layering, checked: which module may name which, and what no module may do at all.

use std::collections::{BTreeMap, BTreeSet};
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
    // What both ends of a connection have of the protocol.
    &["mtproto"],
    // What whoever dials has to ask, what other programs' sessions are read from, and how an account comes to one.
    &["ownership", "import", "sign_in"],
    // Where sessions are kept, and what other programs read them from.
    &["store", "export"],
    &["telegram", "sandbox", "http", "gateway"],
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

/// A file's text up to the modules of tests in it. Those that are files of their own only have their name
/// there.
fn without_tests(text: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut code = String::new();
    while let Some(line) = lines.next() {
        let is_test = line.starts_with("#[cfg(all(test") || line == "#[cfg(test)]";
        if is_test && lines.peek().is_some_and(|next| next.ends_with(" {")) {
            break;
        }
        code.push_str(line);
        code.push('\n');
    }
    code
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
            let code = without_tests(&text);
            let library =
                !matches!(module.as_str(), "lib" | "bin" | "design" | "fuzzing") && !is_test;
            library.then(|| (module, relative.clone(), code))
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
    // A long listing gives others its core between slices.
    (
        "thread::",
        &[
            "base/sync",
            "base/timer",
            "limits",
            "runtime",
            "ownership",
            "import/database",
            "store/sqlite",
            "telegram",
            "http/monitor/accounts",
        ],
    ),
    // The timers of callers that are not on their pool's runtime, and a fuzzer, which has none.
    ("block_on", &["base/timer", "http/fuzzing"]),
    (
        "spawn_blocking",
        &[
            "metrics",
            "http",
            "runtime/tasks",
            "telegram/sign_in_run",
            "telegram/updates/lane",
            "telegram/updates/stream",
            "telegram/wire/new_key",
        ],
    ),
    (
        "spawn(",
        &["base/timer", "runtime/tasks", "pool", "ownership", "telegram", "sandbox", "http"],
    ),
    ("grammers_", &["mtproto", "telegram", "sandbox", "sign_in", "import/tdata"]),
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

/// Words that stood for what has another in the field, and that one. The table of words in `design` says what
/// each means.
const RETIRED: &[(&str, &str)] = &[
    ("Answers whether", "Returns whether"),
    ("Answers with", "Returns"),
    ("answers with", "returns"),
    ("afoot", "active"),
    ("census", "eviction queue"),
    ("courtesy", "cooperative yielding"),
    ("custody", "key lock"),
    ("errand", "command"),
    ("in line", "waiting"),
    ("latch", "quarantine"),
    ("parked", "idle"),
    ("standing", "health"),
    ("the ground", "the context"),
    ("void entr", "stale entr"),
    ("warden", "orphan reaper"),
];

#[test]
fn retired_words_stand_nowhere() {
    for (room, path, text) in sources() {
        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        // A server answers with something.
        let words = RETIRED.iter().filter(|(word, _)| room != "sandbox" || !word.contains("swers"));
        for (word, instead) in words {
            if let Some(line) = comments.clone().find(|line| line.contains(word)) {
                panic!("{path}: write {instead:?} for {word:?}: {line}");
            }
        }
    }
}

/// What a file defines, by name: each is there once, so that a word means one thing. Those of one file are
/// alternatives.
#[test]
fn a_type_name_stands_for_one_thing() {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for (_, path, text) in sources() {
        // Another file for another system.
        if path == "ownership/locks/ranges.rs" {
            continue;
        }
        for line in code_lines(&text) {
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            let kind = words.next().unwrap_or_default();
            // An alias within an implementation is the trait's.
            let is_alias = kind == "type" && !line.starts_with(' ');
            if !is_alias && !["struct", "enum", "trait", "union"].contains(&kind) {
                continue;
            }
            let name = words.next().unwrap_or_default();
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            if let Some(other) = known.insert(name.clone(), path.clone()) {
                assert_eq!(other, path, "{name} is defined in two files");
            }
        }
    }
    assert!(known.contains_key("Pool") && known.len() > 200, "{} types", known.len());
}

/// The folder of what a path names: `a::b::C` is in `a` if `a/b.rs` is a file, and in `a/b` if that is a
/// folder.
fn folder_of(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folder = String::new();
    for word in path.split("::") {
        let word: String = word.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let deeper = if folder.is_empty() { word } else { format!("{folder}/{word}") };
        if !root.join(&deeper).is_dir() {
            break;
        }
        folder = deeper;
    }
    folder
}

/// Of two folders that lie side by side at most one uses the other, also by way of a third.
#[test]
fn no_circle_leads_through_folders() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, path, text) in sources() {
        let own = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for used in code_lines(&text).flat_map(|line| line.split("crate::").skip(1)) {
            let used = folder_of(used);
            let within =
                |a: &str, b: &str| b.is_empty() || a == b || a.starts_with(&format!("{b}/"));
            if !within(own, &used) && !within(&used, own) {
                uses.entry(own.to_owned()).or_default().insert(used);
            }
        }
    }
    assert!(uses["pool/acquire"].contains("engine"), "{uses:?}");
    for start in uses.keys() {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(folder) = next.pop() {
            for used in uses.get(folder).into_iter().flatten().filter(|it| seen.insert(*it)) {
                next.push(used);
            }
        }
        assert!(!seen.contains(start), "{start} uses itself by way of {seen:?}");
    }
}

#[test]
fn every_file_opens_with_what_it_owns_and_stays_readable() {
    for (_, path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not say what it owns");
        assert!(text.lines().count() <= 400, "{path} is too long to read at one go");
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
    pool.chain((1..=8).map(|number| format!("T{number}"))).collect()
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
