//! The rules that Grafana's own linter holds dashboards to, and ours: everything that can be
//! judged without a Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    boards, exported, exported_text, mentions, metric_of, panels, queries, text_of, variables,
};

/// Metrics that no panel and no alert is about.
const EXEMPT: &[&str] = &["process_virtual_memory_bytes", "process_virtual_memory_max_bytes"];

/// What is wrong with a dashboard.
fn faults(board: &Value, exported: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |is_so: bool, what: String| {
        if !is_so {
            faults.push(what);
        }
    };
    let is_named = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    expect(is_named(&board["uid"]), "a fixed uid".into());
    expect(board["id"].is_null(), "no id: it belongs to one server".into());
    expect(board["editable"] == json!(false), "not editable: it is kept in a file".into());
    let version = board["schemaVersion"].as_u64().unwrap_or(0);
    expect((39..=41).contains(&version), format!("a schema that imports, not {version}"));

    let list = board["templating"]["list"].as_array().cloned().unwrap_or_default();
    let find = |name: &str| list.iter().find(|variable| variable["name"] == *name);
    let source = find("datasource");
    let is_source = |it: &Value| it["type"] == "datasource" && it["query"] == "prometheus";
    expect(source.is_some_and(is_source), "a variable for the data source".into());
    for name in ["job", "instance", "group"] {
        let takes_all = |it: &Value| {
            it["multi"] == json!(true)
                && it["includeAll"] == json!(true)
                && it["allValue"] == ".+"
                && it["refresh"] == json!(2)
                && it["datasource"]["uid"] == "${datasource}"
        };
        expect(find(name).is_some_and(takes_all), format!("a variable {name} that takes all"));
    }
    let mut ids = BTreeSet::new();
    for panel in panels(board) {
        let title = panel["title"].as_str().unwrap_or_default();
        expect(is_named(&panel["title"]), format!("a title of panel {}", panel["id"]));
        expect(is_named(&panel["description"]), format!("{title}: a description"));
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        expect(is_named(unit), format!("{title}: a unit"));
        expect(ids.insert(panel["id"].to_string()), format!("{title}: an id of its own"));
        expect(panel["datasource"]["uid"] == "${datasource}", format!("{title}: the data source"));
        expect(queries(panel).next().is_some(), format!("{title}: a query"));
        for query in queries(panel) {
            for fault in faults_of_query(query, exported) {
                expect(false, format!("{title}: {fault} in {query}"));
            }
        }
    }
    faults
}

/// What is wrong with one query.
fn faults_of_query(query: &str, exported: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    for mention in mentions(query) {
        let name = mention.name;
        let Some(metric) = metric_of(name, exported) else {
            faults.push(format!("{name} is not exported"));
            continue;
        };
        let selector = mention.after.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((selector, after)) = selector else {
            faults.push(format!("{name} has no selector"));
            continue;
        };
        for matcher in ["job=~\"$job\"", "instance=~\"$instance\""] {
            if !selector.contains(matcher) {
                faults.push(format!("{name} lacks {matcher}"));
            }
        }
        let is_counter = exported[metric] != "gauge";
        let is_rate = mention.before.ends_with("rate(") || mention.before.ends_with("increase(");
        match (is_counter, is_rate) {
            (true, false) => faults.push(format!("{name} counts: only its rate says anything")),
            (false, true) => faults.push(format!("{name} does not count: it has no rate")),
            (true, true) if !after.starts_with("[$__rate_interval])") => {
                faults.push(format!("the rate of {name} is over an interval of its own"));
            }
            _ => {}
        }
    }
    if mentions(query).is_empty() {
        faults.push("no metric".into());
    }
    faults
}

#[test]
fn the_dashboards_keep_the_rules_of_their_kind() {
    let exported = exported();
    let boards = boards();
    let names: Vec<_> = boards.keys().map(String::as_str).collect();
    assert_eq!(names, ["accounts", "connections", "overview"]);
    for (name, board) in &boards {
        let faults = faults(board, &exported);
        assert!(faults.is_empty(), "{name}.json needs: {faults:#?}");
        for (variable, query) in variables(board) {
            assert!(query.starts_with("label_values("), "{name}: {variable}");
        }
    }
    let uids: BTreeSet<_> = boards.values().map(|board| board["uid"].to_string()).collect();
    assert_eq!(uids.len(), boards.len(), "each has a uid of its own");
}

#[test]
fn every_metric_is_shown_or_alerted_on_and_every_one_that_is_exists() {
    let exported = exported();
    let boards = boards();
    let shown = boards.values().flat_map(panels).flat_map(queries).flat_map(mentions);
    let mut used: BTreeSet<_> =
        shown.filter_map(|it| metric_of(it.name, &exported)).map(str::to_owned).collect();
    let alerts = text_of("alerts.yml");
    for mention in mentions(&alerts) {
        let metric = metric_of(mention.name, &exported);
        used.insert(metric.unwrap_or_else(|| panic!("no {}", mention.name)).to_owned());
    }
    let unused: Vec<_> = exported.keys().filter(|it| !used.contains(*it)).collect();
    assert_eq!(unused, EXEMPT, "what nobody looks at need not be counted");
}

/// An account that cannot be had shows as a figure, whatever the reason; those that drain or are paused
/// do so at an operator's wish.
#[test]
fn every_state_in_which_an_account_is_not_to_be_had_has_a_figure() {
    let exported = exported_text();
    let series = exported.lines().filter(|line| line.starts_with("telepool_accounts{"));
    let states: BTreeSet<_> =
        series.filter_map(|it| it.split_once("state=\"")?.1.split('"').next()).collect();
    let boards = boards();
    let figures = panels(&boards["accounts"]).filter(|panel| panel["type"] == "stat");
    let queries: Vec<_> = figures.flat_map(queries).collect();
    let is_shown = |state: &&str| {
        let matcher = format!("state=\"{state}\"}}");
        queries.iter().any(|it| it.contains(&matcher))
    };
    let hidden: Vec<_> = states.iter().filter(|it| !is_shown(it)).collect();
    assert_eq!(hidden, [&"draining", &"paused"], "of {states:?}");
}

#[test]
fn every_alert_has_a_test_that_it_fires_and_tells_a_remedy() {
    let (alerts, tests) = (text_of("alerts.yml"), text_of("alerts_test.yml"));
    let names: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(names.len(), 21, "{names:?}");
    for name in &names {
        let about = format!("alertname: {name}\n");
        let mut cases = tests.split("  - name: ").filter(|case| case.contains(&about));
        let complete = |case: &str| {
            case.matches(&about).count() == 2 && case.matches("exp_annotations").count() == 1
        };
        assert!(cases.any(complete), "{name}: once silent, once firing, with what it says");
    }
    assert_eq!(alerts.matches("severity: ").count(), names.len());
    assert_eq!(alerts.matches("description: >-").count(), names.len());
    assert_eq!(alerts.matches("summary: ").count(), names.len());
}

/// Each rule of the linter speaks up when it is broken.
#[test]
fn a_dashboard_that_breaks_a_rule_is_told_which() {
    let exported = exported();
    let board = &boards()["overview"];
    let change = |pointer: &str, value: Value| {
        let mut board = board.clone();
        *board.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        faults(&board, &exported)
    };
    let query = "/panels/0/targets/0/expr";
    let selector = "job=~\"$job\", instance=~\"$instance\"";
    for (pointer, value, fault) in [
        ("/id", json!(7), "no id"),
        ("/uid", json!(""), "a fixed uid"),
        ("/editable", json!(true), "not editable"),
        ("/schemaVersion", json!(16), "a schema"),
        ("/templating/list/0/query", json!("loki"), "the data source"),
        ("/templating/list/1/multi", json!(false), "a variable job"),
        ("/templating/list/2/allValue", json!(""), "a variable instance"),
        ("/templating/list/3/refresh", json!(1), "a variable group"),
        ("/panels/0/title", json!(" "), "a title"),
        ("/panels/0/description", json!(null), "a description"),
        ("/panels/0/fieldConfig/defaults/unit", json!(null), "a unit"),
        ("/panels/0/id", json!(2), "an id of its own"),
        ("/panels/0/datasource/uid", json!("abc"), "the data source"),
        ("/panels/0/targets", json!([]), "a query"),
        (query, json!("vector(1)"), "no metric"),
        (query, json!(format!("telepool_accountz{{{selector}}}")), "is not exported"),
        (query, json!("sum(telepool_accounts)"), "has no selector"),
        (query, json!("telepool_accounts{job=~\"$job\"}"), "lacks instance"),
        (query, json!(format!("telepool_acquires_total{{{selector}}}")), "only its rate"),
        (query, json!(format!("rate(telepool_leases{{{selector}}}[$__rate_interval])")), "no rate"),
        (query, json!(format!("rate(telepool_acquires_total{{{selector}}}[5m])")), "its own"),
        (
            query,
            json!(format!("rate(telepool_lease_use_seconds{{{selector}}}[5m])")),
            "an interval of its own",
        ),
    ] {
        let faults = change(pointer, value);
        assert!(faults.iter().any(|it| it.contains(fault)), "{fault}, not {faults:?}");
    }
}
