//! The part of a request body that could be sent again.

use std::task::{Context, Poll};

use roundel_http1::{Reason, RequestHead, Trailers};
use tokio::net::TcpStream;

use crate::retry;
use crate::sides::{Downstream, Source, SourceError};

/// Body bytes kept for a second attempt at most.
const LIMIT: usize = 16 * 1024;

/// Keeps what was taken from the client while a retry is legal and the body is small.
#[derive(Debug, Default)]
pub(super) struct Replay {
    kept: Vec<u8>,
    /// How much of `kept` this attempt has sent.
    at: usize,
    recording: bool,
    whole: bool,
    /// Bytes that the client may still send.
    room: u64,
}

impl Replay {
    /// Starts before the first body byte. `most` is the size that a body may have; 0 for any. With
    /// `always` there are servers that may say of any request that they did nothing with it.
    pub(super) fn new(head: &RequestHead, most: u64, always: bool) -> Self {
        Self {
            kept: Vec::new(),
            at: 0,
            recording: (always || retry::is_idempotent(head)) && !head.framing().is_empty(),
            whole: true,
            room: if most == 0 { u64::MAX } else { most },
        }
    }

    /// Whether every byte taken from the client can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Begins another attempt.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    fn record(&mut self, taken: &[u8]) {
        if self.recording && self.kept.len() + taken.len() <= LIMIT {
            self.kept.extend_from_slice(taken);
            self.at = self.kept.len();
        } else {
            self.recording = false;
            self.whole = false;
            self.kept = Vec::new();
            self.at = 0;
        }
    }
}

/// The request body as an attempt reads it: what was kept, then what the client sends.
pub(super) struct Body<'a, D> {
    pub(super) client: &'a mut D,
    pub(super) replay: &'a mut Replay,
}

impl<D: Downstream> Source for Body<'_, D> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        if self.replay.at < self.replay.kept.len() {
            return Poll::Ready(Ok(true));
        }
        let polled = self.client.poll_data(cx);
        match polled {
            Poll::Ready(Ok(true)) if self.client.data().len() as u64 > self.replay.room => {
                Poll::Ready(Err(SourceError::Malformed(Reason::BodyTooLarge)))
            }
            polled => polled,
        }
    }

    fn data(&self) -> &[u8] {
        match &self.replay.kept[self.replay.at..] {
            [] => self.client.data(),
            kept => kept,
        }
    }

    fn consume(&mut self, n: usize) {
        if self.replay.at < self.replay.kept.len() {
            self.replay.at += n;
        } else {
            self.replay.record(&self.client.data()[..n]);
            self.replay.room -= n as u64;
            self.client.consume(n);
        }
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.client.trailers()
    }

    fn unseen(&self) -> Option<(&TcpStream, u64)> {
        let (socket, n) = self.client.unseen()?;
        let is_seen = self.replay.recording || self.replay.at < self.replay.kept.len();
        Some((socket, if is_seen { 0 } else { n.min(self.replay.room) }))
    }

    fn took(&mut self, n: usize) {
        self.replay.whole = false;
        self.replay.room -= n as u64;
        self.client.took(n);
    }
}
