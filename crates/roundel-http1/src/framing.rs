//! Where a message body ends.

use crate::reason::Reason;

/// Tells how the end of a body is found (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// Exactly this many bytes, never zero bytes written as such by a parser: that is `Length(0)`.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Answers only: the body ends with the connection.
    UntilClose,
    /// HTTP/2: the frames say it.
    Frames,
}

impl Framing {
    /// Says whether no body bytes follow.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Empty | Self::Length(0))
    }
}

/// Accounts for a body of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining(u64);

impl Remaining {
    /// Starts with `length` bytes to come.
    pub fn new(length: u64) -> Self {
        Self(length)
    }

    /// Returns how many of `available` bytes belong to this body.
    #[inline]
    pub fn clip(self, available: usize) -> usize {
        usize::try_from(self.0).map_or(available, |left| left.min(available))
    }

    /// Takes `n` bytes off.
    ///
    /// Panics: when more is taken than is left, which [`Self::clip`] prevents.
    #[inline]
    pub fn take(&mut self, n: u64) {
        self.0 = self
            .0
            .checked_sub(n)
            .expect("no more is taken than clip allowed");
    }

    /// Returns the number of bytes still to come.
    pub fn left(self) -> u64 {
        self.0
    }

    /// Says whether the body ended exactly.
    pub fn is_done(self) -> bool {
        self.0 == 0
    }

    /// Judges the end of the stream: fine only when nothing was left to come.
    pub fn finish(self) -> Result<(), Reason> {
        if self.is_done() {
            Ok(())
        } else {
            Err(Reason::Truncated)
        }
    }
}
