//! The results in words: for a terminal, and in Markdown.

use std::fmt::Write as _;

use super::charts::CHARTS;
use super::results::{Figures, MEASURES, Results, Setting};

/// Cells by row; the first row is the head.
struct Table(Vec<Vec<String>>);

/// For a terminal.
pub(super) fn plain(results: &Results) -> String {
    let mut text = format!("{}\n\n", setting(&results.setting));
    text += &figures(&results.ways).plain();
    text += "\n";
    text += &claims(results).plain();
    text
}

/// For a file. The charts lie beside it.
pub(super) fn markdown(results: &Results) -> String {
    let mut text = format!("# telepool bench\n\n{}\n\n", setting(&results.setting));
    text += &figures(&results.ways).markdown();
    text += "\n## Claims\n\nThe claims are those of the class that telepool replaces.\n\n";
    text += &claims(results).markdown();
    for (file, title) in CHARTS {
        write!(text, "\n![{title}]({file})\n").ok();
    }
    for problem in &results.problems {
        write!(text, "\n**Worth nothing:** {problem}\n").ok();
    }
    text
}

fn setting(setting: &Setting) -> String {
    let Setting { accounts, sessions_per_account, latency_ms, duration_s, rate, capacity, .. } =
        setting;
    format!(
        "{accounts} accounts with {sessions_per_account} sessions each, {latency_ms} ms of \
         latency. Open loop: {rate:.0} calls a second for {duration_s} s, of the {capacity:.0} that \
         a connection per request sustains. Closed loop: {} callers. {} processors, seed {}, \
         version {}.",
        setting.callers, setting.processors, setting.seed, setting.version,
    )
}

fn figures(ways: &[Figures]) -> Table {
    let head = ways.iter().map(|it| it.way.to_string());
    let mut rows = vec![row("", head)];
    for measure in MEASURES {
        rows.push(row(measure.title(), ways.iter().map(|it| measure.text(it))));
    }
    Table(rows)
}

fn claims(results: &Results) -> Table {
    let head = ["measured", "to per request", "target", "", "to kept clients", "target", ""];
    let mut rows = vec![row("claim", head.map(str::to_owned))];
    for claim in &results.claims {
        let cells = [&claim.against_per_request, &claim.against_kept].map(|verdict| {
            [verdict.change(), verdict.target.to_owned(), verdict.word().to_owned()]
        });
        let cells = cells.into_iter().flatten();
        rows.push(row(claim.claim, std::iter::once(claim.measured.clone()).chain(cells)));
    }
    Table(rows)
}

fn row(first: impl Into<String>, others: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(first.into()).chain(others).collect()
}

impl Table {
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
