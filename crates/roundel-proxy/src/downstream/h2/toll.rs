//! What the frames of a connection cost, counted as they come in.

use std::cell::Cell;

use super::bounds::SMALL;
use crate::counters::Http2Excess;

/// Frames, or heads of so many bytes, after which the streams get their turn: a head has no more fields
/// than bytes, so few are decoded before they are taken.
pub(super) const TURN: usize = 1024;
/// Bytes of a head for which a frame is counted in the turn.
const HEAD_TURN: usize = 8;
/// Bytes of a head for which a frame is counted in the cost.
const HEAD_COST: usize = 64;
/// A change of settings may touch every stream.
const SETTINGS_COST: u64 = 16;

// RFC 9113 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// What an answered request with a head of so many bytes makes up for: at least what it cost.
pub(super) fn price(head: usize) -> u64 {
    8 + (head / HEAD_COST) as u64
}

/// Counts between the socket and the connection's task.
#[derive(Debug, Default)]
pub(super) struct Toll {
    /// Frames given on since the task was polled last.
    turn: Cell<usize>,
    frames: Cell<u64>,
    small_frames: Cell<u64>,
    /// The kind of the last one, and how many streams were reset.
    last: Cell<u8>,
    resets: Cell<u64>,
}

impl Toll {
    /// Notes a frame by its head.
    pub(super) fn note(&self, kind: u8, flags: u8, length: usize) {
        let (turn, frames, small) = match kind {
            DATA if length == 0 && flags & END_STREAM == 0 => (1, 1, 0),
            DATA if length < SMALL && flags & END_STREAM == 0 => (1, 0, 1),
            // Of the size for which `h2` counts overhead.
            DATA => (usize::from(length < 256), 0, 0),
            HEADERS | CONTINUATION => (1 + length / HEAD_TURN, 1 + (length / HEAD_COST) as u64, 0),
            SETTINGS => (1, SETTINGS_COST, 0),
            // Those of streams that were accepted are counted there.
            RST_STREAM => {
                self.resets.update(|n| n + 1);
                (1, 0, 0)
            }
            _ => (1, 1, 0),
        };
        self.last.set(kind);
        self.add(turn, frames, small);
    }

    pub(super) fn add(&self, turn: usize, frames: u64, small: u64) {
        self.turn.update(|n| n + turn);
        self.frames.update(|n| n + frames);
        self.small_frames.update(|n| n + small);
    }

    /// What the frames and the small ones of them cost that came since the last call.
    pub(super) fn take(&self) -> (u64, u64) {
        (self.frames.take(), self.small_frames.take())
    }

    /// What `h2` ended the connection for with ENHANCE_YOUR_CALM: it tells that to the client only.
    pub(super) fn excess(&self) -> Http2Excess {
        match self.last.get() {
            DATA => Http2Excess::SmallFrames,
            CONTINUATION => Http2Excess::LargeHeads,
            HEADERS | RST_STREAM if self.resets.get() > 0 => Http2Excess::Resets,
            HEADERS => Http2Excess::LargeHeads,
            _ => Http2Excess::Frames,
        }
    }

    /// Whether the streams are to have their turn.
    pub(super) fn is_turn_over(&self) -> bool {
        self.turn.get() > TURN
    }

    /// They had it.
    pub(super) fn next_turn(&self) {
        self.turn.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cost_what_they_do() {
        let check = |kind, flags, length, want| {
            let toll = Toll::default();
            toll.note(kind, flags, length);
            assert_eq!(toll.take(), want, "{kind} {flags} {length}");
            assert_eq!(toll.take(), (0, 0));
        };
        check(DATA, 0, 0, (1, 0));
        check(DATA, END_STREAM, 0, (0, 0));
        check(DATA, 0, SMALL - 1, (0, 1));
        check(DATA, 0, SMALL, (0, 0));
        check(HEADERS, 4, 100, (2, 0));
        check(CONTINUATION, 4, 16_384, (257, 0));
        check(SETTINGS, 0, 6, (SETTINGS_COST, 0));
        for kind in [2, 6, 8, 77] {
            check(kind, 0, 8, (1, 0));
        }
        assert!(
            price(0) >= 1 && price(100) >= 2,
            "answered requests are free"
        );
    }

    #[test]
    fn turns_end_after_many_frames_or_few_large_heads() {
        let toll = Toll::default();
        for _ in 0..TURN {
            toll.note(6, 0, 8);
            assert!(!toll.is_turn_over());
        }
        toll.note(6, 0, 8);
        assert!(toll.is_turn_over());
        toll.next_turn();
        toll.note(HEADERS, 4, 16_384);
        assert!(toll.is_turn_over());
        toll.next_turn();
        for _ in 0..1_000 {
            toll.note(DATA, 0, 16_384);
        }
        assert!(!toll.is_turn_over(), "bodies have their windows");
    }
}
