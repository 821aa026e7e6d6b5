//! Report of the results: a table, and a chart.

use std::fmt;
use std::path::Path;

use plotters::prelude::*;

use crate::slice::Slice;

/// One pool in one case.
#[derive(Clone, Debug)]
struct Entry {
    name: &'static str,
    /// The middle of its rounds.
    cost: f64,
    /// How many times as fast as the base: the least, the middle and the most of the rounds.
    ratio: [f64; 3],
    fairness: f64,
    p99: f64,
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    title: String,
    entries: Vec<Entry>,
    timed: bool,
}

fn sorted(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

impl Row {
    /// `slices` are by pool and round; ratios are within a round.
    pub(crate) fn new(
        title: &str,
        names: &[&'static str],
        slices: &[Vec<Slice>],
        base: &str,
        timed: bool,
    ) -> Self {
        let base = &slices[names.iter().position(|name| *name == base).unwrap()];
        let entries = names.iter().zip(slices).map(|(name, slices)| {
            let middle = |of: fn(&Slice) -> f64| sorted(slices.iter().map(of).collect())[1];
            let ratios = slices.iter().zip(base).map(|(it, base)| base.cost / it.cost);
            Entry {
                name,
                cost: middle(|it| it.cost),
                ratio: sorted(ratios.collect()),
                fairness: middle(|it| it.fairness),
                p99: middle(|it| it.p99),
            }
        });
        Self { title: title.to_owned(), entries: entries.collect(), timed }
    }
}

#[derive(Debug)]
pub(crate) struct Report {
    /// What a title must contain to be run.
    words: String,
    floors: Vec<(&'static str, f64)>,
    rows: Vec<Row>,
    counts: Vec<(String, Vec<(&'static str, usize)>)>,
}

impl Report {
    pub(crate) fn new(words: String) -> Self {
        Self { words, floors: Vec::new(), rows: Vec::new(), counts: Vec::new() }
    }

    /// Whether a case is to be run; says that it is.
    pub(crate) fn wants(&self, title: &str) -> bool {
        let wanted = title.contains(&self.words);
        if wanted {
            eprintln!("{title}");
        }
        wanted
    }

    pub(crate) fn floor(&mut self, title: &'static str, cost: f64) {
        self.floors.push((title, cost));
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn count(&mut self, title: impl Into<String>, counts: Vec<(&'static str, usize)>) {
        self.counts.push((title.into(), counts));
    }

    /// How many times as fast as deadpool, or as whatever the case is measured by.
    pub(crate) fn draw(&self, file: &Path) {
        let rows: Vec<_> = self.rows.iter().filter(|row| row.entries.len() > 5).collect();
        let bars: usize = rows.iter().map(|row| row.entries.len() + 2).sum();
        let height = 80 + 16 * u32::try_from(bars).unwrap();
        let root = SVGBackend::new(file, (900, height)).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let (ink, faint) = (RGBColor(36, 41, 46), RGBColor(222, 226, 230));
        let text = |size: u32| ("sans-serif", size, &ink).into_text_style(&root);
        let title = "Acquire and release: how many times as fast as deadpool (line: spread)";
        root.draw_text(title, &text(16), (12, 12)).unwrap();
        // From a sixteenth to sixty-four times, each doubling as wide as any other.
        let x = |ratio: f64| 150 + ((ratio.clamp(0.0625, 64.0).log2() + 4.0) * 60.0) as i32;
        for (times, name) in
            [(0.125, "1/8"), (0.5, "1/2"), (1.0, "1"), (2.0, "2"), (8.0, "8"), (32.0, "32")]
        {
            let line =
                PathElement::new([(x(times), 58), (x(times), height.cast_signed() - 8)], faint);
            root.draw(&line).unwrap();
            root.draw_text(name, &text(11), (x(times) - 6, 42)).unwrap();
        }
        let mut y = 66;
        for row in rows {
            root.draw_text(&row.title, &text(13), (12, y)).unwrap();
            y += 18;
            for entry in &row.entries {
                let colour = match entry.name {
                    name if name.starts_with("telepool") => RGBColor(31, 96, 196),
                    _ => RGBColor(165, 175, 185),
                };
                let [low, middle, high] = entry.ratio;
                root.draw_text(entry.name, &text(12), (30, y)).unwrap();
                let (from, to) = (x(1.0).min(x(middle)), x(1.0).max(x(middle)));
                let bar = Rectangle::new([(from, y), (to, y + 11)], colour.filled());
                root.draw(&bar).unwrap();
                let spread = PathElement::new([(x(low), y + 6), (x(high), y + 6)], ink);
                root.draw(&spread).unwrap();
                let label = format!("{middle:.2}  ({:.0} ns)", entry.cost);
                root.draw_text(&label, &text(11), (x(high.max(1.0)) + 8, y)).unwrap();
                y += 16;
            }
            y += 14;
        }
        root.present().unwrap();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| floor | ns |\n|---|---:|")?;
        for (title, cost) in &self.floors {
            writeln!(f, "| {title} | {cost:.1} |")?;
        }
        writeln!(f, "\n| work | pool | ns | as fast as the base (spread) | fairness | p99 wait |")?;
        writeln!(f, "|---|---|---:|---:|---:|---:|")?;
        for row in &self.rows {
            for (index, it) in row.entries.iter().enumerate() {
                let title = if index == 0 { row.title.as_str() } else { "" };
                let [low, middle, high] = it.ratio;
                write!(f, "| {title} | {} | {:.1} | ", it.name, it.cost)?;
                write!(f, "{middle:.2} ({low:.2} to {high:.2}) | {:.2} | ", it.fairness)?;
                match row.timed {
                    true => writeln!(f, "{:.0} µs |", it.p99)?,
                    false => writeln!(f, "|")?,
                }
            }
        }
        for (title, counts) in &self.counts {
            let counts: Vec<_> =
                counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "\n{title}: {}", counts.join(", "))?;
        }
        Ok(())
    }
}
