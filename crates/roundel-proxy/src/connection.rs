//! One client connection: idle without a buffer, in a lent future while it has a request.

use std::future::poll_fn;
use std::mem::replace;
use std::rc::Rc;
use std::task::Poll;

use roundel_http1::RequestHead;
use tokio::task::coop::consume_budget;

use crate::body::poll_fill;
use crate::downstream::h2;
use crate::lent::Lent;
use crate::linger::linger;
use crate::peer::{Connection, Guest};
use crate::proxy_header::identify;
use crate::store::Store;

mod handshake;
pub(crate) mod request;
mod switched;

use request::{Next, head_limit};

/// Serves a connection to its end, each request of it in one of `lent`.
pub(crate) async fn run(mut guest: Box<Guest>, lent: Rc<Store<Lent>>) {
    let mut begun = None;
    let mut first = true;
    if guest.connection.proxied {
        let Guest {
            connection,
            deadline,
        } = &mut *guest;
        match Box::pin(identify(connection, deadline)).await {
            None => return,
            Some(head) if head.block.is_empty() => {
                guest.connection.peer.worker.blocks.give_request(head);
            }
            head => begun = head,
        }
    }
    if guest.connection.tls {
        let shaken = Box::pin(handshake::accept(guest, begun.take()));
        match shaken.await {
            Some((shaken, false)) => guest = shaken,
            Some((shaken, true)) => {
                let head = shaken.connection.peer.worker.blocks.take_request();
                let (connection, deadline) = (shaken.connection, shaken.deadline);
                return Box::pin(h2::run(connection, deadline, head)).await;
            }
            None => return,
        }
    }
    loop {
        let head = match begun.take() {
            Some(head) => head,
            None => match wait(&mut guest, first).await {
                Some(head) => head,
                None => return,
            },
        };
        guest.connection.h2c &= first;
        first = false;
        let mut place = lent.take().unwrap_or_default();
        let next;
        (guest, next) = place.request(guest, head).await;
        lent.give(place);
        match next {
            Next::Request(next) => {
                if next.is_some() {
                    // A pipeline of requests that are answered at once keeps no other client waiting.
                    consume_budget().await;
                }
                begun = next;
            }
            Next::Close => return,
            Next::Linger => return Box::pin(linger_close(guest)).await,
            Next::Tunnel(switched) => {
                let run = switched::run(guest.connection, &guest.deadline, *switched);
                return Box::pin(run).await;
            }
            Next::Http2(head) => {
                return Box::pin(h2::run(guest.connection, guest.deadline, head)).await;
            }
        }
    }
}

/// Lets the client read its last answer, then closes.
async fn linger_close(guest: Box<Guest>) {
    let Guest {
        connection: Connection { peer, stream, .. },
        deadline,
    } = *guest;
    peer.bonds.clear();
    linger(&peer.worker, stream, &deadline).await;
}

/// Waits without holding a buffer for the first bytes of a request; `None` when there is none to
/// come.
///
/// Every idle connection holds this future, so it keeps no more than it must.
fn wait(guest: &mut Guest, first: bool) -> impl Future<Output = Option<Box<RequestHead>>> {
    let deadline = &guest.deadline;
    let limit = guest.connection.peer.slot.look(|rules| {
        let timeouts = &rules.frontend.timeouts;
        match first {
            true => deadline.start(timeouts.http_request),
            // The clock was read when the request before ended.
            false => deadline.rest(timeouts.http_keep_alive),
        }
        head_limit(rules)
    });
    let mut rested = false;
    poll_fn(move |cx| {
        let Guest {
            connection: Connection { peer, stream, .. },
            deadline,
        } = guest;
        let worker = &peer.worker;
        // Right behind a request there is seldom another one; once woken there nearly always is.
        let ready = match replace(&mut rested, true) {
            false => stream.poll_readable(cx),
            true => Poll::Ready(Ok(())),
        };
        if ready.is_ready() {
            let mut head = worker.blocks.take_request();
            match poll_fill(stream, &mut head.block, limit, cx) {
                Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Some(head)),
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => worker.blocks.give_request(head),
            }
        }
        if deadline.poll_fired(cx) {
            return Poll::Ready(None);
        }
        if worker.closes_idle() {
            // The reactor may not have looked at a connection that was accepted a moment ago.
            match stream.is_quiet(true) {
                true => return Poll::Ready(None),
                false => cx.waker().wake_by_ref(),
            }
        }
        if !peer.bonds.is_empty() {
            deadline.look_again();
            return peer.bonds.poll_over(&peer.slot.rules(), cx).map(|()| None);
        }
        Poll::Pending
    })
}
