//! The socket of an HTTP/2 connection, shared by the `h2` crate and the connection's task.

use std::cell::{RefCell, RefMut};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::hold::Windows;
use super::outbound::Outbound;
use crate::transport::Io;

/// A socket, and what is gathered for it.
pub(super) struct Line {
    /// `None` when it has gone to [`Self::rest`].
    stream: RefCell<Option<Io>>,
    out: RefCell<Outbound>,
    rest: RefCell<Option<Io>>,
    windows: Rc<Windows>,
}

impl Line {
    pub(super) fn new(stream: Io, windows: Rc<Windows>) -> Self {
        Self {
            stream: RefCell::new(Some(stream)),
            out: RefCell::default(),
            rest: RefCell::default(),
            windows,
        }
    }

    pub(super) fn stream(&self) -> RefMut<'_, Option<Io>> {
        self.stream.borrow_mut()
    }

    /// Gathers all of `slices`; not ready while the socket does not take what waits already.
    pub(super) fn poll_put(
        &self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.out.borrow().is_full()
            && let Poll::Ready(sent) = self.poll_send(cx)
        {
            sent?;
        }
        let mut out = self.out.borrow_mut();
        if out.is_full() {
            self.windows.offer.clear();
            return Poll::Pending;
        }
        Poll::Ready(Ok(out.put(slices, &self.windows.offer)))
    }

    /// Ready when everything has been handed to the socket.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => self.out.borrow_mut().poll_send(stream, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Lets nothing more go in or out.
    pub(super) fn end(&self) {
        if let Some(stream) = self.stream.take() {
            *self.rest.borrow_mut() = Some(stream);
        }
    }

    /// The socket, once `h2` has sent its last frame: the client gets to read what it says.
    pub(super) fn rest(&self) -> Option<Io> {
        self.rest.take()
    }
}

impl Drop for Line {
    /// Whatever `h2` looked at last and never wrote would keep itself.
    fn drop(&mut self) {
        self.windows.offer.clear();
    }
}
