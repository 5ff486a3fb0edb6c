//! The effective configuration, typed, with everything resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use roundel_admin::Read;
use roundel_balance::{CheckSpec, OutlierSpec, RetryBudget, StickyKey};
use roundel_gossip_tokio::{Advertise, Handler};
use roundel_model::{Name, Weight};
use roundel_proxy::{
    ClientTimeouts, HashOn, HeaderRules, HostPattern, Limits, Listen, LogFormat, Marks, Page,
    Proto, ProxyVersion, RateLimit, Redirect, Reuse, RouteTimeouts, SendProxy, ServerTimeouts,
    Sticky,
};
use roundel_tls::{Back, Certificate, Policy};

use crate::effective::Effective;

/// Everything that `serve` needs to know.
///
/// Shape: names of frontends and of backends are unique; every backend that a frontend names
/// exists; a backend that wants gossip implies `gossip`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file it was read from, as named by the user.
    pub file: Option<String>,
    /// Fixed while the process runs.
    pub process: Process,
    /// What the page's port shows over TLS; `None`: it speaks plain HTTP.
    pub stats_tls: Option<Tls>,
    /// From when on clients have it bad.
    pub alarm: AlarmRules,
    /// The gossip node; `None` when gossip is off. Fixed while the process runs.
    pub gossip: Option<Gossip>,
    /// What balancers alone share; `None` when nothing is. Fixed while the process runs.
    pub cluster: Option<Cluster>,
    /// In the order of the file.
    pub frontends: Vec<Frontend>,
    /// In the order of the file.
    pub backends: Vec<Backend>,
    /// The same as a file, with where each value comes from.
    pub effective: Effective,
}

impl Settings {
    /// All that is shown over TLS.
    pub fn tls(&self) -> impl Iterator<Item = &Tls> {
        let frontends = self.frontends.iter().filter_map(|f| f.tls.as_ref());
        frontends.chain(&self.stats_tls)
    }

    /// The keys that are not as they run and that only a restart takes over.
    pub fn needs_restart(&self, running: &Self) -> Vec<String> {
        let mut keys = running.effective.restarts(&self.effective);
        let mut also = |key: &str, differs: bool| {
            if differs && !keys.iter().any(|known| known.starts_with(key)) {
                keys.push(key.to_owned());
            }
        };
        // The same file may hold another secret.
        let secrets = |s: &Self| s.gossip.as_ref().map(|g| g.keys.clone());
        also("gossip.key_file", secrets(self) != secrets(running));
        let secrets = |s: &Self| s.cluster.as_ref().map(|c| c.key);
        also("cluster.key_file", secrets(self) != secrets(running));
        also("stats.admin", self.process.acts != running.process.acts);
        also("stats.read", self.process.read != running.process.read);
        keys
    }

    /// Leaves what needs a restart as it runs, so that a later reload tells of it again.
    pub fn keep_running(&mut self, running: &Self) {
        self.process = Process {
            drain_timeout: self.process.drain_timeout,
            maxconn: self.process.maxconn,
            http2_memory: self.process.http2_memory,
            ..running.process.clone()
        };
        self.gossip.clone_from(&running.gossip);
        self.cluster.clone_from(&running.cluster);
        self.effective.keep(&running.effective);
    }
}

impl fmt::Display for Settings {
    /// Writes a file that means the same; secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.effective.to_string();
        let is_encrypted = self.gossip.as_ref().is_some_and(|g| !g.keys.is_empty());
        f.write_str(&match is_encrypted {
            true => text.replacen("[gossip]\n", "[gossip]\n# encrypted\n", 1),
            false => text,
        })
    }
}

/// From when on clients have it bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmRules {
    /// Per cent of errors in the answers of ten seconds that are a warning.
    pub warning: u8,
    /// Likewise, that cannot wait.
    pub critical: u8,
    /// Answers in that time before shares and times count.
    pub min_requests: u64,
    /// The least p99 that is slow.
    pub latency: Duration,
    /// How many times the last hour's it has to be.
    pub latency_factor: u64,
    /// Per cent of the time for which requests may wait for a server.
    pub queue: u8,
}

/// Settings of the process as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// The most client connections; 0 for as many as the descriptors allow.
    pub maxconn: u64,
    /// Bytes for open streams of HTTP/2.
    pub http2_memory: u64,
    /// How long a graceful end may take.
    pub drain_timeout: Duration,
    /// Page, metrics, API.
    pub stats_listen: SocketAddr,
    /// Bytes that all of that may take.
    pub stats_memory: u64,
    /// Who may read through the HTTP API.
    pub read: Read,
    /// Whether everybody may read the metrics all the same.
    pub open_metrics: bool,
    /// Who may act through the HTTP API.
    pub acts: Acts,
    /// The read-only runtime API; `None` when off.
    pub cli_listen: Option<SocketAddr>,
    /// The admin runtime API on a unix socket.
    pub cli_socket: Option<PathBuf>,
    /// How requests are logged.
    pub access_log: AccessLogFormat,
}

/// Who may act through the HTTP API.
#[derive(Clone, PartialEq, Eq)]
pub enum Acts {
    /// Nobody.
    Off,
    /// Whoever connects from this machine.
    Loopback,
    /// Whoever knows this token.
    Token(String),
}

impl fmt::Debug for Acts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Acts {
    /// The word of the configuration file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Loopback => "loopback",
            Self::Token(_) => "token",
        }
    }
}

/// The form of the access log; none for no lines.
pub type AccessLogFormat = Option<LogFormat>;

/// What `access_log.format` may be, with its words.
pub const LOG_FORMATS: [(&str, AccessLogFormat); 7] = [
    ("json", Some(LogFormat::Json)),
    ("haproxy", Some(LogFormat::Haproxy)),
    ("common", Some(LogFormat::Common)),
    ("combined", Some(LogFormat::Combined)),
    ("logfmt", Some(LogFormat::Logfmt)),
    ("text", Some(LogFormat::Text)),
    ("off", None),
];

/// Settings of the gossip node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    /// UDP and TCP.
    pub listen: SocketAddr,
    /// What others shall reach us by, when it is not found out.
    pub advertise: Option<Advertise>,
    /// `host[:port]`, any member will do.
    pub join: Vec<String>,
    /// Unique in the cluster.
    pub node_name: String,
    /// What the node says about itself.
    pub tags: BTreeMap<String, String>,
    /// Keys of 16, 24 or 32 bytes; the first encrypts. Empty: no encryption.
    pub keys: Vec<Vec<u8>>,
    /// Where rotated keys are kept.
    pub keyring: Option<PathBuf>,
    /// Where the known members are kept.
    pub snapshot: Option<PathBuf>,
    /// Scripts to run for events.
    pub handlers: Vec<Handler>,
    /// Bytes for what peers send and do not read.
    pub memory: usize,
    /// Members known at a time.
    pub max_members: usize,
    /// Networks that the tag `addr` may name although there is no key.
    pub allow_addr: Vec<IpNet>,
}

impl Gossip {
    /// Whether whoever reaches its port may take part.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What balancers alone share, and where.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// TCP.
    pub listen: SocketAddr,
    /// Held by balancers alone.
    pub key: [u8; roundel_cluster::KEY],
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.listen)
    }
}

/// Listening addresses and the rules that choose a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    /// Unique among frontends.
    pub name: Name,
    /// At least one.
    pub listen: Vec<Listen>,
    /// What it shows on listeners that speak TLS.
    pub tls: Option<Tls>,
    /// Answers what no route takes.
    pub default_backend: Name,
    /// Tried in order.
    pub routes: Vec<Route>,
    /// Whether paths that servers read in different ways are refused.
    pub strict_paths: bool,
    /// The most client connections; 0 for as many as the process may have.
    pub maxconn: u64,
    /// How long clients may take.
    pub timeouts: ClientTimeouts,
    /// How large requests may be.
    pub limits: Limits,
    /// Peers whose forwarding fields are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Fields that are set only when asked for.
    pub marks: Marks,
    /// What changes in requests.
    pub request_headers: HeaderRules,
    /// What changes in answers.
    pub response_headers: HeaderRules,
    /// What is sent instead of Roundel's own small answers.
    pub error_pages: ErrorPages,
    /// How often one client may ask.
    pub rate_limit: Option<RateLimit>,
}

/// What a frontend shows over TLS.
///
/// Two are equal if clients are shown the same.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The default first; no two are the same.
    pub certificates: Vec<Arc<Certificate>>,
    /// What is ordered of a CA, and shown after those.
    pub acme: Option<roundel_acme::Config>,
    /// Under which conditions.
    pub policy: Policy,
    /// The files and folders of which all that was made.
    pub paths: Vec<PathBuf>,
    /// What [`roundel_tls::trace`] told of them before they were read.
    pub trace: Vec<String>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let shown = |tls: &Self| {
            let (certificates, acme) = (tls.certificates.clone(), tls.acme.clone());
            (certificates, acme, tls.policy.clone())
        };
        self.paths == other.paths && shown(self) == shown(other)
    }
}

impl Eq for Tls {}

/// Decides about requests that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host; `None` matches all.
    pub host: Option<HostPattern>,
    /// The start of the path in its normal form; `None` matches all.
    pub path_prefix: Option<String>,
    /// Where such requests go.
    pub target: Target,
    /// How often one client may ask for what matches.
    pub rate_limit: Option<RateLimit>,
    /// How long such requests may take.
    pub timeouts: RouteTimeouts,
}

/// What happens to requests that a route matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A server of the backend of this name answers.
    Backend(Name),
    /// The client is sent elsewhere.
    Redirect(Redirect),
}

/// Error pages with their files by status; 4 and 5 stand for a whole class.
pub type ErrorPages = BTreeMap<u16, (PathBuf, Page)>;

/// A named set of servers and how they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Unique among backends.
    pub name: Name,
    /// How servers are chosen.
    pub balance: roundel_balance::Policy,
    /// What a policy that needs a key picks by.
    pub hash_on: HashOn,
    /// Where servers come from, in order of precedence. At least one.
    pub discover: Vec<Discover>,
    /// The port of servers that say none.
    pub server_port: u16,
    /// The sticky cookie; `None` when off.
    pub sticky: Option<Sticky>,
    /// What the values of the sticky cookie are derived from.
    pub sticky_key: StickyKey,
    /// The active check.
    pub check: CheckSpec,
    /// When passive errors put a server out.
    pub outlier: OutlierSpec,
    /// The time over which a server that is new or back reaches its weight.
    pub slow_start: Duration,
    /// The most requests in flight on one server; 0 for any number.
    pub maxconn: u32,
    /// The most requests that wait for a full backend; 0 for any number.
    pub max_queue: u32,
    /// The most servers of each kind of source that finds them.
    pub max_servers: u32,
    /// How many requests in all may be sent a second time.
    pub retry_budget: RetryBudget,
    /// The PROXY protocol header that servers get; `None`: none.
    pub send_proxy: Option<ProxyVersion>,
    /// How its servers are spoken to over TLS; `None` in clear.
    pub tls: Option<Arc<Back>>,
    /// What its servers speak.
    pub proto: Proto,
    /// Which connections to its servers a client's requests may go on.
    pub reuse: Reuse,
    /// How often a request that failed safely is tried again.
    pub retries: u32,
    /// Whether a client that ends its side has given its request up.
    pub abort_on_close: bool,
    /// How long servers may take.
    pub timeouts: ServerTimeouts,
    /// What changes in requests.
    pub request_headers: HeaderRules,
    /// What changes in answers.
    pub response_headers: HeaderRules,
    /// What is sent instead of Roundel's own small answers.
    pub error_pages: ErrorPages,
}

impl Backend {
    /// The servers that are written in the configuration.
    pub fn static_servers(&self) -> impl Iterator<Item = &StaticServer> {
        self.discover.iter().flat_map(|source| match source {
            Discover::Static(servers) => servers.as_slice(),
            _ => &[],
        })
    }

    /// Which servers get a header of the PROXY protocol.
    pub fn proxy_header(&self) -> SendProxy {
        let own = self.static_servers();
        SendProxy {
            all: self.send_proxy,
            own: own
                .filter_map(|s| Some((s.name.clone(), s.send_proxy?)))
                .collect(),
        }
    }
}

/// One source of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discover {
    /// Written in the configuration.
    Static(Vec<StaticServer>),
    /// Members of the gossip that carry this role.
    Gossip {
        /// The value of the tag `role`.
        role: String,
        /// The networks in which they may be; none for any but special ranges.
        from: Vec<IpNet>,
    },
    /// What DNS answers for a name.
    Dns(Dns),
    /// A file or a directory of files with lines `name ip[:port]`.
    File {
        /// Where it is.
        path: PathBuf,
    },
}

/// A name to ask DNS for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// A host name, or a service name `_http._tcp.…`.
    pub name: String,
    /// How long records that are gone count all the same.
    pub hold: Duration,
    /// The name servers, in the order in which they are asked; none for those of the system.
    pub nameservers: Vec<SocketAddr>,
}

/// A server written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticServer {
    /// Unique in the backend.
    pub name: Name,
    /// Where requests go.
    pub address: SocketAddr,
    /// Its share.
    pub weight: Weight,
    /// Serves only while no other server does.
    pub backup: bool,
    /// The most requests in flight on it; `None`: as the backend says.
    pub maxconn: Option<u32>,
    /// The PROXY protocol header that it gets, if any; `None`: as the backend says.
    pub send_proxy: Option<Option<ProxyVersion>>,
}
