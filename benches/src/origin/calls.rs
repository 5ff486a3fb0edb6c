//! Calls of gRPC: each is answered by one message and OK in the trailers, when its own has come.

use std::rc::Rc;

use anyhow::Result;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// A message of 32 bytes behind its head: not compressed, and its length.
pub(crate) const MESSAGE: [u8; 37] = {
    let mut bytes = [b'x'; 37];
    bytes[0] = 0;
    [bytes[1], bytes[2], bytes[3], bytes[4]] = [0, 0, 0, 32];
    bytes
};

/// What every call gets.
struct Answer {
    head: HeaderMap,
    trailers: HeaderMap,
}

pub(super) async fn accept(listener: TcpListener) -> Result<()> {
    let content = HeaderValue::from_static("application/grpc");
    let ok = HeaderValue::from_static("0");
    let answer = Rc::new(Answer {
        head: HeaderMap::from_iter([(http::header::CONTENT_TYPE, content)]),
        trailers: HeaderMap::from_iter([("grpc-status".parse()?, ok)]),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A peer that goes away ends its own connection and nothing else.
        tokio::task::spawn_local(converse(stream, answer.clone()));
    }
}

async fn converse(stream: TcpStream, answer: Rc<Answer>) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .max_concurrent_streams(1000);
    let mut connection = builder.handshake(stream).await?;
    while let Some(asked) = connection.accept().await {
        let (request, respond) = asked?;
        tokio::task::spawn_local(call(request, respond, answer.clone()));
    }
    Ok(())
}

async fn call(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Rc<Answer>,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
    }
    let mut head = Response::new(());
    head.headers_mut().clone_from(&answer.head);
    let mut send = respond.send_response(head, false)?;
    send.send_data(Bytes::from_static(&MESSAGE), false)?;
    send.send_trailers(answer.trailers.clone())
}
