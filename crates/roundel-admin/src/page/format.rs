//! Numbers as people read them.

/// `0d 0h00m28s`, as HAProxy writes it.
pub(crate) fn uptime(s: u64) -> String {
    format!(
        "{}d {}h{:02}m{:02}s",
        s / 86_400,
        s / 3_600 % 24,
        s / 60 % 60,
        s % 60
    )
}

/// Between a number and its unit.
const THIN: char = '\u{202f}';

/// A rate per second: `0`, `3.4`, `412`, `12.3 k`.
pub(super) fn rate(n: f64) -> String {
    if n > 0.0 && n < 9.95 {
        return format!("{n:.1}");
    }
    count(n.round() as u64)
}

/// A count: `9 999`, `12.3 k`, `4.56 M`.
pub(super) fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..10_000 => format!("{}{THIN}{:03}", n / 1_000, n % 1_000),
        _ => scaled(n as f64, &["", "k", "M", "G", "T", "P", "E"], 1_000.0),
    }
}

/// Bytes in SI units: `812 B`, `4.1 kB`.
pub(super) fn bytes(n: u64) -> String {
    scaled(
        n as f64,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB"],
        1_000.0,
    )
}

fn scaled(mut n: f64, units: &[&str], step: f64) -> String {
    let mut unit = 0;
    while n >= step * 0.9995 && unit + 1 < units.len() {
        n /= step;
        unit += 1;
    }
    let digits = match n {
        _ if unit == 0 => 0,
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{n:.digits$}{THIN}{}", units[unit])
}

/// A time in words: `12 s`, `3 m 04 s`, `2 h 3 m`, `4 d 3 h`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}{THIN}s"),
        60..3_600 => format!("{}{THIN}m {:02}{THIN}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}{THIN}h {}{THIN}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!(
            "{}{THIN}d {}{THIN}h",
            seconds / 86_400,
            seconds / 3_600 % 24
        ),
    }
}

/// A latency: `0.4 ms`, `18 ms`, `1.2 s`; a dash when unknown.
pub(super) fn latency(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else {
        return "–".into();
    };
    let ms = seconds * 1_000.0;
    match ms {
        _ if ms < 9.95 => format!("{ms:.1}{THIN}ms"),
        _ if ms < 999.5 => format!("{ms:.0}{THIN}ms"),
        _ => format!("{seconds:.1}{THIN}s"),
    }
}

/// A part of a whole: `0 %`, `0.02 %`, `3.4 %`, `41 %`.
pub(super) fn percent(ratio: f64) -> String {
    let n = ratio * 100.0;
    match n {
        _ if n <= 0.0 => format!("0{THIN}%"),
        _ if n < 0.01 => format!("<{THIN}0.01{THIN}%"),
        _ if n < 0.995 => format!("{n:.2}{THIN}%"),
        _ if n < 9.95 => format!("{n:.1}{THIN}%"),
        _ => format!("{n:.0}{THIN}%"),
    }
}

/// `server` or `servers`.
pub(super) fn plural(n: usize, one: &str) -> String {
    if n == 1 {
        one.into()
    } else {
        format!("{one}s")
    }
}

/// `14:02:07` of an RFC 3339 time; the text itself when it is none.
pub(super) fn clock(time: &str) -> &str {
    let timed = time.as_bytes().get(10) == Some(&b'T');
    time.get(11..19).filter(|_| timed).unwrap_or(time)
}

/// RFC 3339 in UTC of milliseconds since the epoch.
pub(super) fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .map(jiff::Timestamp::from_millisecond);
    time.and_then(Result::ok)
        .map_or_else(String::new, |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let flat = |text: String| text.replace(THIN, " ");
        assert_eq!(flat(rate(0.0)), "0");
        assert_eq!(flat(rate(3.42)), "3.4");
        assert_eq!(flat(rate(9.97)), "10");
        assert_eq!(flat(count(9_999)), "9 999");
        assert_eq!(flat(count(12_345)), "12.3 k");
        assert_eq!(flat(count(999_960)), "1.00 M");
        assert_eq!(flat(bytes(812)), "812 B");
        assert_eq!(flat(bytes(4_096)), "4.10 kB");
        assert_eq!(flat(span(59)), "59 s");
        assert_eq!(flat(span(184)), "3 m 04 s");
        assert_eq!(flat(span(7_380)), "2 h 3 m");
        assert_eq!(flat(span(100_000)), "1 d 3 h");
        assert_eq!(flat(latency(Some(0.0004))), "0.4 ms");
        assert_eq!(flat(latency(Some(0.0182))), "18 ms");
        assert_eq!(flat(latency(Some(1.24))), "1.2 s");
        assert_eq!(latency(None), "–");
        assert_eq!(flat(percent(0.0)), "0 %");
        assert_eq!(flat(percent(0.0002)), "0.02 %");
        assert_eq!(flat(percent(0.41)), "41 %");
        assert_eq!(clock("2026-09-21T14:02:07.120Z"), "14:02:07");
        assert_eq!(clock("<soon>"), "<soon>");
        assert_eq!(clock("émémémémémémémé"), "émémémémémémémé");
    }
}
