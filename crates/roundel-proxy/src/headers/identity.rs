//! Names for one request that logs on every machine share: X-Request-ID and traceparent.

use std::fmt::Write;
use std::time::Duration;

use roundel_http1::{Edits, Fields, Known};

/// The longest X-Request-ID that is kept.
const LONGEST: usize = 128;

/// The identifier of a request: what a trusted proxy gave it, else a new UUID of version 7.
///
/// Shape: visible ASCII without quotes, at most 128 bytes. `unix` is the time since the epoch.
pub(crate) fn request_id(
    fields: Fields<'_>,
    trusted: bool,
    unix: Duration,
    rng: &mut fastrand::Rng,
) -> Box<str> {
    let given = fields.first(Known::XRequestId).filter(|_| trusted);
    let given = given.filter(|id| !id.is_empty() && id.len() <= LONGEST && id.iter().all(is_safe));
    match given.and_then(|id| std::str::from_utf8(id).ok()) {
        Some(id) => id.into(),
        None => uuid_v7(unix, rng.u128(..)).into(),
    }
}

fn is_safe(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte)
}

/// Source: RFC 9562 5.7: 48 bits of milliseconds, the version, then chance around the variant.
fn uuid_v7(unix: Duration, chance: u128) -> String {
    let millis = unix.as_millis() & ((1 << 48) - 1);
    let low = chance & !(0xffff_ffff_ffff << 80 | 0xf << 76 | 0x3 << 62);
    let bits = millis << 80 | 0x7 << 76 | 0x2 << 62 | low;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        bits >> 80 & 0xffff,
        bits >> 64 & 0xffff,
        bits >> 48 & 0xffff,
        bits & 0xffff_ffff_ffff
    )
}

/// Gives a request without a usable traceparent a new trace; says its id.
///
/// A valid traceparent is passed on as it is: we record no span of our own that could be a parent.
/// Source: W3C Trace Context 2 section 4.3: with an invalid traceparent, tracestate goes too.
pub(crate) fn start_trace(
    fields: Fields<'_>,
    rng: &mut fastrand::Rng,
    edits: &mut Edits,
) -> Option<Box<str>> {
    if trace_id(fields).is_some() {
        return None;
    }
    edits.remove_all(fields, Known::Traceparent);
    edits.remove_all(fields, Known::Tracestate);
    let mut id = String::with_capacity(32);
    let _ = write!(id, "{:032x}", rng.u128(1..));
    let parent = format!("00-{id}-{:016x}-00", rng.u64(1..));
    edits.append_known(Known::Traceparent, &[parent.as_bytes()]);
    Some(id.into())
}

/// The trace that a request belongs to, if its one traceparent is valid.
///
/// Source: W3C Trace Context 2 section 3.2: lower-case hex, neither id all zero, version not ff;
/// later versions may be longer.
pub(crate) fn trace_id(fields: Fields<'_>) -> Option<&[u8]> {
    let mut lines = fields.all(Known::Traceparent);
    let value = lines.next()?.value;
    if lines.next().is_some() || value.len() < 55 {
        return None;
    }
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
    let (version, id, parent, flags) = (&value[..2], &value[3..35], &value[36..52], &value[53..55]);
    let whole = match version {
        b"00" => value.len() == 55,
        _ => value.len() == 55 || value[55] == b'-',
    };
    let dashes = [2, 35, 52].iter().all(|at| value[*at] == b'-');
    let valid = whole
        && dashes
        && [version, id, parent, flags].iter().all(|part| hex(part))
        && version != b"ff"
        && !zero(id)
        && !zero(parent);
    valid.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundel_http1::{Limits, Progress, RequestHead};

    fn head(lines: &str) -> RequestHead {
        let mut head = RequestHead::new();
        head.block
            .put(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes());
        assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
        head
    }

    #[test]
    fn uuids_carry_time_version_and_variant() {
        let text = uuid_v7(Duration::from_millis(0x0123_4567_89ab), u128::MAX);
        assert_eq!(text, "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(
            uuid_v7(Duration::ZERO, 0),
            "00000000-0000-7000-8000-000000000000"
        );
    }

    #[test]
    fn only_safe_ids_of_trusted_proxies_are_kept() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut id = |value: &str, trusted| {
            let head = head(&format!("X-Request-ID: {value}\r\n"));
            request_id(head.fields(), trusted, Duration::from_secs(1), &mut rng).into_string()
        };
        assert_eq!(id("abc-1", true), "abc-1");
        let long = "a".repeat(128);
        assert_eq!(id(&long, true), long);
        for (value, trusted) in [("abc-1", false), ("a b", true), ("", true), ("a\"", true)] {
            let made = id(value, trusted);
            assert_eq!(
                (made.len(), made.as_bytes()[14]),
                (36, b'7'),
                "{value}: {made}"
            );
        }
        assert_eq!(id(&"a".repeat(129), true).len(), 36);
    }

    #[test]
    fn traces_are_kept_if_valid_and_new_otherwise() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let check = |value: &str, expected: Option<&str>| {
            let head = head(&format!("traceparent: {value}\r\ntracestate: a=b\r\n"));
            let found = trace_id(head.fields());
            assert_eq!(found, expected.map(str::as_bytes), "{value}");
            let mut edits = Edits::new();
            let made = start_trace(head.fields(), &mut fastrand::Rng::with_seed(1), &mut edits);
            assert_eq!(made.is_none(), expected.is_some(), "{value}");
            let state = edits
                .apply(head.fields())
                .any(|(name, _)| name == b"tracestate");
            assert_eq!(state, expected.is_some(), "{value}");
        };
        check(&format!("00-{id}-b7ad6b7169203331-01"), Some(id));
        check(&format!("cc-{id}-b7ad6b7169203331-01-what"), Some(id));
        check(&format!("cc-{id}-b7ad6b7169203331-01.what"), None);
        check(&format!("00-{id}-b7ad6b7169203331-01-what"), None);
        check(&format!("ff-{id}-b7ad6b7169203331-01"), None);
        check(&format!("00-{id}-0000000000000000-01"), None);
        check(&format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None);
        check(
            &format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
            None,
        );
        check(&format!("00-{id}-b7ad6b7169203331-0"), None);
        check("", None);
    }
}
