//! The measurement at scale, in its short mode: it is complete, whatever its numbers are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn scale(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telepool"));
    command.args(["bench", "--scale"]).args(arguments).env_remove("TELEPOOL_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = scale(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A folder in the build's own that nothing stands at.
fn fresh(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("{}-{name}", std::process::id()));
    std::fs::remove_dir_all(&path).ok();
    path
}

/// The number at a path such as `/many/accounts/count`.
fn number(result: &Value, path: &str) -> f64 {
    let found = result.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{path} is no number in {result}"))
}

const SHORT: [&str; 6] =
    ["--sizes=100,1000", "--connections", "50", "--million", "10000", "--json"];

#[test]
fn a_short_run_measures_every_part_and_writes_what_it_measured() {
    let folder = fresh("scale");
    let out = folder.to_str().unwrap();
    let mut arguments = SHORT.to_vec();
    arguments.extend(["--out", out]);
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.is_empty(), "nothing is told where no terminal is: {stderr}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(number(&result, "/key_violations"), 0.0);
    assert_eq!(number(&result, "/connections/connections"), 50.0);
    assert_eq!(number(&result, "/connections/left"), 0.0);
    for (index, accounts) in [100.0, 1000.0].into_iter().enumerate() {
        let of = |path: &str| number(&result, &format!("/accounts/{index}{path}"));
        assert_eq!(of("/accounts"), accounts);
        assert_eq!(of("/close_connections"), 3.0 * accounts);
        assert!(of("/costs/acquire_ns/p50") <= of("/costs/acquire_ns/p99"));
        for path in ["/costs/ratio", "/costs/bare_mean_ns", "/render/all_ms", "/close_s"] {
            assert!(of(path) > 0.0, "{path}");
        }
        assert!(of("/reaper/late_ns/p50") <= of("/reaper/late_ns/max"));
    }
    for path in [
        "/connections/warm_up_s",
        "/connections/acquire_ns/p99",
        "/connections/render_ms",
        "/connections/close_s",
        "/many/accounts/create_s",
        "/many/connections/open_s",
        "/many/connections/empty_tick_ms",
        "/many/connections/reap_ns_each",
    ] {
        assert!(number(&result, path) > 0.0, "{path}");
    }
    for path in ["/many/accounts/count", "/many/connections/count"] {
        assert_eq!(number(&result, path), 10_000.0);
    }
    written(&folder, &result);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The files of a run are there and say what standard output said.
fn written(folder: &Path, result: &Value) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let kept: Value = serde_json::from_str(&read("scale.json")).unwrap();
    assert_eq!(&kept, result);
    let page = read("scale.md");
    for words in ["keys on two connections | 0 | 0 | reached", "1000: acquire", "10000 accounts"] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    for name in ["scale-acquire.svg", "scale-memory.svg", "scale-render.svg"] {
        let picture = read(name);
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{name}");
        assert!(picture.contains("accounts") && page.contains(name), "{name}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_remedy() {
    let file = fresh("scale-file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("below");
    for (arguments, words) in [
        (vec!["--sizes", "5"], "from 10 to 300000"),
        (vec!["--sizes", "many"], "a whole number from 10 to 300000"),
        (vec!["--connections", "0"], "from 1 to 60000"),
        (vec!["--million", "10"], "from 1000 to 1000000"),
        (vec!["--out", below.to_str().unwrap()], "give another folder"),
        (vec!["--part", "nothing"], "for the program's own use"),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
    std::fs::remove_file(file).unwrap();
}

#[cfg(unix)]
#[test]
fn too_few_files_are_told_before_anything_starts() {
    let program = env!("CARGO_BIN_EXE_telepool");
    let script = format!("ulimit -n 200; exec {program} bench --scale --connections 500");
    let Output { status, stderr, .. } = Command::new("sh").args(["-c", &script]).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("may open 200 files") && stderr.contains("ulimit -n 619"), "{stderr}");
}

/// The processes whose parent this is.
#[cfg(target_os = "linux")]
fn children_of(id: u32) -> Vec<String> {
    let path = format!("/proc/{id}/task/{id}/children");
    let all = std::fs::read_to_string(path).unwrap_or_default();
    all.split_whitespace().map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_end_that_is_asked_for_leaves_no_process_and_no_file() {
    let temporary = fresh("scale-temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = scale(&["--connections", "2000"]);
    let mut running = command.env("TMPDIR", &temporary).spawn().unwrap();
    // The data centre, and the part that connects to it; a limit that is never met in practice.
    let mut children = Vec::new();
    for _ in 0..2_000 {
        children = children_of(running.id());
        if children.len() == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert_eq!(children.len(), 2, "both had been started");
    for child in children {
        assert!(!Path::new("/proc").join(&child).exists(), "{child} is left");
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the sessions are gone");
    std::fs::remove_dir_all(temporary).unwrap();
}
