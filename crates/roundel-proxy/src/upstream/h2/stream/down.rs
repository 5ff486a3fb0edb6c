//! The body of an answer as it comes from a server of HTTP/2.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use roundel_http1::{Limits, Reason, Trailers};

use crate::http2::ahead::Ahead;
use crate::http2::judged;
use crate::memory::{Memory, Share};

/// Bytes of memory that are taken at once for what waits.
const STEP: u64 = 16 * 1024;

/// The body of the answer.
#[derive(Debug, Default)]
pub(super) struct Down {
    pub(super) body: Option<RecvStream>,
    pub(super) chunk: Bytes,
    /// What follows it and was taken from the connection already.
    pub(super) ahead: Ahead,
    pub(super) trailers: Option<Trailers>,
    /// It has ended, or broken; of that follows, behind what came before.
    pub(super) ended: bool,
    pub(super) broken: Option<Reason>,
    pub(super) gone: bool,
    /// Bytes of a body of known length that have not come.
    pub(super) left: Option<u64>,
    pub(super) limits: Limits,
    /// Bytes that were taken from the connection and not by the client.
    pub(super) waiting: u64,
    /// What those take of the memory, where the client is one of many on its connection.
    pub(super) memory: Option<Arc<Memory>>,
    share: Option<Share>,
    /// Bytes that the share is enough for.
    covered: u64,
    /// Bytes that have come, a head for one.
    pub(super) received: u64,
}

impl Down {
    /// Takes what has come of the body, whether its client takes any or not: what waits in `h2` counts
    /// for the whole connection. The stream's window is not given back, so this ends.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(body) = self.body.as_mut().filter(|_| !self.ended) else {
                return Poll::Ready(());
            };
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    let n = piece.len() as u64;
                    self.received += n;
                    self.left = self.left.map(|left| left.saturating_sub(n));
                    self.ahead.push(piece);
                    self.waiting += n;
                    if !self.is_covered() {
                        // Its stream ends before others have to.
                        (self.ended, self.gone) = (true, true);
                        self.ahead = Ahead::default();
                        return Poll::Ready(());
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    // HAProxy resets with CANCEL behind an answer that is whole. Without a length only the
                    // end of the stream says so, and `h2` tells of no reset behind that.
                    self.gone = self.left != Some(0);
                    if error.is_library() {
                        self.broken = Some(Reason::Truncated);
                    }
                    return Poll::Ready(());
                }
                None => {
                    match ready!(body.poll_trailers(cx)) {
                        Ok(None) => {}
                        Ok(Some(map)) => match judged(&map, &self.limits) {
                            Ok(trailers) => self.trailers = Some(trailers),
                            Err(reason) => self.broken = Some(reason),
                        },
                        Err(_) => self.gone = true,
                    }
                    self.ended = true;
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Takes memory for what waits, if that is more than a block.
    fn is_covered(&mut self) -> bool {
        let Some(memory) = self.memory.as_ref().filter(|_| self.waiting > self.covered) else {
            return true;
        };
        // The first block is in what each stream takes at its beginning.
        let more = self.waiting.next_multiple_of(STEP) - self.covered.max(STEP);
        let taken = match (&mut self.share, more) {
            (_, 0) => true,
            (Some(share), more) => share.grow(more),
            (None, more) => {
                self.share = Share::take(memory, more);
                self.share.is_some()
            }
        };
        self.covered = self.waiting.next_multiple_of(STEP);
        taken
    }

    /// Notes that the client has taken some of what waits.
    pub(super) fn took(&mut self, n: usize) {
        self.waiting -= n as u64;
        if self.waiting == 0 && self.covered > STEP {
            (self.share, self.covered) = (None, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_beyond_a_block_is_taken_from_the_memory_and_given_back() {
        let memory = Arc::new(Memory::new(3 * STEP));
        let used = || memory.status().used;
        let mut down = Down {
            memory: Some(memory.clone()),
            ..Down::default()
        };
        let wait = |down: &mut Down, n: u64| {
            down.waiting += n;
            down.is_covered()
        };
        assert!(wait(&mut down, STEP));
        assert_eq!(used(), 0);
        assert!(wait(&mut down, 1));
        assert_eq!(used(), STEP);
        assert!(wait(&mut down, 2 * STEP));
        assert_eq!(used(), 3 * STEP);
        assert!(!wait(&mut down, STEP));
        let all = usize::try_from(down.waiting).unwrap();
        down.took(all - 1);
        assert_eq!(used(), 3 * STEP);
        down.took(1);
        assert_eq!(used(), 0);
        assert!(wait(&mut down, 2 * STEP));
        assert_eq!(used(), STEP);
        down.memory = None;
        assert!(wait(&mut down, 99 * STEP));
    }
}
