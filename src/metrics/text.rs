//! Prometheus' text format.
//!
//! Owns the spelling of the series. Values of labels other than the name of a group need no escape. No
//! recorder makes this text, because one could not be given the pool's histograms for it: it takes samples,
//! and keeps each until it is asked, while the pool has their counts.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use metrics_exporter_prometheus::formatting::{
    sanitize_label_value, write_help_line, write_type_line,
};

use crate::metrics::catalogue::Metric;
use crate::metrics::histograms::HistogramSample;
use crate::metrics::series::{LabelPair, SeriesValue, Sink};

/// Whose series a text is made of.
#[derive(Clone, Copy)]
pub(super) enum Audience<'a> {
    /// All groups, and the pool as a whole.
    Everybody,
    /// These groups, and what says nothing of others.
    Groups(&'a [Arc<str>]),
}

impl Audience<'_> {
    fn sees(self, metric: &Metric, group: Option<&Arc<str>>) -> bool {
        match (self, group) {
            (Self::Everybody, _) => true,
            (Self::Groups(groups), Some(group)) => groups.contains(group),
            (Self::Groups(_), None) => metric.is_told_to_all(),
        }
    }
}

/// A text that is being written. Series come group by group, and stand together by metric.
#[derive(Default)]
pub(super) struct Text {
    families: Vec<MetricFamily>,
    groups: Vec<Arc<str>>,
}

/// The series of one metric.
struct MetricFamily {
    metric: Metric,
    lines: String,
    /// Where the lines of each group begin; those of the pool as a whole are of none.
    parts: Vec<(Option<usize>, usize)>,
}

impl Text {
    /// For the series of a group.
    pub(super) fn group(&mut self, name: &Arc<str>) -> TextSink<'_> {
        let part = Some(self.groups.len());
        self.groups.push(Arc::clone(name));
        let group = Some(sanitize_label_value(name));
        TextSink { families: &mut self.families, next: 0, part, group }
    }

    /// For the series of the pool as a whole.
    pub(super) fn pool(&mut self) -> TextSink<'_> {
        TextSink { families: &mut self.families, next: 0, part: None, group: None }
    }

    /// Writes what somebody may see.
    pub(super) fn write_to(&self, text: &mut String, audience: Audience<'_>) {
        text.reserve(self.families.iter().map(|it| it.lines.len() + 512).sum());
        for MetricFamily { metric, lines, parts } in &self.families {
            let ends = parts.iter().skip(1).map(|(_, start)| *start).chain([lines.len()]);
            let parts = parts.iter().zip(ends).filter(|((part, _), _)| {
                audience.sees(metric, part.map(|group| &self.groups[group]))
            });
            let mut parts = parts.map(|((_, start), end)| &lines[*start..end]).peekable();
            if parts.peek().is_none() {
                continue;
            }
            write_help_line(text, metric.name, None, None, metric.meaning);
            write_type_line(text, metric.name, None, None, metric.type_name());
            text.extend(parts);
            text.push('\n');
        }
    }
}

/// The part of a text that comes from one group, or from the pool.
pub(super) struct TextSink<'a> {
    families: &'a mut Vec<MetricFamily>,
    /// Where the last series went: the next is of that metric or of a later one.
    next: usize,
    /// Which of the groups of the text it is.
    part: Option<usize>,
    group: Option<String>,
}

impl TextSink<'_> {
    fn family(&mut self, metric: &Metric) -> (&mut String, Option<&str>) {
        let later = self.families[self.next..].iter().position(|it| it.metric.name == metric.name);
        self.next = later.map_or(self.families.len(), |later| self.next + later);
        if later.is_none() {
            let family = MetricFamily { metric: *metric, lines: String::new(), parts: Vec::new() };
            self.families.push(family);
        }
        let MetricFamily { lines, parts, .. } = &mut self.families[self.next];
        if parts.last().is_none_or(|(part, _)| *part != self.part) {
            parts.push((self.part, lines.len()));
        }
        (lines, self.group.as_deref())
    }
}

impl Sink for TextSink<'_> {
    fn put(&mut self, metric: &Metric, labels: &[LabelPair], value: SeriesValue<'_>) {
        let (lines, group) = self.family(metric);
        let mut writer = SeriesWriter { lines, name: metric.name, group, labels };
        match value {
            SeriesValue::Counter(count) => writer.write("", None, count),
            SeriesValue::Gauge(value) => writer.write("", None, value),
            SeriesValue::Histogram(histogram) => writer.write_histogram(histogram),
        }
    }
}

/// What the lines of a series have in common.
struct SeriesWriter<'a> {
    lines: &'a mut String,
    name: &'static str,
    group: Option<&'a str>,
    labels: &'a [LabelPair],
}

impl SeriesWriter<'_> {
    fn write_histogram(&mut self, histogram: &HistogramSample) {
        let mut total = 0;
        for (bucket, count) in histogram.counts.counts.iter().enumerate() {
            total += count;
            match histogram.bound(bucket) {
                Some(bound) => self.write("_bucket", Some(&bound), total),
                None => break,
            }
        }
        self.write("_bucket", Some(&"+Inf"), total);
        self.write("_sum", None, histogram.sum as f64 / 1e9);
        self.write("_count", None, total);
    }

    fn write(&mut self, suffix: &str, bound: Option<&dyn Display>, value: impl Display) {
        self.lines.push_str(self.name);
        self.lines.push_str(suffix);
        let mut separator = '{';
        let group = self.group.map(|group| ("group", group));
        for (name, value) in group.into_iter().chain(self.labels.iter().copied()) {
            self.add(format_args!("{separator}{name}=\"{value}\""));
            separator = ',';
        }
        if let Some(bound) = bound {
            self.add(format_args!("{separator}le=\"{bound}\""));
            separator = ',';
        }
        let end = if separator == ',' { "}" } else { "" };
        self.add(format_args!("{end} {value}\n"));
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.lines.write_fmt(text).expect("BUG: a string takes any text");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::histogram::{Histogram, TIMES_US};
    use crate::metrics::catalogue;

    fn written(text: &Text, audience: Audience<'_>) -> String {
        let mut page = String::new();
        text.write_to(&mut page, audience);
        page
    }

    #[test]
    fn whoever_sees_some_groups_sees_nothing_of_the_others() {
        let mut text = Text::default();
        for group in ["a", "b", "c"] {
            let mut sink = text.group(&group.into());
            sink.gauge(&catalogue::LEASES, 1.0);
            if group == "b" {
                sink.counter(&catalogue::SLOW_ACQUIRES, 2);
            }
        }
        text.pool().gauge(&catalogue::ADDRESSES_DOWN, 3.0);
        text.pool().counter(&catalogue::REAPER_RUNS, 4);
        let seen = |groups: &[&str]| {
            let groups: Vec<Arc<str>> = groups.iter().map(|group| Arc::from(*group)).collect();
            let text = written(&text, Audience::Groups(&groups));
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let reaper = ["# TYPE telepool_reaper_runs_total counter", "telepool_reaper_runs_total 4"];
        assert_eq!(seen(&[]), reaper);
        assert_eq!(seen(&["d"]), reaper);
        let leases = |group: &str| format!("telepool_leases{{group=\"{group}\"}} 1");
        let mut both = vec!["# TYPE telepool_leases gauge".to_owned(), leases("a"), leases("c")];
        both.extend(reaper.map(str::to_owned));
        assert_eq!(seen(&["c", "a"]), both);
        assert_eq!(seen(&["b"]).len(), 6);
    }

    #[test]
    fn a_histogram_counts_upwards_and_its_label_is_escaped() {
        let histogram = Histogram::seldom(TIMES_US);
        for millis in [1, 2, 700, 60_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut sample = HistogramSample::default();
        sample.update(&histogram);
        let mut text = Text::default();
        let value = SeriesValue::Histogram(&sample);
        text.group(&"a\"b\\c\n".into()).put(&catalogue::ACQUIRE_WAIT, &[], value);
        let text = written(&text, Audience::Everybody);
        for line in [
            "# TYPE telepool_acquire_wait_seconds histogram",
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="0.0005"} 0"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="0.001"} 1"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="1"} 3"#,
            r#"telepool_acquire_wait_seconds_bucket{group="a\"b\\c\n",le="+Inf"} 4"#,
            r#"telepool_acquire_wait_seconds_sum{group="a\"b\\c\n"} 60.703"#,
            r#"telepool_acquire_wait_seconds_count{group="a\"b\\c\n"} 4"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_series_of_a_metric_stand_together_whatever_group_they_are_of() {
        let mut text = Text::default();
        for group in ["a", "b"] {
            let mut sink = text.group(&group.into());
            sink.counters(&catalogue::RELEASES, "outcome", ["idle", "closed"], [1, 2]);
            sink.gauge(&catalogue::LEASES, 0.5);
        }
        text.pool().gauge(&catalogue::ADDRESSES_DOWN, 3.0);
        let text = written(&text, Audience::Everybody);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE telepool_releases_total counter",
                r#"telepool_releases_total{group="a",outcome="idle"} 1"#,
                r#"telepool_releases_total{group="a",outcome="closed"} 2"#,
                r#"telepool_releases_total{group="b",outcome="idle"} 1"#,
                r#"telepool_releases_total{group="b",outcome="closed"} 2"#,
                "",
                "# TYPE telepool_leases gauge",
                r#"telepool_leases{group="a"} 0.5"#,
                r#"telepool_leases{group="b"} 0.5"#,
                "",
                "# TYPE telepool_addresses_down gauge",
                "telepool_addresses_down 3",
                "",
            ]
        );
    }
}
