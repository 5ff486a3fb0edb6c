//! Lingering close: a client that is still sending gets to read its answer.
//!
//! To close a connection with unread bytes in it is to reset it, which takes the answer from a client
//! that has not read it yet (RFC 9112 9.6). So the sending side is closed, and what comes is read and
//! thrown away for a while.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::deadline::Deadline;
use crate::transport::Io;
use crate::worker::Worker;

/// How long a client may go on sending. Source: nginx, `lingering_time`.
const TOTAL: Duration = Duration::from_secs(30);
/// How long it may be silent meanwhile. Source: nginx, `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// The same once the process is to end.
const HURRIED: Duration = Duration::from_secs(1);
/// Connections of the whole process that are closed like this at a time; those beyond are closed
/// at once.
const MOST: u32 = 1024;

/// Connections that linger, in all workers.
#[derive(Debug, Default)]
pub(crate) struct Lingering(AtomicU32);

impl Lingering {
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.0.load(Relaxed))
    }

    fn enter(&self) -> Option<Place<'_>> {
        let next = |n| (n < MOST).then_some(n + 1);
        let entered = self.0.fetch_update(Relaxed, Relaxed, next);
        entered.ok().map(|_| Place(self))
    }
}

struct Place<'l>(&'l Lingering);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Closes a connection whose last answer is sent, once the client has ended its side too.
pub(crate) async fn linger(worker: &Worker, mut stream: Io, deadline: &Deadline) {
    let Some(_place) = worker.shared.lingering.enter() else {
        return;
    };
    deadline.end_at(worker.clock().now().checked_add(TOTAL));
    deadline.set(SILENCE);
    let ended = poll_fn(|cx| match Pin::new(&mut stream).poll_shutdown(cx) {
        Poll::Ready(ended) => Poll::Ready(ended.is_ok()),
        Poll::Pending if deadline.poll_due(cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    if !ended.await {
        return;
    }
    let mut silence = SILENCE;
    poll_fn(|cx| {
        let mut room = [0; 16 * 1024];
        // A drain wakes this task.
        let hurries = worker.is_draining() && silence != HURRIED;
        let mut came = hurries;
        loop {
            let mut room = ReadBuf::new(&mut room);
            match Pin::new(&mut stream).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => came = true,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if hurries {
            silence = HURRIED;
        }
        if came {
            deadline.start(silence);
        }
        match deadline.poll_due(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let lingering = Lingering::default();
        let mut places: Vec<_> = (0..MOST).map(|_| lingering.enter().unwrap()).collect();
        assert!(lingering.enter().is_none());
        places.pop();
        assert_eq!(lingering.count(), u64::from(MOST) - 1);
        assert!(lingering.enter().is_some());
        drop(places);
        assert_eq!(lingering.count(), 0);
    }
}
