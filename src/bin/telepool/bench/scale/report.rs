//! Report of the measurements: a table, JSON, Markdown, and charts.
//!
//! Owns the targets and the comparison with each. A target that is missed is said to be missed, and
//! is no failure of the run: what makes it one are keys on two connections and connections that
//! would not close.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::accounts::AccountsResult;
use super::{charts, connections, many};
use crate::bench::output_folder;
use crate::failure::Failure;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) connections: connections::ConnectionsResult,
    pub(super) key_violations: u64,
    pub(super) accounts: Vec<AccountsResult>,
    pub(super) many: many::ManyResult,
}

/// One row of the table.
struct Row {
    what: String,
    measured: String,
    /// What was aimed at, and whether it was reached.
    target: Option<(String, bool)>,
}

/// Of a number that has to be at most another.
struct Limit {
    most: f64,
    text: &'static str,
}

/// Below so many accounts, what the process touches for the first time is charged to them.
const TARGETS_FROM: u64 = 10_000;

const COLD_BYTES: Limit = Limit { most: 256.0, text: "<= 256 B" };
const RATIO: Limit = Limit { most: 5.0, text: "<= 5" };
const GROWTH: Limit = Limit { most: 1.1, text: "<= 1.1" };
const RENDER_MS: Limit = Limit { most: 5.0, text: "<= 5 ms" };
const CLOSE_S: Limit = Limit { most: 5.0, text: "< 5 s" };
const REAP_NS: Limit = Limit { most: 200.0, text: "<= 200 ns" };
const EMPTY_TICK_MS: Limit = Limit { most: 1.0, text: "<= 1 ms" };
const CREATE_S: Limit = Limit { most: 3.0, text: "< 3 s" };
/// Of the memory that a million accounts take, what may stay when they are gone.
const KEPT: Limit = Limit { most: 0.02, text: "<= 2 %" };

impl Row {
    fn plain(what: impl Into<String>, measured: String) -> Self {
        Self { what: what.into(), measured, target: None }
    }

    /// A measure with a target; without a number it is not measured, and has none.
    fn with_target(
        what: impl Into<String>,
        value: Option<f64>,
        show: impl Fn(f64) -> String,
        limit: &Limit,
    ) -> Self {
        let Some(value) = value else { return Self::plain(what, "not measured".into()) };
        let target = Some((limit.text.to_owned(), value <= limit.most));
        Self { what: what.into(), measured: show(value), target }
    }
}

impl Report {
    /// Whether no promise was broken.
    pub(super) fn is_sound(&self) -> bool {
        self.key_violations == 0 && self.connections.left == 0
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("BUG: numbers always make JSON")
    }

    /// Writes everything into a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        output_folder::write(folder, "scale.json", &(self.json() + "\n"))?;
        output_folder::write(folder, "scale.md", &self.markdown())?;
        for (name, chart) in charts::charts(&self.accounts) {
            output_folder::write(folder, name, &chart.svg())?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<(&'static str, Vec<Row>)> {
        let mut by_size: Vec<_> = self.accounts.iter().flat_map(of_accounts).collect();
        by_size.extend(growth(&self.accounts));
        vec![
            ("real connections", of_connections(&self.connections, self.key_violations)),
            ("accounts, no-op manager", by_size),
            ("many at once, no-op manager", of_many(&self.many)),
        ]
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (title, rows) in self.rows() {
            text += &format!("| {title} | measured | target | |\n|---|---:|---:|---|\n");
            for Row { what, measured, target } in rows {
                let (target, reached) = target.unwrap_or_default();
                let word = verdict(&target, reached);
                text += &format!("| {what} | {measured} | {target} | {word} |\n");
            }
            text.push('\n');
        }
        for (name, chart) in charts::charts(&self.accounts) {
            text += &format!("![{}]({name})\n", chart.title);
        }
        text
    }
}

fn verdict(target: &str, reached: bool) -> &'static str {
    match (target, reached) {
        ("", _) => "",
        (_, true) => "reached",
        (_, false) => "MISSED",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, rows) in self.rows() {
            writeln!(f, "{title}")?;
            for Row { what, measured, target } in rows {
                let (target, reached) = target.unwrap_or_default();
                let word = verdict(&target, reached);
                let line = format!("  {what:<58} {measured:>28}  {target:<9} {word}");
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn in_ms(value: f64) -> String {
    format!("{value:.2} ms")
}

fn in_seconds(value: f64) -> String {
    format!("{value:.2} s")
}

fn in_ns(value: f64) -> String {
    format!("{value:.0} ns")
}

fn in_bytes(value: Option<f64>) -> String {
    value.map_or_else(|| "not measured".into(), |it| format!("{it:.0} B"))
}

fn of_connections(it: &connections::ConnectionsResult, key_violations: u64) -> Vec<Row> {
    let count = it.connections;
    let kilobytes = it.resident_bytes_each.map(|it| format!("{:.1} kB", it / 1024.0));
    vec![
        Row::plain(
            format!("{count} opened ({:.2} s at dial.per_second)", it.warm_up_least_s),
            format!("{:.2} s, {:.0} dials/s", it.warm_up_s, it.dials_per_s),
        ),
        Row::plain("resident memory of one", kilobytes.unwrap_or_else(|| "not measured".into())),
        Row::plain(
            "acquire of a random account, p50 and p99",
            format!("{} ns, {} ns", it.acquire_ns.p50, it.acquire_ns.p99),
        ),
        Row::plain("text of /metrics", in_ms(it.render_ms)),
        Row::with_target(format!("shutdown of {count}"), Some(it.close_s), in_seconds, &CLOSE_S),
        Row::with_target(
            "left open",
            Some(it.left as f64),
            |left| format!("{left}"),
            &Limit { most: 0.0, text: "0" },
        ),
        Row::with_target(
            "keys on two connections",
            Some(key_violations as f64),
            |count| format!("{count}"),
            &Limit { most: 0.0, text: "0" },
        ),
    ]
}

fn of_accounts(it: &AccountsResult) -> Vec<Row> {
    let count = it.accounts;
    let (costs, memory, late) = (&it.costs, &it.memory, &it.reaper.late_ns);
    let mut rows = Vec::new();
    if memory.cold.is_some() {
        let what = format!("{count}: memory of a cold account");
        rows.push(match count >= TARGETS_FROM {
            true => Row::with_target(what, memory.cold, |it| in_bytes(Some(it)), &COLD_BYTES),
            false => Row::plain(what, in_bytes(memory.cold)),
        });
        rows.push(Row::plain(
            format!("{count}: with one connection, with three"),
            format!(
                "{}, {}",
                in_bytes(memory.with_one_connection),
                in_bytes(memory.with_three_connections)
            ),
        ));
    }
    rows.push(Row::plain(
        format!("{count}: acquire and release, and a bare lookup"),
        format!("{:.0} ns, {:.0} ns", costs.acquire_mean_ns, costs.bare_mean_ns),
    ));
    let ratio = |it| format!("{it:.2}");
    rows.push(Row::with_target(
        format!("{count}: how many times as long"),
        Some(costs.ratio),
        ratio,
        &RATIO,
    ));
    rows.push(Row::plain(
        format!("{count}: single acquires, p50 and p99 (clock {} ns)", costs.clock_ns.p50),
        format!("{} ns, {} ns", costs.acquire_ns.p50, costs.acquire_ns.p99),
    ));
    rows.push(Row::plain(
        format!("{count}: single bare lookups, p50 and p99"),
        format!("{} ns, {} ns", costs.bare_ns.p50, costs.bare_ns.p99),
    ));
    rows.push(Row::with_target(
        format!("{count}: text of /metrics, {} connected", it.render.connected),
        Some(it.render.connected_ms),
        in_ms,
        &RENDER_MS,
    ));
    rows.push(Row::plain(
        format!("{count}: none connected, one of each"),
        format!("{:.2} ms, {:.2} ms", it.render.cold_ms, it.render.all_ms),
    ));
    rows.push(Row::plain(
        format!("{count}: reaper late by p50, p99 (ticks of {} ms)", it.reaper.interval_ms),
        format!("{:.0} ms, {:.0} ms", ms(late.p50), ms(late.p99)),
    ));
    if let Some(processor) = it.reaper.processor_ns_each {
        let what = format!("{count}: processor time of an expiry, close included");
        rows.push(Row::plain(what, in_ns(processor)));
    }
    let what = format!("{count}: shutdown of {} connections", it.close_connections);
    rows.push(Row::plain(what, in_seconds(it.close_s)));
    rows
}

/// How the instructions of an acquire grow from the smallest number of accounts to the largest.
fn growth(all: &[AccountsResult]) -> Option<Row> {
    let (first, last) = (all.first()?, all.last()?);
    let what = format!("instructions of an acquire, {} to {}", first.accounts, last.accounts);
    let (Some(from), Some(to)) = (first.instructions, last.instructions) else {
        let why = "not measured: valgrind is not installed";
        return Some(Row::plain(what, why.into()));
    };
    let show = |growth| format!("{from:.0} to {to:.0}: {growth:.3}");
    Some(Row::with_target(what, Some(to / from), show, &GROWTH))
}

fn of_many(it: &many::ManyResult) -> Vec<Row> {
    let (accounts, connections) = (&it.accounts, &it.connections);
    let count = accounts.count;
    let mb = |bytes: Option<u64>| bytes.map(|it| it as f64 / 1024.0 / 1024.0).unwrap_or_default();
    let [before, with, after] =
        [accounts.resident_before, accounts.resident_with, accounts.resident_after].map(mb);
    let kept = accounts.resident_after.map(|_| (after - before) / (with - before).max(1.0));
    let opened = in_bytes(connections.bytes_each);
    let what = "memory that stays when they are collected";
    let kept = kept.map(|it| it.max(0.0));
    let show = |kept| format!("{before:.0}, {with:.0}, {after:.0} MB: {:.1} %", kept * 100.0);
    let collected = match count >= TARGETS_FROM * 10 {
        true => Row::with_target(what, kept, show, &KEPT),
        false => Row::plain(what, kept.map_or_else(|| "not measured".into(), show)),
    };
    vec![
        Row::with_target(
            format!("{count} accounts created"),
            Some(accounts.create_s),
            in_seconds,
            &CREATE_S,
        ),
        collected,
        Row::plain(
            format!("{} connections opened, account and connection", connections.count),
            format!("{:.2} s, {opened}", connections.open_s),
        ),
        Row::with_target(
            "a tick of the reaper with nothing due",
            Some(connections.empty_tick_ms),
            |it| format!("{it:.3} ms (most {:.3})", connections.empty_tick_ms_max),
            &EMPTY_TICK_MS,
        ),
        Row::with_target(
            "the reaper, per connection that expires",
            Some(connections.reap_ns_each),
            in_ns,
            &REAP_NS,
        ),
    ]
}
