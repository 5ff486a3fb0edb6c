//! The check of kind `grpc`: one call of gRPC's health protocol over HTTP/2.
//!
//! Source: "GRPC Health Checking Protocol"; its two messages are encoded and decoded by hand.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::client;
use http::{HeaderMap, Request, Response, Uri};
use roundel_balance::CheckStatus;
use roundel_http1::grpc::{Code, STATUS, TIMEOUT, write_timeout};
use tokio::time::timeout_at;

use super::{Finding, MAX_HEAD, words};
use crate::headers::via;
use crate::transport::Io;

/// The longest answer that is read; one that says how it is has seven bytes.
const LONGEST: usize = 4096;
/// Compressed or not, and the length of the message behind it.
const PREFIX: usize = 5;
/// Calls the method.
const PATH: &str = "/grpc.health.v1.Health/Check";

/// What is asked for, and of whom.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// Whether it goes over TLS.
    pub(super) is_secured: bool,
    /// What `:authority` says.
    pub(super) host: &'a str,
    /// Empty for the server as a whole.
    pub(super) service: &'a str,
}

/// Asks a server how it is.
pub(super) async fn ask(io: Io, question: &Question<'_>, deadline: Instant) -> Finding {
    match timeout_at(deadline.into(), converse(io, question, deadline)).await {
        Ok(Ok(answer)) => judge(&answer, question.service),
        Ok(Err(fault)) => Finding::new(CheckStatus::L7Rsp, fault),
        Err(_) => Finding::new(CheckStatus::L7Tout, "no answer in time"),
    }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    http: u16,
    code: Option<Code>,
    /// Prefix and message.
    body: Vec<u8>,
}

/// Makes the call. Errors: words about what came instead of an answer.
async fn converse(io: Io, question: &Question<'_>, deadline: Instant) -> Result<Answer, String> {
    let request = request(question, deadline).map_err(|error| error.to_string())?;
    let begun = client::Builder::new()
        .enable_push(false)
        .initial_window_size(LONGEST as u32)
        .max_header_list_size(MAX_HEAD as u32)
        .handshake::<_, Bytes>(io)
        .await;
    let (sender, connection) = begun.map_err(|error| fault(&error))?;
    let mut connection = pin!(connection);
    let mut call = pin!(call(sender, request, message(question.service)));
    poll_fn(|cx| {
        if let Poll::Ready(called) = call.as_mut().poll(cx) {
            return Poll::Ready(called);
        }
        let Poll::Ready(ended) = connection.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        // What came before its end may be the answer.
        match (call.as_mut().poll(cx), ended) {
            (Poll::Ready(called), _) => Poll::Ready(called),
            (Poll::Pending, Err(error)) => Poll::Ready(Err(fault(&error))),
            (Poll::Pending, Ok(())) => Poll::Ready(Err("closed without an answer".into())),
        }
    })
    .await
}

async fn call(
    sender: client::SendRequest<Bytes>,
    request: Request<()>,
    message: Bytes,
) -> Result<Answer, String> {
    let mut sender = sender.ready().await.map_err(|error| fault(&error))?;
    let sent = sender.send_request(request, false);
    let (response, mut stream) = sent.map_err(|error| fault(&error))?;
    let sent = stream.send_data(message, true);
    sent.map_err(|error| fault(&error))?;
    read(response.await.map_err(|error| fault(&error))?).await
}

async fn read(response: Response<h2::RecvStream>) -> Result<Answer, String> {
    let (head, mut stream) = response.into_parts();
    let mut answer = Answer {
        http: head.status.as_u16(),
        code: code(&head.headers),
        body: Vec::new(),
    };
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(|error| fault(&error))?;
        if answer.body.len() + piece.len() > LONGEST {
            return Err(format!("the answer is longer than {LONGEST} bytes"));
        }
        answer.body.extend_from_slice(&piece);
        let _ = stream.flow_control().release_capacity(piece.len());
    }
    let trailers = stream.trailers().await.map_err(|error| fault(&error))?;
    answer.code = answer.code.or(trailers.as_ref().and_then(code));
    Ok(answer)
}

fn code(fields: &HeaderMap) -> Option<Code> {
    let name = std::str::from_utf8(STATUS).expect("a fixed name");
    fields.get(name).map(|value| Code::parse(value.as_bytes()))
}

/// The words of an error, without what the other side wrote.
fn fault(error: &h2::Error) -> String {
    match (error.reason(), error.get_io()) {
        (Some(reason), _) if error.is_remote() => format!("it refused: {reason:?}"),
        (Some(reason), _) => format!("not HTTP/2: {reason:?}"),
        (None, Some(error)) => words(error),
        (None, None) => "not HTTP/2".into(),
    }
}

fn request(question: &Question<'_>, deadline: Instant) -> Result<Request<()>, http::Error> {
    let uri = Uri::builder()
        .scheme(if question.is_secured { "https" } else { "http" })
        .authority(question.host)
        .path_and_query(PATH)
        .build()?;
    let left = deadline.saturating_duration_since(Instant::now());
    let agent = concat!("roundel-check/", env!("CARGO_PKG_VERSION"));
    Request::post(uri)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(TIMEOUT, write_timeout(left))
        .header(http::header::USER_AGENT, agent)
        .header(http::header::VIA, via::value("2.0"))
        .body(())
}

/// `HealthCheckRequest { string service = 1; }` behind its prefix.
fn message(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, of a length.
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &message].concat().into()
}

fn judge(answer: &Answer, service: &str) -> Finding {
    let sts = |text: String| Finding::new(CheckStatus::L7Sts, text);
    match answer.code {
        None if answer.http != 200 => Finding {
            http_code: Some(answer.http),
            ..sts("an answer of HTTP, not of gRPC".into())
        },
        None => Finding::new(CheckStatus::L7Rsp, "an answer without grpc-status"),
        Some(Code::OK) => match serving(&answer.body) {
            Some(1) => Finding::new(CheckStatus::L7Ok, ""),
            Some(2) => sts("it says NOT_SERVING".into()),
            Some(3) => sts(format!("it says SERVICE_UNKNOWN of `{service}`")),
            Some(0) => sts("it says UNKNOWN".into()),
            Some(n) => sts(format!("it says {n}, which has no meaning")),
            None => Finding::new(CheckStatus::L7Rsp, "an answer that is no HealthCheckResponse"),
        },
        Some(Code::UNIMPLEMENTED) => sts(
            "UNIMPLEMENTED: it offers no grpc.health.v1.Health; register that service, or set check \
             = \"tcp\""
                .into(),
        ),
        Some(code) if code.number() == 5 => sts(format!("NOT_FOUND: it knows no service `{service}`")),
        Some(code) => sts(format!("grpc-status {}", code.number())),
    }
}

/// Reads `HealthCheckResponse { ServingStatus status = 1; }` behind its prefix; 0 where it says nothing.
fn serving(body: &[u8]) -> Option<u64> {
    let (prefix, mut rest) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || rest.len() != length as usize {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let skipped = match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                status = if tag >> 3 == 1 { value } else { status };
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skipped..)?;
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
