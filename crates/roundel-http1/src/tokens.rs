//! Reads flawless heads in one pass; anything else is for the scan to judge.
//!
//! Every function returns `None` for what is malformed, unfinished or odd, and never says why.
//! Written by hand rather than on httparse because that is lenient where this must not be (a lone LF,
//! spans of lines) and because checking its work again costs as much as doing it once.

use crate::fields::{Field, FieldList, Span};
use crate::known::Known;
use crate::limits::Limits;
use crate::method::Version;
use crate::syntax;

/// Locates the parts of a request line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLine {
    pub(crate) method_end: usize,
    pub(crate) target_end: usize,
    pub(crate) version: Version,
    /// Where the first field begins.
    pub(crate) end: usize,
}

/// Locates the parts of a status line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) status: u16,
    /// Where the reason phrase is.
    pub(crate) phrase: (usize, usize),
    /// Where the first field begins.
    pub(crate) end: usize,
}

/// Reads `method SP target SP version CRLF`.
#[inline]
pub(crate) fn request_line(bytes: &[u8]) -> Option<RequestLine> {
    let method_end = syntax::token_length(bytes);
    let is_long = method_end > syntax::MOST_METHOD;
    if method_end == 0 || is_long || bytes.get(method_end) != Some(&b' ') {
        return None;
    }
    let target_end = method_end + 1 + syntax::target_length(&bytes[method_end + 1..]);
    let version = match bytes.get(target_end..target_end + 11)? {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    (target_end > method_end + 1).then_some(RequestLine {
        method_end,
        target_end,
        version,
        end: target_end + 11,
    })
}

/// Reads `version SP 3DIGIT [SP phrase] CRLF`.
#[inline]
pub(crate) fn status_line(bytes: &[u8]) -> Option<StatusLine> {
    let version = match bytes.first_chunk::<9>()? {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return None,
    };
    let &[
        hundreds @ b'1'..=b'5',
        tens @ b'0'..=b'9',
        ones @ b'0'..=b'9',
    ] = bytes.get(9..12)?
    else {
        return None;
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    let start = 12 + usize::from(bytes.get(12) == Some(&b' '));
    let end = value_end(bytes, start);
    // Without the space there must be no phrase.
    if bytes.get(end..end + 2)? != b"\r\n" || (start == 12 && end > start) {
        return None;
    }
    Some(StatusLine {
        version,
        status: 100 * digit(hundreds) + 10 * digit(tens) + digit(ones),
        phrase: (start, end),
        end: end + 2,
    })
}

/// Reads field lines from `at` on and the empty line behind them; returns where the head ends.
///
/// Spans are shifted by `offset`, the place of `bytes` in its block.
#[inline]
pub(crate) fn fields(
    bytes: &[u8],
    mut at: usize,
    offset: usize,
    most: usize,
    list: &mut FieldList,
) -> Option<usize> {
    let most = most.min(Limits::MOST_FIELDS);
    list.clear();
    loop {
        if *bytes.get(at)? == b'\r' {
            return (*bytes.get(at + 1)? == b'\n').then_some(at + 2);
        }
        if list.list.len() == most {
            return None;
        }
        let name_end = colon(bytes, at)?;
        let name = &bytes[at..name_end];
        let known = Known::of(name);
        if known == Known::Other && !is_token(name) {
            return None;
        }
        let mut value = name_end + 1;
        while let b' ' | b'\t' = *bytes.get(value)? {
            value += 1;
        }
        let line_end = value_end(bytes, value);
        if bytes.get(line_end..)?.first_chunk::<2>()? != b"\r\n" {
            return None;
        }
        let mut end = line_end;
        while end > value && matches!(bytes[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        list.push(Field {
            known,
            name: Span::new(offset + at, offset + name_end),
            value: Span::new(offset + value, offset + end),
        });
        at = line_end + 2;
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of a word that are zero by their high bit; exact up to the lowest mark.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Marks the bytes of a word that may be controls by their high bit: no control (HTAB too) below the
/// lowest mark is missed, and what is marked is to be looked at.
#[inline]
fn controls(word: u64) -> u64 {
    (word.wrapping_sub(ONES * 0x20) | word.wrapping_add(ONES)) & !word & HIGHS
}

/// Says whether every byte of a word is a letter, a digit, `-` or `.`.
#[inline]
fn is_plain(word: u64) -> bool {
    // Below 0x80 the sums stay within their bytes.
    let at_least = |word: u64, low: u8| word.wrapping_add(ONES * u64::from(0x80 - low));
    let lower = word | (ONES * 0x20);
    let letter = at_least(lower, b'a') & !at_least(lower, b'z' + 1);
    let digit = at_least(word, b'0') & !at_least(word, b'9' + 1);
    let dash = !at_least(word ^ (ONES * u64::from(b'-')), 1);
    let dot = !at_least(word ^ (ONES * u64::from(b'.')), 1);
    (letter | digit | dash | dot) & !word & HIGHS == HIGHS
}

/// Says whether `text` is at least eight bytes of the usual letters, digits, `-` and `.`; a shorter
/// or richer one is for others to judge.
#[inline]
pub(crate) fn is_usual(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return false;
    };
    let mut words = text.chunks_exact(8);
    words.all(|chunk| word(chunk, 0).is_some_and(is_plain)) && is_plain(u64::from_le_bytes(*last))
}

/// Says whether `name` is a token, as `syntax::is_token` does, eight bytes at a time where it can.
#[inline]
fn is_token(name: &[u8]) -> bool {
    is_usual(name) || syntax::is_token(name)
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// Finds the first colon at or behind `at`.
#[inline]
fn colon(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(word) = word(bytes, at) {
        let marks = zeros(word ^ (ONES * u64::from(b':')));
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|&byte| byte == b':')
        .map(|found| at + found)
}

/// Finds the first byte at or behind `at` that may not stand in a field value.
#[inline]
fn value_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let marks = controls(word);
        if marks == 0 {
            at += 8;
            continue;
        }
        at += marks.trailing_zeros() as usize / 8;
        if !syntax::is_value_byte(bytes[at]) {
            return at;
        }
        at += 1;
    }
    at + syntax::value_length(&bytes[at..])
}

/// Says whether every byte may stand in a field value, as `syntax::is_value` does, eight at a time.
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    value_end(bytes, 0) == bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_agree_with_bytes() {
        for byte in 0..=255_u8 {
            for place in 0..20 {
                let mut text = *b"abcdefghijklmnopqrst";
                text[place] = byte;
                let expected = text
                    .iter()
                    .position(|&byte| byte != b'\t' && byte.is_ascii_control());
                assert_eq!(
                    value_end(&text, 0),
                    expected.unwrap_or(text.len()),
                    "{byte} at {place}"
                );
                assert_eq!(
                    is_token(&text),
                    syntax::is_token(&text),
                    "{byte} at {place}"
                );
                let usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
                assert_eq!(is_usual(&text), text.iter().all(usual), "{byte} at {place}");
                let expected = text.iter().position(|&byte| byte == b':');
                assert_eq!(colon(&text, 0), expected, "{byte} at {place}");
            }
        }
        assert_eq!(value_end(b"\x80\xff\x81\t\xfe\x80\x80\x9f\xff\n", 0), 9);
        assert_eq!(value_end(b"\xff\x7e\xff\xff\x7e\xff\x7f\x1f\x00", 0), 6);
    }
}
