//! Trailer sections of chunked bodies.

use crate::fields::{Field, FieldList, Fields, Span};
use crate::known::Known;
use crate::scan::split_field;

/// Holds the fields that came behind a chunked body.
///
/// Fields that must not stand there (RFC 9110, 6.5.1: framing, routing, authentication, request
/// modifiers, response controls, content format) were left out.
#[derive(Debug, Default)]
pub struct Trailers {
    bytes: Vec<u8>,
    list: FieldList,
}

impl Trailers {
    /// Reads the fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, &self.list)
    }

    /// Appends a field; used for trailers that came by HTTP/2. Malformed and barred ones are left out.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let known = Known::of(name);
        if known.is_barred_from_trailers()
            || !crate::syntax::is_token(name)
            || !crate::syntax::is_value(value)
        {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value.trim_ascii());
        self.list.push(Field {
            known,
            name: Span::new(start, middle),
            value: Span::new(middle, self.bytes.len()),
        });
    }

    /// Reads a section that the scan has judged, its empty line included.
    pub(crate) fn read(&mut self, section: &[u8]) {
        for line in section.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Ok((name, value)) = split_field(line) {
                self.push(name, value);
            }
        }
    }
}
