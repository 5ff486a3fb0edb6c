//! What a configuration file says: typed, optional everywhere, each value with its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use roundel_balance::{CheckKind, Policy};
use roundel_gossip_tokio::{Advertise, Handler, HandlerError};
use roundel_model::Name;

use super::reader::{At, Item, Section};
use super::{AccessLogFormat, LOG_FORMATS};
use crate::value;

mod answers;
mod backend;
mod fields;
mod frontend;
mod headers;
mod location;
mod policy;

pub(crate) use answers::PageFiles;
use backend::check_kind;
pub(crate) use backend::{BackendTable, CheckTable, DiscoverItem, ServerTable, StickyTable};
pub(crate) use backend::{cookie_name, cookie_prefix};
pub(crate) use fields::MarksTable;
pub(crate) use frontend::{FrontendTable, ListenItem, RouteTable, TargetItem};

/// An optional value with its place.
pub(crate) type Maybe<T> = Option<At<T>>;

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) threads: Maybe<u64>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) drain_timeout: Maybe<Duration>,
    pub(crate) stats: StatsTable,
    pub(crate) cli_listen: Maybe<Option<SocketAddr>>,
    pub(crate) cli_socket: Maybe<PathBuf>,
    pub(crate) access_log: Maybe<AccessLogFormat>,
    pub(crate) gossip: Maybe<GossipTable>,
    pub(crate) defaults: DefaultsTable,
    pub(crate) frontends: Vec<At<FrontendTable>>,
    pub(crate) backends: Vec<At<BackendTable>>,
}

/// `[stats]`.
#[derive(Debug, Default)]
pub(crate) struct StatsTable {
    pub(crate) listen: Maybe<SocketAddr>,
    pub(crate) admin: Maybe<ActsWord>,
    pub(crate) admin_token_file: Maybe<PathBuf>,
}

/// The words of `stats.admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActsWord {
    Off,
    Loopback,
    Token,
}

/// `[gossip]`.
#[derive(Debug, Default)]
pub(crate) struct GossipTable {
    pub(crate) listen: Maybe<SocketAddr>,
    pub(crate) advertise: Maybe<Advertise>,
    pub(crate) join: Maybe<Vec<String>>,
    pub(crate) node_name: Maybe<Name>,
    pub(crate) key_file: Maybe<PathBuf>,
    pub(crate) keyring_file: Maybe<PathBuf>,
    pub(crate) snapshot: Maybe<PathBuf>,
    pub(crate) event_handlers: Maybe<Vec<Handler>>,
    pub(crate) tags: BTreeMap<String, At<String>>,
}

/// `[defaults]`.
#[derive(Debug, Default)]
pub(crate) struct DefaultsTable {
    pub(crate) client: ClientTable,
    pub(crate) server: ServerTimesTable,
    pub(crate) retries: Maybe<u64>,
    pub(crate) limits: LimitsTable,
    pub(crate) trusted_proxies: Maybe<Vec<IpNet>>,
}

/// The timeouts on the clients' side.
#[derive(Debug, Default)]
pub(crate) struct ClientTable {
    pub(crate) http_request: Maybe<Duration>,
    pub(crate) http_keep_alive: Maybe<Duration>,
    pub(crate) client: Maybe<Duration>,
    pub(crate) request_body: Maybe<Duration>,
    pub(crate) tunnel: Maybe<Duration>,
}

/// The timeouts on the servers' side.
#[derive(Debug, Default)]
pub(crate) struct ServerTimesTable {
    pub(crate) connect: Maybe<Duration>,
    pub(crate) server: Maybe<Duration>,
    pub(crate) first_byte: Maybe<Duration>,
    pub(crate) response_idle: Maybe<Duration>,
    pub(crate) total: Maybe<Duration>,
    pub(crate) queue: Maybe<Duration>,
    pub(crate) upstream_idle: Maybe<Duration>,
}

/// How large requests may be.
#[derive(Debug, Default)]
pub(crate) struct LimitsTable {
    pub(crate) header_bytes: Maybe<u64>,
    pub(crate) headers: Maybe<u64>,
    pub(crate) uri_bytes: Maybe<u64>,
    pub(crate) max_body: Maybe<u64>,
}

impl File {
    /// Reads the whole file; what is wrong is reported to the section's reader.
    pub(crate) fn read(root: &Section<'_>) -> Self {
        let mut file = Self::default();
        if let Some(s) = section(root, "global", "[global]") {
            file.threads = s.get("threads", |i| i.integer(0..=1024));
            file.maxconn = s.get("maxconn", policy::maxconn);
            file.drain_timeout = s.get("drain_timeout", duration);
            s.finish(&[]);
        }
        if let Some(s) = section(root, "stats", "[stats]") {
            file.stats = StatsTable::read(&s);
        }
        if let Some(s) = section(root, "cli", "[cli]") {
            file.cli_listen = s.get("listen", |i| i.parse(listen_or_off));
            file.cli_socket = s.get("socket", |i| i.text().map(PathBuf::from));
            s.finish(&[]);
        }
        if let Some(s) = section(root, "access_log", "[access_log]") {
            file.access_log = s.get("format", |i| i.word(&LOG_FORMATS));
            s.finish(&[]);
        }
        if let Some(s) = section(root, "gossip", "[gossip]") {
            let (span, value) = (s.span(), GossipTable::read(&s));
            file.gossip = Some(At { value, span });
        }
        if let Some(s) = section(root, "defaults", "[defaults]") {
            file.defaults = DefaultsTable::read(&s);
        }
        file.frontends = tables(root, "frontend", "[[frontend]]", FrontendTable::read);
        file.backends = tables(root, "backend", "[[backend]]", BackendTable::read);
        root.finish(&[]);
        file
    }
}

impl StatsTable {
    fn read(s: &Section<'_>) -> Self {
        let words = [
            ("off", ActsWord::Off),
            ("loopback", ActsWord::Loopback),
            ("token", ActsWord::Token),
        ];
        let table = Self {
            listen: s.get("listen", listen),
            admin: s.get("admin", |i| i.word(&words)),
            admin_token_file: s.get("admin_token_file", |i| i.text().map(PathBuf::from)),
        };
        s.finish(&[]);
        table
    }
}

impl GossipTable {
    fn read(s: &Section<'_>) -> Self {
        let mut table = Self {
            listen: s.get("listen", listen),
            advertise: s.get("advertise", |i| i.parse(value::advertise)),
            join: s.get("join", |i| {
                Some(i.list_of(Item::text).into_iter().map(|a| a.value).collect())
            }),
            node_name: s.get("node_name", Item::name),
            key_file: s.get("key_file", |i| i.text().map(PathBuf::from)),
            keyring_file: s.get("keyring_file", |i| i.text().map(PathBuf::from)),
            snapshot: s.get("snapshot", |i| i.text().map(PathBuf::from)),
            event_handlers: s.get("event_handlers", |i| {
                let handlers = i.list_of(|item| item.parse(handler));
                Some(handlers.into_iter().map(|h| h.value).collect())
            }),
            tags: BTreeMap::new(),
        };
        if let Some(tags) = section(s, "tags", "{ zone = \"a\" }") {
            for (key, item) in tags.entries() {
                if let Some(value) = item.text() {
                    let span = item.span();
                    table.tags.insert(key.to_owned(), At { value, span });
                }
            }
        }
        s.finish(&[("key", "secrets do not belong in this file: use key_file")]);
        table
    }
}

impl DefaultsTable {
    fn read(s: &Section<'_>) -> Self {
        let mut table = Self {
            retries: s.get("retries", |i| i.integer(0..=100)),
            limits: LimitsTable::read(s),
            trusted_proxies: s.get("trusted_proxies", networks),
            ..Self::default()
        };
        if let Some(times) = section(s, "timeouts", "{ connect = \"5s\" }") {
            table.client = ClientTable::read(&times);
            table.server = ServerTimesTable::read(&times);
            times.finish(&[]);
        }
        s.finish(&[]);
        table
    }
}

impl ClientTable {
    fn read(s: &Section<'_>) -> Self {
        Self {
            http_request: s.get("http_request", duration),
            http_keep_alive: s.get("http_keep_alive", duration),
            client: s.get("client", duration),
            request_body: s.get("request_body", duration),
            tunnel: s.get("tunnel", duration),
        }
    }
}

impl ServerTimesTable {
    fn read(s: &Section<'_>) -> Self {
        Self {
            connect: s.get("connect", duration),
            server: s.get("server", duration),
            first_byte: s.get("first_byte", duration),
            response_idle: s.get("response_idle", duration),
            total: s.get("total", duration),
            queue: s.get("queue", duration),
            upstream_idle: s.get("upstream_idle", duration),
        }
    }
}

impl LimitsTable {
    fn read(parent: &Section<'_>) -> Self {
        let Some(s) = section(parent, "limits", "{ headers = 100 }") else {
            return Self::default();
        };
        let bytes = |i: &Item<'_>| {
            let size = i.measure("B", value::size)?;
            if (256..=16 << 20).contains(&size) {
                return Some(size);
            }
            i.fail(value::Fault::new(
                "this limit is out of range",
                "use 256 to 16MiB",
            ))
        };
        let table = Self {
            header_bytes: s.get("header_bytes", bytes),
            headers: s.get("headers", |i| i.integer(1..=10_000)),
            uri_bytes: s.get("uri_bytes", bytes),
            max_body: s.get("max_body", |i| i.measure("B", value::size)),
        };
        s.finish(&[]);
        table
    }
}

fn section<'a>(parent: &Section<'a>, key: &'static str, example: &str) -> Option<Section<'a>> {
    parent.item(key)?.section(example)
}

/// Reads `[[key]]` tables. One `[key]` table counts as a list of one.
fn tables<T>(
    root: &Section<'_>,
    key: &'static str,
    example: &str,
    read: impl Fn(&Section<'_>) -> Option<T>,
) -> Vec<At<T>> {
    let Some(item) = root.item(key) else {
        return Vec::new();
    };
    item.list_of(|item| read(&item.section(example)?))
}

fn duration(item: &Item<'_>) -> Option<Duration> {
    item.measure("s", value::duration)
}

fn listen(item: &Item<'_>) -> Option<SocketAddr> {
    if let Some(number) = item.bare_number() {
        return item.fail(value::Fault::new(
            format!("{number} is a bare number, not an address to listen on"),
            format!("write \":{number}\""),
        ));
    }
    item.parse(value::listen)
}

fn listen_or_off(text: &str) -> Result<Option<SocketAddr>, value::Fault> {
    match text {
        "off" => Ok(None),
        _ => value::listen(text).map(Some),
    }
}

fn networks(item: &Item<'_>) -> Option<Vec<IpNet>> {
    let read = |i: &Item<'_>| i.parse(value::network);
    Some(item.list_of(read).into_iter().map(|a| a.value).collect())
}

/// The word of a policy, or a fault that tells which ones there are.
pub(crate) fn policy(text: &str) -> Result<Policy, value::Fault> {
    super::reader::choose(text, &Policy::ALL.map(|p| (p.as_str(), p)))
}

/// The check that the flag `--check` and the key `check` say in one string.
pub(crate) fn check_word(text: &str) -> Result<CheckKind, value::Fault> {
    match text {
        "off" => Ok(CheckKind::Off),
        "tcp" => Ok(CheckKind::Tcp),
        _ => check_kind(text),
    }
}

fn handler(text: &str) -> Result<Handler, value::Fault> {
    let hint = "write \"member-join,member-leave=/etc/roundel/log.sh\"";
    text.parse()
        .map_err(|error: HandlerError| value::Fault::new(error.to_string(), hint))
}
