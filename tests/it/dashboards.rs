//! The dashboards and the alerts: held against the rules of their kind, and against a Prometheus
//! that scrapes a service at work.

mod lint;
mod live;
mod picture;
mod promtool;
mod remedies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use telepool::CallOutcome;
use telepool::metrics::Prometheus;

use crate::scripted::Scripted;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn text_of(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

/// Each dashboard, by the name of its file.
fn boards() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

/// The panels of a dashboard that show something.
fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// The queries of a panel.
fn queries(panel: &Value) -> impl Iterator<Item = &str> {
    panel["targets"].as_array().into_iter().flatten().filter_map(|target| target["expr"].as_str())
}

/// The variables that ask Prometheus for their values, and what they ask.
fn variables(board: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = board["templating"]["list"].as_array().unwrap().iter();
    all.filter(|variable| variable["type"] == "query")
        .map(|it| (it["name"].as_str().unwrap(), it["query"]["query"].as_str().unwrap()))
}

/// What a service exports: each metric and its type.
fn exported() -> BTreeMap<String, String> {
    types(&exported_text())
}

/// What a service exports, in full.
fn exported_text() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let exporter = Prometheus::new(&pool).unwrap();
    // A group that has made a call has all the series there are.
    let counters = manager.state.traffic.get().unwrap().counters(&"default".into());
    counters.begin_call().end(CallOutcome::Ok);
    exporter.render()
}

/// The metrics of a text in Prometheus' format, and their types.
fn types(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// Where a metric stands in an expression: its name, and what comes before and after.
struct Mention<'a> {
    name: &'a str,
    before: &'a str,
    after: &'a str,
}

/// Every metric of the service in an expression, or in a whole file of them.
fn mentions(text: &str) -> Vec<Mention<'_>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        let name = &rest[..length];
        if name.starts_with("telepool_") || name.starts_with("process_") {
            all.push(Mention { name, before: &text[..at], after: &rest[length..] });
        }
        at += length.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    all
}

/// The metric that a series belongs to: a histogram has three.
fn metric_of<'a>(series: &'a str, exported: &BTreeMap<String, String>) -> Option<&'a str> {
    if exported.contains_key(series) {
        return Some(series);
    }
    let parts = ["_bucket", "_count", "_sum"];
    let base = parts.iter().find_map(|part| series.strip_suffix(part))?;
    (exported.get(base).map(String::as_str) == Some("histogram")).then_some(base)
}
