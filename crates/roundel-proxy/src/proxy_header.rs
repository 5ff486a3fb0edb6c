//! The PROXY protocol on the clients' side: who is connected through the proxy that connects.

use std::future::poll_fn;
use std::task::Poll;

use roundel_http1::RequestHead;
use roundel_http1::proxy_protocol::{self, Header, Invalid, MAX_LENGTH};

use crate::body::poll_fill;
use crate::deadline::Deadline;
use crate::headers;
use crate::peer::{Connection, Peer};

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// It comes from an address that may not speak for others.
    Untrusted,
    Invalid(Invalid),
    Cut,
    TimedOut,
}

impl Refused {
    fn words(self) -> String {
        match self {
            Self::Untrusted => "its address is not in trusted_proxies".to_owned(),
            Self::Invalid(invalid) => invalid.to_string(),
            Self::Cut => "it ended in the middle of the PROXY protocol header".to_owned(),
            Self::TimedOut => "no PROXY protocol header came in time".to_owned(),
        }
    }
}

/// Reads the header of a connection that must begin with one, and takes its word for who is
/// connected.
///
/// Returns a head whose block holds what came behind the header; `None` if the connection ends.
pub(crate) async fn identify(
    connection: &mut Connection,
    deadline: &Deadline,
) -> Option<Box<RequestHead>> {
    let worker = connection.peer.worker.clone();
    let rules = connection.peer.slot.rules();
    let mut head = worker.blocks.take_request();
    deadline.set(rules.frontend.timeouts.http_request);
    let address = connection.peer.address.ip();
    let read = match headers::is_trusted(address, &rules.frontend.trusted_proxies) {
        true => read(connection, deadline, &mut head).await,
        false => Err(Refused::Untrusted),
    };
    match read {
        Ok(Some(header)) => {
            connection.peer.believe(header);
            return Some(head);
        }
        // A check that only connects, or the end of the process: nothing to tell.
        Ok(None) => {}
        Err(refused) => complain(&connection.peer, refused),
    }
    worker.blocks.give_request(head);
    None
}

async fn read(
    connection: &mut Connection,
    deadline: &Deadline,
    head: &mut RequestHead,
) -> Result<Option<Header>, Refused> {
    let Connection { stream, peer, .. } = connection;
    let (worker, block) = (&peer.worker, &mut head.block);
    poll_fn(|cx| {
        loop {
            match poll_fill(stream, block, MAX_LENGTH, cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) if block.is_empty() => return Poll::Ready(Ok(None)),
                Poll::Ready(_) => return Poll::Ready(Err(Refused::Cut)),
                Poll::Pending if deadline.poll_fired(cx) => {
                    return Poll::Ready(Err(Refused::TimedOut));
                }
                Poll::Pending if block.is_empty() && worker.closes_idle() => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => return Poll::Pending,
            }
            match proxy_protocol::parse(block.filled()) {
                Ok(Some((header, length))) => {
                    block.consume(length);
                    return Poll::Ready(Ok(Some(header)));
                }
                Ok(None) => {}
                Err(invalid) => return Poll::Ready(Err(Refused::Invalid(invalid))),
            }
        }
    })
    .await
}

fn complain(peer: &Peer, refused: Refused) {
    let worker = &peer.worker;
    let counters = peer.slot.counters(worker.index);
    counters.proxy_protocol_errors.add(1);
    let complaints = &peer.slot.complaints.proxy_protocol;
    if let Some(more) = complaints.due(worker.clock().now()) {
        tracing::warn!(
            "frontend {}: a connection from {} was closed: {}{more}",
            peer.slot.rules().frontend.name,
            peer.address,
            refused.words()
        );
    }
}
