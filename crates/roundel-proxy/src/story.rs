//! What happened in one exchange: gathered on the way, counted and logged once at its end.

use std::time::{Duration, Instant};

use roundel_balance::{Pick, StickyVerdict};
use roundel_http1::grpc::Code;
use roundel_http1::{Known, RequestHead};

use crate::counters::{RequestError, method_index};
use crate::ending::{Phase, Term};
use crate::headers::{self, identity};
use crate::log::{Encryption, Record};
use crate::rules::BackendSlot;
use crate::scene::Scene;

/// The story of one exchange. Times are exact to the reading of the clock nearest to them.
#[derive(Debug)]
pub(crate) struct Story {
    /// The first byte of the request.
    pub(crate) started: Instant,
    /// The head was whole, or given up.
    pub(crate) head_at: Instant,
    /// There is no head that could be used.
    pub(crate) headless: bool,
    /// Spent in the queue of a full backend.
    pub(crate) queue: Duration,
    /// Its places in the queues of the server and of the backend, from 1; 0 without a wait.
    pub(crate) queue_place: (u32, u32),
    /// Spent connecting in the attempt that counted; zero on a used connection.
    pub(crate) connect: Option<Duration>,
    /// The connection of the attempt that counted was there.
    pub(crate) connected_at: Option<Instant>,
    /// The head of the answer was there.
    pub(crate) answered_at: Option<Instant>,
    /// It was over; told by whoever knows it without reading the clock.
    pub(crate) ended_at: Option<Instant>,
    pub(crate) status: u16,
    /// How a gRPC call ended, where its answer says so.
    pub(crate) grpc: Option<Code>,
    pub(crate) term: Term,
    pub(crate) phase: Phase,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    /// Index in [`StickyVerdict::LABELS`].
    pub(crate) sticky: usize,
    /// A sticky cookie was set.
    pub(crate) cookie_set: bool,
    /// Roundel answered by itself.
    pub(crate) intercepted: bool,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) set_version: u64,
    /// The identifier of the request, where something asks for it.
    pub(crate) request_id: Option<Box<str>>,
    /// The trace that was begun here.
    pub(crate) trace_id: Option<Box<str>>,
}

impl Story {
    pub(crate) fn new(started: Instant, head_at: Instant) -> Self {
        Self {
            started,
            head_at,
            headless: false,
            queue: Duration::ZERO,
            queue_place: (0, 0),
            connect: None,
            connected_at: None,
            answered_at: None,
            ended_at: None,
            status: 0,
            grpc: None,
            term: Term::Ok,
            phase: Phase::Request,
            retries: 0,
            redispatched: false,
            sticky: StickyVerdict::NONE,
            cookie_set: false,
            intercepted: false,
            request_bytes: 0,
            response_bytes: 0,
            set_version: 0,
            request_id: None,
            trace_id: None,
        }
    }

    /// From the head of the request to the attempt that counted: waiting in queues, and attempts
    /// that came to nothing, as HAProxy counts them. `None` when no attempt was made.
    ///
    /// Wait, this, connect, first and what follows come one after the other, and their sum is the
    /// whole time.
    pub(crate) fn queued(&self) -> Option<Duration> {
        let Some(connected_at) = self.connected_at else {
            let attempted = self.phase >= Phase::Connect && self.term != Term::NoServer;
            return (attempted || !self.queue.is_zero()).then_some(self.queue);
        };
        if connected_at == self.head_at {
            return Some(Duration::ZERO);
        }
        let until_connected = connected_at.saturating_duration_since(self.head_at);
        Some(until_connected.saturating_sub(self.connect.unwrap_or_default()))
    }

    /// From the connection to the head of the answer.
    pub(crate) fn first(&self) -> Option<Duration> {
        let (from, to) = (self.connected_at?, self.answered_at?);
        Some(to.saturating_duration_since(from))
    }

    /// Ends the story with `term`, unless it ended before.
    pub(crate) fn end(&mut self, term: Term) {
        if self.term == Term::Ok {
            self.term = term;
        }
    }

    /// Ends the story because its exchange was dropped: by a panic, or since the process ends.
    pub(crate) fn cut_short(&mut self) {
        self.end(match std::thread::panicking() {
            true => Term::InternalError,
            false => Term::Stopped,
        });
    }

    /// How a gRPC call ended; `None` for other requests. One that its client gave up is cancelled, one
    /// that ends without a code is unknown.
    fn code(&self, head: &RequestHead) -> Option<Code> {
        let missing = || match self.term.is_client_abort() {
            true => Code::CANCELLED,
            false => Code::UNKNOWN,
        };
        head.is_call().then(|| self.grpc.unwrap_or_else(missing))
    }

    /// HAProxy's letters for the cookie: what the client sent, what it was given.
    fn sticky_letters(&self) -> [u8; 2] {
        let sent = match StickyVerdict::LABELS[self.sticky] {
            "valid" | "draining" => b'V',
            "down" | "leaving" => b'D',
            "unknown" | "invalid" => b'I',
            _ => b'N',
        };
        [sent, if self.cookie_set { b'I' } else { b'N' }]
    }
}

/// Counts a finished exchange everywhere it belongs and writes its line.
///
/// `pick` is the server that answered or failed last, `None` when none was reached.
pub(crate) fn conclude(
    scene: Scene<'_>,
    slot: Option<&BackendSlot>,
    pick: Option<&Pick>,
    head: &RequestHead,
    story: &Story,
) {
    let ended_at = story.ended_at;
    let now = ended_at.unwrap_or_else(|| scene.worker.clock().now());
    let first = story.first();
    // Most answers are there at once, as their requests were: then both are the same span.
    let total = match first {
        Some(first)
            if story.answered_at == Some(now) && story.connected_at == Some(story.started) =>
        {
            first
        }
        _ => now.saturating_duration_since(story.started),
    };
    let (total_us, first_us) = (micros(total), first.map(micros));
    count_frontend(scene, head, story, total_us);
    if let Some(slot) = slot {
        count_backend(scene, slot, story, first_us, total_us);
    }
    if let Some(pick) = pick {
        count_server(scene, pick, story, first, total_us);
    }
    let code = story.code(head);
    if let Some(code) = code {
        count_call(scene, slot, pick, story, code);
    }
    write_line(scene, slot, pick, (head, code), story, total);
}

/// Counts how a gRPC call ended. An error is counted apart where its status does not count as one.
fn count_call(
    scene: Scene<'_>,
    slot: Option<&BackendSlot>,
    pick: Option<&Pick>,
    story: &Story,
    code: Code,
) {
    let is_error = code.is_error() && class(story.status) != class(500);
    let counters = scene.peer.slot.counters(scene.worker.index);
    counters.grpc[code.index()].add(1);
    counters.grpc_errors.add(u64::from(is_error));
    if let Some(slot) = slot {
        let counters = &slot.backend.balancer.counters()[scene.worker.index];
        counters.grpc[code.index()].add(1);
        counters.grpc_errors.add(u64::from(is_error));
    }
    if let Some(pick) = pick.filter(|_| story.answered_at.is_some()) {
        pick.counters().grpc_errors.add(u64::from(is_error));
    }
}

fn count_frontend(scene: Scene<'_>, head: &RequestHead, story: &Story, total_us: u64) {
    let counters = scene.peer.slot.counters(scene.worker.index);
    counters.response(method_index(head.method_name()), story.status);
    counters.bytes_in.add(story.request_bytes);
    counters.bytes_out.add(story.response_bytes);
    counters.duration.record_us(total_us);
    if story.intercepted {
        counters.intercepted.add(1);
    }
    match story.term {
        Term::RateLimited => counters.denied.add(1),
        Term::Http11Required | Term::Loop | Term::Misdirected => {
            counters.request_error(RequestError::Refused)
        }
        Term::TooLarge => counters.request_error(RequestError::TooLarge),
        _ => {}
    }
}

fn count_backend(
    scene: Scene<'_>,
    slot: &BackendSlot,
    story: &Story,
    first_us: Option<u64>,
    total_us: u64,
) {
    let counters = &slot.backend.balancer.counters()[scene.worker.index];
    counters.bytes_in.add(story.request_bytes);
    counters.bytes_out.add(story.response_bytes);
    counters.responses[class(story.status)].add(1);
    counters.sticky[story.sticky].add(1);
    if story.cookie_set {
        counters.cookies_set[story.sticky].add(1);
    }
    counters.total.record_us(total_us);
    if let Some(first_us) = first_us {
        counters.response.record_us(first_us);
    }
    if let Some(connect) = story.connect.filter(|c| !c.is_zero()) {
        counters.connect.record_us(micros(connect));
    }
    match story.term {
        Term::NoServer => counters.no_server.add(1),
        term if term.is_client_abort() => counters.client_aborts.add(1),
        _ => {}
    }
}

fn count_server(
    scene: Scene<'_>,
    pick: &Pick,
    story: &Story,
    first: Option<Duration>,
    total_us: u64,
) {
    let counters = pick.counters();
    counters.bytes_in.add(story.request_bytes);
    counters.bytes_out.add(story.response_bytes);
    match story.term {
        term if term.is_client_abort() => counters.client_aborts.add(1),
        Term::ServerAbort => {
            counters.server_aborts.add(1);
            counters.response_errors.add(1);
        }
        Term::FirstByteTimeout | Term::ResponseIdleTimeout | Term::BadResponse => {
            counters.response_errors.add(1)
        }
        _ => {}
    }
    let Some(answered_at) = story.answered_at else {
        return;
    };
    let first = first.unwrap_or_default();
    counters.responses[class(story.status)].add(1);
    counters.timed.add(1);
    let queue_us = micros(story.queued().unwrap_or_default());
    let first_us = micros(first);
    counters.queue_us.add(queue_us);
    counters.queue_us_max.raise(queue_us);
    let connect_us = micros(story.connect.unwrap_or_default());
    counters.connect_us.add(connect_us);
    counters.connect_us_max.raise(connect_us);
    counters.response_us.add(first_us);
    counters.response_us_max.raise(first_us);
    counters.total_us.add(total_us);
    counters.total_us_max.raise(total_us);
    counters.last_request.set(scene.worker.unix_second());
    pick.record_latency(answered_at, first);
}

/// The index of a status in the counters of servers and backends: 1xx to 5xx, then anything else.
fn class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100 - 1),
        _ => 5,
    }
}

fn micros(t: Duration) -> u64 {
    t.as_secs() * 1_000_000 + u64::from(t.subsec_micros())
}

fn write_line(
    scene: Scene<'_>,
    slot: Option<&BackendSlot>,
    pick: Option<&Pick>,
    (head, code): (&RequestHead, Option<Code>),
    story: &Story,
    total: Duration,
) {
    // After a panic within the log there is none to write to.
    let Ok(mut log) = scene.worker.log.try_borrow_mut() else {
        return;
    };
    if !log.is_on() {
        return;
    }
    let fields = head.fields();
    let (peer, trusted) = (
        scene.peer.address.ip(),
        &scene.rules.frontend.trusted_proxies,
    );
    let client = headers::client_address(fields, peer, trusted);
    let counters = scene.peer.slot.counters(scene.worker.index);
    let secured = scene.peer.secured.as_deref();
    let open = counters.connections.get() - counters.connections_closed.get();
    log.add(&Record {
        at: scene.worker.unix(story.started),
        frontend: scene.rules.frontend.name.as_str(),
        backend: slot.map_or("", |s| s.backend.balancer.name().as_str()),
        server: pick.map_or("", |p| p.server().name.as_str()),
        peer: scene.peer.address,
        named: (client != peer).then_some(client),
        method: head.method_name(),
        host: head.host().unwrap_or_default(),
        target: head.target(),
        proto: head.version().as_str(),
        status: story.status,
        grpc_status: code.map(Code::number),
        request_bytes: story.request_bytes,
        response_bytes: story.response_bytes,
        total,
        wait: (!story.headless).then(|| story.head_at.saturating_duration_since(story.started)),
        queue: story.queued(),
        queue_place: story.queue_place,
        connect: story.connect,
        first: story.first(),
        retries: story.retries,
        redispatched: story.redispatched,
        sticky: StickyVerdict::LABELS[story.sticky],
        sticky_letters: match slot {
            Some(slot) if slot.cookie.is_some() => story.sticky_letters(),
            _ => *b"--",
        },
        term: story.term,
        phase: story.phase,
        connections: (open, pick.map_or(0, |p| u64::from(p.server().in_flight()))),
        user_agent: fields.first(Known::UserAgent).unwrap_or_default(),
        referer: fields.first(Known::Referer).unwrap_or_default(),
        request_id: match &story.request_id {
            Some(id) => id.as_bytes(),
            None => fields.first(Known::XRequestId).unwrap_or_default(),
        },
        trace_id: match &story.trace_id {
            Some(id) => id.as_bytes(),
            None => identity::trace_id(fields).unwrap_or_default(),
        },
        set_version: story.set_version,
        tls: secured.map(|secured| Encryption {
            version: secured.version(),
            cipher: secured.cipher,
            name: secured
                .server_name
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
            resumed: secured.resumed,
            client: secured
                .presented
                .as_ref()
                .map(|p| (&*p.subject, &*p.fingerprint)),
        }),
    });
}
