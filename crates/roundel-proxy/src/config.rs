//! What the binary tells the proxy: the static part, and the routes that a reload may swap.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use roundel_balance::{Balancer, RetryBudget};
use roundel_model::Name;

/// What is fixed while the process runs.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Worker threads; 0 means one per core, at most 8.
    pub threads: usize,
}

impl Config {
    /// How many workers `threads` stands for on this machine.
    ///
    /// Balancers keep one cell per worker, so they are made with this number.
    pub fn workers(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(8)
    }
}

/// Everything that a reload may change: who listens where, and which backend answers.
///
/// Frontends are known by name: one of the same name keeps its counters and its connections.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// The frontends, in the order of every table. Names are unique.
    pub frontends: Vec<Frontend>,
}

/// Some listening addresses and the rules that choose a backend.
#[derive(Debug, Clone)]
pub struct Frontend {
    /// Unique among the frontends.
    pub name: Name,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// How long clients may take.
    pub timeouts: ClientTimeouts,
    /// How large requests may be.
    pub limits: Limits,
    /// Peers whose forwarding fields are kept and extended; those of all others are dropped.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `Via: 1.1 roundel` is added to requests.
    pub via: bool,
    /// Fields that are set only when asked for.
    pub marks: Marks,
    /// Tried in order; the first that matches wins.
    pub routes: Vec<Route>,
    /// Answers what no route matches.
    pub default_backend: Arc<Backend>,
}

impl Frontend {
    /// Makes a frontend with the defaults of a configuration that names nothing else.
    pub fn new(name: Name, listen: Vec<Listen>, default_backend: Arc<Backend>) -> Self {
        Self {
            name,
            listen,
            timeouts: ClientTimeouts::default(),
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            via: true,
            marks: Marks::default(),
            routes: Vec::new(),
            default_backend,
        }
    }
}

/// Fields on requests that are set only when asked for; each costs a little on every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// `Forwarded` is appended (RFC 7239).
    pub forwarded: bool,
    /// `X-Real-IP` names the client.
    pub real_ip: bool,
    /// `X-Request-ID` is kept from trusted proxies, else made anew; answers carry it too.
    pub request_id: bool,
    /// A request without a valid `traceparent` begins a new trace.
    pub traceparent: bool,
}

/// One listening address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// Where to listen; port 0 takes a free one. The unspecified IPv6 address means both
    /// families on one socket.
    pub address: SocketAddr,
    /// Whether HTTP/2 by prior knowledge is answered on this plain address.
    pub h2c: bool,
}

impl Listen {
    /// Listens on `address` for HTTP/1 and HTTP/2 by prior knowledge.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, h2c: true }
    }
}

/// Sends requests that match to a backend. A field that is `None` matches everything.
#[derive(Debug, Clone)]
pub struct Route {
    /// The host without its port, in lower case; `*.example.org` matches every name below it.
    pub host: Option<String>,
    /// The start of the path, matched at segment borders: `/v1` matches `/v1` and `/v1/x`.
    pub path_prefix: Option<String>,
    /// Where such requests go.
    pub backend: Arc<Backend>,
}

/// A set of servers and how requests are tried on it.
#[derive(Debug)]
pub struct Backend {
    /// Its name and its servers; survives reloads.
    pub balancer: Arc<Balancer>,
    /// How long servers may take.
    pub timeouts: ServerTimeouts,
    /// How often a request that failed safely is tried again.
    pub retries: u32,
    /// How many requests in all may be sent a second time.
    pub retry_budget: RetryBudget,
    /// What the balancer's policy picks by, if it picks by a key; not read otherwise.
    pub hash_on: Option<HashOn>,
    /// The sticky cookie; `None` for no stickiness.
    pub sticky: Option<Sticky>,
}

impl Backend {
    /// Makes a backend with default timeouts, three retries and no stickiness.
    pub fn new(balancer: Arc<Balancer>) -> Self {
        Self {
            balancer,
            timeouts: ServerTimeouts::default(),
            retries: 3,
            retry_budget: RetryBudget::default(),
            hash_on: None,
            sticky: None,
        }
    }
}

/// The part of a request by which a server is picked. Requests without it go anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The address of the client's connection.
    Source,
    /// The path without the query.
    Path,
    /// The value of the first field of this name, compared without case.
    Header(String),
    /// The value of the first cookie of this name, compared with case.
    Cookie(String),
}

/// The cookie that keeps a client on its server: inserted, hidden from servers, never cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie, compared exactly.
    pub cookie: String,
    /// Adds `Secure`.
    pub secure: bool,
    /// Adds `Domain=`.
    pub domain: Option<String>,
    /// Adds `Max-Age=`, in whole seconds; without it the cookie ends with the browser session.
    pub max_age: Option<Duration>,
    /// The value of `SameSite`: `Lax`, `Strict` or `None`.
    pub same_site: String,
}

impl Sticky {
    /// Makes a session cookie of this name with `HttpOnly` and `SameSite=Lax`.
    pub fn new(cookie: impl Into<String>) -> Self {
        Self {
            cookie: cookie.into(),
            secure: false,
            domain: None,
            max_age: None,
            same_site: "Lax".to_owned(),
        }
    }
}

/// How long a client may take. Checked about every 100 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the first byte of a request to the end of its head. Default 10 s.
    pub http_request: Duration,
    /// Between requests on one connection. Default 60 s.
    pub http_keep_alive: Duration,
    /// Without a byte moving while the client is waited for. Default 50 s.
    pub client: Duration,
    /// Without a byte moving in an upgraded connection. Default 1 h.
    pub tunnel: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            http_request: Duration::from_secs(10),
            http_keep_alive: Duration::from_secs(60),
            client: Duration::from_secs(50),
            tunnel: Duration::from_secs(3600),
        }
    }
}

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// For a connection to be accepted. Default 5 s.
    pub connect: Duration,
    /// Without a byte moving while the server is waited for. Default 50 s.
    pub server: Duration,
    /// In the queue of a full backend. Default 5 s.
    pub queue: Duration,
    /// How long an idle connection is kept. Default 4 s, below the 5 s of Node.js.
    pub upstream_idle: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            server: Duration::from_secs(50),
            queue: Duration::from_secs(5),
            upstream_idle: Duration::from_secs(4),
        }
    }
}

/// How large the parts of a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The whole head in bytes; beyond it 431. Default 64 KiB.
    pub header_bytes: usize,
    /// The number of header lines; beyond it 431. Default 100.
    pub headers: usize,
    /// The request target in bytes; beyond it 414. Default 16 KiB.
    pub uri_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            headers: 100,
            uri_bytes: 16 * 1024,
        }
    }
}
