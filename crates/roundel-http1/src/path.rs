//! The normal form of a path, and paths that servers read in different ways.

use std::borrow::Cow;

use crate::syntax::{is_path_byte, is_unreserved};

/// Brings a path into the form in which equal ones are equal byte by byte.
///
/// Shape: `path` is a path without its query; one that does not begin with a slash (`*`) stays as
/// it is. Escapes of unreserved characters are decoded, once; the digits of all others are upper
/// case; bytes that a URI cannot have are escaped, a percent sign that begins no escape too; `.`
/// and `..` are resolved. Empty segments stay. O(n); a path in normal form is only scanned.
/// Source: RFC 3986, 6.2.2 and 5.2.4.
pub fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    if path.first() != Some(&b'/') || is_normal(path) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(without_dots(&escapes_normal(path)))
}

/// Brings the escapes of a path or of a host's name into their normal form.
pub fn escapes_normal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte != b'%' {
            match is_path_byte(byte) {
                true => out.push(byte),
                false => escape(byte, &mut out),
            }
            continue;
        }
        match escaped(&text[at..]) {
            None => escape(byte, &mut out),
            Some(meant) => {
                at += 2;
                match is_unreserved(meant) {
                    true => out.push(meant),
                    false => escape(meant, &mut out),
                }
            }
        }
    }
    out
}

/// Says why servers may read this path in different ways; `None` for one that all read alike.
///
/// Shape: a sentence for the client. `path` is as received, without its query.
pub fn ambiguity(path: &[u8]) -> Option<&'static str> {
    let mut rest = path;
    let mut previous = 0;
    while let Some((&byte, behind)) = rest.split_first() {
        let meant = match (byte, escaped(behind)) {
            (b'%', None) => return Some("The path has a percent sign that escapes nothing."),
            (b'%', Some(meant)) => Some(meant),
            _ => None,
        };
        match (byte, meant) {
            (b'/', _) if previous == b'/' => return Some("The path has an empty segment."),
            (b'\\', _) | (_, Some(b'/' | b'\\')) => {
                return Some("The path has a backslash, or an escaped slash or backslash.");
            }
            (b';', _) | (_, Some(b';')) => return Some("The path has a semicolon."),
            (_, Some(0..=0x1f | 0x7f)) => return Some("The path has a control character."),
            (_, Some(b'%')) if escaped(&behind[2..]).is_some() => {
                return Some("The path is escaped twice.");
            }
            _ => {}
        }
        previous = byte;
        rest = if meant.is_some() {
            &behind[2..]
        } else {
            behind
        };
    }
    // What is left are dots, plain or escaped: those of a segment that is resolved.
    let decoded = escapes_normal(path);
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    decoded
        .split(|byte| *byte == b'/')
        .any(is_dots)
        .then_some("The path has a segment of dots only.")
}

/// Whether [`normal`] has nothing to change in a path that begins with a slash.
fn is_normal(path: &[u8]) -> bool {
    let mut previous = 0;
    for (at, &byte) in path.iter().enumerate() {
        let is_fine = match byte {
            b'%' => match escaped(&path[at + 1..]) {
                Some(meant) => {
                    let is_lower = |digit: &u8| digit.is_ascii_lowercase();
                    !is_unreserved(meant) && !path[at + 1..at + 3].iter().any(is_lower)
                }
                None => false,
            },
            b'.' if previous == b'/' => {
                let rest = &path[at + 1..];
                let rest = rest.strip_prefix(b".").unwrap_or(rest);
                !(rest.is_empty() || rest[0] == b'/')
            }
            byte => is_path_byte(byte),
        };
        if !is_fine {
            return false;
        }
        previous = byte;
    }
    true
}

/// Resolves `.` and `..` in a path that begins with a slash.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if is_last {
            out.push(b'/');
        }
    }
    out
}

/// The byte that the two digits behind a percent sign stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[
        b'%',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_paths_have_one_normal_form() {
        let check = |path: &str, expected: &str| {
            let found = normal(path.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), expected, "{path}");
            let is_kept = matches!(found, Cow::Borrowed(_));
            assert_eq!(is_kept, path == expected, "{path}");
            assert_eq!(normal(&found), found, "{path}");
        };
        check("/login", "/login");
        check("/%6cogin", "/login");
        check("/%6Cogin", "/login");
        check("/%256cogin", "/%256cogin");
        check("/./login", "/login");
        check("/%2e/login", "/login");
        check("/x/../login", "/login");
        check("/x/%2E%2e/login", "/login");
        check("/x/.%2e/y/../../login", "/login");
        check("/../../login", "/login");
        check("/", "/");
        check("/.", "/");
        check("/..", "/");
        check("/a/.", "/a/");
        check("/a/..", "/");
        check("/a/b/..", "/a/");
        check("/a/b/../", "/a/");
        check("/.a/..b/c./...", "/.a/..b/c./...");
        check("//a//../b", "//a/b");
        check("/app.js", "/app.js");
        check("/%7Euser/%41%2d%5f%2E", "/~user/A-_.");
        check("/caf%c3%a9", "/caf%C3%A9");
        check("/caf%C3%A9", "/caf%C3%A9");
        check("/a%2fb", "/a%2Fb");
        check("/a%2Fb", "/a%2Fb");
        check("/a|b^[c]", "/a%7Cb%5E%5Bc%5D");
        check("/a\\b", "/a%5Cb");
        check("/%zz%4", "/%25zz%254");
        check("/%%36cogin", "/%256cogin");
        check("/a;b=c@d:e,f!$&'()*+", "/a;b=c@d:e,f!$&'()*+");
        check("*", "*");
        check("", "");
    }

    #[test]
    fn paths_that_servers_read_in_different_ways_are_known() {
        let check = |path: &str, part: &str| {
            let found = ambiguity(path.as_bytes()).unwrap_or_default();
            assert!(found.contains(part), "{path}: {found}");
            assert_eq!(found.is_empty(), part.is_empty(), "{path}: {found}");
        };
        for plain in [
            "/",
            "*",
            "",
            "/a/b.c/",
            "/caf%C3%A9",
            "/100%25",
            "/a%3Ab",
            "/%6cogin",
            "/a..b/.c",
        ] {
            check(plain, "");
        }
        check("//login", "empty segment");
        check("/a//", "empty segment");
        check("/a\\b", "backslash");
        check("/a%2fb", "backslash");
        check("/a%5Cb", "backslash");
        check("/login;x", "semicolon");
        check("/login%3bx", "semicolon");
        check("/a%00b", "control");
        check("/a%0d", "control");
        check("/%252e/login", "twice");
        check("/100%", "escapes nothing");
        check("/%zz", "escapes nothing");
        check("/./login", "dots");
        check("/x/../login", "dots");
        check("/x/%2e%2E/login", "dots");
        check("/x/..", "dots");
    }
}
