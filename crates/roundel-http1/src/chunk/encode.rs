//! Writing chunks.

use crate::block::Block;
use crate::trailers::Trailers;

/// The end of a chunked body without trailers.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Bytes of the longest size line: 16 digits and CRLF.
const LONGEST: usize = 18;

/// The line before a chunk's data, built without allocation.
#[derive(Debug, Clone, Copy)]
pub struct SizeLine {
    bytes: [u8; LONGEST],
    start: u8,
}

impl SizeLine {
    /// Returns the line with its CRLF.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// Makes the size line of a chunk of `length` bytes; the data and CRLF follow it.
///
/// Panics: when `length` is 0, which would end the body; [`LAST`] or [`put_end`] do that.
pub fn size_line(length: usize) -> SizeLine {
    assert!(length > 0, "a chunk of no bytes is the end of the body");
    let mut bytes = *b"0000000000000000\r\n";
    let mut start = LONGEST - 2;
    let mut rest = length;
    while rest > 0 {
        start -= 1;
        bytes[start] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
    }
    SizeLine {
        bytes,
        start: start as u8,
    }
}

/// Writes `data` as one chunk; no data writes nothing.
pub fn put_data(data: &[u8], out: &mut Block) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + LONGEST + 2);
    out.put(size_line(data.len()).as_bytes());
    out.put(data);
    out.put(b"\r\n");
}

/// Writes the end of the body, with the trailers if there are any.
pub fn put_end(trailers: Option<&Trailers>, out: &mut Block) {
    out.put(b"0\r\n");
    if let Some(trailers) = trailers {
        for line in trailers.fields().iter() {
            out.put_line(line.name, line.value);
        }
    }
    out.put(b"\r\n");
}
