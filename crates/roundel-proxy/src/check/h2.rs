//! A check over HTTP/2, on a connection of its own.

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use http::{Method, Request, Uri, header};

use super::words;
use crate::headers::via;
use crate::transport::Io;

/// Bytes of the head of an answer, as RFC 9113 6.5.2 counts them.
const MAX_HEAD: u32 = 16 * 1024;

/// Sends the request and returns the final status. Errors: words about what came instead.
pub(super) async fn converse(
    stream: Io,
    method: &str,
    path: &str,
    host: &str,
) -> Result<u16, String> {
    let request = request(&stream, method, path, host)?;
    let (mut send, mut connection) = begin(stream).await?;
    let asked = send.send_request(request, true);
    let (answer, _) = asked.map_err(|error| format!("sending: {}", told(error)))?;
    tokio::select! {
        // An answer that came with the end of the connection counts.
        biased;
        answer = answer => match answer {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(told(error)),
        },
        over = &mut connection => Err(match over {
            Ok(()) => "closed without an answer".into(),
            Err(error) => told(error),
        }),
    }
}

/// Begins HTTP/2; whoever asks has to poll the connection too.
async fn begin(stream: Io) -> Result<(SendRequest<Bytes>, Connection<Io, Bytes>), String> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_concurrent_streams(0)
        .max_header_list_size(MAX_HEAD);
    builder.handshake(stream).await.map_err(told)
}

fn request(stream: &Io, method: &str, path: &str, host: &str) -> Result<Request<()>, String> {
    let scheme = match stream.as_plain() {
        Some(_) => "http",
        None => "https",
    };
    let uri = Uri::builder().scheme(scheme).authority(host);
    let uri = uri.path_and_query(path).build();
    let method = Method::from_bytes(method.as_bytes());
    Request::builder()
        .method(method.map_err(|error| error.to_string())?)
        .uri(uri.map_err(|error| error.to_string())?)
        .header(
            header::USER_AGENT,
            concat!("roundel-check/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "*/*")
        .header(header::VIA, via::value("2.0"))
        .body(())
        .map_err(|error| error.to_string())
}

fn told(error: h2::Error) -> String {
    match error.get_io() {
        Some(error) => words(error),
        None => format!("not HTTP/2: {error}"),
    }
}
