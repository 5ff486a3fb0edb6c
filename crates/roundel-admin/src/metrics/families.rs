//! Building metric families without registering anything.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use roundel_stats::{HistogramSnapshot, LATENCY_BUCKETS};

/// Labels of one series: names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Families of one number per item: kind, name, help, and the number.
pub(super) type Table<T> = [(MetricType, &'static str, &'static str, fn(&T) -> u64)];

/// The two kinds of a table.
pub(super) const COUNTER: MetricType = MetricType::COUNTER;
pub(super) const GAUGE: MetricType = MetricType::GAUGE;

/// Families in the order they are first written.
#[derive(Default)]
pub(super) struct Families {
    done: Vec<MetricFamily>,
}

impl Families {
    /// Adds one family of counters; nothing when `series` writes none.
    pub(super) fn counter(&mut self, name: &str, help: &str, series: impl FnOnce(&mut Series)) {
        self.add(name, help, MetricType::COUNTER, series);
    }

    /// Adds one family of gauges; nothing when `series` writes none.
    pub(super) fn gauge(&mut self, name: &str, help: &str, series: impl FnOnce(&mut Series)) {
        self.add(name, help, MetricType::GAUGE, series);
    }

    /// Adds one family of latency histograms; nothing when `series` writes none.
    pub(super) fn histogram(&mut self, name: &str, help: &str, series: impl FnOnce(&mut Series)) {
        self.add(name, help, MetricType::HISTOGRAM, series);
    }

    /// Adds each family of a table; `series` writes one family's number for each item.
    pub(super) fn table<T>(
        &mut self,
        table: &Table<T>,
        series: impl Fn(&mut Series, fn(&T) -> u64),
    ) {
        for (kind, name, help, of) in table {
            self.add(name, help, *kind, |f| series(f, *of));
        }
    }

    /// Adds one family of this kind; nothing when `series` writes none.
    pub(super) fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl FnOnce(&mut Series),
    ) {
        self.add(name, help, kind, series);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, series: impl FnOnce(&mut Series)) {
        let mut metrics = Series {
            kind,
            metrics: Vec::new(),
        };
        series(&mut metrics);
        if metrics.metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        family.set_metric(metrics.metrics);
        self.done.push(family);
    }

    /// The families.
    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.done
    }
}

/// The series of one family.
pub(super) struct Series {
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Series {
    /// Adds one number.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: f64) {
        let mut metric = metric(labels);
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Adds one count. Counts above 2^53 lose their last digits, as Prometheus does.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.value(labels, value as f64);
    }

    /// Adds one histogram.
    pub(super) fn latency(&mut self, labels: Labels<'_>, from: &HistogramSnapshot) {
        let mut below = 0;
        let bucket = |(bound, count): (&f64, &u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        let buckets = LATENCY_BUCKETS.iter().zip(&from.buckets).map(bucket);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(from.count());
        histogram.set_sample_sum(from.sum_us as f64 / 1e6);
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }
}

fn metric(labels: Labels<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        // The format escapes quotes, backslashes and line feeds; a carriage return or an
        // escape sequence would still reach the reader's terminal.
        pair.set_value(value.replace(|c: char| c.is_control() && c != '\n', " "));
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}
