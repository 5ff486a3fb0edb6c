//! What is counted for a server and for a backend, on all threads, across every snapshot.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use roundel_model::Name;
use roundel_stats::{Counter, Histogram, PerWorker, counted};

use crate::sync;

/// Names a server inside one balancer by a number that is never reused (CSV `sid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The live state of one server name: outlives snapshots, address changes and reloads.
///
/// Shape: `workers` has one cell per worker thread; only that thread writes it.
#[derive(Debug)]
pub struct ServerLive {
    /// The number of this name in its balancer.
    pub id: ServerId,
    /// The name.
    pub name: Name,
    /// Counters by worker.
    pub workers: PerWorker<ServerCounters>,
    flight: CachePadded<Flight>,
    latency: CachePadded<Latency>,
    streaks: CachePadded<Streaks>,
    /// The most requests that ever waited for this server only.
    queued_max: AtomicU32,
}

/// Requests in flight and how many there may be, side by side: a pick reads and writes both.
#[derive(Debug, Default)]
struct Flight {
    now: sync::AtomicU32,
    /// 0 for no limit.
    most: sync::AtomicU32,
    opening: AtomicU8,
    refused: AtomicBool,
    tunnels: AtomicU32,
}

/// Whom a server takes, as of the newest snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Closed,
    /// Only those whose cookie names it.
    Sticky,
    All,
}

/// Picks that one worker began and ended, on all servers of a backend.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    pub(crate) begun: Counter,
    pub(crate) ended: Counter,
}

impl Flights {
    /// Requests in flight on the whole backend; may be off by those that begin or end meanwhile.
    pub(crate) fn in_flight(workers: &PerWorker<Self>) -> u64 {
        let ended = workers.sum(|w| w.ended.get());
        workers.sum(|w| w.begun.get()).saturating_sub(ended)
    }
}

/// Failures in a row. Read with every answer, written only when something failed, so the line
/// stays shared among the workers while all is well.
#[derive(Debug, Default)]
struct Streaks {
    unanswered: AtomicU32,
    errors: AtomicU32,
    /// It is down for it answers nothing.
    silent: AtomicBool,
}

/// Each is the same as itself only.
impl PartialEq for ServerLive {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl ServerLive {
    pub(crate) fn new(id: ServerId, name: Name, workers: usize) -> Self {
        Self {
            id,
            name,
            workers: PerWorker::new(workers),
            flight: CachePadded::default(),
            latency: CachePadded::default(),
            streaks: CachePadded::default(),
            queued_max: AtomicU32::new(0),
        }
    }

    /// Requests picked and not yet ended, on all workers.
    pub fn in_flight(&self) -> u32 {
        self.flight.now.load(Relaxed)
    }

    /// Those in flight that became tunnels.
    pub fn tunnels(&self) -> u32 {
        self.flight.tunnels.load(Relaxed)
    }

    pub(crate) fn tunnel_begins(&self) {
        self.flight.tunnels.fetch_add(1, Relaxed);
    }

    pub(crate) fn tunnel_ends(&self) {
        self.flight.tunnels.fetch_sub(1, Relaxed);
    }

    /// The most requests in flight at the same time; 0 for any number.
    pub fn limit(&self) -> u32 {
        self.flight.most.load(Relaxed)
    }

    /// The most requests that ever waited at once for this server only, by their sticky cookie.
    pub fn queued_max(&self) -> u32 {
        self.queued_max.load(Relaxed)
    }

    pub(crate) fn note_queued(&self, waiting: usize) {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        self.queued_max.fetch_max(waiting, Relaxed);
    }

    /// Limits the requests in flight; 0 for no limit. Those in flight stay.
    pub fn set_limit(&self, most: u32) {
        self.flight.most.store(most, SeqCst);
    }

    /// Whether no more requests may come at this moment.
    pub(crate) fn is_full(&self) -> bool {
        let most = self.limit();
        most > 0 && self.in_flight() >= most
    }

    /// Adds one request in flight and returns the count with it; `None` when it is full.
    ///
    /// Never counts one too many, not even for a moment: whoever looks meanwhile would see a
    /// full server and wait for nobody.
    pub(crate) fn try_enter(&self) -> Option<u32> {
        let now = &self.flight.now;
        match self.flight.most.load(SeqCst) {
            0 => Some(now.fetch_add(1, SeqCst) + 1),
            most => now
                .fetch_update(SeqCst, SeqCst, |n| (n < most).then_some(n + 1))
                .ok()
                .map(|before| before + 1),
        }
    }

    /// Notes that it refused a connection, so that every request passes it over from this moment
    /// on, until the control side has decided what that means.
    pub fn note_refused(&self) {
        self.flight.refused.store(true, SeqCst);
    }

    /// Ends what [`Self::note_refused`] began.
    pub fn clear_refused(&self) {
        if self.is_refused() {
            self.flight.refused.store(false, SeqCst);
        }
    }

    /// Whether it refused a connection a moment ago.
    pub fn is_refused(&self) -> bool {
        self.flight.refused.load(Relaxed)
    }

    pub(crate) fn opening(&self) -> Opening {
        match self.flight.opening.load(SeqCst) {
            0 => Opening::Closed,
            1 => Opening::Sticky,
            _ => Opening::All,
        }
    }

    /// Written only when it differs: the line is shared by all workers.
    pub(crate) fn open(&self, opening: Opening) {
        if self.opening() != opening {
            self.flight.opening.store(opening as u8, SeqCst);
        }
    }

    /// Ends one request in flight.
    pub(crate) fn leave(&self) {
        let before = self.flight.now.fetch_sub(1, SeqCst);
        debug_assert_ne!(before, 0, "a pick is dropped once");
    }

    /// Records the time from sending a request to the head of its answer; feeds `p2c`.
    ///
    /// Time: `now` comes from one monotonic clock; an earlier `now` counts as no time passed.
    pub(crate) fn record_latency(&self, now: Instant, latency: Duration) {
        self.latency.record(now, latency);
    }

    /// The decayed peak of latency in microseconds; `None` before the first answer.
    pub fn latency_us(&self, now: Instant) -> Option<f32> {
        self.latency.get(now)
    }

    /// Notes that an answer began: ends a row of attempts without one. What it says comes later.
    pub fn note_began(&self) {
        clear(&self.streaks.unanswered);
    }

    /// Notes what a final answer says, 5xx or an error of gRPC or something else: ends a row of
    /// attempts without one, and one of errors.
    pub fn note_answer(&self, is_error: bool) {
        clear(&self.streaks.unanswered);
        if is_error {
            self.streaks.errors.fetch_add(1, Relaxed);
        } else {
            clear(&self.streaks.errors);
        }
    }

    /// Notes an attempt that brought no answer, through no fault of the client.
    pub fn note_failure(&self) {
        self.streaks.unanswered.fetch_add(1, Relaxed);
    }

    /// Attempts in a row without an answer, and answers in a row with 5xx.
    pub(crate) fn streaks(&self) -> (u32, u32) {
        let Streaks {
            unanswered, errors, ..
        } = &*self.streaks;
        (unanswered.load(Relaxed), errors.load(Relaxed))
    }

    /// Whether it is out because it answers nothing: what waits for it may go elsewhere.
    pub fn is_silent(&self) -> bool {
        self.streaks.silent.load(Relaxed)
    }

    /// Returns what it was before.
    pub(crate) fn set_silent(&self, silent: bool) -> bool {
        self.streaks.silent.swap(silent, Relaxed)
    }

    pub(crate) fn clear_streaks(&self) {
        clear(&self.streaks.unanswered);
        clear(&self.streaks.errors);
    }

    /// Final answers of any status, on all workers.
    pub fn answers(&self) -> u64 {
        self.workers
            .sum(|w| w.responses[1..].iter().map(Counter::get).sum())
    }
}

/// Writes only where there is something to clear.
fn clear(streak: &AtomicU32) {
    if streak.load(Relaxed) != 0 {
        streak.store(0, Relaxed);
    }
}

/// A peak-sensitive moving average: jumps up with a slow answer, decays with time.
///
/// Shape: one word holds the value (f32 bits, microseconds) above a stamp in milliseconds, so
/// that a reader never sees half of an update. A lost update between two workers costs one sample.
/// Source: Finagle's peak EWMA; the time constant of 10 s is linkerd's default.
#[derive(Debug, Default)]
struct Latency {
    born: OnceLock<Instant>,
    packed: AtomicU64,
}

const DECAY_MS: f32 = 10_000.0;

impl Latency {
    fn record(&self, now: Instant, latency: Duration) {
        let stamp = self.stamp(now);
        let sample = latency.as_micros() as u64 as f32;
        let old = self.packed.load(Relaxed);
        let value = match unpack(old) {
            Some((value, then)) if sample < value => {
                let keep = decay(stamp.wrapping_sub(then));
                value * keep + sample * (1.0 - keep)
            }
            _ => sample,
        };
        self.packed.store(pack(value, stamp), Relaxed);
    }

    fn get(&self, now: Instant) -> Option<f32> {
        let (value, then) = unpack(self.packed.load(Relaxed))?;
        Some(value * decay(self.stamp(now).wrapping_sub(then)))
    }

    /// Milliseconds since the first sample.
    fn stamp(&self, now: Instant) -> u32 {
        let born = *self.born.get_or_init(|| now);
        now.saturating_duration_since(born).as_millis() as u32
    }
}

fn decay(elapsed_ms: u32) -> f32 {
    // A stamp taken by another worker may lie a little ahead; that wraps to a huge number.
    let elapsed = if elapsed_ms > u32::MAX / 2 {
        0
    } else {
        elapsed_ms
    };
    (-(elapsed as f32) / DECAY_MS).exp()
}

/// Zero stands for "no sample", so a sample of 0 µs is kept as 1.
fn pack(value: f32, stamp: u32) -> u64 {
    (u64::from(value.max(1.0).to_bits()) << 32) | u64::from(stamp)
}

fn unpack(packed: u64) -> Option<(f32, u32)> {
    (packed != 0).then(|| (f32::from_bits((packed >> 32) as u32), packed as u32))
}

/// What one worker counts for one server. Units: times in microseconds, summed over `timed`.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Requests sent to it, sticky ones included (`stot`).
    pub requests: Counter,
    /// Heads of final answers that came.
    pub answered: Counter,
    /// Times chosen by the policy, sticky hits excluded (`lbtot`); counted by the pick.
    pub lb_total: Counter,
    /// The most requests in flight seen by this worker; counted by the pick.
    pub in_flight_max: Counter,
    /// Request bytes from clients.
    pub bytes_in: Counter,
    /// Response bytes to clients.
    pub bytes_out: Counter,
    /// Answers by class: 1xx to 5xx, then anything else.
    pub responses: [Counter; 6],
    /// gRPC calls that ended with an error, other than by an answer of 5xx.
    pub grpc_errors: Counter,
    /// Connects that failed.
    pub connect_errors: Counter,
    /// Answers that failed after the connect.
    pub response_errors: Counter,
    /// Attempts repeated after this server failed.
    pub retries: Counter,
    /// Requests that left this server for another.
    pub redispatches: Counter,
    /// Exchanges ended by the client.
    pub client_aborts: Counter,
    /// Exchanges ended by the server.
    pub server_aborts: Counter,
    /// Connections opened to it.
    pub connects: Counter,
    /// Requests sent on a connection opened earlier.
    pub reuses: Counter,
    /// Exchanges whose times are in the sums below.
    pub timed: Counter,
    /// Time waited in the queue.
    pub queue_us: Counter,
    /// Time to connect.
    pub connect_us: Counter,
    /// Time from the request sent to the head of the answer.
    pub response_us: Counter,
    /// Time from the first byte of the request to the last of the answer.
    pub total_us: Counter,
    /// The longest `queue_us` of one exchange.
    pub queue_us_max: Counter,
    /// The longest `connect_us` of one exchange.
    pub connect_us_max: Counter,
    /// The longest `response_us` of one exchange.
    pub response_us_max: Counter,
    /// The longest `total_us` of one exchange.
    pub total_us_max: Counter,
    /// When the last request was sent, in Unix seconds; 0 for never.
    pub last_request: Counter,
}

counted!(
    ServerCounters,
    sums: [
        requests, answered, lb_total, bytes_in, bytes_out, responses, grpc_errors, connect_errors,
        response_errors, retries, redispatches, client_aborts, server_aborts, connects, reuses,
        timed, queue_us, connect_us, response_us, total_us,
    ],
    most: [
        in_flight_max, queue_us_max, connect_us_max, response_us_max, total_us_max, last_request,
    ]
);

/// What one worker counts for one backend beyond the sums over its servers.
#[derive(Debug, Default)]
pub struct BackendCounters {
    /// Requests routed to the backend.
    pub requests: Counter,
    /// Request bytes from clients.
    pub bytes_in: Counter,
    /// Response bytes to clients.
    pub bytes_out: Counter,
    /// Answers by class: 1xx to 5xx, then anything else; the balancer's own included.
    pub responses: [Counter; 6],
    /// gRPC calls by how they ended: 0 to 16, then any other number.
    pub grpc: [Counter; 18],
    /// Those of them that are errors, other than by an answer of 5xx.
    pub grpc_errors: Counter,
    /// Requests for which no server was usable.
    pub no_server: Counter,
    /// Requests that waited in the queue for too long.
    pub queue_timeouts: Counter,
    /// Requests that found the queue full.
    pub queue_refusals: Counter,
    /// Requests that failed safely and were not repeated, since the retry budget was spent.
    pub retries_exhausted: Counter,
    /// Requests refused by a rule.
    pub denied: Counter,
    /// Exchanges ended by the client.
    pub client_aborts: Counter,
    /// Sticky cookies by verdict, in the order of [`crate::StickyVerdict::LABELS`].
    pub sticky: [Counter; 7],
    /// Sticky cookies set, by the verdict on the one that came.
    pub cookies_set: [Counter; 7],
    /// When the last request came, in Unix seconds; 0 for never.
    pub last_request: Counter,
    /// From the first byte of a request to the last byte of its answer.
    pub total: Histogram,
    /// Time waited in the queue, of those that had to wait.
    pub queue: Histogram,
    /// From the request sent to the head of the answer.
    pub response: Histogram,
    /// Time to connect.
    pub connect: Histogram,
}

counted!(
    BackendCounters,
    sums: [
        requests, bytes_in, bytes_out, responses, grpc, grpc_errors, no_server, queue_timeouts, queue_refusals,
        retries_exhausted, denied, client_aborts, sticky, cookies_set, total, queue, response, connect,
    ],
    most: [last_request]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_jumps_up_and_decays_down() {
        let t0 = Instant::now();
        let latency = Latency::default();
        assert_eq!(latency.get(t0), None);
        latency.record(t0, Duration::from_millis(1));
        latency.record(t0, Duration::from_millis(100));
        assert_eq!(latency.get(t0), Some(100_000.0));
        latency.record(t0 + Duration::from_secs(10), Duration::from_millis(1));
        let later = latency.get(t0 + Duration::from_secs(10)).unwrap();
        assert!((36_000.0..39_000.0).contains(&later), "{later}");
    }

    #[test]
    fn a_clock_read_earlier_by_another_worker_changes_nothing() {
        let t0 = Instant::now();
        let latency = Latency::default();
        latency.record(t0, Duration::from_millis(1));
        latency.record(t0 + Duration::from_millis(5), Duration::from_millis(8));
        assert_eq!(latency.get(t0), Some(8_000.0));
    }
}
