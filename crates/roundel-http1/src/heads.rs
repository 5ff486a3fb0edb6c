//! What request and answer heads have in common.

use crate::fields::{Fields, elements};
use crate::known::Known;
use crate::method::Version;
use crate::reason::Reason;
use crate::syntax;

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
