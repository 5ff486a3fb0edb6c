//! Whether a request goes to a backend, and to which; else what it is answered at once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use roundel_http1::{Framing, Method, RequestHead, grpc, path};

use super::facts::{client_address, is_trusted};
use crate::answer::{self, Reply};
use crate::config::Frontend;
use crate::ending::Term;
use crate::headers;
use crate::rate::Limiter;
use crate::route::{self, Way};
use crate::rules::BackendSlot;
use crate::scene::Scene;
use crate::story::Story;

/// Finds the backend for a request. Errors: why it gets an answer of our own, and which.
pub(super) fn admit<'x>(
    scene: Scene<'x>,
    head: &RequestHead,
    story: &Story,
) -> Result<&'x Rc<BackendSlot>, (Term, Reply)> {
    let frontend = &*scene.rules.frontend;
    if let Some(proof) = proof(frontend, head) {
        return Err((Term::Challenge, proof));
    }
    let within = |limiter: &Option<Arc<Limiter>>| match limiter {
        None => Ok(()),
        Some(limiter) => {
            let admitted = limiter.admit(client_address(scene, head), story.head_at);
            admitted.map_err(rate_limited)
        }
    };
    within(&frontend.rate_limit)?;
    if frontend.strict_paths
        && let Some(sentence) = path::ambiguity(head.path())
    {
        return Err((Term::BadRequest, Reply::new(400, sentence)));
    }
    if let Some((status, sentence)) = refused(head) {
        return Err((Term::BadRequest, Reply::new(status, sentence)));
    }
    if let (Some(secured), Some(front)) = (&scene.peer.secured, &frontend.tls)
        && let Some(host) = head.host()
        && !secured.serves(front, host)
    {
        return Err((Term::Misdirected, Reply::new(421, answer::sentence(421))));
    }
    let scheme = || {
        let told = is_trusted(scene).then(|| headers::scheme(head.fields()));
        told.flatten().unwrap_or(scene.peer.proto)
    };
    if headers::via::has_been_here(head.fields()) {
        return Err((Term::Loop, Reply::new(508, answer::sentence(508))));
    }
    let (route, way) = route::route(frontend, head, scheme);
    if let Some(route) = route {
        within(&route.rate_limit)?;
    }
    let most = frontend.limits.max_body;
    if let Framing::Length(length) = head.framing()
        && most > 0
        && length > most
    {
        return Err((Term::TooLarge, Reply::new(413, answer::sentence(413))));
    }
    match way {
        Way::Backend(at) => Ok(&scene.rules.backends[at]),
        Way::Redirect(status, location) => {
            let mut reply = Reply::new(status, "What was asked for is at another address.");
            reply.location = Some(location);
            Err((Term::Redirected, reply))
        }
        Way::NoHost => {
            let sentence = "The request names no host, so there is nowhere to send it.";
            Err((Term::BadRequest, Reply::new(400, sentence)))
        }
    }
}

/// What a CA is answered that asks for the proof of a name. Source: RFC 8555, section 8.3.
fn proof(frontend: &Frontend, head: &RequestHead) -> Option<Reply> {
    let path = std::str::from_utf8(head.path()).ok()?;
    let proof = frontend.challenges.http(path)?;
    matches!(head.method(), Method::Get | Method::Head).then(|| Reply {
        text: Some(proof),
        ..Reply::new(200, "")
    })
}

#[cold]
fn rate_limited(wait: Duration) -> (Term, Reply) {
    let mut reply = Reply::new(429, answer::sentence(429));
    reply.retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (Term::RateLimited, reply)
}

/// What is not passed on at all.
fn refused(head: &RequestHead) -> Option<(u16, &'static str)> {
    match head.method() {
        Method::Connect => Some((501, "CONNECT is not offered here.")),
        Method::Trace => Some((405, "TRACE is not allowed here.")),
        // RFC 9110 7.6.2: the last recipient answers; there is nothing to tell but that.
        _ if head.is_call() && grpc::timeout(head.fields()).is_err() => Some((
            400,
            "The grpc-timeout of this call is malformed: it is up to eight digits and a unit.",
        )),
        Method::Options if head.max_forwards() == Some(0) => {
            Some((200, "This is the last recipient that Max-Forwards allows."))
        }
        _ => None,
    }
}
