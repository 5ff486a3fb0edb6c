//! Who looks on: a polite client, a probe of health, a meter of memory and descriptors.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use roundel_testkit::Connection;

/// Requests of the polite client in a second, shared by its connections.
const RATE: u32 = 100;
const CONNECTIONS: u32 = 4;
/// Requests after which a connection gives way to a new one.
const REQUESTS: u32 = 10;
/// Time between two looks at health and memory.
const STEP: Duration = Duration::from_millis(100);
/// How long a request may take before it is an error: on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long health may take before it is silent, as orchestrators see it.
pub(super) const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

/// The body by which an attacker's server is known.
pub(super) const THIEF: &str = "thief";

/// One request of the polite client.
struct Request {
    due: Instant,
    /// Since it was due.
    took: Duration,
    /// Whether an attacker's server answered; `None` for an error.
    stolen: Option<bool>,
}

/// One look at the process.
struct Look {
    at: Instant,
    livez: Duration,
    memory: u64,
    descriptors: usize,
}

/// Everything that was seen of one balancer.
pub(super) struct Watch {
    front: SocketAddr,
    stats: SocketAddr,
    pid: u32,
    stop: AtomicBool,
    requests: Mutex<Vec<Request>>,
    looks: Mutex<Vec<Look>>,
}

/// What was seen from one moment to another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) requests: usize,
    /// Of a request's time.
    pub(super) p99: Duration,
    /// Shares of all requests, 0 to 1.
    pub(super) errors: f64,
    pub(super) stolen: f64,
    /// The greatest of each.
    pub(super) livez: Duration,
    pub(super) memory: u64,
    pub(super) descriptors: usize,
}

impl Watch {
    pub(super) fn new(front: SocketAddr, stats: SocketAddr, pid: u32) -> Self {
        Self {
            front,
            stats,
            pid,
            stop: AtomicBool::new(false),
            requests: Mutex::default(),
            looks: Mutex::default(),
        }
    }

    /// Looks on until [`Self::end`], on threads of this scope.
    pub(super) fn begin<'s>(&'s self, scope: &'s thread::Scope<'s, '_>) {
        for number in 0..CONNECTIONS {
            scope.spawn(move || self.ask(number));
        }
        scope.spawn(|| self.look());
    }

    pub(super) fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks at a constant rate, however long answers take.
    fn ask(&self, number: u32) {
        let every = Duration::from_secs(1) * CONNECTIONS / RATE;
        let mut due = Instant::now() + every * number / CONNECTIONS;
        let mut connection = None;
        let mut left = 0;
        while !self.is_over() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if left == 0 {
                connection = None;
                left = REQUESTS;
            }
            left -= 1;
            let body = request(&mut connection, self.front);
            let request = Request {
                due,
                took: due.elapsed(),
                stolen: body.map(|body| body == THIEF.as_bytes()),
            };
            push(&self.requests, request);
            due += every;
        }
    }

    fn look(&self) {
        while !self.is_over() {
            let at = Instant::now();
            let answer = Connection::open_within(self.stats, HEALTH_PATIENCE)
                .and_then(|mut connection| connection.send("GET", "/livez", &[], b""));
            let livez = match answer {
                Ok(answer) if answer.status == 200 => at.elapsed(),
                _ => HEALTH_PATIENCE,
            };
            // Nothing of a process that has ended.
            let look = Look {
                at,
                livez,
                memory: resident(self.pid).unwrap_or(0),
                descriptors: descriptors(self.pid).unwrap_or(0),
            };
            push(&self.looks, look);
            thread::sleep(STEP.saturating_sub(at.elapsed()));
        }
    }

    /// What was seen from `from` to `to`.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Figures {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests: Vec<_> = requests
            .iter()
            .filter(|request| (from..to).contains(&request.due))
            .collect();
        let mut times: Vec<_> = requests.iter().map(|request| request.took).collect();
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100);
        let share = |which: Option<bool>| {
            let count = requests.iter().filter(|request| request.stolen == which);
            count.count() as f64 / requests.len().max(1) as f64
        };
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = || looks.iter().filter(|look| (from..to).contains(&look.at));
        Figures {
            requests: requests.len(),
            p99: p99.copied().unwrap_or_default(),
            errors: share(None),
            stolen: share(Some(true)),
            livez: looks().map(|look| look.livez).max().unwrap_or_default(),
            memory: looks().map(|look| look.memory).max().unwrap_or_default(),
            descriptors: looks()
                .map(|look| look.descriptors)
                .max()
                .unwrap_or_default(),
        }
    }
}

/// One GET on the connection, or on a new one; `None` unless it is answered with 200.
fn request(connection: &mut Option<Connection>, front: SocketAddr) -> Option<Vec<u8>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open_within(front, PATIENCE).ok()?,
    };
    let answer = open.send("GET", "/", &[], b"").ok()?;
    if open.is_open() {
        *connection = Some(open);
    }
    (answer.status == 200).then_some(answer.body)
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(item);
}

/// Resident memory in bytes.
pub(super) fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.context("no VmRSS")?.trim();
    let kib: u64 = words.trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

pub(super) fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
