//! What a configuration file says: a struct for each table, and what is known of each key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use roundel_balance::Policy;
use roundel_gossip_tokio::{Advertise, Handler, HandlerError};
use roundel_model::Name;

use crate::key::{Key, Maybe, Table, key, part};
use crate::kind::{
    Bool, Bytes, FilePath, List, Listen, Named, Notation, OrOff, Text, Texts, Time, Whole, any,
    table, word,
};
use crate::reader::{At, Item, choose};
use crate::value::{self, Fault};
use crate::{AccessLogFormat, LOG_FORMATS, bounds};

mod acme;
mod alarm;
mod answers;
mod back;
mod backend;
mod check;
mod cluster;
mod discover;
mod frontend;
mod headers;
mod location;
mod policy;
mod route_times;
mod sticky;
mod tls;

pub(crate) use acme::AcmeTable;
pub(crate) use alarm::AlarmTable;
pub(crate) use answers::{PageFiles, RateTable, RedirectTable};
pub(crate) use back::BackTable;
pub(crate) use backend::{BackendTable, ServerTable};
pub(crate) use check::{CheckTable, check_word};
pub(crate) use cluster::ClusterTable;
pub(crate) use discover::{DiscoverTable, RoleTable};
pub(crate) use frontend::{FrontendTable, ListenTable, MarksTable, RouteTable};
pub(crate) use policy::{HashTable, HashWord, OutlierTable};
pub(crate) use route_times::RouteTimesTable;
pub(crate) use sticky::{StickyTable, cookie_name, cookie_prefix};
pub(crate) use tls::{ClientAuth, TlsTable};

/// The whole file.
///
/// As text it is a file that means the same, with only what differs from the defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    pub(crate) global: GlobalTable,
    pub(crate) stats: StatsTable,
    pub(crate) cli: CliTable,
    pub(crate) access_log: AccessLogTable,
    pub(crate) gossip: Maybe<GossipTable>,
    pub(crate) cluster: ClusterTable,
    pub(crate) defaults: DefaultsTable,
    pub(crate) frontend: Maybe<Vec<At<FrontendTable>>>,
    pub(crate) backend: Maybe<Vec<At<BackendTable>>>,
}

impl Table for File {
    const EXAMPLE: &'static str = "[global]";

    fn keys() -> Vec<Key<Self>> {
        vec![
            part!(global),
            part!(stats),
            part!(cli),
            part!(access_log),
            key!(gossip, table::<GossipTable>())
                .restart()
                .words("without this table a file means no gossip"),
            part!(cluster).words(
                "with key_file balancers share the certificates that they order and the keys of tickets; they \
                 find each other by gossip",
            ),
            part!(defaults).words("each frontend and backend may override its part"),
            key!(frontend, List(table::<FrontendTable>()))
                .words("listens, and says which backend answers; there may be several"),
            key!(backend, List(table::<BackendTable>()))
                .words("a set of servers and how they are used; there may be several"),
        ]
    }
}

impl File {
    /// The frontends, none if the file has none.
    pub(crate) fn frontends(&self) -> &[At<FrontendTable>] {
        self.frontend.as_ref().map_or(&[], |at| &at.value)
    }

    /// The backends, none if the file has none.
    pub(crate) fn backends(&self) -> &[At<BackendTable>] {
        self.backend.as_ref().map_or(&[], |at| &at.value)
    }
}

/// `[global]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GlobalTable {
    pub(crate) threads: Maybe<u64>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) drain_timeout: Maybe<Duration>,
    pub(crate) http2_memory: Maybe<u64>,
}

impl Table for GlobalTable {
    const EXAMPLE: &'static str = "[global]";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(threads, Whole(0..=1024))
                .default("0")
                .restart()
                .words("worker threads; 0: one per core, at most 8"),
            key!(maxconn, policy::maxconn())
                .default("0")
                .words("client connections in all; 0: half of the free descriptors"),
            // Compose kills 10 s after SIGTERM; this leaves 2 s.
            key!(drain_timeout, Time(any))
                .default("\"8s\"")
                .words("how long the end waits for requests in flight"),
            key!(http2_memory, Bytes(a_few_streams))
                .default(bounds::HTTP2_MEMORY)
                .words("for open streams, 40 KiB each and their unread bodies; more are refused"),
        ]
    }
}

/// Less would refuse the streams of a single page.
fn a_few_streams(item: &Item<'_>, size: u64) -> Option<u64> {
    const LEAST: u64 = 16 << 20;
    if size < LEAST {
        return item.fail(Fault::new(
            format!(
                "{} bytes are too few for the streams of one connection",
                size
            ),
            "write \"16 MiB\" or more",
        ));
    }
    Some(size)
}

/// `[stats]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StatsTable {
    pub(crate) listen: Maybe<SocketAddr>,
    pub(crate) read: Maybe<ReadWord>,
    pub(crate) read_token_file: Maybe<PathBuf>,
    pub(crate) users_file: Maybe<PathBuf>,
    pub(crate) open_metrics: Maybe<bool>,
    pub(crate) tls: Maybe<TlsTable>,
    pub(crate) admin: Maybe<ActsWord>,
    pub(crate) admin_token_file: Maybe<PathBuf>,
    pub(crate) memory: Maybe<u64>,
    pub(crate) alarm: Maybe<AlarmTable>,
}

/// The words of `stats.read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadWord {
    Open,
    Token,
    Basic,
}

const READ: [(&str, ReadWord); 3] = [
    ("open", ReadWord::Open),
    ("token", ReadWord::Token),
    ("basic", ReadWord::Basic),
];

/// The words of `stats.admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActsWord {
    Off,
    Loopback,
    Token,
}

const ACTS: [(&str, ActsWord); 3] = [
    ("off", ActsWord::Off),
    ("loopback", ActsWord::Loopback),
    ("token", ActsWord::Token),
];

impl Table for StatsTable {
    const EXAMPLE: &'static str = "[stats]";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(listen, Listen)
                .default("\":1936\"")
                .restart()
                .words("page, metrics, JSON, CSV"),
            key!(read, word(&READ))
                .default("\"open\"")
                .restart()
                .words(
                    "who may read all that over HTTP: open (everybody), token, basic (names and \
                     passwords). /livez, /readyz, /healthz and /ping are answered to everybody. A \
                     browser is shown a form to sign in",
                ),
            key!(read_token_file, FilePath)
                .example("\"/run/secrets/roundel_read\"")
                .restart()
                .words("with read = \"token\"; at least 16 characters; the token for acts reads too"),
            key!(users_file, FilePath)
                .example("\"/etc/roundel/users\"")
                .restart()
                .words("with read = \"basic\"; lines of NAME:HASH, bcrypt (htpasswd -nB NAME) or argon2"),
            key!(open_metrics, Bool)
                .default("false")
                .restart()
                .words("true: /metrics is answered to everybody"),
            key!(tls, table::<TlsTable>())
                .example(TlsTable::EXAMPLE)
                .words("HTTPS instead of HTTP, with the keys of a frontend's tls but alpn"),
            key!(admin, word(&ACTS))
                .default("\"off\"")
                .restart()
                .words("who may act over HTTP: off, loopback, token"),
            key!(admin_token_file, FilePath)
                .example("\"/run/secrets/roundel_admin\"")
                .restart()
                .words("with admin = \"token\"; at least 16 characters"),
            key!(memory, Bytes(of_the_page))
                .default(bounds::STATS_MEMORY)
                .restart()
                .words("what readers of all that may have it keep"),
            key!(alarm, table::<AlarmTable>())
                .default("{}")
                .words("from when on page, log and metrics say that clients have it bad"),
        ]
    }
}

/// Its connections alone need a part, and a few thousand servers make views of 10 MiB.
fn of_the_page(item: &Item<'_>, size: u64) -> Option<u64> {
    if (32 << 20..=1 << 40).contains(&size) {
        return Some(size);
    }
    item.fail(Fault::new(
        "this memory is out of range",
        "use 32MiB to 1024GiB",
    ))
}

/// `[cli]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CliTable {
    pub(crate) listen: Maybe<Option<SocketAddr>>,
    pub(crate) socket: Maybe<PathBuf>,
}

impl Table for CliTable {
    const EXAMPLE: &'static str = "[cli]";

    fn keys() -> Vec<Key<Self>> {
        let listen = OrOff {
            kind: Listen,
            other: None,
        };
        vec![
            key!(listen, listen)
                .default("\"127.0.0.1:9999\"")
                .restart()
                .words("HAProxy's runtime API, read-only; or \"off\""),
            key!(socket, FilePath)
                .example("\"/run/roundel.sock\"")
                .restart()
                .words("the same with operator acts; mode 600"),
        ]
    }
}

/// `[access_log]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AccessLogTable {
    pub(crate) format: Maybe<AccessLogFormat>,
}

impl Table for AccessLogTable {
    const EXAMPLE: &'static str = "[access_log]";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(format, word(&LOG_FORMATS))
                .default("\"json\"")
                .restart()
                .words(
                    "json, haproxy (option httplog, over TLS option httpslog), common, combined, \
                     logfmt, text (short lines, the default on a terminal), off. The client is whom \
                     trusted_proxies name; json and logfmt tell the proxy as `peer`, and haproxy \
                     shows port 0, which is not known. A request that got no answer has no status \
                     in json and logfmt, -1 in haproxy, 499 or 408 in the common formats",
                ),
        ]
    }
}

/// `[gossip]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GossipTable {
    pub(crate) listen: Maybe<SocketAddr>,
    pub(crate) join: Maybe<Vec<At<String>>>,
    pub(crate) advertise: Maybe<Advertise>,
    pub(crate) node_name: Maybe<Name>,
    pub(crate) key_file: Maybe<PathBuf>,
    pub(crate) keyring_file: Maybe<PathBuf>,
    pub(crate) snapshot: Maybe<PathBuf>,
    pub(crate) event_handlers: Maybe<Vec<At<Handler>>>,
    pub(crate) tags: Maybe<BTreeMap<String, At<String>>>,
    pub(crate) memory: Maybe<u64>,
    pub(crate) max_members: Maybe<u64>,
    pub(crate) allow_addr: Maybe<Vec<At<IpNet>>>,
}

impl Table for GossipTable {
    const EXAMPLE: &'static str = "[gossip]";
    const LATER: &'static [(&'static str, &'static str)] =
        &[("key", "secrets do not belong in this file: use key_file")];

    fn keys() -> Vec<Key<Self>> {
        let advertise = Notation {
            read: value::advertise,
            show: Advertise::to_string,
            pattern: "^.+$",
        };
        let handler = Notation {
            read: handler,
            show: Handler::to_string,
            pattern: "^.+$",
        };
        let tags = Texts {
            example: "{ zone = \"a\" }",
        };
        vec![
            // memberlist's port, which Serf uses too.
            key!(listen, Listen)
                .default("\":7946\"")
                .restart()
                .words("UDP and TCP"),
            key!(join, List(Text))
                .default("[]")
                .restart()
                .words("\"host\", \"host:port\"; any member will do; retried for ever"),
            key!(advertise, advertise)
                .example("\"192.0.2.7:7946\"")
                .restart()
                .words(
                    "or \"eth1\", \"10.0.0.0/8\": when the address found out is not the right one",
                ),
            key!(node_name, Named)
                .example("\"lb-1\"")
                .restart()
                .words("otherwise the host name"),
            key!(key_file, FilePath)
                .example("\"/run/secrets/gossip_key\"")
                .restart()
                .words("base64 of 16, 24 or 32 bytes, as `serf keygen` makes"),
            key!(keyring_file, FilePath)
                .example("\"/var/lib/roundel/keys.json\"")
                .restart()
                .words("keeps rotated keys; begins with the key above"),
            key!(snapshot, FilePath)
                .example("\"/var/lib/roundel/members-7946\"")
                .restart()
                .words(
                    "keeps known members, to find them without a seed; by default in --state-dir",
                ),
            key!(event_handlers, List(handler))
                .example("[\"member-join,member-leave=/etc/roundel/log.sh\"]")
                .restart()
                .words("as serf agent's"),
            key!(tags, tags)
                .said("{ role = \"balancer\" }")
                .restart()
                .words("what it announces about itself; `role` is \"balancer\" by default"),
            key!(memory, Bytes(of_the_gossip))
                .default("\"96MiB\"")
                .restart()
                .words("for what peers send and do not read, all together"),
            key!(max_members, Whole(10..=1_000_000))
                .default("20000")
                .restart()
                .words("known at a time; who answered us keeps its place"),
            key!(allow_addr, networks())
                .default("[]")
                .example("[\"10.0.0.0/8\"]")
                .restart()
                .words(
                    "networks of other hosts that a member may name by its tag `addr` although the \
                     gossip has no key; with one, any",
                ),
        ]
    }
}

fn of_the_gossip(item: &Item<'_>, size: u64) -> Option<u64> {
    if (bounds::GOSSIP_MEMORY_LEAST as u64..=16 << 30).contains(&size) {
        return Some(size);
    }
    item.fail(Fault::new(
        "this memory is out of range",
        "use 24MiB to 16GiB",
    ))
}

/// `[defaults]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DefaultsTable {
    pub(crate) retries: Maybe<u64>,
    pub(crate) trusted_proxies: Maybe<Vec<At<IpNet>>>,
    pub(crate) timeouts: TimesTable,
    pub(crate) limits: LimitsTable,
}

impl Table for DefaultsTable {
    const EXAMPLE: &'static str = "[defaults]";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(retries, retries())
                .default("3")
                .words("of what can be sent again safely; the next try is another server"),
            key!(trusted_proxies, networks())
                .default("[]")
                .words("networks whose X-Forwarded-For is kept and extended"),
            part!(timeouts),
            part!(limits),
        ]
    }
}

/// All timeouts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TimesTable {
    pub(crate) server: ServerTimesTable,
    pub(crate) client: ClientTimesTable,
}

impl Table for TimesTable {
    const EXAMPLE: &'static str = "{ connect = \"5s\" }";

    fn keys() -> Vec<Key<Self>> {
        let server = ServerTimesTable::keys().into_iter();
        let server = server.map(|key| key.within(|t: &Self| &t.server, |t| &mut t.server));
        let client = ClientTimesTable::keys().into_iter();
        let client = client.map(|key| key.within(|t: &Self| &t.client, |t| &mut t.client));
        server.chain(client).collect()
    }
}

/// The timeouts on the servers' side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ServerTimesTable {
    pub(crate) connect: Maybe<Duration>,
    pub(crate) server: Maybe<Duration>,
    pub(crate) first_byte: Maybe<Duration>,
    pub(crate) response_idle: Maybe<Duration>,
    pub(crate) total: Maybe<Duration>,
    pub(crate) queue: Maybe<Duration>,
    pub(crate) upstream_idle: Maybe<Duration>,
}

impl Table for ServerTimesTable {
    const EXAMPLE: &'static str = "{ connect = \"5s\" }";

    fn keys() -> Vec<Key<Self>> {
        let keys = vec![
            key!(connect, Time(any))
                .default("\"5s\"")
                .words("to a server"),
            key!(server, Time(any)).said("\"50s\"").words(
                "without a byte while the server is waited for; sets first_byte and response_idle",
            ),
            key!(first_byte, Time(any)).default("\"50s\"").words(
                "without a byte before a server's answer begins, and for its head to be whole then",
            ),
            key!(response_idle, Time(any))
                .default("\"50s\"")
                .words("without a byte within a server's answer"),
            key!(total, Time(any))
                .default("\"0s\"")
                .words("for a request in all, upgrades excepted; 0s: any time"),
            key!(queue, Time(any)).default("\"5s\"").words(
                "for a place on a full backend, or for a server to come back when the last one \
                 went away less than this ago; \"0s\": not at all",
            ),
            key!(upstream_idle, Time(any))
                .default("\"4s\"")
                .words("of an unused connection to a server; below the server's own"),
        ];
        keys.into_iter().map(Key::contextual).collect()
    }
}

impl ServerTimesTable {
    /// What is said closer to a backend wins, however general it is: the general time becomes the
    /// two that it stands for.
    pub(crate) fn spread(&mut self) {
        let server = self.server.take();
        self.first_byte = self.first_byte.take().or(server.clone());
        self.response_idle = self.response_idle.take().or(server);
    }
}

/// The timeouts on the clients' side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ClientTimesTable {
    pub(crate) client: Maybe<Duration>,
    pub(crate) request_body: Maybe<Duration>,
    pub(crate) http_request: Maybe<Duration>,
    pub(crate) http_keep_alive: Maybe<Duration>,
    pub(crate) tunnel: Maybe<Duration>,
}

impl Table for ClientTimesTable {
    const EXAMPLE: &'static str = "{ client = \"50s\" }";

    fn keys() -> Vec<Key<Self>> {
        let keys = vec![
            key!(client, Time(any))
                .default("\"50s\"")
                .words("without a byte while the client is waited for; also sets request_body"),
            key!(request_body, Time(any))
                .default("\"50s\"")
                .words("between two pieces of a request's body"),
            key!(http_request, Time(any))
                .default("\"10s\"")
                .words("for the whole head of a request"),
            key!(http_keep_alive, Time(any))
                .default("\"60s\"")
                .words("between two requests of a client"),
            key!(tunnel, Time(any))
                .default("\"1h\"")
                .words("without a byte after an upgrade, such as WebSocket"),
        ];
        keys.into_iter().map(Key::contextual).collect()
    }
}

impl ClientTimesTable {
    /// As [`ServerTimesTable::spread`].
    pub(crate) fn spread(&mut self) {
        self.request_body = self.request_body.take().or(self.client.clone());
    }
}

/// How large requests may be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LimitsTable {
    pub(crate) header_bytes: Maybe<u64>,
    pub(crate) headers: Maybe<u64>,
    pub(crate) uri_bytes: Maybe<u64>,
    pub(crate) max_body: Maybe<u64>,
}

impl Table for LimitsTable {
    const EXAMPLE: &'static str = "{ headers = 100 }";

    fn keys() -> Vec<Key<Self>> {
        let keys = vec![
            key!(header_bytes, Bytes(of_a_head))
                .default("\"64KiB\"")
                .words("of a request's head; beyond it 431"),
            key!(headers, Whole(1..=10_000))
                .default("100")
                .words("in a request; beyond it 431"),
            key!(uri_bytes, Bytes(of_a_head))
                .default("\"16KiB\"")
                .words("of a request's target; beyond it 414"),
            key!(max_body, Bytes(any))
                .default("\"0B\"")
                .words("beyond it 413, and the server's request is broken off; 0B: any size"),
        ];
        keys.into_iter().map(Key::contextual).collect()
    }
}

fn of_a_head(item: &Item<'_>, size: u64) -> Option<u64> {
    if (256..=16 << 20).contains(&size) {
        return Some(size);
    }
    item.fail(Fault::new("this limit is out of range", "use 256 to 16MiB"))
}

fn retries() -> Whole {
    Whole(0..=100)
}

fn networks() -> List<Notation<IpNet>> {
    List(Notation {
        read: value::network,
        show: IpNet::to_string,
        pattern: "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
    })
}

/// The word of a policy, or a fault that tells which ones there are.
pub(crate) fn policy(text: &str) -> Result<Policy, Fault> {
    choose(text, &policies())
}

fn policies() -> [(&'static str, Policy); 5] {
    Policy::ALL.map(|p| (p.as_str(), p))
}

fn handler(text: &str) -> Result<Handler, Fault> {
    let hint = "write \"member-join,member-leave=/etc/roundel/log.sh\"";
    text.parse()
        .map_err(|error: HandlerError| Fault::new(error.to_string(), hint))
}
