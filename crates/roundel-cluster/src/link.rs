//! One stream between two balancers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::cluster::{Inner, Ticket};
use crate::limits::{BATCH, PING, SILENCE};
use crate::peers::Refusal;
use crate::store::{Entry, PutError};
use crate::wire::{Frame, HEAD, WireError, length};

/// Why a stream has ended, or none was begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("nothing came or went for {SILENCE:?}")]
    Silent,
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("it said something else first than who it is")]
    NoName,
    #[error("it calls itself {0}")]
    Name(String),
    #[error("it looks for {0}, and this is another")]
    Address(String),
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Says who this is and hears who the other is, which is to be `expected` where that is known. Who looks
/// for another than this one has been misled, and takes nobody's place.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    inner: &Inner,
    stream: &mut S,
    address: SocketAddr,
    expected: Option<&str>,
) -> Result<Ticket, LinkError> {
    let name = inner.state().peers.me().to_owned();
    let (me, to) = (name.clone(), expected.map(str::to_owned));
    send(stream, &Frame::Hello { name, to }).await?;
    let Frame::Hello { name, to } = receive(stream).await? else {
        return Err(LinkError::NoName);
    };
    if expected.is_some_and(|expected| expected != name) {
        return Err(LinkError::Name(name.escape_default().to_string()));
    }
    match to {
        Some(to) if to != me => Err(LinkError::Address(to.escape_default().to_string())),
        _ => Ok(inner.begin(&name, address)?),
    }
}

/// Tells all changes, takes those of the other end, until one of both is gone.
pub(crate) async fn run<S: AsyncRead + AsyncWrite>(
    inner: &Inner,
    stream: S,
    ticket: &mut Ticket,
) -> LinkError {
    let (mut input, mut output) = tokio::io::split(stream);
    let taken = Taken::default();
    let Ticket { name, id, stopped } = ticket;
    let ended = tokio::select! {
        ended = hear(inner, name, *id, &mut input, &taken) => ended,
        ended = tell(inner, name, *id, &mut output, &taken) => ended,
        _ = stopped => return std::io::Error::other("it was ended here").into(),
    };
    let Err(error) = ended;
    error
}

/// Frames of entries that have taken effect here.
#[derive(Default)]
struct Taken {
    count: AtomicU64,
    more: Notify,
}

async fn hear(
    inner: &Inner,
    name: &str,
    id: u64,
    input: &mut (impl AsyncRead + Unpin),
    taken: &Taken,
) -> Result<std::convert::Infallible, LinkError> {
    loop {
        match receive(input).await? {
            Frame::Entries(entries) => {
                for (entry, value) in entries {
                    take(inner, name, &entry, value);
                }
                taken.count.fetch_add(1, Ordering::Release);
                taken.more.notify_one();
            }
            Frame::Whole => {
                inner.state().peers.handle_whole(name, id);
                inner.touch();
            }
            Frame::Taken(count) => {
                inner.state().peers.handle_taken(name, id, count);
                inner.touch();
            }
            Frame::Ping => {}
            Frame::Hello { .. } => return Err(WireError::Broken.into()),
        }
    }
}

fn take(inner: &Inner, from: &str, name: &str, entry: Entry) {
    let mut state = inner.state();
    let taken: Result<bool, PutError> = inner.merge(&mut state, name, entry);
    drop(state);
    if let Err(error) = taken {
        inner.complain(&format!("an entry of {from} is not taken: {error}"));
    }
}

async fn tell(
    inner: &Inner,
    name: &str,
    id: u64,
    output: &mut (impl AsyncWrite + Unpin),
    taken: &Taken,
) -> Result<std::convert::Infallible, LinkError> {
    let mut changes = inner.changes();
    let (mut told, mut confirmed, mut whole) = (0, 0, false);
    // From what was said last: changes that are nothing to say come at any rate.
    let mut due = Instant::now() + PING;
    loop {
        changes.mark_unchanged();
        // What was taken by now is confirmed after all that was put here before it.
        let count = taken.count.load(Ordering::Acquire);
        while let Some(frame) = next(inner, name, id, &mut told) {
            send(output, &frame).await?;
            due = Instant::now() + PING;
        }
        if !std::mem::replace(&mut whole, true) {
            send(output, &Frame::Whole).await?;
        }
        if count > confirmed {
            confirmed = count;
            send(output, &Frame::Taken(count)).await?;
            due = Instant::now() + PING;
        }
        let more = async {
            tokio::select! {
                _ = changes.changed() => {}
                () = taken.more.notified() => {}
            }
        };
        if timeout_at(due, more).await.is_err() {
            send(output, &Frame::Ping).await?;
            due = Instant::now() + PING;
        }
    }
}

/// The next frame of what has changed, counted as told.
fn next(inner: &Inner, name: &str, id: u64, told: &mut u64) -> Option<Frame> {
    let mut state = inner.state();
    let (entries, upto) = state.store.since(*told, BATCH)?;
    *told = upto;
    state.peers.handle_told(name, id, upto);
    Some(Frame::Entries(entries))
}

async fn send(output: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> Result<(), LinkError> {
    let bytes = frame.encode();
    let written = async {
        output.write_all(&bytes).await?;
        output.flush().await
    };
    Ok(within(SILENCE, written).await??)
}

async fn receive(input: &mut (impl AsyncRead + Unpin)) -> Result<Frame, LinkError> {
    let mut head = [0; HEAD];
    within(SILENCE, input.read_exact(&mut head)).await??;
    // Secrets, until they are in their places.
    let mut body = Zeroizing::new(vec![0; length(head)?]);
    within(SILENCE, input.read_exact(&mut body)).await??;
    Ok(Frame::decode(&body)?)
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, LinkError> {
    timeout(limit, work).await.map_err(|_| LinkError::Silent)
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taken").field(&self.count).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::{Cluster, Effect};
    use crate::identity::Identity;

    struct Nothing;

    impl Effect for Nothing {
        fn apply(&self, _: &str, _: Option<&[u8]>) {}
    }

    /// On a clock that goes on when all wait.
    #[tokio::test(start_paused = true)]
    async fn whoever_looks_at_changes_all_the_time_still_says_that_it_is_there() {
        let cluster = Cluster::new(Identity::new(&[1; 32]), "a", Nothing);
        let inner = Arc::clone(&cluster.0);
        let (mut here, mut there) = tokio::io::duplex(1 << 16);
        let telling = inner.clone();
        tokio::spawn(async move {
            let taken = Taken::default();
            let _ = tell(&telling, "b", 1, &mut here, &taken).await;
        });
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PING / 4).await;
                inner.touch();
            }
        });
        assert_eq!(receive(&mut there).await.unwrap(), Frame::Whole);
        for _ in 0..5 {
            assert_eq!(receive(&mut there).await.unwrap(), Frame::Ping);
        }
    }
}
