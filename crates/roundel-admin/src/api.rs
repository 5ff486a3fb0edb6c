//! Reading as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::Admin;
use crate::answers::{self, Answer, Wanted};
use crate::history::Range;
use crate::json::{self, Json};
use crate::moment::Moment;
use crate::problem;
use crate::status::{Event, Member, MemberStatus};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The longest a long poll may wait.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SnapshotQuery {
    wait: Option<u64>,
    timeout: Option<String>,
}

/// Everything; with `?wait=SEQ&timeout=30s` as soon as something newer than SEQ is there.
pub(crate) async fn snapshot(
    State(admin): State<Admin>,
    Query(query): Query<SnapshotQuery>,
    headers: HeaderMap,
) -> Response {
    let Some(timeout) = query
        .timeout
        .as_deref()
        .map_or(Some(MAX_WAIT / 2), duration)
    else {
        let detail = "timeout is a number of seconds, such as 30s.";
        return problem::response(StatusCode::BAD_REQUEST, "Bad timeout", detail);
    };
    let moment = match query.wait {
        Some(seq) => newer_than(&admin, seq, timeout.min(MAX_WAIT)).await,
        None => admin.moment(),
    };
    let gzip = answers::takes_gzip(&headers);
    // The same tag for other bytes is a weak one.
    let weak = if gzip { "W/" } else { "" };
    let tag = format!("{weak}\"{}\"", moment.snapshot.seq);
    let asked = headers.get(header::IF_NONE_MATCH);
    let same = asked.and_then(|v| v.to_str().ok()).is_some_and(|list| {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        list.split(',').any(|one| opaque(one) == opaque(&tag))
    });
    let fixed = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    if same {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let answer = match gzip {
        true => compressed(&admin, moment).await,
        false => admin.json(moment).await.map(document),
    };
    let Some(mut answer) = answer else {
        return answers::busy();
    };
    for (name, value) in fixed {
        let value = value.parse().expect("digits and quotes");
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The same as everybody gets who takes gzip now.
async fn compressed(admin: &Admin, moment: Arc<Moment>) -> Option<Response> {
    let wanted = Wanted {
        what: format!("snapshot {}", moment.snapshot.seq),
        gzip: true,
    };
    let memory = Arc::clone(&admin.shared.config.bounds.memory);
    let render = move || Answer {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]),
        body: moment.json(&memory),
    };
    admin.share(wanted, render).await.map(Answer::into_response)
}

fn document(bytes: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], bytes.into()).into_response()
}

/// The first moment after `seq`, or the newest when none came in time.
async fn newer_than(admin: &Admin, seq: u64, timeout: Duration) -> Arc<Moment> {
    let mut moments = admin.shared.moments.clone();
    let newer = moments.wait_for(|m| m.snapshot.seq > seq);
    let _ = tokio::time::timeout(timeout, newer).await;
    admin.moment()
}

/// `30`, `30s` or `500ms`.
fn duration(text: &str) -> Option<Duration> {
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse().ok().map(Duration::from_millis);
    }
    let seconds = text.strip_suffix('s').unwrap_or(text);
    seconds.parse().ok().map(Duration::from_secs)
}

/// The frontends.
pub(crate) async fn frontends(State(admin): State<Admin>) -> Response {
    Json(&admin.moment().snapshot.frontends).into_response()
}

/// The backends with their servers.
pub(crate) async fn backends(State(admin): State<Admin>) -> Response {
    Json(&admin.moment().snapshot.backends).into_response()
}

/// One backend.
pub(crate) async fn backend(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let moment = admin.moment();
    moment
        .snapshot
        .backend(&name)
        .map_or_else(no_backend, |b| Json(b).into_response())
}

/// The servers of one backend.
pub(crate) async fn servers(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let moment = admin.moment();
    let backend = moment.snapshot.backend(&name);
    backend.map_or_else(no_backend, |b| Json(&b.servers).into_response())
}

/// One server.
pub(crate) async fn server(
    State(admin): State<Admin>,
    Path((backend, server)): Path<(String, String)>,
) -> Response {
    let moment = admin.moment();
    let Some(backend) = moment.snapshot.backend(&backend) else {
        return no_backend();
    };
    let found = backend.server(&server);
    found.map_or_else(no_server, |s| Json(s).into_response())
}

/// The members; `?status=` and `?role=` narrow.
pub(crate) async fn members(
    State(admin): State<Admin>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let moment = admin.moment();
    let fits = |m: &&Member| {
        let status = query.get("status").is_none_or(|s| s == m.status.as_str());
        status && query.get("role").is_none_or(|role| role == m.role())
    };
    let members: Vec<_> = moment.snapshot.members.iter().filter(fits).collect();
    Json(&members).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventQuery {
    after: u64,
    kind: Option<String>,
    subject: Option<String>,
    format: Option<String>,
}

/// The timeline, oldest first; `?after=SEQ`, `?kind=`, `?subject=`, `?format=jsonl`.
pub(crate) async fn events(
    State(admin): State<Admin>,
    Query(query): Query<EventQuery>,
) -> Response {
    let moment = admin.moment();
    let fits = |e: &&Arc<Event>| {
        let kind = query.kind.as_deref().is_none_or(|k| k == e.kind.as_str());
        let subject = query.subject.as_deref().is_none_or(|s| s == e.subject);
        e.seq > query.after && kind && subject
    };
    let events: Vec<_> = moment.snapshot.events.iter().filter(fits).collect();
    if query.format.as_deref() != Some("jsonl") {
        return Json(&events).into_response();
    }
    let mut lines = String::new();
    for event in events {
        lines += &json::text(event);
        lines.push('\n');
    }
    ([(header::CONTENT_TYPE, "application/jsonl")], lines).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SeriesQuery {
    range: Option<String>,
    backend: Option<String>,
    server: Option<String>,
}

/// The rows behind the plots: of everything, or of `?backend=B&server=S`.
pub(crate) async fn series(
    State(admin): State<Admin>,
    Query(query): Query<SeriesQuery>,
) -> Response {
    let range = Range::from_word(query.range.as_deref());
    let history = admin.history();
    match (&query.backend, &query.server) {
        (Some(backend), Some(server)) => match history.server(backend, server) {
            Some(rows) => Json(&rows.rows(range).iter().collect::<Vec<_>>()).into_response(),
            None => no_server(),
        },
        _ => Json(&history.total.rows(range).iter().collect::<Vec<_>>()).into_response(),
    }
}

fn no_backend() -> Response {
    let detail = "The backends are listed at /api/v1/backends.";
    problem::response(StatusCode::NOT_FOUND, "No such backend", detail)
}

fn no_server() -> Response {
    let detail = "The servers are listed at /api/v1/backends/{backend}/servers.";
    problem::response(StatusCode::NOT_FOUND, "No such server", detail)
}

#[derive(Debug, Serialize)]
struct Target {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// Every live member that names a port as a Prometheus http_sd target.
///
/// The port is the tag `metrics`, else `port`; the address is the tag `addr`, else the gossip one. Tags become labels `__meta_roundel_tag_*`.
pub(crate) async fn service_discovery(State(admin): State<Admin>) -> Response {
    let moment = admin.moment();
    let live = |m: &&Member| m.status == MemberStatus::Alive;
    let targets: Vec<_> = moment
        .snapshot
        .members
        .iter()
        .filter(live)
        .filter_map(target)
        .collect();
    Json(&targets).into_response()
}

fn target(member: &Member) -> Option<Target> {
    let address = member.metrics.clone()?;
    let mut labels = BTreeMap::from([
        ("__meta_roundel_node".to_owned(), member.name.clone()),
        ("__meta_roundel_role".to_owned(), member.role().to_owned()),
    ]);
    for (key, value) in &member.tags {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let key: String = key.chars().map(word).collect();
        labels.insert(format!("__meta_roundel_tag_{key}"), value.clone());
    }
    Some(Target {
        targets: [address],
        labels,
    })
}
