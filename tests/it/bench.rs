//! `telepool bench`, run as users run it, as short as it can be.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telepool"));
    command.arg("bench").args(arguments).env_remove("TELEPOOL_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A path in the build's own folder.
fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{}-bench-{name}", std::process::id()))
}

const SMALL: [&str; 5] =
    ["--duration=2s", "--accounts=20", "--latency=5ms", "--callers=16", "--rate=50"];

#[test]
fn three_ways_do_the_same_work_and_none_uses_a_key_twice() {
    let folder = path("results");
    let (code, stdout, stderr) =
        run(bench(&SMALL).args(["--json", "--seed=7", "--out"]).arg(&folder));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let results: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(results["problems"], Value::Array(Vec::new()));
    let ways = results["ways"].as_array().unwrap();
    let names: Vec<_> = ways.iter().map(|way| way["way"].as_str().unwrap()).collect();
    assert_eq!(names, ["per-request", "kept", "telepool"]);
    let number = |way: &Value, key: &str| way[key].as_u64().unwrap();
    let calls = number(&ways[0], "calls");
    assert!(calls > 20, "{stdout}");
    for way in ways {
        assert_eq!(number(way, "calls"), calls, "every way makes the same calls");
        assert_eq!((number(way, "failed"), number(way, "key_violations")), (0, 0), "{way}");
        assert!(way["response"]["p50_ms"].as_f64() >= Some(5.0), "the latency is in it: {way}");
        assert!(way["calls_per_s"].as_f64() > Some(0.0) && way["socket_seconds"].is_number());
        assert!(!way["samples"].as_array().unwrap().is_empty());
    }
    let opened = |way: usize| number(&ways[way], "connections_opened");
    assert_eq!((opened(0), opened(1)), (calls, 60), "one for each call, and for each session");
    assert!(opened(2) <= calls, "{stdout}");
    if cfg!(target_os = "linux") {
        for key in ["cpu_s_per_1000_calls", "peak_resident_kb", "mean_resident_kb"] {
            assert!(ways.iter().all(|way| way[key].as_f64() > Some(0.0)), "{key}: {stdout}");
        }
    }
    let claims = results["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 8);
    assert!(claims.iter().all(|it| it["against_kept"]["target"].is_string()), "{stdout}");

    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("results.json")).unwrap(), results);
    let markdown = read("results.md");
    assert!(markdown.contains("| connections opened |"), "{markdown}");
    for chart in ["figures.svg", "response.svg", "connections.svg"] {
        assert!(markdown.contains(&format!("({chart})")), "{markdown}");
        let drawn = read(chart);
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"), "{chart}");
        assert!(drawn.contains("telepool") && drawn.contains("kept clients"), "{chart}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_every_process_and_leaves_no_file() {
    let temporary = path("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut child = bench(&["--duration=60s", "--accounts=20", "--latency=5ms"])
        .env("TMPDIR", &temporary)
        .spawn()
        .unwrap();
    let id = child.id();
    let children = || {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.unwrap().path();
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            // What stands after the name: the state, then the parent.
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()?;
            (parent == id).then(|| path.file_name().unwrap().to_str().unwrap().to_owned())
        });
        all.collect::<Vec<_>>()
    };
    // The data centre and the way; the loop ends long before the command would.
    let started = (0..600).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let children = children();
        (children.len() == 2).then_some(children)
    });
    let Some(started) = started else {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("the processes of the first measurement were not seen");
    };
    assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no results") && output.stdout.is_empty(), "{stderr}");
    for process in started {
        assert!(!PathBuf::from("/proc").join(&process).exists(), "{process} is still there");
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    std::fs::remove_dir(temporary).unwrap();
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_starts() {
    let file = path("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, words) in [
        (&["--rate", "0"][..], "from 1 to 100000"),
        (&["--rate", "many"], "a whole number"),
        (&["--duration", "10ms"], "at least 1s"),
        (&["--duration", "soon"], "250ms"),
        (&["--accounts", "0"], "from 1 to 10000"),
        (&["--sessions-per-account", "65"], "from 1 to 64"),
        (&["--callers", "0"], "from 1 to 100000"),
        (&["--seed", "abc"], "a whole number from 0 to"),
        (&["--out", file], "give a folder"),
        (&["--out", "/proc/none/x"], "--out /proc/none/x"),
    ] {
        let (code, stdout, stderr) = run(&mut bench(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
    std::fs::remove_file(file).unwrap();
}
