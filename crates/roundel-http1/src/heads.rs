//! What request and answer heads have in common.

use crate::fields::{Field, FieldList, Fields, Span, elements};
use crate::known::Known;
use crate::limits::Limits;
use crate::method::Version;
use crate::reason::Reason;
use crate::syntax;

/// The field lines of a head that httparse has read leniently.
pub(crate) struct Lines<'a> {
    /// The head, its empty line included.
    pub(crate) bytes: &'a [u8],
    /// Where the CRLF of the first line must be.
    pub(crate) first: usize,
    /// Where the head begins in its block.
    pub(crate) offset: usize,
    /// The number of fields allowed.
    pub(crate) most: usize,
}

impl Lines<'_> {
    /// Collects the fields; false when a line does not end in CRLF or there are too many.
    ///
    /// httparse takes a lone LF as a line end. Every line must therefore be found to end in
    /// CRLF exactly where the next one begins, which costs a look at two bytes each.
    #[inline]
    pub(crate) fn collect(&self, headers: &[httparse::Header<'_>], list: &mut FieldList) -> bool {
        list.clear();
        if headers.len() > self.most.min(Limits::MOST_FIELDS) {
            return false;
        }
        let base = self.bytes.as_ptr().addr();
        let mut line_end = self.first;
        for header in headers {
            let name = header.name.as_ptr().addr() - base;
            if name != line_end + 2 || !self.is_crlf(line_end) {
                return false;
            }
            let name_end = name + header.name.len();
            // An empty value may be a slice of its own, outside the head.
            let value = match header.value {
                [] => name_end + 1,
                value => value.as_ptr().addr() - base,
            };
            let value_end = value + header.value.len();
            line_end = self.line_end(value_end);
            list.push(Field {
                known: Known::of(header.name.as_bytes()),
                name: Span::new(self.offset + name, self.offset + name_end),
                value: Span::new(self.offset + value, self.offset + value_end),
            });
        }
        self.bytes.get(line_end..) == Some(b"\r\n\r\n")
    }

    #[inline]
    fn is_crlf(&self, at: usize) -> bool {
        self.bytes.get(at..at + 2) == Some(b"\r\n")
    }

    /// Finds the line end behind a value, over white space; the end of the head when there is none.
    #[inline]
    fn line_end(&self, mut at: usize) -> usize {
        while let Some(b' ' | b'\t') = self.bytes.get(at) {
            at += 1;
        }
        at
    }
}

/// What Content-Length and Transfer-Encoding say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Judges the framing fields (RFC 9112, 6.1 and 6.2).
#[inline]
pub(crate) fn body(fields: Fields<'_>, version: Version) -> Result<Body, Reason> {
    match (
        fields.has(Known::ContentLength),
        fields.has(Known::TransferEncoding),
    ) {
        (false, false) => Ok(Body::None),
        (true, true) => Err(Reason::LengthAndCoding),
        (true, false) => length(fields).map(Body::Length),
        (false, true) if version == Version::Http10 => Err(Reason::CodingInHttp10),
        (false, true) => coding(fields).map(|()| Body::Chunked),
    }
}

/// Reads the one Content-Length; several are refused even when they agree.
fn length(fields: Fields<'_>) -> Result<u64, Reason> {
    let mut all = fields.all(Known::ContentLength);
    let value = all.next().map(|line| line.value).unwrap_or_default();
    if all.next().is_some() {
        return Err(Reason::LengthRepeated);
    }
    match syntax::decimal(value) {
        Some(length) => Ok(length),
        None if value.contains(&b',') => Err(Reason::LengthRepeated),
        None => Err(Reason::LengthInvalid),
    }
}

/// Accepts exactly one coding, chunked.
fn coding(fields: Fields<'_>) -> Result<(), Reason> {
    let mut codings = 0;
    let mut is_chunked = false;
    let mut has_unknown = false;
    for coding in fields
        .all(Known::TransferEncoding)
        .flat_map(|line| elements(line.value))
    {
        if is_chunked {
            return Err(Reason::CodingInvalid);
        }
        codings += 1;
        let name = coding
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        if !syntax::is_token(name) {
            return Err(Reason::CodingInvalid);
        }
        is_chunked = name.eq_ignore_ascii_case(b"chunked");
        if is_chunked && name.len() != coding.len() {
            return Err(Reason::CodingInvalid);
        }
        has_unknown |= !is_chunked;
    }
    match (codings, has_unknown) {
        (0, _) => Err(Reason::CodingInvalid),
        (_, true) => Err(Reason::CodingUnknown),
        (_, false) => Ok(()),
    }
}
