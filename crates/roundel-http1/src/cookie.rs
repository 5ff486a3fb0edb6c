//! The Cookie field as a list of pairs; what the pairs mean is the caller's affair.

/// Goes through the `name=value` pairs of one Cookie value (RFC 6265, 4.2.1), names and values
/// trimmed of white space; a piece without `=` is a name with an empty value.
pub fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value
        .split(|&byte| byte == b';')
        .filter(|piece| !piece.trim_ascii().is_empty())
        .map(split_pair)
}

/// Writes `value` without the pairs called `name` (exact, case-sensitive) to the end of `out`, and
/// shows `seen` the values of those that were left out.
///
/// Returns how many pairs were left out; when it is 0, `out` is unchanged. The pairs that stay are
/// copied as they are and joined by `"; "`; nothing is written when none stays.
pub fn remove<'v>(
    value: &'v [u8],
    name: &[u8],
    out: &mut Vec<u8>,
    mut seen: impl FnMut(&'v [u8]),
) -> usize {
    let start = out.len();
    let mut removed = 0;
    let mut rest = Some(value);
    while let Some(from) = rest {
        let end = memchr::memchr(b';', from);
        let piece = trim(&from[..end.unwrap_or(from.len())]);
        rest = end.map(|end| &from[end + 1..]);
        if piece.is_empty() {
            continue;
        }
        if let Some(value) = value_of(piece, name) {
            removed += 1;
            seen(value);
        } else {
            if out.len() > start {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(piece);
        }
    }
    if removed == 0 {
        out.truncate(start);
    }
    removed
}

/// The value of a pair, if this is its name. Names hold no white space that would be trimmed.
#[inline]
fn value_of<'v>(piece: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    let rest = piece.strip_prefix(name)?;
    match rest.first() {
        Some(b'=') => Some(trim(&rest[1..])),
        Some(byte) if !byte.is_ascii_whitespace() => None,
        _ => match split_pair(piece) {
            (found, value) if found == name => Some(value),
            _ => None,
        },
    }
}

/// As `trim_ascii`, quick where there is little to trim.
#[inline]
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && first.is_ascii_whitespace()
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && last.is_ascii_whitespace()
    {
        bytes = rest;
    }
    bytes
}

/// Returns the name of a Set-Cookie value, trimmed; empty when there is none.
pub fn set_cookie_name(value: &[u8]) -> &[u8] {
    let pair = value.split(|&byte| byte == b';').next().unwrap_or_default();
    split_pair(pair).0
}

fn split_pair(piece: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', piece) {
        Some(at) => (piece[..at].trim_ascii(), piece[at + 1..].trim_ascii()),
        None => (piece.trim_ascii(), &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_pairs_and_tidies_separators() {
        let check = |value: &str, expected: &str, values: &[&str]| {
            let mut out = Vec::new();
            let mut seen = Vec::new();
            let removed = remove(value.as_bytes(), b"S", &mut out, |v| {
                seen.push(std::str::from_utf8(v).unwrap());
            });
            assert_eq!((removed, &seen[..]), (values.len(), values), "{value}");
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        };
        check("a=1; S=x; b=2", "a=1; b=2", &["x"]);
        check("S=x", "", &["x"]);
        check("S=x; S=y", "", &["x", "y"]);
        check("S=x;b=2", "b=2", &["x"]);
        check("b=2;S=x;", "b=2", &["x"]);
        check("a=1;; S = x ;b=\"q;S=1\"", "a=1; b=\"q", &["x", "1\""]);
        check("a=1; s=x", "", &[]);
        check("aS=1; b=S=2; Sx=3; S x=4", "", &[]);
        check("S; a=1", "a=1", &[""]);
        check("S\t; a=1;S=", "a=1", &["", ""]);
    }

    #[test]
    fn reads_pairs_and_set_cookie_names() {
        let all: Vec<_> = pairs(b" a=1 ;b= x=y;; c").collect();
        assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"b", b"x=y"), (b"c", b"")]);
        assert_eq!(set_cookie_name(b"SID=1; Path=/"), b"SID");
        assert_eq!(set_cookie_name(b""), b"");
    }
}
