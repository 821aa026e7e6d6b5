//! Prometheus' text format.
//!
//! Owns the spelling of the series. Values of labels other than the name of a group need no escape. No
//! recorder makes this text, because one could not be given the pool's histograms for it: it takes samples,
//! and keeps each until it is asked, while the pool has their counts.

use std::fmt::{Display, Write as _};

use metrics_exporter_prometheus::formatting::{
    sanitize_label_value, write_help_line, write_type_line,
};

use crate::metrics::catalogue::Metric;
use crate::metrics::histograms::HistogramSample;
use crate::metrics::series::{LabelPair, SeriesValue, Sink};

/// A text that is being written. Series come group by group, and stand together by metric.
#[derive(Default)]
pub(super) struct Text(Vec<MetricFamily>);

/// The series of one metric.
struct MetricFamily {
    metric: Metric,
    lines: String,
}

impl Text {
    /// For the series of a group.
    pub(super) fn group(&mut self, name: &str) -> TextSink<'_> {
        TextSink { families: &mut self.0, next: 0, group: Some(sanitize_label_value(name)) }
    }

    /// For the series of the pool as a whole.
    pub(super) fn pool(&mut self) -> TextSink<'_> {
        TextSink { families: &mut self.0, next: 0, group: None }
    }

    pub(super) fn finish(self) -> String {
        let mut text = String::with_capacity(self.0.iter().map(|it| it.lines.len() + 512).sum());
        for MetricFamily { metric, lines } in self.0 {
            write_help_line(&mut text, metric.name, None, None, metric.meaning);
            write_type_line(&mut text, metric.name, None, None, metric.type_name());
            text.push_str(&lines);
            text.push('\n');
        }
        text
    }
}

/// The part of a text that comes from one group, or from the pool.
pub(super) struct TextSink<'a> {
    families: &'a mut Vec<MetricFamily>,
    /// Where the last series went: the next is of that metric or of a later one.
    next: usize,
    group: Option<String>,
}

impl TextSink<'_> {
    fn family(&mut self, metric: &Metric) -> (&mut String, Option<&str>) {
        let later = self.families[self.next..].iter().position(|it| it.metric.name == metric.name);
        self.next = later.map_or(self.families.len(), |later| self.next + later);
        if later.is_none() {
            self.families.push(MetricFamily { metric: *metric, lines: String::new() });
        }
        (&mut self.families[self.next].lines, self.group.as_deref())
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
        text.group("a\"b\\c\n").put(&catalogue::ACQUIRE_WAIT, &[], value);
        let text = text.finish();
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
            let mut sink = text.group(group);
            sink.counters(&catalogue::RELEASES, "outcome", ["idle", "closed"], [1, 2]);
            sink.gauge(&catalogue::LEASES, 0.5);
        }
        text.pool().gauge(&catalogue::ADDRESSES_DOWN, 3.0);
        let text = text.finish();
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
