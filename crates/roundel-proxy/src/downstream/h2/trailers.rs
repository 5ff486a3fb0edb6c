//! Trailers of HTTP/2: told from heads as they come in, and judged as those of HTTP/1 are.
//!
//! RFC 9113 8.1 has a stream end in error where pseudo-fields stand in its trailers; the `h2` crate drops
//! them without a word. It does refuse pseudo-fields behind any other field, so one is put before all
//! that a client sends as trailers.

use bytes::BytesMut;

pub(super) use crate::http2::judged;

/// `host` without a value, which no trailers may have. It changes no table of the decoder.
///
/// Source: RFC 7541 6.2.2, and entry 38 of appendix A.
const MARK: [u8; 3] = [0x0f, 0x17, 0];
/// The largest frame that is read (RFC 9113 6.5.2).
const FRAME: usize = 16 * 1024;
/// Bytes of a frame's head.
const HEAD: usize = 9;
/// Payload in which a field list has begun: length of padding, priority, two updates of the table's
/// size of four bytes each.
const BEGUN: usize = 1 + 5 + 8;

/// Streams whose requests have not ended, of which more are open at no time.
const KEPT: usize = 256;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Tells trailers from heads, and from what a client must not send.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The highest number so far.
    last: u32,
    /// Those whose requests have not ended, the oldest first.
    open: Vec<u32>,
}

/// What follows from a frame's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing, or the frame was marked: it is `grown` bytes longer.
    Frame { grown: usize },
    /// More of it has to be there.
    Part,
}

impl Streams {
    /// Looks at a frame that begins at `at`, whose head is there, and marks it if it holds trailers.
    pub(super) fn look(&mut self, bytes: &mut BytesMut, at: usize, length: usize) -> Seen {
        let (kind, flags) = (bytes[at + 3], bytes[at + 4]);
        let ends = flags & END_STREAM != 0;
        let passes = Seen::Frame { grown: 0 };
        if kind != HEADERS && kind != RST_STREAM && !(kind == DATA && ends) {
            return passes;
        }
        let id = bytes[at + 5..at + HEAD].try_into().expect("four bytes");
        let id = u32::from_be_bytes(id) & (u32::MAX >> 1);
        if kind == HEADERS && id > self.last {
            self.last = id;
            if !ends {
                self.begin(id);
            }
            return passes;
        }
        let Some(place) = self.open.iter().position(|open| *open == id) else {
            return passes;
        };
        if kind != HEADERS {
            self.open.remove(place);
            return passes;
        }
        let payload = &bytes[at + HEAD..];
        if payload.len() < length.min(BEGUN) {
            return Seen::Part;
        }
        if ends {
            self.open.remove(place);
        }
        let payload = &payload[..length.min(payload.len())];
        let begin = first_field(payload, flags);
        if begin > length || length + MARK.len() > FRAME {
            return passes;
        }
        insert(bytes, at + HEAD + begin);
        let grown = u32::try_from(length + MARK.len()).expect("no more than a frame");
        bytes[at..at + 3].copy_from_slice(&grown.to_be_bytes()[1..]);
        Seen::Frame { grown: MARK.len() }
    }

    fn begin(&mut self, id: u32) {
        if self.open.len() == KEPT {
            // The balancer has reset it: the client may not have that many open.
            self.open.remove(0);
        }
        self.open.push(id);
    }
}

/// Where the first field begins.
fn first_field(payload: &[u8], flags: u8) -> usize {
    let mut at = usize::from(flags & PADDED != 0);
    at += if flags & PRIORITY == 0 { 0 } else { 5 };
    // RFC 7541 6.3: updates of the table's size come before all fields.
    while let Some(&byte) = payload.get(at).filter(|byte| **byte & 0xe0 == 0x20) {
        at += 1;
        if byte & 0x1f == 0x1f {
            let rest = payload[at..].iter();
            at += rest.take_while(|byte| **byte & 0x80 != 0).count() + 1;
        }
    }
    at
}

fn insert(bytes: &mut BytesMut, at: usize) {
    let end = bytes.len();
    bytes.resize(end + MARK.len(), 0);
    bytes.copy_within(at..end, at + MARK.len());
    bytes[at..at + MARK.len()].copy_from_slice(&MARK);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flags: u8, stream: u32, payload: &[u8]) -> BytesMut {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[HEADERS, flags], &stream.to_be_bytes()].concat();
        BytesMut::from(&[&head, payload].concat()[..])
    }

    #[test]
    fn the_mark_comes_before_every_field_and_behind_all_else() {
        let field = [0x40, 1, b'x', 1, b'y'];
        let cases: [(u8, &[u8]); 6] = [
            (0, &[]),
            (PADDED, &[2]),
            (PRIORITY, &[0; 5]),
            (PADDED | PRIORITY, &[2, 0, 0, 0, 0, 0]),
            (0, &[0x20, 0x3f, 0xe1, 0x1f]),
            (PADDED, &[2, 0x3f, 0xff, 0x80, 0x01]),
        ];
        for (flags, before) in cases {
            let padding: &[u8] = if flags & PADDED == 0 { &[] } else { &[0, 0] };
            let mut streams = Streams::default();
            let mut bytes = frame(flags, 3, &[before, &field, padding].concat());
            let whole = bytes.clone();
            let length = bytes.len() - HEAD;
            assert_eq!(
                streams.look(&mut bytes, 0, length),
                Seen::Frame { grown: 0 }
            );
            assert_eq!(bytes, whole, "a head is no trailers");
            assert_eq!(
                streams.look(&mut bytes, 0, length),
                Seen::Frame { grown: 3 }
            );
            let want = [before, &MARK, &field, padding].concat();
            assert_eq!(bytes, frame(flags, 3, &want));
            for n in HEAD..HEAD + length.min(BEGUN) {
                let mut part = BytesMut::from(&whole[..n]);
                assert_eq!(streams.look(&mut part, 0, length), Seen::Part);
            }
        }
    }

    #[test]
    fn frames_that_are_no_trailers_are_left_alone() {
        let begun = || Streams {
            last: 5,
            open: vec![1, 5],
        };
        let check = |mut streams: Streams, mut bytes: BytesMut, open: &[u32]| {
            let (whole, length) = (bytes.clone(), bytes.len() - HEAD);
            let seen = streams.look(&mut bytes, 0, length);
            assert_eq!((seen, bytes), (Seen::Frame { grown: 0 }, whole));
            assert_eq!(streams.open, open);
        };
        // Too large for the mark, or malformed.
        check(begun(), frame(0, 1, &vec![b'x'; FRAME - 2]), &[1, 5]);
        check(begun(), frame(PRIORITY, 1, &[0; 4]), &[1, 5]);
        // Of a stream that has ended or never began, which `h2` has a word for.
        check(begun(), frame(0, 3, b"xxxxxxxxxxxxxxxx"), &[1, 5]);
        check(begun(), frame(END_STREAM, 7, b"x"), &[1, 5]);
        check(begun(), frame(0, 7, b"x"), &[1, 5, 7]);
        let mut end = frame(END_STREAM, 1, b"x");
        end[3] = DATA;
        check(begun(), end, &[5]);
        let mut reset = frame(0, 5, b"xxxx");
        reset[3] = RST_STREAM;
        check(begun(), reset, &[1]);
    }

    #[test]
    fn streams_that_were_reset_are_forgotten() {
        let mut streams = Streams::default();
        for n in 0..1000 {
            let mut bytes = frame(0, 2 * n + 1, b"x");
            streams.look(&mut bytes, 0, 1);
        }
        assert_eq!(streams.open.len(), KEPT);
        assert_eq!(streams.open.last(), Some(&1999));
    }
}
