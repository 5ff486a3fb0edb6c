//! `/events`: the page's parts as they change, one serialised frame for all viewers.
//!
//! A viewer gets `event: snapshot` with everything, then `event: delta` a second with what
//! changed since the frame before; one who missed a frame gets a whole one again, so a slow
//! viewer skips to the newest. `event: log` carries a timeline event at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{StatusCode, header};
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use crate::Admin;
use crate::history::TotalRates;
use crate::moment::Moment;
use crate::page::{self, Key, PageQuery, Part};
use crate::problem;
use crate::status::Event;

/// A comment this often keeps middle boxes from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Kinds of pages that are rendered for viewers at a time; the oldest goes.
const KINDS: usize = 64;

/// The newest frames, by kind of page.
#[derive(Default)]
pub(crate) struct Frames {
    kinds: Mutex<BTreeMap<Key, Frame>>,
}

/// One rendered moment of one kind of page.
#[derive(Clone)]
struct Frame {
    seq: u64,
    /// The sequence number that `delta` builds on.
    base: u64,
    parts: Arc<Vec<Part>>,
    whole: Bytes,
    delta: Bytes,
}

impl Frames {
    /// The frame of `moment`, rendered by whoever asks first.
    fn frame(&self, admin: &Admin, moment: &Moment, key: &Key) -> Frame {
        let kinds = self.kinds.lock();
        let mut kinds = kinds.unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS && !kinds.contains_key(key) {
            let oldest = kinds
                .iter()
                .min_by_key(|(_, f)| f.seq)
                .map(|(k, _)| k.clone());
            oldest.and_then(|key| kinds.remove(&key));
        }
        match kinds.entry(key.clone()) {
            Entry::Occupied(kept) if kept.get().seq >= moment.snapshot.seq => kept.get().clone(),
            Entry::Occupied(mut kept) => {
                let frame = render(admin, moment, key, Some(kept.get()));
                kept.insert(frame.clone());
                frame
            }
            Entry::Vacant(free) => free.insert(render(admin, moment, key, None)).clone(),
        }
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

fn render(admin: &Admin, moment: &Moment, key: &Key, before: Option<&Frame>) -> Frame {
    let parts = page::parts(admin, moment, key);
    let seq = moment.snapshot.seq;
    let (base, changed) = match before {
        Some(before) => (before.seq, page::changes(&before.parts, &parts)),
        None => (seq, page::everything(&parts)),
    };
    let delta = |parts| Delta {
        seq,
        time_ms: moment.snapshot.time_ms,
        title: page::title(moment),
        colour: page::colour(moment),
        spoken: page::spoken(moment),
        total: &moment.rates.total,
        parts,
    };
    let whole = joined(&moment.json(), &encode(&delta(page::everything(&parts))));
    let delta = encode(&delta(changed));
    Frame {
        seq,
        base,
        whole: event("snapshot", Some(seq), &whole),
        delta: event("delta", Some(seq), &delta),
        parts: Arc::new(parts),
    }
}

/// One JSON object out of two; both begin with `seq`, which readers take from the last.
fn joined(snapshot: &[u8], page: &str) -> String {
    let snapshot = std::str::from_utf8(snapshot).expect("JSON is UTF-8");
    let head = snapshot.strip_suffix('}').unwrap_or("{");
    let tail = page.split_once("\"title\"").map_or("", |(_, rest)| rest);
    format!("{head},\"title\"{tail}")
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values encode")
}

/// One event. JSON has no raw line ends, so one `data:` line holds it.
fn event(name: &str, id: Option<u64>, data: &str) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

/// Counts a viewer as long as it lives.
struct Seat(Admin);

impl Seat {
    fn take(admin: &Admin) -> Option<Self> {
        let viewers = &admin.shared.viewers;
        let max = admin.shared.config.max_viewers;
        let more = |n: usize| (n < max).then_some(n + 1);
        let taken = viewers.fetch_update(Relaxed, Relaxed, more);
        taken.is_ok().then(|| Self(admin.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.shared.viewers.fetch_sub(1, Relaxed);
    }
}

struct Viewer {
    seat: Seat,
    key: Key,
    moments: watch::Receiver<Arc<Moment>>,
    logs: broadcast::Receiver<Arc<Event>>,
    /// The last frame sent; `None` before the first.
    sent: Option<u64>,
    /// The second that it showed.
    second: u64,
    quiet_until: Instant,
}

/// Serves one viewer.
pub(crate) async fn events(
    State(admin): State<Admin>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(seat) = Seat::take(&admin) else {
        let detail = "All seats are taken; long poll /api/v1/snapshot?wait=SEQ instead.";
        return problem::response(StatusCode::SERVICE_UNAVAILABLE, "Too many viewers", detail);
    };
    let viewer = Viewer {
        key: PageQuery::parse(&query).key,
        moments: admin.shared.moments.clone(),
        logs: admin.shared.events.subscribe(),
        sent: None,
        second: 0,
        quiet_until: Instant::now() + KEEP_ALIVE,
        seat,
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
        let Some(sent) = self.sent else {
            let frame = self.frame();
            self.sent = Some(frame.seq);
            return Some(
                [Bytes::from_static(b"retry: 2000\n"), frame.whole]
                    .concat()
                    .into(),
            );
        };
        loop {
            tokio::select! {
                changed = self.moments.changed() => {
                    changed.ok()?;
                    if self.moments.borrow_and_update().snapshot.second == self.second {
                        continue;
                    }
                    let frame = self.frame();
                    if frame.seq > sent {
                        self.sent = Some(frame.seq);
                        return Some(if frame.base == sent { frame.delta } else { frame.whole });
                    }
                }
                log = self.logs.recv() => match log {
                    Ok(log) => return Some(event("log", None, &encode(&page::log(&log)))),
                    // The next frame has whatever was missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = sleep_until(self.quiet_until) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    fn frame(&mut self) -> Frame {
        let moment = self.moments.borrow_and_update().clone();
        self.second = moment.snapshot.second;
        let admin = &self.seat.0;
        admin.shared.frames.frame(admin, &moment, &self.key)
    }
}

#[cfg(test)]
mod tests;
