//! Lingering close: a client that is still sending gets to read its answer.
//!
//! To close a connection with unread bytes in it is to reset it, which takes the answer from a client
//! that has not read it yet (RFC 9112 9.6). So the sending side is closed, and what comes is read and
//! thrown away for a while.

use std::future::poll_fn;
use std::pin::Pin;
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
