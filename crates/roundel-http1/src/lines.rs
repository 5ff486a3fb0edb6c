//! Field lines rendered ahead.

use crate::known::Known;
use crate::syntax;
use crate::tokens;

/// Field lines as they are written: `Name: value` and CRLF each, nothing else.
///
/// Shape: made once, written with many heads. What is pushed cannot break a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Makes an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a field whose value is the parts one after the other. A name that is no token or a
    /// value with forbidden bytes (controls) appends nothing.
    pub fn push(&mut self, name: &[u8], parts: &[&[u8]]) {
        if syntax::is_token(name) && parts.iter().all(|part| tokens::is_value(part)) {
            self.put(name, parts);
        }
    }

    /// Appends a recognised field, as [`Self::push`] does and cheaper. `Other` appends nothing.
    #[inline]
    pub fn push_known(&mut self, known: Known, parts: &[&[u8]]) {
        if known != Known::Other && parts.iter().all(|part| tokens::is_value(part)) {
            self.put(known.as_str().as_bytes(), parts);
        }
    }

    /// Appends other lines.
    #[inline]
    pub fn extend(&mut self, lines: &Self) {
        self.0.extend_from_slice(&lines.0);
    }

    /// Leaves every field of one name out, compared without case.
    pub fn remove(&mut self, name: &[u8]) {
        let is_named = |(other, _): (&[u8], &[u8])| other.eq_ignore_ascii_case(name);
        if !self.iter().any(is_named) {
            return;
        }
        let mut kept = Self::new();
        for (other, value) in self.iter().filter(|field| !is_named(*field)) {
            kept.put(other, &[value]);
        }
        *self = kept;
    }

    /// Goes through the fields, names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let name = memchr::memchr(b':', rest)?;
            let end = name + memchr::memchr(b'\r', &rest[name..])?;
            let field = (&rest[..name], &rest[name + 2..end]);
            rest = &rest[end + 2..];
            Some(field)
        })
    }

    /// Gives storage back that is not used.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    fn put(&mut self, name: &[u8], parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        self.0.reserve(name.len() + length + 4);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        for part in parts {
            self.0.extend_from_slice(part);
        }
        self.0.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read_back() {
        let mut lines = Lines::new();
        lines.push(b"A", &[b"1: ", b"2"]);
        lines.push(b"B", &[b"3\r\nC: 4"]);
        lines.push(b"D E", &[b"5"]);
        lines.push_known(Known::Via, &[]);
        lines.push_known(Known::Other, &[b"6"]);
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(read, [(&b"A"[..], &b"1: 2"[..]), (b"Via", b"")]);
        assert_eq!(lines.bytes(), b"A: 1: 2\r\nVia: \r\n");
        lines.remove(b"B");
        lines.remove(b"a");
        assert_eq!(lines.bytes(), b"Via: \r\n");
    }
}
