//! The judge of heads: finds their end line by line and names the first thing wrong.
//!
//! A head that is there as a whole and flawless never comes here; everything else does. Each call
//! looks at new bytes only, so a peer that drips bytes costs linear work, and the verdict is that of
//! the first wrong line whatever the cuts.

use memchr::memchr;

use crate::limits::Limits;
use crate::reason::Reason;
use crate::syntax;

/// Room in a request line for what is not the target: method, spaces, version.
const LINE_EXTRA: usize = 64;

/// Tells whether a parser has what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head is there and can be read.
    Complete,
}

/// What kind of lines are being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Trailers,
}

/// Remembers how far the judging has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scan {
    line_start: usize,
    scanned: usize,
    lines: usize,
}

impl Scan {
    /// Says whether nothing was looked at yet.
    pub(crate) fn is_fresh(self) -> bool {
        self.scanned == 0
    }

    /// Looks at what is new in `bytes`, which begin where the head begins.
    ///
    /// Returns the length of the head with its empty line once that is there.
    pub(crate) fn run(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        kind: Kind,
    ) -> Result<Option<usize>, Reason> {
        let (most, too_large) = match kind {
            Kind::Trailers => (limits.trailers, Reason::TrailersTooLarge),
            _ => (limits.head, Reason::HeadTooLarge),
        };
        let window = &bytes[..bytes.len().min(most)];
        while let Some(at) = memchr(b'\n', &window[self.scanned..]) {
            let end = self.scanned + at;
            let line = &window[self.line_start..end];
            let is_first = self.lines == 0;
            if line == b"\r" && !(is_first && kind != Kind::Trailers) {
                return Ok(Some(end + 1));
            }
            match kind {
                Kind::Request if is_first => check_request_line(line, limits)?,
                Kind::Response if is_first => check_status_line(without_cr(line)?)?,
                _ => self.check_field(line, limits, kind)?,
            }
            self.lines += 1;
            self.line_start = end + 1;
            self.scanned = end + 1;
        }
        if kind == Kind::Request && self.lines == 0 {
            let from = self.scanned.saturating_sub(1);
            check_unfinished_line(window, from, limits)?;
        } else if self.lines > 0 || kind == Kind::Trailers {
            let line = &window[self.line_start..];
            let from = self.scanned.saturating_sub(self.line_start + 1);
            // A CR with anything but LF behind it: nothing that may follow mends that.
            if memchr(b'\r', &line[from..]).is_some_and(|at| from + at + 1 < line.len()) {
                self.check_count(limits, kind)?;
                return Err(Reason::LineEnd);
            }
        }
        self.scanned = window.len();
        if bytes.len() >= most {
            Err(too_large)
        } else {
            Ok(None)
        }
    }

    fn check_field(&self, line: &[u8], limits: &Limits, kind: Kind) -> Result<(), Reason> {
        self.check_count(limits, kind)?;
        let line = without_cr(line)?;
        if memchr(b'\r', line).is_some() {
            return Err(Reason::LineEnd);
        }
        split_field(line).map(|_| ())
    }

    /// Judges whether one more field may come.
    fn check_count(&self, limits: &Limits, kind: Kind) -> Result<(), Reason> {
        let before = if kind == Kind::Trailers { 0 } else { 1 };
        if self.lines - before >= limits.fields.min(Limits::MOST_FIELDS) {
            return Err(Reason::TooManyFields);
        }
        Ok(())
    }
}

fn without_cr(line: &[u8]) -> Result<&[u8], Reason> {
    line.strip_suffix(b"\r").ok_or(Reason::LineEnd)
}

/// Splits a field line into name and trimmed value, or says what is wrong with it.
pub(crate) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Reason::Folded);
    }
    let colon = memchr(b':', line).ok_or(Reason::FieldName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !syntax::is_token(name) {
        return Err(Reason::FieldName);
    }
    if !syntax::is_value(value) {
        let is_cr = memchr(b'\r', value).is_some();
        return Err(if is_cr {
            Reason::LineEnd
        } else {
            Reason::FieldValue
        });
    }
    Ok((name, trim(value)))
}

/// Removes SP and HTAB at both ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Judges a request line by its bytes behind `from`, whether it has its end or not.
fn check_unfinished_line(line: &[u8], from: usize, limits: &Limits) -> Result<(), Reason> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let most = limits.target + LINE_EXTRA;
    let to = line.len().min(most);
    check_controls(&line[from.min(to)..to])?;
    if line.len() > most {
        Err(Reason::TargetTooLong)
    } else {
        Ok(())
    }
}

fn check_controls(bytes: &[u8]) -> Result<(), Reason> {
    match bytes.iter().find(|byte| byte.is_ascii_control()) {
        None => Ok(()),
        Some(b'\r') => Err(Reason::LineEnd),
        Some(_) => Err(Reason::ControlByte),
    }
}

/// Judges a request line up to its LF.
fn check_request_line(line: &[u8], limits: &Limits) -> Result<(), Reason> {
    check_unfinished_line(line, 0, limits)?;
    let line = without_cr(line)?;
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::RequestLine);
    };
    if target.is_empty() {
        return Err(Reason::RequestLine);
    }
    if !syntax::is_token(method) {
        return Err(Reason::Method);
    }
    if method.len() > syntax::MOST_METHOD {
        return Err(Reason::MethodTooLong);
    }
    check_target(target, limits)?;
    check_version(version)
}

/// Judges the length and the bytes of a target, not its form.
#[inline]
pub(crate) fn check_target(target: &[u8], limits: &Limits) -> Result<(), Reason> {
    if target.len() > limits.target {
        return Err(Reason::TargetTooLong);
    }
    if !syntax::is_target(target) || (limits.strict_target && !syntax::is_strict_target(target)) {
        return Err(Reason::Target);
    }
    Ok(())
}

fn check_version(version: &[u8]) -> Result<(), Reason> {
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Reason::VersionUnsupported)
        }
        _ => Err(Reason::VersionSyntax),
    }
}

/// Judges a status line; the space before an empty reason phrase may be missing, as it often is.
fn check_status_line(line: &[u8]) -> Result<(), Reason> {
    let Some((version, rest)) = line.split_at_checked(8) else {
        return Err(Reason::StatusLine);
    };
    check_version(version)?;
    let (code, phrase) = match rest {
        [b' ', code @ ..] if code.len() == 3 => (code, &[][..]),
        [b' ', a, b, c, b' ', phrase @ ..] => (&[*a, *b, *c][..], phrase),
        _ => return Err(Reason::StatusLine),
    };
    let is_code = (b'1'..=b'5').contains(&code[0]) && code.iter().all(u8::is_ascii_digit);
    if is_code && syntax::is_value(phrase) {
        Ok(())
    } else {
        Err(Reason::StatusLine)
    }
}
