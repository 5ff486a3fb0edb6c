//! `[[backend]]`.

use std::net::SocketAddr;
use std::time::Duration;

use roundel_balance::Policy;
use roundel_model::{Name, Weight};
use roundel_proxy::{HeaderRules, Proto, ProxyVersion, Reuse};

use super::answers::{PageFiles, Pages};
use super::back::BackTable;
use super::headers::{Head, Headers};
use super::policy::{HashTable, MANY, OutlierTable, maxconn, not_outlier};
use super::sticky::not_sticky;
use super::{CheckTable, DiscoverTable, ServerTimesTable, StickyTable, policies, retries};
use crate::key::{Key, Maybe, Table, key, part};
use crate::kind::{Bool, List, Named, Notation, OrOff, Ratio, Time, Whole, Word, any, table, word};
use crate::reader::{At, Section};
use crate::value::{self, Fault};

/// One `[[backend]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BackendTable {
    pub(crate) name: Maybe<Name>,
    pub(crate) balance: Maybe<Policy>,
    pub(crate) hash_on: Maybe<HashTable>,
    pub(crate) server_port: Maybe<u64>,
    pub(crate) discover: Maybe<Vec<At<DiscoverTable>>>,
    pub(crate) server: Maybe<Vec<At<ServerTable>>>,
    pub(crate) check: Maybe<Option<CheckTable>>,
    pub(crate) slow_start: Maybe<Duration>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) max_queue: Maybe<u64>,
    pub(crate) abort_on_close: Maybe<bool>,
    pub(crate) send_proxy: Maybe<Option<ProxyVersion>>,
    pub(crate) tls: Maybe<BackTable>,
    pub(crate) proto: Maybe<Proto>,
    pub(crate) retries: Maybe<u64>,
    pub(crate) retry_budget: Maybe<u8>,
    pub(crate) timeouts: ServerTimesTable,
    pub(crate) request_headers: Maybe<HeaderRules>,
    pub(crate) response_headers: Maybe<HeaderRules>,
    pub(crate) error_pages: Maybe<PageFiles>,
    pub(crate) outlier: Maybe<Option<OutlierTable>>,
    pub(crate) sticky: Maybe<Option<StickyTable>>,
    pub(crate) reuse: Maybe<Reuse>,
    pub(crate) max_servers: Maybe<u64>,
    /// Servers are named that cannot be, which was reported.
    pub(crate) has_wrong_servers: bool,
}

impl Table for BackendTable {
    const EXAMPLE: &'static str = "[[backend]]";

    fn keys() -> Vec<Key<Self>> {
        let check = OrOff {
            kind: CheckTable::kind(),
            other: None,
        };
        let outlier = OrOff {
            kind: table::<OutlierTable>(),
            other: Some(not_outlier),
        };
        let sticky = OrOff {
            kind: table::<StickyTable>(),
            other: Some(not_sticky),
        };
        vec![
            key!(name, Named).required().said("\"nodes\""),
            key!(balance, word(&policies()))
                .default("\"roundrobin\"")
                .words("roundrobin, leastconn, p2c, hash, maglev"),
            key!(hash_on, HashTable::kind())
                .default("\"source\"")
                .example("\"source\"")
                .words("for hash, maglev: \"path\", { header = \"x-user\" }, { cookie = \"id\" }"),
            // The port of the classroom's apps.
            key!(server_port, Whole(1..=65_535))
                .default("3000")
                .words("of servers that say none"),
            key!(discover, List(table::<DiscoverTable>()))
                .said(
                    "[\n\
                     \x20   { gossip = { role = \"backend\" } },\n\
                     \x20   # { dns = { name = \"webapp\", hold = \"30s\", nameservers = [\"10.0.0.53\", \"127.0.0.1:8600\"] } },\n\
                     \x20   # { file = { path = \"nodes/\" } },\n\
                     ]",
                )
                .words("where servers come from, in order of precedence"),
            key!(server, List(table::<ServerTable>()))
                .example("[{ name = \"s1\", address = \"10.0.0.1:3000\" }]")
                .words("before those of discover"),
            key!(check, check)
                .default("{}")
                .said("{ http = \"HEAD /\", every = \"2s\", timeout = \"2s\", fast = \"1s\", rise = 2, fall = 3 }")
                .words("or \"HEAD /\" alone, \"grpc\", \"tcp\", \"off\""),
            key!(slow_start, Time(any))
                .default("\"0s\"")
                .words("a server that is new or back reaches its weight in this time"),
            key!(maxconn, maxconn())
                .default("0")
                .words("requests in flight on one server; 0: any number; others wait"),
            key!(max_queue, Whole(0..=MANY)).default("0").words(
                "requests that wait (timeouts.queue); 0: any number on a full backend, 1,024 for a \
                 server to come back",
            ),
            key!(abort_on_close, Bool)
                .default("false")
                .words("true: a client that ends its side (FIN) has given its request up"),
            key!(send_proxy, send_proxy()).default("\"off\"").words(
                "\"v1\", \"v2\": a PROXY header with the client's address on each connection, which \
                 then serves that client only; checks too",
            ),
            key!(tls, BackTable::kind())
                .example("{ server_name = \"nodes.internal\", ca_file = \"ca.pem\" }")
                .words(
                    "or tls = true: servers are spoken to over TLS, by checks too, and verified by \
                     the authorities that browsers trust",
                ),
            key!(proto, word(&PROTOS)).default("\"h1\"").words(
                "what servers speak, and checks with them: h1; h2: HTTP/2 by prior knowledge, requests \
                 share connections; auto: with tls, what each server chooses (ALPN)",
            ),
            key!(retries, retries())
                .default("3")
                .contextual()
                .words("as in [defaults]"),
            key!(retry_budget, Ratio)
                .default("0.2")
                .words("share of requests that may be sent twice; 10 in 10 s always"),
            part!(timeouts)
                .said("{ connect = \"5s\" }")
                .words("those of [defaults.timeouts] on the servers' side"),
            key!(request_headers, Headers(Head::Request))
                .said("{ set = { Host = \"api.internal\" } }")
                .words(
                    "as a frontend's, and after them. Host is what the servers get; \
                     X-Forwarded-Host keeps what was asked for",
                ),
            key!(response_headers, Headers(Head::Response))
                .example("{ remove = [\"Server\"] }")
                .words("as a frontend's, and before them"),
            key!(error_pages, Pages)
                .example("{ 503 = \"sorry.html\" }")
                .words("as a frontend's, and instead of them"),
            key!(outlier, outlier)
                .default("{}")
                .words("passive health; or outlier = \"off\""),
            key!(sticky, sticky)
                .default("{ cookie = \"SERVERID\" }")
                .words("or sticky = \"off\""),
            key!(reuse, word(&REUSES))
                .default("\"safe\"")
                .words(
                    "connections that served other clients: never; safe: not for a client's first \
                     request; always",
                ),
            key!(max_servers, Whole(1..=MANY)).default(crate::bounds::SERVERS).words(
                "that gossip, DNS or files may bring, each; who is there stays, others wait until \
                 one goes",
            ),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let named = section.item("server").map_or(0, |item| item.list().len());
        let read = self.server.as_ref().map_or(0, |at| at.value.len());
        self.has_wrong_servers = named > read;
        true
    }
}

/// The words of `reuse`, HAProxy's.
const REUSES: [(&str, Reuse); 3] = [
    ("never", Reuse::Never),
    ("safe", Reuse::Safe),
    ("always", Reuse::Always),
];

/// The words of `proto`; HAProxy has the first two.
const PROTOS: [(&str, Proto); 3] = [("h1", Proto::H1), ("h2", Proto::H2), ("auto", Proto::Auto)];

fn send_proxy() -> Word<Option<ProxyVersion>> {
    word(&[
        ("v1", Some(ProxyVersion::V1)),
        ("v2", Some(ProxyVersion::V2)),
        ("off", None),
    ])
}

/// One static server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ServerTable {
    pub(crate) name: Maybe<Name>,
    /// Port 0 stands for the backend's `server_port`.
    pub(crate) address: Maybe<SocketAddr>,
    pub(crate) weight: Maybe<u64>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) send_proxy: Maybe<Option<ProxyVersion>>,
    pub(crate) backup: Maybe<bool>,
}

impl Table for ServerTable {
    const EXAMPLE: &'static str = "{ name = \"s1\", address = \"10.0.0.1:3000\" }";

    fn keys() -> Vec<Key<Self>> {
        let address = Notation {
            read: server_address,
            show: show_address,
            pattern: "^[0-9A-Fa-f:.]+$|^\\[.*\\](:[0-9]+)?$|^localhost:[0-9]+$",
        };
        vec![
            key!(name, Named).example("\"s1\"").required(),
            key!(address, address)
                .example("\"10.0.0.1:3000\"")
                .required()
                .words("or without a port: server_port counts"),
            key!(weight, Whole(0..=u64::from(Weight::MAX)))
                .default("1")
                .words("its share; 0 takes no new clients"),
            key!(maxconn, maxconn())
                .example("100")
                .words("of this one; otherwise the backend's"),
            key!(send_proxy, send_proxy())
                .example("\"v2\"")
                .words("of this one; otherwise the backend's"),
            key!(backup, Bool)
                .default("false")
                .words("true: serves only while no other does"),
        ]
    }
}

fn server_address(text: &str) -> Result<SocketAddr, Fault> {
    value::server_address(text, 0)
}

fn show_address(address: &SocketAddr) -> String {
    match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}
