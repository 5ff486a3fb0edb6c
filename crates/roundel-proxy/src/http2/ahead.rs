//! What came of a request's body before somebody wanted it.

use std::collections::VecDeque;
use std::mem::take;

use bytes::Bytes;

/// Pieces below this size are joined: each keeps the buffer that it was read into, with all else that
/// came in it.
const JOINED: usize = 8 * 1024;

/// Pieces of a body, in order. The stream's window bounds it.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pieces: VecDeque<Bytes>,
    /// Small ones, behind all others.
    joined: Vec<u8>,
}

impl Ahead {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() < JOINED {
            return self.joined.extend_from_slice(&piece);
        }
        if !self.joined.is_empty() {
            self.pieces.push_back(take(&mut self.joined).into());
        }
        self.pieces.push_back(piece);
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let joined = &mut self.joined;
        let pieces = self.pieces.pop_front();
        pieces.or_else(|| (!joined.is_empty()).then(|| take(joined).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_small_ones_are_joined() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.pop(), None);
        let large = Bytes::from(vec![b'x'; JOINED]);
        for piece in [&b"a"[..], b"", b"bc", &large, b"d", b"e"] {
            ahead.push(Bytes::copy_from_slice(piece));
        }
        assert_eq!(ahead.pop().unwrap(), "abc");
        ahead.push(Bytes::from_static(b"f"));
        assert_eq!(ahead.pop().unwrap(), large);
        assert_eq!(ahead.pop().unwrap(), "def");
        assert_eq!(ahead.pop(), None);
    }
}
