//! Charts of the results: curves over the number of accounts.
//!
//! Owns which curves stand in which chart, and the names of the files.

use super::accounts::AccountsResult;
use crate::bench::chart::{LineChart, Series};

/// The charts with the names of their files.
pub(super) fn charts(all: &[AccountsResult]) -> [(&'static str, LineChart); 3] {
    let curve = |name: &str, of: &dyn Fn(&AccountsResult) -> Option<f64>| Series {
        name: name.to_owned(),
        points: all.iter().filter_map(|it| Some((it.accounts as f64, of(it)?))).collect(),
    };
    let chart = |title: &str, y: &str, series| LineChart {
        title: title.to_owned(),
        x: "accounts".to_owned(),
        y: y.to_owned(),
        series,
    };
    [
        (
            "scale-acquire.svg",
            chart(
                "Acquire and release of a random account",
                "nanoseconds",
                vec![
                    curve("acquire with lookup, and release", &|it| Some(it.costs.acquire_mean_ns)),
                    curve("bare lookup, clone, one atomic", &|it| Some(it.costs.bare_mean_ns)),
                ],
            ),
        ),
        (
            "scale-memory.svg",
            chart(
                "Resident memory of an account",
                "bytes",
                vec![
                    curve("with three connections", &|it| it.memory.with_three_connections),
                    curve("with one connection", &|it| it.memory.with_one_connection),
                    curve("cold", &|it| it.memory.cold),
                ],
            ),
        ),
        (
            "scale-render.svg",
            chart(
                "Making the text of /metrics",
                "milliseconds",
                vec![
                    curve("a connection of each account", &|it| Some(it.render.all_ms)),
                    curve("at most 10,000 connections", &|it| Some(it.render.connected_ms)),
                    curve("no connection", &|it| Some(it.render.cold_ms)),
                ],
            ),
        ),
    ]
}
