//! Writing metric families as text, without registering anything.

use std::fmt::Write;

use roundel_model::is_hidden;
use roundel_stats::{HistogramSnapshot, LATENCY_BUCKETS};

/// Labels of one series: names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Families of one number per item: kind, name, help, and the number.
pub(super) type Table<T> = [(Kind, &'static str, &'static str, fn(&T) -> u64)];

/// What the numbers of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The two kinds of a table.
pub(super) const COUNTER: Kind = Kind::Counter;
pub(super) const GAUGE: Kind = Kind::Gauge;

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The text of families, in the order they are written.
#[derive(Default)]
pub(super) struct Families {
    text: String,
}

impl Families {
    /// Adds one family of counters; nothing when `series` writes none.
    pub(super) fn counter(&mut self, name: &str, help: &str, series: impl FnOnce(&mut Series)) {
        self.family(name, help, Kind::Counter, series);
    }

    /// Adds one family of gauges; nothing when `series` writes none.
    pub(super) fn gauge(&mut self, name: &str, help: &str, series: impl FnOnce(&mut Series)) {
        self.family(name, help, Kind::Gauge, series);
    }

    /// Adds one family of latency histograms; nothing when `series` writes none.
    pub(super) fn histogram(&mut self, name: &str, help: &str, series: impl FnOnce(&mut Series)) {
        self.family(name, help, Kind::Histogram, series);
    }

    /// Adds each family of a table; `series` writes one family's number for each item.
    pub(super) fn table<T>(
        &mut self,
        table: &Table<T>,
        series: impl Fn(&mut Series, fn(&T) -> u64),
    ) {
        for (kind, name, help, of) in table {
            self.family(name, help, *kind, |f| series(f, *of));
        }
    }

    /// Adds one family of this kind; nothing when `series` writes none.
    pub(super) fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        series: impl FnOnce(&mut Series),
    ) {
        let before = self.text.len();
        put(
            &mut self.text,
            format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.word()),
        );
        let headed = self.text.len();
        let mut lines = Series {
            name: name.to_owned(),
            text: std::mem::take(&mut self.text),
        };
        series(&mut lines);
        self.text = lines.text;
        if self.text.len() == headed {
            self.text.truncate(before);
        }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// The series of one family.
pub(super) struct Series {
    name: String,
    /// All that was written so far.
    text: String,
}

impl Series {
    /// Adds one number.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: f64) {
        self.series("", labels, None);
        put(&mut self.text, format_args!(" {value}\n"));
    }

    /// Adds one count.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.series("", labels, None);
        put(&mut self.text, format_args!(" {value}\n"));
    }

    /// Adds one histogram.
    pub(super) fn latency(&mut self, labels: Labels<'_>, from: &HistogramSnapshot) {
        let mut below = 0;
        for (bound, count) in LATENCY_BUCKETS.iter().zip(&from.buckets) {
            below += count;
            self.series("_bucket", labels, Some(&bound.to_string()));
            put(&mut self.text, format_args!(" {below}\n"));
        }
        let all = from.count();
        self.series("_bucket", labels, Some("+Inf"));
        put(&mut self.text, format_args!(" {all}\n"));
        self.series("_sum", labels, None);
        let seconds = from.sum_us as f64 / 1e6;
        put(&mut self.text, format_args!(" {seconds}\n"));
        self.series("_count", labels, None);
        put(&mut self.text, format_args!(" {all}\n"));
    }

    /// Writes a line up to its number; `bound` is that of a histogram's bucket.
    fn series(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>) {
        let text = &mut self.text;
        text.push_str(&self.name);
        text.push_str(suffix);
        let labels = labels.iter().copied();
        let mut separator = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            text.push(separator);
            text.push_str(name);
            text.push_str("=\"");
            quote(text, value);
            text.push('"');
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
    }
}

/// Writes a label's value. The format escapes quotes, backslashes and line feeds only.
fn quote(text: &mut String, value: &str) {
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    if value.bytes().all(plain) {
        return text.push_str(value);
    }
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if is_hidden(c) => text.push(' '),
            c => text.push(c),
        }
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("memory takes any text");
}
