//! What a proxy has to know of gRPC: which requests are calls, their deadlines, how they ended.
//!
//! Source: gRPC's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping"; the codes are those of
//! "Status codes and their use in gRPC".

use std::time::Duration;

use crate::fields::Fields;
use crate::known::Known;

/// The field, or trailer, with the code of a call's end.
pub const STATUS: &[u8] = b"grpc-status";
/// The field, or trailer, with words about it.
pub const MESSAGE: &[u8] = b"grpc-message";
/// The field with the time that a call may take.
pub const TIMEOUT: &[u8] = b"grpc-timeout";
/// The media type of calls and their answers; a suffix or parameters may follow.
pub const MEDIA_TYPE: &[u8] = b"application/grpc";

/// The most digits of a timeout.
const DIGITS: usize = 8;

/// Says whether a request is a gRPC call, by its Content-Type.
#[inline]
pub fn is_call(fields: Fields<'_>) -> bool {
    let value = fields.first(Known::ContentType);
    value.is_some_and(is_media_type)
}

fn is_media_type(value: &[u8]) -> bool {
    let Some((name, rest)) = value.split_at_checked(MEDIA_TYPE.len()) else {
        return false;
    };
    let rest = rest.trim_ascii_start();
    name.eq_ignore_ascii_case(MEDIA_TYPE) && matches!(rest, [] | [b'+' | b';', ..])
}

/// How a call ended: 0 to 16, or a number that has no meaning yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// It succeeded.
    pub const OK: Self = Self(0);
    /// Its client gave it up.
    pub const CANCELLED: Self = Self(1);
    /// It ended without a code, or with none that could be read.
    pub const UNKNOWN: Self = Self(2);
    /// Its time was up.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// The client may not do this.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// The client asked too often, or for too much.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// The server has no such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// Something that must not be broken is broken.
    pub const INTERNAL: Self = Self(13);
    /// There is nobody to answer at this moment.
    pub const UNAVAILABLE: Self = Self(14);
    /// What was kept is lost.
    pub const DATA_LOSS: Self = Self(15);
    /// The client is to say who it is.
    pub const UNAUTHENTICATED: Self = Self(16);

    /// A word for each code in the order of [`Self::index`]: its number, and the last for all others.
    pub const LABELS: [&'static str; 18] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "other",
    ];

    /// Reads the value of `grpc-status`; what is no number is [`Self::UNKNOWN`].
    pub fn parse(value: &[u8]) -> Self {
        let is_number = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        match is_number {
            true => Self(value.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0'))),
            false => Self::UNKNOWN,
        }
    }

    /// Finds the code among the fields of a head, or of trailers.
    pub fn find(fields: Fields<'_>) -> Option<Self> {
        fields
            .named(STATUS)
            .next()
            .map(|line| Self::parse(line.value))
    }

    /// What a client makes of an answer without a code.
    pub fn of_http(status: u16) -> Self {
        match status {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502..=504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }

    /// What is said in place of a refusal of our own: 429 and 504 mean what no other's answer tells.
    pub fn of_refusal(status: u16) -> Self {
        match status {
            429 => Self::RESOURCE_EXHAUSTED,
            504 => Self::DEADLINE_EXCEEDED,
            status => Self::of_http(status),
        }
    }

    /// Returns the number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns the place among [`Self::LABELS`].
    pub fn index(self) -> usize {
        (self.0 as usize).min(Self::LABELS.len() - 1)
    }

    /// Says whether it speaks against the server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
    /// UNAVAILABLE, DATA_LOSS. Other codes are what a service says to its clients; clients take a
    /// number without a meaning for UNKNOWN.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Self::UNKNOWN
                | Self::DEADLINE_EXCEEDED
                | Self::UNIMPLEMENTED
                | Self::INTERNAL
                | Self::UNAVAILABLE
                | Self::DATA_LOSS
        ) || self.0 > Self::UNAUTHENTICATED.0
    }
}

/// Reads the time that a call may take; `None` where it says nothing.
///
/// Errors: the value is malformed, or there are several.
pub fn timeout(fields: Fields<'_>) -> Result<Option<Timeout>, MalformedTimeout> {
    let mut lines = fields.named(TIMEOUT);
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => {
            let time = parse_timeout(line.value).ok_or(MalformedTimeout)?;
            let index = line.index;
            Ok(Some(Timeout { index, time }))
        }
        (Some(_), Some(_)) => Err(MalformedTimeout),
    }
}

/// How long a call may take, as its client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout {
    /// The field that says so.
    pub index: usize,
    /// From the call's beginning to its end.
    pub time: Duration,
}

/// Nobody knows how long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedTimeout;

fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    })
}

/// Writes a time as `grpc-timeout` does, in the finest unit that holds it; at most an instant longer.
pub fn write_timeout(time: Duration) -> String {
    const UNITS: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
        (3_600_000_000_000, 'H'),
    ];
    let most = 10u128.pow(DIGITS as u32) - 1;
    let in_unit = |(size, unit): (u128, char)| (time.as_nanos().div_ceil(size), unit);
    let mut units = UNITS.into_iter().map(in_unit);
    match units.find(|(n, _)| *n <= most) {
        Some((n, unit)) => format!("{n}{unit}"),
        None => format!("{most}H"),
    }
}

/// Encodes words for `grpc-message`: a percent sign and what is no printable ASCII is escaped.
pub fn message(words: &str) -> String {
    let mut encoded = String::with_capacity(words.len());
    for byte in words.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trailers;

    fn fields(lines: &[(&str, &str)]) -> Trailers {
        // Which is a list of fields that can be made of parts; those barred from it are not used here.
        let mut list = Trailers::default();
        for (name, value) in lines {
            list.push(name.as_bytes(), value.as_bytes());
        }
        list
    }

    #[test]
    fn calls_are_told_by_their_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc ; a=b", true),
            ("Application/GRPC", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/grp", false),
            ("text/plain;application/grpc", false),
            ("", false),
        ] {
            assert_eq!(is_media_type(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn codes_are_read_counted_and_judged() {
        for (value, number, index, is_error) in [
            ("0", 0, 0, false),
            ("1", 1, 1, false),
            ("2", 2, 2, true),
            ("3", 3, 3, false),
            ("4", 4, 4, true),
            ("5", 5, 5, false),
            ("8", 8, 8, false),
            ("12", 12, 12, true),
            ("13", 13, 13, true),
            ("14", 14, 14, true),
            ("15", 15, 15, true),
            ("16", 16, 16, false),
            ("17", 17, 17, true),
            ("4711", 4711, 17, true),
            ("999999999", 999_999_999, 17, true),
            ("9999999999", 2, 2, true),
            ("-1", 2, 2, true),
            ("", 2, 2, true),
            ("ok", 2, 2, true),
        ] {
            let code = Code::parse(value.as_bytes());
            let found = (code.number(), code.index(), code.is_error());
            assert_eq!(found, (number, index, is_error), "{value}");
        }
        assert_eq!(Code::find(fields(&[("a", "1")]).fields()), None);
        let list = fields(&[("a", "1"), ("Grpc-Status", "14")]);
        assert_eq!(Code::find(list.fields()), Some(Code::UNAVAILABLE));
    }

    #[test]
    fn refusals_have_codes() {
        for (status, of_http, of_refusal) in [
            (400, 13, 13),
            (401, 16, 16),
            (403, 7, 7),
            (404, 12, 12),
            (413, 2, 2),
            (429, 14, 8),
            (500, 2, 2),
            (502, 14, 14),
            (503, 14, 14),
            (504, 14, 4),
        ] {
            let found = (Code::of_http(status).0, Code::of_refusal(status).0);
            assert_eq!(found, (of_http, of_refusal), "{status}");
        }
    }

    #[test]
    fn timeouts_are_read_and_written() {
        for (value, time) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("0n", Some(Duration::ZERO)),
            ("00000001S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789n", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("1h", None),
            ("-1S", None),
            ("1.5S", None),
            ("1 S", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), time, "{value}");
        }
        for (time, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(u64::MAX), "99999999H"),
        ] {
            assert_eq!(write_timeout(time), text);
        }
        let list = fields(&[("grpc-timeout", "1S")]);
        let time = Duration::from_secs(1);
        let one = timeout(list.fields());
        assert_eq!(one, Ok(Some(Timeout { index: 0, time })));
        let list = fields(&[("grpc-timeout", "1S"), ("GRPC-TIMEOUT", "1S")]);
        assert_eq!(timeout(list.fields()), Err(MalformedTimeout));
        assert_eq!(timeout(fields(&[]).fields()), Ok(None));
    }

    #[test]
    fn words_are_escaped() {
        assert_eq!(message("Try it again, in 1 s."), "Try it again, in 1 s.");
        assert_eq!(message("100%\n\u{e9}"), "100%25%0A%C3%A9");
    }
}
