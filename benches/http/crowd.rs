//! How long the answers took, by route.

use std::collections::BTreeMap;
use std::fmt;

pub(crate) struct Latency {
    /// Of each route: the times in microseconds, in order, and the length of its last answer.
    routes: BTreeMap<String, (Vec<u64>, u64)>,
}

impl Latency {
    /// Reads the lines of the clients: route, microseconds, bytes.
    pub(crate) fn read(lines: &str) -> Self {
        let mut routes = BTreeMap::<_, (Vec<u64>, u64)>::new();
        for line in lines.lines() {
            let mut parts = line.split('\t');
            let route = parts.next().unwrap().to_owned();
            let (took, length) = (parts.next().unwrap(), parts.next().unwrap());
            let entry = routes.entry(route).or_default();
            entry.0.push(took.parse().unwrap());
            entry.1 = length.parse().unwrap();
        }
        for (times, _) in routes.values_mut() {
            times.sort_unstable();
        }
        Self { routes }
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        let mut all: Vec<u64> =
            self.routes.values().flat_map(|(times, _)| times).copied().collect();
        all.sort_unstable();
        quantile(&all, 0.99)
    }
}

/// In milliseconds.
fn quantile(sorted_us: &[u64], quantile: f64) -> f64 {
    let last = sorted_us.len() - 1;
    sorted_us[(last as f64 * quantile).round() as usize] as f64 / 1000.0
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| route | answers | p50, ms | p99, ms | most, ms | bytes |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for (route, (times, length)) in &self.routes {
            let [p50, p99, most] = [0.5, 0.99, 1.0].map(|it| quantile(times, it));
            writeln!(
                f,
                "| `{route}` | {} | {p50:.2} | {p99:.2} | {most:.2} | {length} |",
                times.len()
            )?;
        }
        Ok(())
    }
}
