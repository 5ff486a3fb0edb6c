//! Heads between HTTP/1's terms and HTTP/2's.

use std::net::SocketAddr;

use h2::ext::Protocol;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use roundel_http1::{
    Edits, Fault, Framing, Known, Limits, Method as Known1, RequestHead, ResponseHead, Trailers,
};

/// The head of a request in HTTP/2's terms (RFC 9113 8.3.1); `None` where it has none.
///
/// The server is told `host` where there is one, else the client's word, else `address`.
pub(super) fn request(
    head: &RequestHead,
    edits: &Edits,
    host: Option<&[u8]>,
    address: SocketAddr,
    secure: bool,
) -> Option<Request<()>> {
    let authority = match host.or(head.host()) {
        Some(host) => Authority::try_from(host).ok()?,
        None => Authority::try_from(address.to_string()).ok()?,
    };
    let mut parts = Parts::default();
    // Servers compare it with what they speak, not with what the client spoke.
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = Some(path(head)?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method_name()).ok()?;
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    let map = request.headers_mut();
    for (name, value) in edits.apply(head.fields()) {
        if Known::of(name) != Known::Host {
            append(map, name, value)?;
        }
    }
    if head.takes_trailers() {
        map.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Framing::Length(length) = head.framing() {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(request)
}

/// Makes an extended CONNECT for WebSocket of the GET that it is in HTTP/1 (RFC 8441 5).
pub(super) fn into_connect(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
}

/// What HTTP/1 would write as the target, with that escaped which only browsers leave as it is.
fn path(head: &RequestHead) -> Option<PathAndQuery> {
    let target = head.path_and_query();
    let before: &[u8] = match target.first() {
        None if head.method() == Known1::Options => b"*",
        None | Some(b'?') => b"/",
        Some(_) => b"",
    };
    let whole;
    let target = match before {
        b"" => target,
        before => {
            whole = [before, target].concat();
            &whole
        }
    };
    PathAndQuery::try_from(target)
        .or_else(|_| PathAndQuery::try_from(escaped(target)))
        .ok()
}

#[cold]
fn escaped(target: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len() + 16);
    for &byte in target {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) -> Option<()> {
    let name = HeaderName::from_bytes(name).ok()?;
    map.append(name, HeaderValue::from_bytes(value).ok()?);
    Some(())
}

pub(super) fn trailers(trailers: &Trailers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in trailers.fields().iter() {
        // What is no field here was none in HTTP/1.
        let _ = append(&mut map, line.name, line.value);
    }
    map
}

/// Builds the head with which HTTP/1 switches to WebSocket, from an answer that grants a tunnel. `proof` is
/// what a client of HTTP/1 looks for in it.
pub(super) fn granted(
    parts: &http::response::Parts,
    proof: Option<&str>,
    method: Known1,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<(), Fault> {
    head.begin(101);
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH && name != header::SEC_WEBSOCKET_ACCEPT {
            head.push(name.as_str().as_bytes(), value.as_bytes(), limits)?;
        }
    }
    head.push(b"Upgrade", b"websocket", limits)?;
    if let Some(proof) = proof {
        head.push(b"Sec-WebSocket-Accept", proof.as_bytes(), limits)?;
    }
    head.finish(method, false)
}

/// Builds a head from an answer's. Errors: it is malformed, or larger than allowed.
pub(super) fn answer(
    parts: &http::response::Parts,
    has_body: bool,
    method: Known1,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<(), Fault> {
    head.begin(parts.status.as_u16());
    for (name, value) in &parts.headers {
        head.push(name.as_str().as_bytes(), value.as_bytes(), limits)?;
    }
    head.finish(method, has_body)
}
