//! The layering, checked: which module may name which, and what no module may do at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the ground up. A module may use those of lower layers, and those named before
/// it on its own row.
const LAYERS: &[&[&str]] = &[
    &["labels", "sync", "call_site", "clock", "account", "manager", "config", "error"],
    &["state", "health"],
    &["account_pool", "events", "histogram", "stats"],
    &[
        "caught",
        "runtime",
        "occupancy",
        "budget",
        "dialer",
        "registry",
        "expiry",
        "shared",
        "entry",
        "lease",
        "acquire",
        "pool",
    ],
    &["noop", "session", "ownership", "telegram", "datacenter", "metrics", "panel"],
];

/// Modules of one layer that know each other: the ground holds the way to the accounts, and the
/// accounts stand on the ground.
const CIRCLE: &[&str] =
    &["dialer", "registry", "expiry", "shared", "entry", "lease", "acquire", "pool"];

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
                || relative.contains("/machine");
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

fn rank(module: &str) -> (usize, usize) {
    LAYERS
        .iter()
        .enumerate()
        .find_map(|(layer, row)| Some((layer, row.iter().position(|name| *name == module)?)))
        .unwrap_or_else(|| panic!("the module {module} has no place in the layers"))
}

#[test]
fn a_module_uses_only_what_lies_below_it() {
    for (module, path, text) in sources() {
        let own = rank(&module);
        for line in code_lines(&text) {
            for used in line.split("crate::").skip(1) {
                let name: String =
                    used.chars().take_while(|c| c.is_lowercase() || *c == '_').collect();
                if name.is_empty() || name == module {
                    continue;
                }
                let circle = CIRCLE.contains(&name.as_str()) && CIRCLE.contains(&module.as_str());
                // `session` is the one text form that the outer layers share, and `ownership` what
                // whoever dials has to ask.
                let served = module == "panel" && name == "metrics";
                assert!(
                    circle || rank(&name) < own,
                    "{path} uses crate::{name}, which does not lie below it"
                );
                assert!(
                    own.0 < 4
                        || rank(&name).0 < 4
                        || ["session", "ownership"].contains(&&*name)
                        || served,
                    "{path} uses crate::{name}: the outer modules are independent of each other"
                );
            }
        }
    }
}

/// What may stand only in some modules.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("sync::atomic", &["sync"]),
    ("std::sync::Mutex", &["sync"]),
    ("Ordering::SeqCst", &["sync", "datacenter"]),
    ("Instant::now", &["clock"]),
    ("SystemTime::now", &["clock"]),
    (
        "tokio::time::",
        &[
            "clock",
            "acquire",
            "dialer",
            "expiry",
            "pool",
            "runtime",
            "telegram",
            "datacenter",
            "panel",
        ],
    ),
    // A map's guard locks a shard: whoever holds one is seen here.
    ("dashmap", &["registry", "dialer", "datacenter"]),
    ("thread::", &["sync", "entry", "dialer", "ownership", "telegram", "runtime"]),
    // The timers of callers that are not on their pool's runtime.
    ("block_on", &["runtime"]),
    ("spawn_blocking", &["metrics", "panel", "pool"]),
    ("spawn(", &["pool", "runtime", "ownership", "telegram", "datacenter", "panel"]),
    ("grammers_", &["telegram", "datacenter"]),
    ("axum", &["panel"]),
    ("metrics::", &["metrics", "panel"]),
    ("metrics_", &["metrics", "panel"]),
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
        if rank(&module).0 > 2 || module == "events" {
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
    for (module, path, text) in sources() {
        for (words, allowed) in ONLY_IN {
            let found = code_lines(&text).any(|line| line.contains(words));
            assert!(!found || allowed.contains(&module.as_str()), "{path} must not say {words:?}");
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
        for line in comments.filter(|_| module != "datacenter") {
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
    for (module, _, text) in sources() {
        let entry = modules.entry(module).or_default();
        entry.0 |=
            text.contains("Ordering::") && !text.contains("pub(crate) use std::sync::atomic");
        entry.1 |= text.contains("# Orderings");
    }
    for (module, (atomics, explained)) in modules {
        let only_counts = ["pool", "entry", "expiry", "shared", "telegram", "datacenter"];
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
