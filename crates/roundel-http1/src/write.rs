//! Writing heads from their parsed form.

use crate::block::Block;
use crate::edits::Edits;
use crate::fields::Fields;
use crate::framing::Framing;
use crate::host::is_valid_host;
use crate::known::Known;
use crate::request::RequestHead;
use crate::response::{ResponseHead, reason_phrase};
use crate::syntax::is_target;

/// Room for what a writer adds itself: status line, Host's name, framing, connection.
const OWN: usize = 192;

/// Says what the written head tells the peer about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persist {
    /// Nothing: HTTP/1.1 connections live on by themselves.
    #[default]
    Silent,
    /// `Connection: close`.
    Close,
    /// `Connection: keep-alive`, for clients of HTTP/1.0.
    KeepAlive,
    /// `Connection: Upgrade`, and the Upgrade fields are passed on.
    Upgrade,
}

/// Says how a request is written to a server.
///
/// Shape: the caller vouches for the texts given here; what comes from a peer is in the head.
#[derive(Debug, Clone, Copy)]
pub struct RequestPlan<'a> {
    /// The target to write; `None` for that received, in origin form (RFC 9112, 3.2.1).
    pub target: Option<&'a [u8]>,
    /// The Host to write; `None` for the authority received.
    pub host: Option<&'a [u8]>,
    /// The Host for requests of HTTP/1.0 that have none.
    pub fallback_host: &'a [u8],
    /// How the body will be written. `Frames` and `UntilClose` become `Chunked`.
    pub framing: Framing,
    /// What to say about the connection.
    pub persist: Persist,
    /// Writes `TE: trailers`.
    pub te_trailers: bool,
    /// Asks for WebSocket with this key, in place of an extended CONNECT (RFC 8441, 5).
    pub websocket_key: Option<&'a [u8]>,
}

impl RequestPlan<'_> {
    /// Plans to pass on what was received.
    pub fn new(head: &RequestHead) -> Self {
        Self {
            target: None,
            host: None,
            fallback_host: b"",
            framing: head.framing(),
            persist: Persist::Silent,
            te_trailers: false,
            websocket_key: None,
        }
    }
}

/// Says how an answer is written to a client.
#[derive(Debug, Clone, Copy)]
pub struct ResponsePlan {
    /// How the body will be written. `Frames` becomes `Chunked`; `Empty` keeps a Content-Length
    /// that was received, unless the status forbids one, because HEAD and 304 have one without body.
    pub framing: Framing,
    /// What to say about the connection.
    pub persist: Persist,
}

/// Writes a request head as HTTP/1.1, field by field.
///
/// Host comes first. Connection fields and framing fields as received are dropped, whatever `edits`
/// say, and written anew from `plan`. Returns the framing that the head announces.
pub fn write_request(
    head: &RequestHead,
    plan: &RequestPlan<'_>,
    edits: &Edits,
    out: &mut Block,
) -> Framing {
    let start = match (plan.target, plan.host) {
        (None, None) => head.start_as_received(),
        _ => None,
    };
    if start.is_none() {
        put_request_start(head, plan, out);
    }
    out.reserve(head.size() + edits.added() + OWN);
    let own = (plan.persist, Known::Host.bit());
    put_fields(head.fields(), edits, own, start.unwrap_or_default(), out);
    let framing = match plan.framing {
        Framing::Frames | Framing::UntilClose => Framing::Chunked,
        framing => framing,
    };
    put_framing(framing, out);
    if let Some(key) = plan.websocket_key {
        put_field(b"Upgrade", b"websocket", out);
        put_field(Known::SecWebSocketKey.as_str().as_bytes(), key, out);
    }
    put_connection(plan.persist, plan.te_trailers, out);
    out.put(b"\r\n");
    framing
}

/// Writes the request line and Host.
fn put_request_start(head: &RequestHead, plan: &RequestPlan<'_>, out: &mut Block) {
    let target = plan.target.unwrap_or(head.path_and_query());
    let host = plan.host.or(head.host()).unwrap_or(plan.fallback_host);
    debug_assert!(
        is_target(target) && is_valid_host(host),
        "the plan's texts are valid"
    );
    out.put(head.method_name());
    out.put(b" ");
    // An absolute target may have no path, or a query only; `OPTIONS http://host` means `*` (RFC 9112, 3.2.4).
    match target.first() {
        None if head.method() == crate::Method::Options => out.put(b"*"),
        None if head.method() == crate::Method::Connect => out.put(head.target()),
        None | Some(b'?') => out.put(b"/"),
        Some(_) => {}
    }
    out.put(target);
    out.put(b" HTTP/1.1\r\n");
    put_field(b"Host", host, out);
}

/// Writes the head of an answer as HTTP/1.1, field by field.
///
/// Connection fields and framing fields as received are dropped, whatever `edits` say, and written
/// anew from `plan`. Returns the framing that the head announces.
pub fn write_response(
    head: &ResponseHead,
    plan: &ResponsePlan,
    edits: &Edits,
    out: &mut Block,
) -> Framing {
    out.reserve(head.size() + edits.added() + OWN);
    let start = head.line_as_received();
    if start.is_none() {
        put_status_line(head.status(), head.phrase(), out);
    }
    let start = start.unwrap_or_default();
    put_fields(head.fields(), edits, (plan.persist, 0), start, out);
    let framing = match plan.framing {
        Framing::Frames => Framing::Chunked,
        framing => framing,
    };
    let may_have_length = head.status() >= 200 && head.status() != 204;
    match head.content_length() {
        Some(length) if framing == Framing::Empty && may_have_length => {
            put_framing(Framing::Length(length), out)
        }
        _ if may_have_length => put_framing(framing, out),
        _ => {}
    }
    put_connection(plan.persist, false, out);
    out.put(b"\r\n");
    framing
}

/// Writes a status line; an empty phrase is filled in where the status has a usual one.
pub fn put_status_line(status: u16, phrase: &[u8], out: &mut Block) {
    out.put(b"HTTP/1.1 ");
    out.put(itoa::Buffer::new().format(status).as_bytes());
    out.put(b" ");
    out.put(if phrase.is_empty() {
        reason_phrase(status).as_bytes()
    } else {
        phrase
    });
    out.put(b"\r\n");
}

/// Writes one field line.
///
/// Shape: the caller vouches for name and value; bytes from a peer come through heads and edits.
#[inline]
pub fn put_field(name: &[u8], value: &[u8], out: &mut Block) {
    out.put_line(name, value);
}

/// Writes the fields that stay, then those that are appended.
///
/// What was received in the very form in which it would be written goes out in runs of lines; the
/// first run begins as `run`. `own` is what the writers say themselves, and in which other fields.
fn put_fields(
    fields: Fields<'_>,
    edits: &Edits,
    own: (Persist, u64),
    // The lines from `run.0` to `run.1` are in canonical form and not written yet.
    mut run: (usize, usize),
    out: &mut Block,
) {
    let (bytes, list) = fields.raw();
    let (persist, skip) = own;
    let keeps_all = edits.keeps_all();
    let is_left_out = |known: Known| {
        let is_ours =
            known.is_hop_by_hop() && !(known == Known::Upgrade && persist == Persist::Upgrade);
        is_ours || skip & known.bit() != 0
    };
    for (index, field) in list.iter().enumerate() {
        if is_left_out(field.known) {
            continue;
        }
        let is_kept = keeps_all || !edits.is_touched(index);
        if is_kept && field.is_canonical(bytes) {
            if run.1 != field.name.start() {
                out.put(&bytes[run.0..run.1]);
                run.0 = field.name.start();
            }
            run.1 = field.value.end() + 2;
            continue;
        }
        out.put(&bytes[run.0..run.1]);
        run = (0, 0);
        if is_kept {
            put_field(field.name.of(bytes), field.value.of(bytes), out);
        } else if let Some(value) = edits.replacement(index) {
            put_field(field.name.of(bytes), value, out);
        }
    }
    out.put(&bytes[run.0..run.1]);
    out.put(edits.appended());
}

fn put_framing(framing: Framing, out: &mut Block) {
    match framing {
        Framing::Length(length) => {
            put_field(
                b"Content-Length",
                itoa::Buffer::new().format(length).as_bytes(),
                out,
            );
        }
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n"),
        Framing::Empty | Framing::UntilClose | Framing::Frames => {}
    }
}

fn put_connection(persist: Persist, te_trailers: bool, out: &mut Block) {
    let line: &[u8] = match (persist, te_trailers) {
        (Persist::Silent, false) => b"",
        (Persist::Silent, true) => b"TE: trailers\r\nConnection: TE\r\n",
        (Persist::Close, false) => b"Connection: close\r\n",
        (Persist::Close, true) => b"TE: trailers\r\nConnection: close, TE\r\n",
        (Persist::KeepAlive, false) => b"Connection: keep-alive\r\n",
        (Persist::KeepAlive, true) => b"TE: trailers\r\nConnection: keep-alive, TE\r\n",
        (Persist::Upgrade, false) => b"Connection: Upgrade\r\n",
        (Persist::Upgrade, true) => b"TE: trailers\r\nConnection: Upgrade, TE\r\n",
    };
    out.put(line);
}
