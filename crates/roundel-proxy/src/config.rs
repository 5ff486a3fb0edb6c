//! What the binary tells the proxy: the static part, and the routes that a reload may swap.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use roundel_balance::{Balancer, RetryBudget};
use roundel_model::Name;
use roundel_tls::{Back, Challenges, Front, Protocol};

use crate::ProxyVersion;
use crate::headers::Marks;
use crate::headers::rules::HeaderRules;
use crate::pages::ErrorPages;
use crate::rate::Limiter;
use crate::route::host::HostPattern;
use crate::route::redirect::Redirect;
use crate::transport::Io;

/// What is fixed while the process runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Worker threads; 0 means one per core, at most 8.
    pub threads: usize,
    /// How many descriptors the process may have; 0 if that is not known. The last ones are
    /// left to others: see [`crate::start`].
    pub descriptors: u64,
    /// The most pipes of 256 KiB through which large bodies go; each takes two descriptors.
    /// Bodies that find none are copied. Default 256: what Linux grants a user without privileges.
    pub pipes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 0,
            descriptors: 0,
            pipes: 256,
        }
    }
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
#[derive(Debug, Clone)]
pub struct Routes {
    /// The frontends, in the order of every table. Names are unique.
    pub frontends: Vec<Frontend>,
    /// The most client connections in all; 0 for any number. Beyond it nothing is accepted, and
    /// connections wait in the kernel's queue.
    pub maxconn: u64,
    /// Bytes that the open streams of HTTP/2 may hold in all: 40 KiB each and up to 64 KiB of a
    /// request's body that is not taken, of which 1 MiB per connection counts. Beyond it streams are
    /// refused. Default: any number.
    pub http2_memory: u64,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            frontends: Vec::new(),
            maxconn: 0,
            http2_memory: u64::MAX,
        }
    }
}

/// Some listening addresses and the rules that choose a backend.
#[derive(Debug, Clone)]
pub struct Frontend {
    /// Unique among the frontends.
    pub name: Name,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// What clients are shown on addresses with [`Listen::tls`]; without it they are refused there.
    /// Handshakes that are under way go on with what they began with.
    pub tls: Option<Arc<Front>>,
    /// The most client connections; 0 for any number that the process allows.
    pub maxconn: u64,
    /// How long clients may take.
    pub timeouts: ClientTimeouts,
    /// How large requests may be.
    pub limits: Limits,
    /// Peers whose forwarding fields are kept and extended; those of all others are dropped.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `Via: 1.1 roundel-…` is added to requests; one that has it is answered with 508.
    pub via: bool,
    /// Fields that are set only when asked for.
    pub marks: Marks,
    /// What changes in requests, before what their backend changes.
    pub request_headers: HeaderRules,
    /// What changes in answers, those of Roundel itself included, after what their backend changes.
    pub response_headers: HeaderRules,
    /// What is sent instead of Roundel's own small answers, where the backend has no page.
    pub error_pages: ErrorPages,
    /// What a CA is answered that asks for the proof of a name, before anything else is looked at.
    pub challenges: Challenges,
    /// How often one client may ask.
    pub rate_limit: Option<Arc<Limiter>>,
    /// Whether paths that servers read in different ways are refused with 400: see
    /// [`roundel_http1::path::ambiguity`].
    pub strict_paths: bool,
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
            tls: None,
            maxconn: 0,
            timeouts: ClientTimeouts::default(),
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            via: true,
            marks: Marks::default(),
            request_headers: HeaderRules::new(),
            response_headers: HeaderRules::new(),
            error_pages: ErrorPages::new(),
            challenges: Challenges::default(),
            rate_limit: None,
            strict_paths: false,
            routes: Vec::new(),
            default_backend,
        }
    }
}

impl Frontend {
    /// Takes the counts of clients over from `old` where the rule for them is the same.
    pub(crate) fn keep_counts(&mut self, old: &Self) {
        let old_routes = old.routes.iter().map(|route| &route.rate_limit);
        let old = std::iter::once(&old.rate_limit).chain(old_routes);
        let routes = self.routes.iter_mut().map(|route| &mut route.rate_limit);
        for (new, old) in std::iter::once(&mut self.rate_limit).chain(routes).zip(old) {
            if let (Some(new), Some(old)) = (new, old)
                && new.limit() == old.limit()
            {
                *new = old.clone();
            }
        }
    }
}

/// One listening address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// Where to listen; port 0 takes a free one. The unspecified IPv6 address means both
    /// families on one socket.
    pub address: SocketAddr,
    /// Whether HTTP/2 by prior knowledge is answered on this plain address.
    pub h2c: bool,
    /// Whether each connection begins with a header of the PROXY protocol, which only
    /// [`Frontend::trusted_proxies`] may send; all others are closed.
    pub proxy_protocol: bool,
    /// Whether clients speak TLS, behind that header. What they are shown is [`Frontend::tls`].
    pub tls: bool,
}

impl Listen {
    /// Listens on `address` for HTTP/1 and HTTP/2 by prior knowledge, without PROXY protocol.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            h2c: true,
            proxy_protocol: false,
            tls: false,
        }
    }
}

/// Decides about requests that match. A field that is `None` matches everything.
#[derive(Debug, Clone)]
pub struct Route {
    /// The host.
    pub host: Option<HostPattern>,
    /// The start of the path in its normal form, matched at segment borders: `/v1` matches `/v1`
    /// and `/v1/x`.
    pub path_prefix: Option<String>,
    /// Where such requests go.
    pub target: Target,
    /// How often one client may ask for what matches.
    pub rate_limit: Option<Arc<Limiter>>,
    /// How long such requests may take.
    pub timeouts: RouteTimeouts,
}

/// What a route says of time instead of its frontend and its backend; `None` where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// See [`ClientTimeouts::client`].
    pub client: Option<Duration>,
    /// See [`ClientTimeouts::request_body`].
    pub request_body: Option<Duration>,
    /// See [`ServerTimeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`ServerTimeouts::response_idle`].
    pub response_idle: Option<Duration>,
    /// See [`ServerTimeouts::total`].
    pub total: Option<Duration>,
    /// See [`ServerTimeouts::queue`].
    pub queue: Option<Duration>,
}

impl RouteTimeouts {
    /// What is in force on the route, where these are in force elsewhere.
    pub(crate) fn over(
        &self,
        client: ClientTimeouts,
        server: ServerTimeouts,
    ) -> (ClientTimeouts, ServerTimeouts) {
        let client = ClientTimeouts {
            client: self.client.unwrap_or(client.client),
            request_body: self.request_body.unwrap_or(client.request_body),
            ..client
        };
        let server = ServerTimeouts {
            first_byte: self.first_byte.unwrap_or(server.first_byte),
            response_idle: self.response_idle.unwrap_or(server.response_idle),
            total: self.total.unwrap_or(server.total),
            queue: self.queue.unwrap_or(server.queue),
            ..server
        };
        (client, server)
    }
}

/// What happens to requests that a route matches.
#[derive(Debug, Clone)]
pub enum Target {
    /// A server of this backend answers.
    Backend(Arc<Backend>),
    /// The client is sent elsewhere. Requests that are there already do not match.
    Redirect(Redirect),
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
    /// Whether a client that ends its side has given its request up, as HAProxy's
    /// `option abortonclose`. A reset always does.
    pub abort_on_close: bool,
    /// Which servers are told the client's address by the PROXY protocol.
    pub send_proxy: SendProxy,
    /// How its servers are spoken to over TLS; `None` in clear. A header of the PROXY protocol comes
    /// before the handshake.
    pub tls: Option<Arc<Back>>,
    /// What its servers speak.
    pub proto: Proto,
    /// Which connections to its servers a client's requests may go on.
    pub reuse: Reuse,
    /// What changes in requests to its servers.
    pub request_headers: HeaderRules,
    /// What changes in the answers of its servers.
    pub response_headers: HeaderRules,
    /// What is sent instead of Roundel's own small answers to requests for this backend.
    pub error_pages: ErrorPages,
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
            abort_on_close: false,
            send_proxy: SendProxy::default(),
            tls: None,
            proto: Proto::default(),
            reuse: Reuse::default(),
            request_headers: HeaderRules::new(),
            response_headers: HeaderRules::new(),
            error_pages: ErrorPages::new(),
        }
    }
}

/// What servers speak, as HAProxy's `proto` of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proto {
    /// HTTP/1.1, one request at a time on a connection.
    #[default]
    H1,
    /// HTTP/2, in clear by prior knowledge.
    H2,
    /// Over TLS what each server chooses of both (ALPN); in clear HTTP/1.1.
    Auto,
}

impl Proto {
    /// Whether HTTP/2 is spoken on a connection that stands.
    pub(crate) fn is_h2(self, io: &Io) -> bool {
        match self {
            Self::H1 => false,
            Self::H2 => true,
            Self::Auto => io.alpn() == Some(b"h2"),
        }
    }

    /// What servers are offered over TLS, the best first.
    pub fn alpn(self) -> Vec<Protocol> {
        match self {
            Self::H1 => vec![Protocol::Http1],
            Self::H2 => vec![Protocol::H2],
            Self::Auto => vec![Protocol::H2, Protocol::Http1],
        }
    }
}

/// Which connections that carried other clients' requests one may go on, as HAProxy's `http-reuse`.
///
/// A server that says more than it was asked for, or a request that it takes for two, leaves an answer on
/// its connection. What comes before the next request closes it; what comes later is taken for the answer
/// to that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reuse {
    /// None: those of one client connection serve it alone.
    Never,
    /// Any but for the first request of a client connection, which gets a new one.
    #[default]
    Safe,
    /// Any.
    Always,
}

/// Which servers get a header of the PROXY protocol on each connection, and in which version.
///
/// A connection that began with one is used again for the same client connection only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendProxy {
    /// Servers not named in `own`; `None` for no header.
    pub all: Option<ProxyVersion>,
    /// Servers with a rule of their own.
    pub own: BTreeMap<Name, Option<ProxyVersion>>,
}

impl SendProxy {
    /// The version of the header that a server gets, if it gets one.
    pub fn to(&self, server: &Name) -> Option<ProxyVersion> {
        self.own.get(server).copied().unwrap_or(self.all)
    }

    /// Whether any server gets one.
    pub fn is_on(&self) -> bool {
        self.all.is_some() || self.own.values().any(Option::is_some)
    }
}

/// The part of a request by which a server is picked. Requests without it go anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The address of the client as seen through trusted proxies.
    Source,
    /// The normal form of the path, without the query.
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
    /// Adds `Secure`, which clients over TLS get in any case.
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

/// How long a client may take. No time is cut short; each may be exceeded by 100 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the first byte of a request to the end of its head. Default 10 s.
    pub http_request: Duration,
    /// Between requests on one connection. Default 60 s.
    pub http_keep_alive: Duration,
    /// Without a byte taken while the client is to read its answer. Default 50 s.
    pub client: Duration,
    /// Without a byte sent while the body of a request is waited for. Default 50 s.
    pub request_body: Duration,
    /// Without a byte moving in an upgraded connection. Default 1 h.
    pub tunnel: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            http_request: Duration::from_secs(10),
            http_keep_alive: Duration::from_secs(60),
            client: Duration::from_secs(50),
            request_body: Duration::from_secs(50),
            tunnel: Duration::from_secs(3600),
        }
    }
}

/// How long a server may take. No time is cut short; each may be exceeded by 100 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// For a connection to be accepted. Default 5 s.
    pub connect: Duration,
    /// Without a byte moving before the head of an answer begins, and from its first byte until it
    /// is whole. Default 50 s.
    pub first_byte: Duration,
    /// Without a byte moving while the body of an answer is waited for. Default 50 s.
    pub response_idle: Duration,
    /// For a request in all, from its first byte to the last of its answer, upgraded connections
    /// excepted; zero, the default, for any time.
    pub total: Duration,
    /// For a place on a full backend, or for a server of a backend whose last one went away less
    /// than this ago; zero for no waiting. Default 5 s.
    pub queue: Duration,
    /// How long an idle connection is kept. Default 4 s, below the 5 s of Node.js.
    pub upstream_idle: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(50),
            response_idle: Duration::from_secs(50),
            total: Duration::ZERO,
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
    /// The body in bytes; beyond it 413. 0, the default, for any size.
    pub max_body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            headers: 100,
            uri_bytes: 16 * 1024,
            max_body: 0,
        }
    }
}
