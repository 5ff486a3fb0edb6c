//! Behind the proxy: its HTTP/2 becomes a scripted origin's HTTP/1.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::super::message::{self, Message, Parsed};
use super::front::chunk;
use super::{Span, fields, flushed, is_chunked, lines};

/// Plays one connection of the proxy to its end.
pub(super) async fn serve(stream: TcpStream, span: Span) {
    span.shared.count(true);
    streams(stream, &span).await;
    span.shared.count(false);
}

async fn streams(stream: TcpStream, span: &Span) {
    let over = span.shared.over.notified();
    tokio::pin!(over);
    over.as_mut().enable();
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let broken = Arc::new(Notify::new());
    let mut leaves = false;
    loop {
        tokio::select! {
            // Before the stream, which is dropped with it, can say a word of its own.
            biased;
            () = broken.notified() => return,
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let round = span.shared.round();
                    let span = Span { round, ..span.clone() };
                    tokio::spawn(answer(request, respond, span, Arc::clone(&broken)));
                }
                _ => return,
            },
            () = &mut over, if !leaves => {
                leaves = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// How the origin's answer went.
enum Ended {
    /// It is whole.
    Whole,
    /// The origin closed without a byte of it.
    Nothing,
    /// It ends in its middle.
    Broken,
    /// The proxy wants no more of it, or the case makes no sense.
    Over,
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    span: Span,
    broken: Arc<Notify>,
) {
    let Ok(far) = TcpStream::connect(span.to).await else {
        return;
    };
    let _ = far.set_nodelay(true);
    let (mut reader, mut writer) = far.into_split();
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let chunked = !body.is_end_stream() && !head.headers.contains_key("content-length");
    let path = head.uri.path_and_query().map_or("*", |p| p.as_str());
    let host = head.uri.authority().map_or("", |a| a.as_str());
    let mut bytes = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    if !head.headers.contains_key("host") {
        bytes.extend_from_slice(format!("host: {host}\r\n").as_bytes());
    }
    bytes.extend(lines(&head.headers));
    if chunked {
        bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    let _ = writer.write_all(&bytes).await;
    let upload = upload(&mut writer, body, chunked);
    tokio::pin!(upload);
    let mut complete = false;
    let ended = {
        let download = download(&mut reader, &mut respond, &method, &span);
        tokio::pin!(download);
        tokio::select! {
            biased;
            ended = &mut download => ended,
            came = &mut upload => {
                complete = came;
                match came {
                    true => download.await,
                    false => Ended::Over,
                }
            }
        }
    };
    match ended {
        Ended::Whole if complete => {}
        Ended::Whole => {
            let mut rest = [0];
            tokio::select! {
                _ = &mut upload => {}
                _ = reader.read(&mut rest) => {}
            }
        }
        Ended::Nothing if span.shared.is_playing(span.round) => broken.notify_one(),
        Ended::Nothing | Ended::Broken => {
            // A reset takes back what was not sent.
            flushed().await;
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        Ended::Over => {}
    }
}

/// Hands the body on. Gives whether it came whole.
async fn upload(writer: &mut OwnedWriteHalf, mut body: RecvStream, chunked: bool) -> bool {
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return false };
        if !piece.is_empty() {
            let _ = match chunked {
                true => writer.write_all(&chunk(&piece)).await,
                false => writer.write_all(&piece).await,
            };
        }
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let Ok(trailers) = body.trailers().await else {
        return false;
    };
    if chunked {
        let mut end = b"0\r\n".to_vec();
        end.extend(lines(&trailers.unwrap_or_default()));
        end.extend_from_slice(b"\r\n");
        let _ = writer.write_all(&end).await;
    }
    true
}

/// Reads on, unless the proxy gives the stream up. Gives whether bytes came, and whether it was an end in
/// good order.
async fn fill(
    reader: &mut OwnedReadHalf,
    buffer: &mut Vec<u8>,
    gone: impl Future<Output = ()>,
) -> Option<std::io::Result<usize>> {
    tokio::select! {
        read = reader.read_buf(buffer) => Some(read),
        () = gone => None,
    }
}

/// Reads the origin's answers and hands them on.
async fn download(
    reader: &mut OwnedReadHalf,
    respond: &mut SendResponse<Bytes>,
    method: &Method,
    span: &Span,
) -> Ended {
    let mut buffer = Vec::new();
    let head = loop {
        match message::response(&buffer, method.as_str(), false) {
            Parsed::Whole(message, used) if message.status() < 200 => {
                let Ok(interim) = response(&message).inspect_err(|why| span.skip(why)) else {
                    return Ended::Over;
                };
                if respond.send_informational(interim).is_err() {
                    return Ended::Over;
                }
                buffer.drain(..used);
                continue;
            }
            Parsed::Whole(message, _) | Parsed::Head(message) => break message,
            Parsed::Bad(why) => {
                span.skip(why);
                return Ended::Over;
            }
            Parsed::Little => {}
        }
        let gone = poll_fn(|cx| respond.poll_reset(cx).map(drop));
        match fill(reader, &mut buffer, gone).await {
            None => return Ended::Over,
            Some(Ok(n)) if n > 0 => {}
            Some(_) if buffer.is_empty() => return Ended::Nothing,
            Some(_) => {
                span.skip("an answer's head that was cut");
                return Ended::Over;
            }
        }
    };
    let Ok(answer) = response(&head).inspect_err(|why| span.skip(why)) else {
        return Ended::Over;
    };
    let status = head.status();
    let none = method == Method::HEAD || status == 204 || status == 304;
    let Ok(mut stream) = respond.send_response(answer, none) else {
        return Ended::Over;
    };
    match none {
        true => Ended::Whole,
        false if is_chunked(&head) => chunks(reader, buffer, &mut stream, method, span).await,
        false => plain(reader, buffer, &mut stream, &head).await,
    }
}

/// The head in HTTP/2's terms. Errors: why it has none.
fn response(head: &Message) -> Result<Response<()>, String> {
    if !head.line.starts_with("HTTP/1.1 ") {
        return Err("an answer of HTTP/1.0".to_owned());
    }
    if head.status() == 101 {
        return Err("an upgrade".to_owned());
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).map_err(|e| e.to_string())?;
    *response.headers_mut() = fields(&head.fields)?;
    Ok(response)
}

/// A body that a length or the end of the connection bounds.
async fn plain(
    reader: &mut OwnedReadHalf,
    mut buffer: Vec<u8>,
    stream: &mut SendStream<Bytes>,
    head: &Message,
) -> Ended {
    let length = head
        .first("content-length")
        .and_then(|n| n.parse::<u64>().ok());
    let mut left = length.unwrap_or(u64::MAX);
    let at = message::find(&buffer, b"\r\n\r\n").unwrap_or_default() + 4;
    buffer.drain(..at);
    loop {
        let take = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= take as u64;
        if !send(stream, Bytes::copy_from_slice(&buffer[..take]), left == 0).await {
            return Ended::Over;
        }
        if left == 0 {
            return Ended::Whole;
        }
        buffer.clear();
        let gone = poll_fn(|cx| stream.poll_reset(cx).map(drop));
        match fill(reader, &mut buffer, gone).await {
            None => return Ended::Over,
            Some(Ok(n)) if n > 0 => {}
            Some(Ok(_)) if length.is_none() => {
                let _ = stream.send_data(Bytes::new(), true);
                return Ended::Whole;
            }
            Some(_) => return Ended::Broken,
        }
    }
}

/// A chunked body.
async fn chunks(
    reader: &mut OwnedReadHalf,
    mut buffer: Vec<u8>,
    stream: &mut SendStream<Bytes>,
    method: &Method,
    span: &Span,
) -> Ended {
    let mut sent = 0;
    loop {
        let (message, whole) = match message::response(&buffer, method.as_str(), false) {
            Parsed::Whole(message, _) => (message, true),
            Parsed::Head(message) => (message, false),
            Parsed::Bad(why) => {
                span.skip(why);
                return Ended::Over;
            }
            Parsed::Little => (Message::default(), false),
        };
        let last = whole && message.trailers.is_empty();
        let piece = Bytes::copy_from_slice(message.body.get(sent..).unwrap_or_default());
        sent = sent.max(message.body.len());
        if (last || !piece.is_empty()) && !send(stream, piece, last).await {
            return Ended::Over;
        }
        if whole {
            if !last {
                match fields(&message.trailers) {
                    Ok(trailers) => drop(stream.send_trailers(trailers)),
                    Err(why) => span.skip(why),
                }
            }
            return Ended::Whole;
        }
        let gone = poll_fn(|cx| stream.poll_reset(cx).map(drop));
        match fill(reader, &mut buffer, gone).await {
            None => return Ended::Over,
            Some(Ok(n)) if n > 0 => {}
            Some(_) => return Ended::Broken,
        }
    }
}

/// Sends a piece as the proxy takes it. Gives whether it took all.
async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes, last: bool) -> bool {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return false;
        };
        let now = piece.split_to(room.min(piece.len()));
        let end = last && piece.is_empty();
        if stream.send_data(now, end).is_err() {
            return false;
        }
        if end {
            return true;
        }
    }
    !last || stream.send_data(Bytes::new(), true).is_ok()
}
