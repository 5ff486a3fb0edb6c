//! What changes in the heads of an exchange on their way through, as edits.

use roundel_http1::{Edits, Known, Method, RequestHead, ResponseHead};

use super::facts::{facts, is_trusted, marked_id};
use crate::headers::{self, identity};
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::sticky;
use crate::story::Story;

/// Fills `edits` with what changes in the head of a request, whatever its backend.
pub(super) fn request_edits(
    scene: Scene<'_>,
    head: &RequestHead,
    story: &mut Story,
    edits: &mut Edits,
) {
    let fields = head.fields();
    if head.connection().names_fields {
        edits.remove_connection_named(fields);
    }
    let frontend = &scene.rules.frontend;
    let client = headers::Client {
        address: scene.peer.address.ip(),
        lines: &scene.peer.forwarding,
        port: scene.peer.destination.port(),
        proto: scene.peer.proto,
        trusted: is_trusted(scene),
        host: head.host().unwrap_or_default(),
    };
    let (marks, trusted) = (frontend.marks, &frontend.trusted_proxies);
    headers::forward(fields, client, marks, trusted, edits);
    edits.append_lines(scene.rules.via.line(head.version()));
    if let Some(id) = marked_id(scene, story) {
        headers::set(fields, Known::XRequestId, id.as_bytes(), edits);
    }
    if marks.traceparent {
        let mut rng = scene.worker.rng.borrow_mut();
        story.trace_id = identity::start_trace(fields, &mut rng, edits);
    }
    if head.method() == Method::Options {
        headers::one_forward_less(fields, head.max_forwards(), edits);
    }
}

/// Fills `edits` with what changes in the head of an answer. `cookie` is the value of the sticky
/// cookie that is to be set, where the backend has one.
pub(super) fn answer_edits(
    scene: Scene<'_>,
    slot: &BackendSlot,
    request: &RequestHead,
    head: &ResponseHead,
    cookie: Option<&str>,
    story: &Story,
    edits: &mut Edits,
) {
    edits.clear();
    let fields = head.fields();
    if head.connection().names_fields {
        edits.remove_connection_named(fields);
    }
    scene.worker.with_date(|date| {
        headers::add_date(fields, date.as_bytes(), edits);
    });
    if let Some(id) = marked_id(scene, story) {
        headers::set(fields, Known::XRequestId, id.as_bytes(), edits);
    }
    if let Some(text) = &slot.cookie {
        sticky::remove_set_cookie(fields, text, edits);
    }
    let rules = &slot.response_headers;
    if !rules.is_empty() {
        let facts = facts(scene, request, story);
        headers::rules::apply(rules, fields, &facts, edits);
    }
    if let (Some(text), Some(cookie)) = (&slot.cookie, cookie) {
        let tls = scene.peer.secured.is_some();
        sticky::set(fields, text, cookie, tls, edits);
    }
}
