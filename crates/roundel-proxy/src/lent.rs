//! The future that answers requests, lent to connections.
//!
//! It is large, and a connection needs it only while it has a request. Boxing a new one with each
//! request would cost an allocation of that size and a copy of it, so a worker keeps those that are
//! free and a connection moves into one of them for the time of a request.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use roundel_http1::RequestHead;

use crate::connection::request::{Next, request};
use crate::peer::Guest;

/// A place where one request at a time is answered.
pub(crate) struct Lent {
    hatch: Rc<Hatch>,
    future: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Who goes in, and who comes out with what follows.
#[derive(Default)]
struct Hatch {
    asked: Cell<Option<(Box<Guest>, Box<RequestHead>)>>,
    answered: Cell<Option<(Box<Guest>, Next)>>,
}

impl Default for Lent {
    fn default() -> Self {
        let hatch = Rc::new(Hatch::default());
        let future = Box::pin(serve(hatch.clone()));
        Self { hatch, future }
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

impl Lent {
    /// Reads the request that begins in `head` and has it answered.
    pub(crate) async fn request(
        &mut self,
        guest: Box<Guest>,
        head: Box<RequestHead>,
    ) -> (Box<Guest>, Next) {
        self.hatch.asked.set(Some((guest, head)));
        poll_fn(|cx| {
            // It never ends, it only waits for the next one to come in.
            let _ = self.future.as_mut().poll(cx);
            self.hatch
                .answered
                .take()
                .map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

async fn serve(hatch: Rc<Hatch>) -> Infallible {
    loop {
        let came_in = poll_fn(|_| hatch.asked.take().map_or(Poll::Pending, Poll::Ready));
        let (mut guest, head) = came_in.await;
        let next = request(&mut guest, head).await;
        hatch.answered.set(Some((guest, next)));
    }
}
