//! Durations and results as people read them.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::CheckReport;

/// Writes a duration with two or three figures: `850 µs`, `12 ms`, `4.2 s`, `3 min 5 s`, `2 h 1 min`.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (us, s) = (self.0.as_micros(), self.0.as_secs());
        match () {
            () if us < 1_000 => write!(f, "{us} µs"),
            () if us < 1_000_000 => write!(f, "{} ms", us / 1_000),
            () if s < 60 => write!(f, "{s}.{} s", us / 100_000 % 10),
            () if s < 3_600 => write!(f, "{} min {} s", s / 60, s % 60),
            () => write!(f, "{} h {} min", s / 3_600, s / 60 % 60),
        }
    }
}

/// Writes a check's result: `L7OK 200 in 2 ms`, `L4CON Connection refused`.
pub(super) fn result(report: &CheckReport) -> String {
    let mut text = report.status.to_string();
    if let Some(code) = report.http_code {
        write!(text, " {code}").expect("writing to a String cannot fail");
    }
    if report.status.passed() {
        write!(text, " in {}", Span(report.duration)).expect("writing to a String cannot fail");
    } else if !report.description.is_empty() {
        write!(text, " {}", report.description).expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (us, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (12_345, "12 ms"),
            (4_250_000, "4.2 s"),
            (185_000_000, "3 min 5 s"),
            (7_270_000_000, "2 h 1 min"),
        ] {
            assert_eq!(Span(Duration::from_micros(us)).to_string(), text);
        }
    }
}
