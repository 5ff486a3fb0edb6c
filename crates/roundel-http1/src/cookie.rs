//! The Cookie field as a list of pairs; what the pairs mean is the caller's affair.

/// Goes through the `name=value` pairs of one Cookie value (RFC 6265, 4.2.1), names and values
/// trimmed of white space; a piece without `=` is a name with an empty value.
pub fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value
        .split(|&byte| byte == b';')
        .filter(|piece| !piece.trim_ascii().is_empty())
        .map(split_pair)
}

/// Writes `value` without the pairs called `name` (exact, case-sensitive) to the end of `out`.
///
/// Returns how many pairs were left out; when it is 0, `out` is unchanged. The pairs that stay are
/// copied as they are and joined by `"; "`; nothing is written when none stays.
pub fn remove(value: &[u8], name: &[u8], out: &mut Vec<u8>) -> usize {
    let removed = pairs(value).filter(|(pair, _)| *pair == name).count();
    if removed == 0 {
        return 0;
    }
    let start = out.len();
    for piece in value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii) {
        if piece.is_empty() || split_pair(piece).0 == name {
            continue;
        }
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(piece);
    }
    removed
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
        let check = |value: &str, expected: &str, count| {
            let mut out = Vec::new();
            assert_eq!(remove(value.as_bytes(), b"S", &mut out), count, "{value}");
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        };
        check("a=1; S=x; b=2", "a=1; b=2", 1);
        check("S=x", "", 1);
        check("S=x; S=y", "", 2);
        check("S=x;b=2", "b=2", 1);
        check("b=2;S=x;", "b=2", 1);
        check("a=1;; S = x ;b=\"q;S=1\"", "a=1; b=\"q", 2);
        check("a=1; s=x", "", 0);
        check("aS=1; b=S=2", "", 0);
        check("S; a=1", "a=1", 1);
    }

    #[test]
    fn reads_pairs_and_set_cookie_names() {
        let all: Vec<_> = pairs(b" a=1 ;b= x=y;; c").collect();
        assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"b", b"x=y"), (b"c", b"")]);
        assert_eq!(set_cookie_name(b"SID=1; Path=/"), b"SID");
        assert_eq!(set_cookie_name(b""), b"");
    }
}
