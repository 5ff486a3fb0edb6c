//! `/events`: the page's parts as they change, one serialised frame for all viewers.
//!
//! A viewer gets `event: snapshot` with everything, then `event: delta` a second with what
//! changed since the frame before; one who missed a frame gets a whole one again, so a slow
//! viewer skips to the newest, and one who takes nothing for long loses the seat. `event: log` carries a timeline event at once.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{Extensions, StatusCode, header};
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use crate::Admin;
use crate::history::TotalRates;
use crate::json;
use crate::memory::Lease;
use crate::moment::Moment;
use crate::page::{self, Key, PageQuery, Part};
use crate::places::Place;
use crate::problem;
use crate::pulse::Pulse;
use crate::serve::Peer;
use crate::status::Event;

/// A comment this often keeps middle boxes from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Kinds of pages that are rendered for viewers at a time; the oldest goes.
const KINDS: usize = 64;

/// A kind of page that nobody has looked at for so many seconds is forgotten.
const UNSEEN: u64 = 2;

/// The newest frames, by kind of page.
#[derive(Default)]
pub(crate) struct Frames {
    kinds: Mutex<BTreeMap<Key, Frame>>,
}

/// One rendered moment of one kind of page; viewers share its bytes.
#[derive(Clone)]
struct Frame {
    seq: u64,
    /// The sequence number that `delta` builds on.
    base: u64,
    moment: Arc<Moment>,
    parts: Arc<Parts>,
    /// What follows the snapshot's JSON when everything is sent.
    tail: Bytes,
    delta: Bytes,
}

struct Parts {
    list: Vec<Part>,
    _lease: Lease,
}

impl Frames {
    /// The newest frame of a kind, and whether it is of `seq` or newer.
    fn newest(&self, key: &Key, seq: u64) -> (Option<Frame>, bool) {
        let newest = self.lock().get(key).cloned();
        let is_fresh = newest.as_ref().is_some_and(|frame| frame.seq >= seq);
        (newest, is_fresh)
    }

    fn keep(&self, key: Key, frame: Frame) {
        let mut kinds = self.lock();
        if kinds.len() >= KINDS && !kinds.contains_key(&key) {
            let oldest = kinds.iter().min_by_key(|(_, f)| f.seq);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| kinds.remove(&key));
        }
        kinds.insert(key, frame);
    }

    /// Lets go of what nobody looked at lately.
    pub(crate) fn forget(&self, second: u64) {
        let is_seen = |f: &mut Frame| f.moment.snapshot.second + UNSEEN >= second;
        self.lock().retain(|_, frame| is_seen(frame));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Frame>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// The frame of `moment`, rendered by whoever asks first. `None`: readers hold as much as they
    /// may.
    async fn frame(&self, moment: &Arc<Moment>, key: &Key) -> Option<Frame> {
        let (frames, seq) = (&self.shared.frames, moment.snapshot.seq);
        if let (Some(frame), true) = frames.newest(key, seq) {
            return Some(frame);
        }
        let alone = self.alone().await;
        let before = match frames.newest(key, seq) {
            (Some(frame), true) => return Some(frame),
            (before, _) => before,
        };
        if !self.shared.config.bounds.room().await {
            return None;
        }
        let (admin, moment, key) = (self.clone(), Arc::clone(moment), key.clone());
        let rendered = alone.render(move || {
            let frame = render(&admin, moment, &key, before.as_ref());
            admin.shared.frames.keep(key, frame.clone());
            frame
        });
        Some(rendered.await)
    }
}

#[derive(Serialize)]
struct Delta<'a> {
    seq: u64,
    time_ms: u64,
    title: String,
    colour: &'static str,
    spoken: String,
    total: &'a TotalRates,
    parts: BTreeMap<&'a str, &'a str>,
}

fn render(admin: &Admin, moment: Arc<Moment>, key: &Key, before: Option<&Frame>) -> Frame {
    let parts = page::parts(admin, &moment, key);
    let seq = moment.snapshot.seq;
    let (base, changed) = match before {
        Some(before) => (before.seq, page::changes(&before.parts.list, &parts)),
        None => (seq, page::everything(&parts)),
    };
    let delta = |parts| Delta {
        seq,
        time_ms: moment.snapshot.time_ms,
        title: page::title(&moment),
        colour: page::colour(&moment),
        spoken: page::spoken(&moment),
        total: &moment.rates.total,
        parts,
    };
    let memory = &admin.shared.config.bounds.memory;
    let tail = tail(&json::text(&delta(page::everything(&parts))));
    let delta = event("delta", Some(seq), &json::text(&delta(changed)));
    Frame {
        seq,
        base,
        tail: memory.hold(tail),
        delta: memory.hold(delta),
        parts: Arc::new(Parts {
            _lease: memory.lease(parts.iter().map(Part::len).sum()),
            list: parts,
        }),
        moment,
    }
}

/// What makes one JSON object of a snapshot's, without its end, and a page's. Both begin with `seq`,
/// which readers take from the first.
fn tail(page: &str) -> String {
    let rest = page.split_once("\"title\"").map_or("", |(_, rest)| rest);
    format!(",\"title\"{rest}\n\n")
}

/// One event. JSON has no raw line ends, so one `data:` line holds it.
fn event(name: &str, id: Option<u64>, data: &str) -> String {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("event: {name}\n{id}data: {data}\n\n")
}

struct Viewer {
    admin: Admin,
    _seat: Place,
    key: Key,
    moments: watch::Receiver<Arc<Moment>>,
    logs: broadcast::Receiver<Arc<Event>>,
    /// The last frame sent; `None` before the first.
    sent: Option<u64>,
    /// The second that it showed.
    second: Option<u64>,
    /// What is to be sent of it.
    rest: VecDeque<Bytes>,
    quiet_until: Instant,
}

/// Serves one viewer.
pub(crate) async fn events(
    State(admin): State<Admin>,
    Query(query): Query<BTreeMap<String, String>>,
    extensions: Extensions,
) -> Response {
    let peer = extensions.get::<Peer>().map(|peer| peer.0.ip());
    let pulse = extensions.get::<Arc<Pulse>>().cloned();
    let (peer, pulse) = (
        peer.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        pulse.unwrap_or_else(Pulse::new),
    );
    let Some(seat) = admin.shared.config.bounds.viewers.take(peer, &pulse) else {
        let detail = "All seats are taken; long poll /api/v1/snapshot?wait=SEQ instead.";
        return problem::response(StatusCode::SERVICE_UNAVAILABLE, "Too many viewers", detail);
    };
    let viewer = Viewer {
        key: PageQuery::parse(&query).key,
        moments: admin.shared.moments.clone(),
        logs: admin.shared.events.subscribe(),
        sent: None,
        second: None,
        rest: VecDeque::from([Bytes::from_static(b"retry: 2000\n")]),
        quiet_until: Instant::now() + KEEP_ALIVE,
        _seat: seat,
        admin,
    };
    let frames = stream::unfold(viewer, |mut viewer| async move {
        let bytes = viewer.next().await?;
        viewer.quiet_until = Instant::now() + KEEP_ALIVE;
        Some((Ok::<_, Infallible>(bytes), viewer))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Nginx would hold the stream back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

impl Viewer {
    /// The next bytes to send; `None` when the process ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.rest.pop_front() {
                return Some(bytes);
            }
            if self.second.is_none() {
                self.look().await;
                continue;
            }
            tokio::select! {
                changed = self.moments.changed() => {
                    changed.ok()?;
                    self.look().await;
                }
                log = self.logs.recv() => match log {
                    Ok(log) => return Some(event("log", None, &json::text(&page::log(&log))).into()),
                    // The next frame has whatever was missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = sleep_until(self.quiet_until) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    /// Has the frame of another second sent; without memory for it the next second's is.
    async fn look(&mut self) {
        let moment = self.moments.borrow_and_update().clone();
        let second = Some(moment.snapshot.second);
        if std::mem::replace(&mut self.second, second) == second {
            return;
        }
        let Some(frame) = self.admin.frame(&moment, &self.key).await else {
            return;
        };
        match self.sent {
            Some(sent) if frame.seq <= sent => return,
            Some(sent) if frame.base == sent => self.rest.push_back(frame.delta),
            _ => {
                let Some(json) = self.admin.json(Arc::clone(&frame.moment)).await else {
                    return;
                };
                let head = format!("event: snapshot\nid: {}\ndata: ", frame.seq);
                let open = json.slice(..json.len() - 1);
                self.rest.extend([head.into(), open, frame.tail]);
            }
        }
        self.sent = Some(frame.seq);
    }
}

#[cfg(test)]
mod tests;
