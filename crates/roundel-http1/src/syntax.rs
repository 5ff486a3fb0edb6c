//! Byte classes of RFC 9110 and RFC 3986.

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const STRICT_TARGET: u8 = 8;
const HOST: u8 = 16;
const UNRESERVED: u8 = 32;
const PATH: u8 = 64;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class(byte as u8);
        byte += 1;
    }
    table
}

const fn class(byte: u8) -> u8 {
    let mut class = 0;
    let alphanumeric = byte.is_ascii_alphanumeric();
    if alphanumeric || is_one_of(byte, b"!#$%&'*+-.^_`|~") {
        class |= TOKEN;
    }
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        class |= VALUE;
    }
    if alphanumeric || is_one_of(byte, b"-._~!$&'()*+,;=:@/?%") {
        class |= TARGET | STRICT_TARGET;
    }
    if alphanumeric || is_one_of(byte, b"-._~") {
        class |= UNRESERVED;
    }
    // An escape is looked at apart.
    if alphanumeric || is_one_of(byte, b"-._~!$&'()*+,;=:@/") {
        class |= PATH;
    }
    // What browsers leave unescaped in paths and queries, against RFC 3986 (WHATWG URL, 1.3).
    if is_one_of(byte, b"[]\\^`{|}") {
        class |= TARGET;
    }
    // Escapes are looked at apart. A comma is allowed by RFC 3986 and left out: lists of hosts have
    // been smuggled with it.
    if alphanumeric || is_one_of(byte, b"-._~!$&'()*+;=") {
        class |= HOST;
    }
    class
}

const fn is_one_of(byte: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

#[inline]
fn all(bytes: &[u8], class: u8) -> bool {
    bytes
        .iter()
        .all(|&byte| CLASSES[byte as usize] & class != 0)
}

#[inline]
fn length(bytes: &[u8], class: u8) -> usize {
    let mut at = 0;
    while at < bytes.len() && CLASSES[bytes[at] as usize] & class != 0 {
        at += 1;
    }
    at
}

/// Bytes of a method; the longest one registered has 17 (RFC 9110, 16.1).
pub(crate) const MOST_METHOD: usize = 64;

/// Counts the bytes at the front that may stand in a token.
#[inline]
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    length(bytes, TOKEN)
}

/// Counts the bytes at the front that may stand in a target.
#[inline]
pub(crate) fn target_length(bytes: &[u8]) -> usize {
    length(bytes, TARGET)
}

/// Counts the bytes at the front that may stand in a field value.
#[inline]
pub(crate) fn value_length(bytes: &[u8]) -> usize {
    length(bytes, VALUE)
}

/// Says whether `bytes` is a token: method, field name, coding.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

#[inline]
pub(crate) fn is_value_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// Says whether a byte is unreserved: escaped or not, it means the same (RFC 3986, 2.3).
#[inline]
pub(crate) fn is_unreserved(byte: u8) -> bool {
    CLASSES[byte as usize] & UNRESERVED != 0
}

/// Says whether a byte may stand in a path as it is (RFC 3986, 3.3).
#[inline]
pub(crate) fn is_path_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & PATH != 0
}

/// Says whether every byte may stand in a field value or reason phrase (HTAB, SP, VCHAR, obs-text).
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    all(bytes, VALUE)
}

/// Says whether every byte may stand in a target as browsers send it.
#[inline]
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    all(bytes, TARGET)
}

/// Says whether `bytes` keeps to RFC 3986, escapes included.
pub(crate) fn is_strict_target(bytes: &[u8]) -> bool {
    all(bytes, STRICT_TARGET) && has_valid_escapes(bytes)
}

/// Counts the bytes at the front that may be a registered name; an invalid escape ends it.
#[inline]
pub(crate) fn reg_name_length(bytes: &[u8]) -> usize {
    let mut at = length(bytes, HOST);
    while bytes.get(at) == Some(&b'%') && has_valid_escapes(&bytes[at..bytes.len().min(at + 3)]) {
        at += 1;
        at += length(&bytes[at..], HOST);
    }
    at
}

fn has_valid_escapes(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).all(|at| {
        matches!(bytes.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Reads a decimal number of digits only.
///
/// Errors: `None` for an empty text, any other byte, or a value of 2^63 and more: one bit is
/// kept free so that sums of a length and a head cannot overflow.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (value < 1 << 63).then_some(value)
}
