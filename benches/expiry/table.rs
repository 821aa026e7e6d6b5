//! What was measured, as a table in Markdown.
//!
//! Owns the numbers. Measures nothing.

use std::fmt;

/// What expires connections, in the order of the columns.
#[derive(Clone, Copy)]
pub(crate) enum Contender {
    Wheel,
    DelayQueue,
    Scan,
}

/// A line of the table: of each contender what each round came to.
pub(crate) struct Row {
    title: &'static str,
    unit: &'static str,
    /// The most that the first column may be.
    target: Option<f64>,
    rounds: [Vec<f64>; 3],
}

impl Row {
    pub(crate) fn new(title: &'static str, unit: &'static str, target: Option<f64>) -> Self {
        Self { title, unit, target, rounds: Default::default() }
    }

    pub(crate) fn add(&mut self, contender: Contender, value: f64) {
        self.rounds[contender as usize].push(value);
    }
}

#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.0.extend(rows);
    }
}

/// Least, median and most.
fn spread(rounds: &[f64]) -> Option<[f64; 3]> {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(f64::total_cmp);
    Some([*rounds.first()?, rounds[rounds.len() / 2], *rounds.last()?])
}

fn cell(rounds: &[f64]) -> String {
    let digits = |value: f64| match value {
        value if value < 1.0 => format!("{value:.4}"),
        value => format!("{value:.1}"),
    };
    match spread(rounds) {
        None => String::new(),
        Some([_, middle, _]) if rounds.len() == 1 => digits(middle),
        Some([least, middle, most]) => {
            format!("{} ({} to {})", digits(middle), digits(least), digits(most))
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | unit | telepool | DelayQueue | full scan | target | reached |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for row in &self.0 {
            let [own, queue, scan] = row.rounds.each_ref().map(|rounds| cell(rounds));
            let target = row.target.map_or(String::new(), |target| format!("<= {target}"));
            let reached = match (spread(&row.rounds[0]), row.target) {
                (Some([_, middle, _]), Some(target)) if middle <= target => "yes",
                (_, Some(_)) => "no",
                (_, None) => "",
            };
            let (title, unit) = (row.title, row.unit);
            writeln!(f, "| {title} | {unit} | {own} | {queue} | {scan} | {target} | {reached} |")?;
        }
        Ok(())
    }
}
