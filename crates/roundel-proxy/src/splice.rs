//! Large plain bodies go from socket to socket inside the kernel, through a pipe.
//!
//! A pipe is filled only while it is empty and lent only while it holds something. So a socket
//! that refuses to fill it has nothing, whatever number of bytes its pages could take; and a few
//! pipes serve many streams. Where none is to be had, bytes are copied.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::budget::Share;
use crate::shared::{Shared, WorkerCell};
use crate::shortage;
use crate::store::Store;

/// What is left of a body must be at least so much for a pipe to be taken: from there on it is cheaper.
pub(crate) const WORTH: u64 = 16 * 1024;
/// Bytes that a pipe may hold.
const SIZE: usize = 256 * 1024;

/// An open pipe.
#[derive(Debug)]
struct OpenPipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes in it.
    held: usize,
    /// Whose it is, while it is on loan.
    home: Option<Rc<Pipes>>,
    _share: Share,
}

/// The pipes of one worker.
#[derive(Debug)]
pub(crate) struct Pipes {
    shared: Arc<Shared>,
    worker: usize,
    free: Store<Box<OpenPipe>>,
    /// No pipe could be opened since the last sweep.
    failed: Cell<bool>,
    /// The kernel does not splice these sockets.
    refused: Cell<bool>,
}

impl Pipes {
    pub(crate) fn new(worker: usize, shared: Arc<Shared>) -> Self {
        Self {
            shared,
            worker,
            free: Store::default(),
            failed: Cell::new(false),
            refused: Cell::new(false),
        }
    }

    /// Lends an empty pipe, if there is one.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Pipe> {
        if self.refused.get() {
            return None;
        }
        let mut open = self.free.take().or_else(|| self.open())?;
        open.home = Some(Rc::clone(self));
        self.cell().pipes_used.fetch_add(1, Relaxed);
        Some(Pipe(Some(open)))
    }

    /// Closes half of the pipes that were not needed since the last sweep; all, if descriptors
    /// are short.
    pub(crate) fn sweep(&self, short: bool) {
        self.failed.set(short);
        match short {
            true => self.free.clear(),
            false => self.free.sweep(),
        }
    }

    fn open(&self) -> Option<Box<OpenPipe>> {
        if self.failed.get() {
            return None;
        }
        let share = Share::take(&self.shared.pipes)?;
        match self.make() {
            Ok((read, write)) => Some(Box::new(OpenPipe {
                read,
                write,
                held: 0,
                home: None,
                _share: share,
            })),
            Err(error) => {
                tracing::debug!(%error, "no pipe");
                self.failed.set(true);
                None
            }
        }
    }

    fn make(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let descriptors = self.shared.descriptors;
        if descriptors.is_beyond_clients(&read) || descriptors.is_beyond_clients(&write) {
            return Err(shortage::error());
        }
        // Beyond the user's share the kernel makes pipes of two pages, and refuses this.
        fcntl_setpipe_size(&write, SIZE)?;
        Ok((read, write))
    }

    fn cell(&self) -> &WorkerCell {
        &self.shared.workers[self.worker]
    }
}

/// A pipe on loan. When dropped it goes back if it is empty, and is closed if it is not.
#[derive(Debug)]
pub(crate) struct Pipe(
    /// Taken only by dropping.
    Option<Box<OpenPipe>>,
);

impl Pipe {
    /// Bytes that are in it.
    pub(crate) fn held(&self) -> usize {
        self.inner().held
    }

    /// Fills an empty pipe with up to `most` of what waits at a socket.
    ///
    /// Returns 0 at the end of the stream, and `None` where the kernel cannot do it.
    pub(crate) fn poll_fill(
        &mut self,
        from: &TcpStream,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        let pipe = self.inner_mut();
        debug_assert_eq!(pipe.held, 0, "a full pipe and an empty socket look alike");
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(1 << 30);
        loop {
            ready!(from.poll_read_ready(cx))?;
            let fill = || transfer(from, &pipe.write, most);
            let filled = from.try_io(Interest::READABLE, fill);
            return Poll::Ready(match filled {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if is_refusal(&error) => {
                    tracing::debug!(%error, "bodies are copied from now on");
                    pipe.home().refused.set(true);
                    Ok(None)
                }
                Err(error) => Err(error),
                Ok(n) => {
                    pipe.held = n;
                    Ok(Some(n))
                }
            });
        }
    }

    /// Hands what is held to a socket; ready when that is all of it.
    pub(crate) fn poll_drain(
        &mut self,
        to: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = self.inner_mut();
        while pipe.held > 0 {
            ready!(to.poll_write_ready(cx))?;
            let mut moved = 0;
            let drained = to.try_io(Interest::WRITABLE, || {
                moved = transfer(&pipe.read, to, pipe.held)?;
                match moved {
                    0 => Err(io::ErrorKind::WriteZero.into()),
                    n if n < pipe.held => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            });
            pipe.held -= moved;
            let counter = &pipe.home().cell().spliced_bytes;
            counter.fetch_add(moved as u64, Relaxed);
            match drained {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    fn inner(&self) -> &OpenPipe {
        self.0.as_ref().expect("it is there until dropped")
    }

    fn inner_mut(&mut self) -> &mut OpenPipe {
        self.0.as_mut().expect("it is there until dropped")
    }
}

impl OpenPipe {
    fn home(&self) -> &Pipes {
        self.home.as_ref().expect("it is on loan")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(mut open) = self.0.take()
            && let Some(home) = open.home.take()
        {
            home.cell().pipes_used.fetch_sub(1, Relaxed);
            if open.held == 0 {
                home.free.give(open);
            }
        }
    }
}

fn transfer(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    most: usize,
) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let once = || splice(&from, None, &to, None, most, flags);
    retry_on_intr(once).map_err(io::Error::from)
}

/// Whether an error says that there is no splicing here, and nothing about the peer.
fn is_refusal(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
    )
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{AccessLog, Config};

    fn pipes(most: u64) -> Rc<Pipes> {
        let (evidence, _) = mpsc::channel(1);
        let config = Config {
            threads: 1,
            pipes: most,
            ..Config::default()
        };
        let (shared, _) = Shared::new(&config, evidence, AccessLog::off());
        Rc::new(Pipes::new(0, Arc::new(shared)))
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn what_comes_out_is_what_went_in_and_no_more_than_asked_for() {
        let pipes = pipes(1);
        let ((mut sender, from), (to, mut reader)) = (pair().await, pair().await);
        sender.write_all(b"hello world").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        let filled = poll_fn(|cx| pipe.poll_fill(&from, 5, cx)).await;
        assert_eq!(filled.unwrap(), Some(5));
        assert_eq!(pipe.held(), 5);
        poll_fn(|cx| pipe.poll_drain(&to, cx)).await.unwrap();
        assert_eq!(pipe.held(), 0);
        let filled = poll_fn(|cx| pipe.poll_fill(&from, 99, cx)).await;
        assert_eq!(filled.unwrap(), Some(6));
        poll_fn(|cx| pipe.poll_drain(&to, cx)).await.unwrap();
        let mut got = [0; 11];
        reader.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello world");
        drop(sender);
        let filled = poll_fn(|cx| pipe.poll_fill(&from, 99, cx)).await;
        assert_eq!(filled.unwrap(), Some(0), "the end");
        assert_eq!(pipes.cell().spliced_bytes.load(Relaxed), 11);
    }

    #[tokio::test]
    async fn an_empty_pipe_goes_back_and_a_full_one_is_closed() {
        let pipes = pipes(1);
        let counts = |pipes: &Pipes| {
            let used = pipes.cell().pipes_used.load(Relaxed);
            (pipes.shared.pipes.open(), used)
        };
        let (mut sender, from) = pair().await;
        let mut pipe = pipes.take().unwrap();
        assert_eq!(counts(&pipes), (1, 1));
        assert!(pipes.take().is_none(), "there is only one");
        drop(pipe);
        assert_eq!(counts(&pipes), (1, 0));
        pipe = pipes.take().unwrap();
        sender.write_all(b"hello").await.unwrap();
        let filled = poll_fn(|cx| pipe.poll_fill(&from, 99, cx)).await;
        assert_eq!(filled.unwrap(), Some(5));
        drop(pipe);
        assert_eq!(counts(&pipes), (0, 0));
        drop(pipes.take().unwrap());
        pipes.sweep(true);
        assert_eq!(counts(&pipes), (0, 0), "descriptors are short");
        assert!(pipes.take().is_none());
        pipes.sweep(false);
        assert!(pipes.take().is_some());
    }
}
