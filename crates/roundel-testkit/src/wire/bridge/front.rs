//! In front of the proxy: a client's HTTP/1 becomes HTTP/2.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::super::message::{self, Message, Parsed};
use super::{Span, abort, fields, flushed, is_chunked, latin, lines};

/// How an exchange ended.
enum Ended {
    /// Both messages are whole.
    Whole,
    /// The answer is whole and the request is not, or the proxy broke it, or the case makes no sense.
    Over,
    /// The client went away.
    Left,
}

/// Plays one client connection to its end.
pub(super) async fn serve(near: TcpStream, span: Span) {
    let Ok(far) = TcpStream::connect(span.to).await else {
        return;
    };
    let _ = far.set_nodelay(true);
    let Ok((sender, connection)) = h2::client::handshake(far).await else {
        return abort(near);
    };
    let driver = tokio::spawn(connection);
    let (mut reader, mut writer) = near.into_split();
    let ended = exchanges(&mut reader, &mut writer, sender, &span).await;
    if matches!(ended, Ended::Left) {
        // The proxy is told before the connection goes.
        flushed().await;
    }
    driver.abort();
}

/// One request after another.
async fn exchanges(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    mut sender: SendRequest<Bytes>,
    span: &Span,
) -> Ended {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            match message::request(&buffer) {
                Parsed::Whole(message, _) | Parsed::Head(message) => break message,
                Parsed::Bad(why) => {
                    span.skip(why);
                    return Ended::Over;
                }
                Parsed::Little => {}
            }
            match reader.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => {}
                _ => {
                    if !buffer.is_empty() {
                        span.skip("a head that was cut");
                    }
                    return Ended::Over;
                }
            }
        };
        let request = match request(&head) {
            Ok(request) => request,
            Err(why) => {
                span.skip(why);
                return Ended::Over;
            }
        };
        match exchange(reader, writer, &mut buffer, &mut sender, request, span).await {
            Ended::Whole => {}
            ended => return ended,
        }
        if let Parsed::Whole(_, used) = message::request(&buffer) {
            buffer.drain(..used);
        }
    }
}

/// The request in HTTP/2's terms. Errors: why it has none.
fn request(head: &Message) -> Result<Request<()>, String> {
    let target = head.word(1);
    let host = head.first("host").unwrap_or_default();
    if head.word(2) != "HTTP/1.1" {
        return Err(head.word(2).to_owned());
    }
    if !(target.starts_with('/') || target == "*") || head.word(0) == "CONNECT" {
        return Err(format!("the target {target:?}"));
    }
    let method = Method::from_bytes(head.word(0).as_bytes()).map_err(|e| e.to_string())?;
    let uri = Uri::builder().scheme("http").path_and_query(target);
    let uri = uri.authority(latin(host).as_slice()).build();
    let mut request = Request::new(());
    *request.uri_mut() = uri.map_err(|e| format!("{host:?} {target:?}: {e}"))?;
    if request.uri().path_and_query().map(|p| p.as_str()) != Some(target) {
        return Err(format!("the target {target:?}"));
    }
    *request.method_mut() = method;
    *request.headers_mut() = fields(&head.fields)?;
    Ok(request)
}

async fn exchange(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    buffer: &mut Vec<u8>,
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    span: &Span,
) -> Ended {
    let head_only = request.method() == Method::HEAD;
    let begun = message::request(buffer);
    let bare = matches!(&begun, Parsed::Whole(m, _) if m.body.is_empty() && m.trailers.is_empty() && !is_chunked(m));
    let ready = poll_fn(|cx| sender.poll_ready(cx)).await;
    let Ok((response, mut body)) = ready.and_then(|()| sender.send_request(request, bare)) else {
        return Ended::Over;
    };
    let mut whole = bare;
    let ended = tokio::select! {
        ended = upload(reader, buffer, &mut body, &mut whole, span) => return ended,
        ended = download(writer, response, head_only) => ended,
    };
    match ended {
        Ok(true) if whole => Ended::Whole,
        Ok(true) | Err(_) => Ended::Over,
        Ok(false) => {
            body.send_reset(Reason::CANCEL);
            Ended::Left
        }
    }
}

/// Sends the body, and then looks whether the client goes away. Ends only if it does.
async fn upload(
    reader: &mut OwnedReadHalf,
    buffer: &mut Vec<u8>,
    body: &mut SendStream<Bytes>,
    whole: &mut bool,
    span: &Span,
) -> Ended {
    let mut sent = 0;
    loop {
        if !*whole {
            match message::request(buffer) {
                Parsed::Whole(message, _) => {
                    *whole = true;
                    if let Err(why) = finish(body, &message, sent) {
                        span.skip(why);
                        return Ended::Over;
                    }
                }
                Parsed::Head(message) => {
                    if message.body.len() > sent {
                        let piece = Bytes::copy_from_slice(&message.body[sent..]);
                        sent = message.body.len();
                        let _ = body.send_data(piece, false);
                    }
                }
                Parsed::Bad(why) => {
                    span.skip(why);
                    return Ended::Over;
                }
                Parsed::Little => {}
            }
        }
        match reader.read_buf(buffer).await {
            Ok(0) if *whole => return std::future::pending().await,
            Ok(0) => {
                span.skip("a request that ends in its middle");
                return Ended::Over;
            }
            Ok(_) => {}
            Err(_) => {
                body.send_reset(Reason::CANCEL);
                return Ended::Left;
            }
        }
    }
}

/// Sends what is left of a whole request. Errors: HTTP/2 has no such trailers.
fn finish(body: &mut SendStream<Bytes>, message: &Message, sent: usize) -> Result<(), String> {
    let rest = Bytes::copy_from_slice(&message.body[sent..]);
    if message.trailers.is_empty() {
        let _ = body.send_data(rest, true);
        return Ok(());
    }
    let _ = body.send_data(rest, false);
    let _ = body.send_trailers(fields(&message.trailers)?);
    Ok(())
}

enum Event {
    Interim(Response<()>),
    Final(Response<h2::RecvStream>),
}

/// Writes the interim answers and the final one as HTTP/1. Gives whether the client took it. Errors:
/// the proxy broke it.
async fn download(
    writer: &mut OwnedWriteHalf,
    mut response: ResponseFuture,
    head_only: bool,
) -> Result<bool, h2::Error> {
    let (head, mut body) = loop {
        let event = poll_fn(|cx| {
            if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                return Poll::Ready(interim.map(Event::Interim));
            }
            Pin::new(&mut response)
                .poll(cx)
                .map(|r| r.map(Event::Final))
        });
        match event.await? {
            Event::Final(response) => break response.into_parts(),
            Event::Interim(interim) => {
                let head = start(interim.status().as_u16(), interim.headers());
                let _ = writer.write_all(&head).await;
                let _ = writer.write_all(b"\r\n").await;
            }
        }
    };
    let status = head.status.as_u16();
    let none = head_only || status == 204 || status == 304;
    let chunked = !none && !head.headers.contains_key("content-length");
    let mut bytes = start(status, &head.headers);
    if chunked {
        bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    let _ = writer.write_all(&bytes).await;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        if piece.is_empty() {
            continue;
        }
        let written = match chunked {
            true => writer.write_all(&chunk(&piece)).await,
            false => writer.write_all(&piece).await,
        };
        if written.is_err() {
            return Ok(false);
        }
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let trailers = body.trailers().await?;
    if chunked {
        let mut end = b"0\r\n".to_vec();
        end.extend(lines(&trailers.unwrap_or_default()));
        end.extend_from_slice(b"\r\n");
        let _ = writer.write_all(&end).await;
    }
    Ok(true)
}

fn start(status: u16, headers: &HeaderMap) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} \r\n").into_bytes();
    head.extend(lines(headers));
    head
}

/// One chunk.
pub(super) fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    bytes
}
