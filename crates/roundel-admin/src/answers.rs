//! One answer for all who ask alike: rendered once per status, compressed once, shared.
//!
//! What depends on who asks stays out of it: acts, health, `/events`, and `/api/v1/snapshot`, which
//! may wait. An answer is as old as its status, which is at most a second.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use tokio::runtime::Handle;

use crate::Admin;
use crate::memory::Memory;
use crate::problem;

/// What a reader asked for: a target or a line, and whether it is compressed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) what: String,
    pub(crate) gzip: bool,
}

/// An answer that any number of readers may hold.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The answers of the newest status.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: Mutex<BTreeMap<Wanted, (u64, Answer)>>,
}

/// Kinds of answers that are kept at a time; the smallest goes.
const KINDS: usize = 64;

/// What is smaller is not compressed.
const SMALL: usize = 1024;

/// Paths whose answers are made for each request.
const LIVE: [&str; 7] = [
    "/livez",
    "/readyz",
    "/healthz",
    "/ping",
    "/events",
    "/api/v1/snapshot",
    "/api/v1/openapi.json",
];

impl Answers {
    fn get(&self, wanted: &Wanted, seq: u64) -> Option<Answer> {
        let kept = self.lock();
        let (of, answer) = kept.get(wanted)?;
        (*of == seq).then(|| answer.clone())
    }

    fn keep(&self, wanted: Wanted, seq: u64, answer: Answer) {
        let mut kept = self.lock();
        if kept.len() >= KINDS && !kept.contains_key(&wanted) {
            let smallest = kept.iter().min_by_key(|(_, (_, a))| a.body.len());
            let smallest = smallest.map(|(wanted, _)| wanted.clone());
            smallest.and_then(|wanted| kept.remove(&wanted));
        }
        kept.insert(wanted, (seq, answer));
    }

    /// Lets go of what is older than the status of this number.
    pub(crate) fn forget(&self, seq: u64) {
        self.lock().retain(|_, (of, _)| *of >= seq);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Wanted, (u64, Answer)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// The answer to what is wanted, made by whoever asks first. `None`: readers hold as much as they
    /// may.
    pub(crate) async fn share(
        &self,
        wanted: Wanted,
        render: impl FnOnce() -> Answer + Send + 'static,
    ) -> Option<Answer> {
        let answers = &self.shared.answers;
        let kept = || answers.get(&wanted, self.moment().snapshot.seq);
        if let Some(answer) = kept() {
            return Some(answer);
        }
        let alone = self.alone().await;
        if let Some(answer) = kept() {
            return Some(answer);
        }
        let bounds = &self.shared.config.bounds;
        if !bounds.room().await {
            return None;
        }
        let admin = self.clone();
        let rendered = alone.render(move || {
            let shared = &admin.shared;
            let seq = admin.moment().snapshot.seq;
            let answer = finish(render(), wanted.gzip, &shared.config.bounds.memory);
            shared.answers.keep(wanted, seq, answer.clone());
            answer
        });
        Some(rendered.await)
    }
}

/// Compresses what is worth it, and counts what is left.
fn finish(mut answer: Answer, gzip: bool, memory: &Arc<Memory>) -> Answer {
    let vary = HeaderValue::from_static("accept-encoding");
    answer.headers.insert(header::VARY, vary);
    if gzip && answer.body.len() >= SMALL {
        let coding = HeaderValue::from_static("gzip");
        answer.headers.insert(header::CONTENT_ENCODING, coding);
        answer.headers.remove(header::CONTENT_LENGTH);
        answer.body = compress(&answer.body).into();
    }
    answer.body = memory.hold(answer.body);
    answer
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let room = Vec::with_capacity(bytes.len() / 8);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory takes any bytes")
}

/// Answers from what is shared, where that may be.
pub(crate) async fn shared(
    State(admin): State<Admin>,
    mut request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let target = request.uri().path_and_query().map_or("", |p| p.as_str());
    if !reads || (LIVE.contains(&request.uri().path()) && !target.contains(';')) {
        return next.run(request).await;
    }
    let wanted = Wanted {
        what: target.to_owned(),
        gzip: takes_gzip(request.headers()),
    };
    let is_head = *request.method() == Method::HEAD;
    *request.method_mut() = Method::GET;
    let runtime = Handle::current();
    let render = move || runtime.block_on(collected(next.run(request)));
    match admin.share(wanted, render).await {
        Some(answer) if is_head => answer.head(),
        Some(answer) => answer.into_response(),
        None => busy(),
    }
}

async fn collected(response: impl Future<Output = Response>) -> Answer {
    let (parts, body) = response.await.into_parts();
    let body = to_bytes(body, usize::MAX).await;
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.expect("what is rendered here does not break off"),
    }
}

/// Nothing is rendered: readers who take their answers slowly hold too much.
pub(crate) fn busy() -> Response {
    let detail = "Readers that are slow to take their answers hold all of stats.memory; ask again.";
    let mut response = problem::response(StatusCode::SERVICE_UNAVAILABLE, "Busy", detail);
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, soon);
    response
}

/// Whether a client takes gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let lists = lists.filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let (coding, rest) = one.split_once(';').unwrap_or((one, ""));
        let weight = rest.trim().strip_prefix("q=").map(str::parse::<f32>);
        let is_refused = weight.is_some_and(|q| q.is_ok_and(|q| q == 0.0));
        coding.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

impl Answer {
    /// What is said to HEAD.
    fn head(mut self) -> Response {
        let len = HeaderValue::from(self.body.len());
        self.headers.insert(header::CONTENT_LENGTH, len);
        (self.status, self.headers).into_response()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for (list, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, list.parse().unwrap());
            assert_eq!(takes_gzip(&headers), takes, "{list}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn the_largest_answers_are_kept() {
        let answers = Answers::default();
        let wanted = |n: usize| Wanted {
            what: n.to_string(),
            gzip: false,
        };
        for n in 0..2 * KINDS {
            let answer = Answer {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: vec![0; 1000 - n].into(),
            };
            answers.keep(wanted(n), 1, answer);
        }
        assert!(answers.get(&wanted(0), 1).is_some());
        assert!(answers.get(&wanted(KINDS), 1).is_none());
        assert!(answers.get(&wanted(0), 2).is_none(), "of another status");
        answers.forget(2);
        assert!(answers.get(&wanted(0), 1).is_none());
    }
}
