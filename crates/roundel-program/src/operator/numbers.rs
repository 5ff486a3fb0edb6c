//! Numbers as people read them.

/// A rate per second: `0`, `3.4`, `412`, `12.3k`.
pub(super) fn rate(n: f64) -> String {
    match n {
        _ if n > 0.0 && n < 9.95 => format!("{n:.1}"),
        _ => count(n.round() as u64),
    }
}

/// A count: `9999`, `12.3k`, `4.56M`.
pub(super) fn count(n: u64) -> String {
    let (scaled, unit) = match n {
        0..10_000 => return n.to_string(),
        10_000..999_500 => (n as f64 / 1e3, "k"),
        999_500..999_500_000 => (n as f64 / 1e6, "M"),
        _ => (n as f64 / 1e9, "G"),
    };
    let digits = match scaled {
        x if x < 9.995 => 2,
        x if x < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$}{unit}")
}

/// A span of time: `0.4ms`, `18ms`, `1.2s`; a dash when unknown.
pub(super) fn latency(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else {
        return "–".into();
    };
    match seconds * 1_000.0 {
        ms if ms < 9.95 => format!("{ms:.1}ms"),
        ms if ms < 999.5 => format!("{ms:.0}ms"),
        _ => format!("{seconds:.1}s"),
    }
}

/// How long ago or how long something lasted: `12 s`, `3 m 4 s`, `2 h 3 m`, `4 d 3 h`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A part of the whole in percent: `0 %`, `0.04 %`, `12 %`.
pub(super) fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p <= 0.0 => "0 %".into(),
        p if p < 0.01 => "< 0.01 %".into(),
        p if p < 1.0 => format!("{p:.2} %"),
        p => format!("{p:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        assert_eq!(
            [0.0, 3.44, 9.96, 12_345.0].map(rate),
            ["0", "3.4", "10", "12.3k"]
        );
        assert_eq!(
            [9_999, 999_499, 999_500].map(count),
            ["9999", "999k", "1.00M"]
        );
        let some = [0.0004, 0.0184, 1.25].map(|s| latency(Some(s)));
        assert_eq!(some, ["0.4ms", "18ms", "1.2s"]);
        assert_eq!(
            [59, 184, 7_380, 356_400].map(span),
            ["59 s", "3 m 4 s", "2 h 3 m", "4 d 3 h"]
        );
        assert_eq!(
            [0.0, 0.00001, 0.0004, 1.0].map(percent),
            ["0 %", "< 0.01 %", "0.04 %", "100 %"]
        );
    }
}
