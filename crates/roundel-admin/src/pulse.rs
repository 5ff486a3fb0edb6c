//! How long a connection has waited for its client, and a stream that gives up on one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

/// What the rest of this side knows of a connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    opened: Instant,
    /// When the client last did something, in milliseconds after `opened`.
    moved_ms: AtomicU64,
    /// It waits for us.
    answering: AtomicBool,
    /// It takes nothing of what is there for it.
    stuck: AtomicBool,
    closed: Notify,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            moved_ms: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            closed: Notify::new(),
        })
    }

    /// How long we have waited for the client; nothing while it waits for us.
    pub(crate) fn waited(&self) -> Option<Duration> {
        let ours = self.answering.load(Relaxed) && !self.stuck.load(Relaxed);
        (!ours).then(|| {
            let moved = Duration::from_millis(self.moved_ms.load(Relaxed));
            self.opened.elapsed().saturating_sub(moved)
        })
    }

    /// Whether it has taken nothing for so long.
    pub(crate) fn is_stuck_for(&self, long: Duration) -> bool {
        self.stuck.load(Relaxed) && self.waited().is_some_and(|waited| waited >= long)
    }

    /// Begins an answer, which lasts until the value is dropped.
    pub(crate) fn answer(self: &Arc<Self>) -> Answering {
        self.moved();
        self.answering.store(true, Relaxed);
        Answering(Arc::clone(self))
    }

    /// Has the connection closed.
    pub(crate) fn close(&self) {
        self.closed.notify_one();
    }

    /// Ready when it is to be closed.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    fn moved(&self) {
        let ms = self.opened.elapsed().as_millis() as u64;
        self.moved_ms.store(ms, Relaxed);
    }
}

/// An answer that is under way.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Pulse>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.moved();
        self.0.answering.store(false, Relaxed);
    }
}

/// A stream whose writes fail once its client has taken nothing for `limit`.
pub(crate) struct Paced<S> {
    stream: S,
    pulse: Arc<Pulse>,
    limit: Duration,
    /// When it is given up; while it is stuck.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>, limit: Duration) -> Self {
        Self {
            stream,
            pulse,
            limit,
            end: None,
        }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.end = None;
            self.pulse.stuck.store(false, Relaxed);
            self.pulse.moved();
            return written;
        }
        self.pulse.stuck.store(true, Relaxed);
        let limit = self.limit;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(limit)));
        match end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watched(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watched(cx, written)
    }

    // Else shared bytes would be copied into a buffer of each connection.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_takes_a_little_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let pulse = Pulse::new();
        let limit = Duration::from_secs(30);
        let mut paced = Paced::new(ours, Arc::clone(&pulse), limit);
        let began = Instant::now();
        let written = tokio::spawn(async move { paced.write_all(b"abcdef").await });
        for _ in 0..3 {
            sleep(Duration::from_secs(20)).await;
            assert!(pulse.is_stuck_for(Duration::from_secs(19)));
            let mut byte = [0];
            tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut byte)
                .await
                .unwrap();
        }
        let error = written.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 60 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_us_does_not_count_as_waited_for() {
        let pulse = Pulse::new();
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert_eq!(pulse.waited(), Some(second));
        let answer = pulse.answer();
        tokio::time::advance(second).await;
        assert_eq!(pulse.waited(), None);
        drop(answer);
        tokio::time::advance(second).await;
        assert_eq!(pulse.waited(), Some(second));
    }
}
