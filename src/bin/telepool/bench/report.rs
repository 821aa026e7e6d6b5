//! Report of the results: as text for a terminal, and in Markdown.

use std::fmt::Write as _;

use super::charts::CHARTS;
use super::results::{
    BenchSetup, METRICS, Results, StrategyResults, TargetComparison, TargetVerdict,
};
use crate::columns::wrapped;

/// Cells by row; the first row is the head.
struct TextTable(Vec<Vec<String>>);

/// For a terminal: what is beside each other in a file stands one below the other.
pub(super) fn plain(results: &Results) -> String {
    let mut text = format!("{}\n\n", wrapped(&setup(&results.setup), ""));
    text += &figures(&results.strategies).plain();
    for (head, of) in [
        (
            "beside a connection per request",
            (|it| &it.against_per_request) as fn(&TargetComparison) -> &TargetVerdict,
        ),
        ("beside kept clients", |it| &it.against_kept),
    ] {
        let mut rows = vec![row(head, ["", "target", ""].map(str::to_owned))];
        rows.extend(results.comparisons.iter().map(|claim| {
            let verdict = of(claim);
            let cells = [verdict.change(), verdict.target.to_owned(), verdict.word().to_owned()];
            row(claim.measured.clone(), cells)
        }));
        write!(text, "\n{}", TextTable(rows).plain()).ok();
    }
    text += "\nclaimed by the class that telepool replaces:\n";
    for claim in results.comparisons.iter().filter(|it| !it.claim.is_empty()) {
        writeln!(text, "  {}", claim.claim).ok();
    }
    text
}

/// For a file. The charts lie beside it.
pub(super) fn markdown(results: &Results) -> String {
    let mut text = format!("# telepool bench\n\n{}\n\n", setup(&results.setup));
    text += &figures(&results.strategies).markdown();
    text += "\n## Claims\n\nThe claims are those of the class that telepool replaces.\n\n";
    text += &comparisons(results).markdown();
    for (file, title) in CHARTS {
        write!(text, "\n![{title}]({file})\n").ok();
    }
    for problem in &results.problems {
        write!(text, "\n**Worth nothing:** {problem}\n").ok();
    }
    text
}

fn setup(setup: &BenchSetup) -> String {
    let BenchSetup {
        accounts, sessions_per_account, latency_ms, duration_s, rate, capacity, ..
    } = setup;
    format!(
        "{accounts} accounts with {sessions_per_account} sessions each, {latency_ms} ms of \
         latency. Open loop: {rate:.0} calls a second for {duration_s} s, of the {capacity:.0} that \
         a connection per request sustains. Closed loop: {} callers. {} processors, seed {}, \
         version {}.",
        setup.callers, setup.processors, setup.seed, setup.version,
    )
}

fn figures(strategies: &[StrategyResults]) -> TextTable {
    let head = strategies.iter().map(|it| it.strategy.to_string());
    let mut rows = vec![row("", head)];
    for metric in METRICS {
        rows.push(row(metric.title(), strategies.iter().map(|it| metric.text(it))));
    }
    TextTable(rows)
}

fn comparisons(results: &Results) -> TextTable {
    let head = ["measured", "to per request", "target", "", "to kept clients", "target", ""];
    let mut rows = vec![row("claim", head.map(str::to_owned))];
    for claim in &results.comparisons {
        let cells = [&claim.against_per_request, &claim.against_kept].map(|verdict| {
            [verdict.change(), verdict.target.to_owned(), verdict.word().to_owned()]
        });
        let cells = cells.into_iter().flatten();
        rows.push(row(claim.claim, std::iter::once(claim.measured.clone()).chain(cells)));
    }
    TextTable(rows)
}

fn row(first: impl Into<String>, others: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(first.into()).chain(others).collect()
}

impl TextTable {
    fn plain(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ").ok();
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.0.iter().enumerate() {
            text += "|";
            row.iter().for_each(|cell| write!(text, " {cell} |").unwrap_or_default());
            text.push('\n');
            if index == 0 {
                text += "|---|";
                text += &"---:|".repeat(row.len() - 1);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::job::StrategyKind;
    use crate::bench::targets::{compare, tests::figures as of};
    use crate::columns::COLUMNS;

    #[test]
    fn a_terminal_of_eighty_columns_breaks_no_line_and_nothing_is_left_out() {
        let ways = [
            (StrategyKind::PerRequest, None),
            (StrategyKind::Kept, Some(123_456)),
            (StrategyKind::Telepool, Some(7)),
        ];
        let ways = ways.map(|(way, peak)| of(way, 1_234_567, 12_345.0, peak));
        let setup = BenchSetup {
            version: "0.1.0",
            processors: 128,
            accounts: 100_000,
            sessions_per_account: 64,
            latency_ms: 50.0,
            duration_s: 86_400.0,
            rate: 123_456.0,
            capacity: 1_234_567.0,
            callers: 100_000,
            seed: u64::MAX,
        };
        let comparisons = compare(&ways[0], &ways[1], &ways[2]);
        let results = Results { setup, strategies: ways.into(), comparisons, problems: Vec::new() };
        let text = plain(&results);
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        for claim in &results.comparisons {
            assert!(text.contains(claim.claim), "{}", claim.claim);
            assert_eq!(text.matches(&claim.measured).count(), 3, "{}: {text}", claim.measured);
        }
        assert!(text.contains("reached") && text.contains("beside kept clients"), "{text}");
        assert!(markdown(&results).contains("to kept clients"), "a file has room");
    }
}
