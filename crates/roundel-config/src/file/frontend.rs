//! `[[frontend]]`.

use ipnet::IpNet;
use roundel_model::Name;
use roundel_proxy::{HeaderRules, HostPattern, RateLimit, Redirect};

use super::answers::{self, PageFiles};
use super::headers::{self, Head};
use super::{ClientTable, LimitsTable, MarksTable, Maybe, listen, location, networks, section};
use crate::reader::{At, Item, Section};
use crate::value::Fault;

/// One `[[frontend]]`.
#[derive(Debug)]
pub(crate) struct FrontendTable {
    pub(crate) name: At<Name>,
    pub(crate) listen: Vec<At<ListenItem>>,
    pub(crate) default_backend: Maybe<Name>,
    pub(crate) routes: Vec<At<RouteTable>>,
    pub(crate) strict_paths: Maybe<bool>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) timeouts: ClientTable,
    pub(crate) limits: LimitsTable,
    pub(crate) trusted_proxies: Maybe<Vec<IpNet>>,
    pub(crate) marks: MarksTable,
    pub(crate) request_headers: Maybe<HeaderRules>,
    pub(crate) response_headers: Maybe<HeaderRules>,
    pub(crate) error_pages: Maybe<PageFiles>,
    pub(crate) rate_limit: Maybe<RateLimit>,
}

/// One address to listen on.
#[derive(Debug)]
pub(crate) struct ListenItem {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) h2c: bool,
    pub(crate) proxy_protocol: bool,
}

/// One rule of `route`.
#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) host: Option<HostPattern>,
    pub(crate) path_prefix: Option<String>,
    pub(crate) target: TargetItem,
    pub(crate) rate_limit: Option<RateLimit>,
}

/// What happens to requests that a route matches.
#[derive(Debug)]
pub(crate) enum TargetItem {
    Backend(At<Name>),
    Redirect(Redirect),
}

impl FrontendTable {
    pub(crate) fn read(s: &Section<'_>) -> Option<Self> {
        let name = s.require("name", Item::name);
        let listen = s
            .require("listen", |i| {
                if i.list().is_empty() {
                    let fault = Fault::new("a frontend listens somewhere", "write [\":80\"]");
                    return i.fail(fault);
                }
                Some(i.list_of(listen_item))
            })
            .map(|at| at.value);
        let default_backend = s.get("default_backend", Item::name);
        let routes = match s.item("route") {
            Some(item) => item.list_of(RouteTable::read),
            None => Vec::new(),
        };
        let timeouts = match section(s, "timeouts", "{ client = \"50s\" }") {
            Some(times) => {
                let table = ClientTable::read(&times);
                times.finish(&[]);
                table
            }
            None => ClientTable::default(),
        };
        let strict_paths = s.get("strict_paths", Item::boolean);
        let maxconn = s.get("maxconn", super::policy::maxconn);
        let limits = LimitsTable::read(s);
        let trusted_proxies = s.get("trusted_proxies", networks);
        let marks = MarksTable::read(s);
        let request_headers = s.get("request_headers", |i| headers::rules(i, Head::Request));
        let response_headers = s.get("response_headers", |i| headers::rules(i, Head::Response));
        let error_pages = s.get("error_pages", answers::error_pages);
        let rate_limit = s.get("rate_limit", answers::rate_limit);
        s.finish(&[("tls", "put a TLS terminator in front")]);
        Some(Self {
            name: name?,
            listen: listen?,
            default_backend,
            routes,
            strict_paths,
            maxconn,
            timeouts,
            limits,
            trusted_proxies,
            marks,
            request_headers,
            response_headers,
            error_pages,
            rate_limit,
        })
    }
}

fn listen_item(item: &Item<'_>) -> Option<ListenItem> {
    if !item.is_table() {
        let address = listen(item)?;
        return Some(ListenItem {
            address,
            h2c: true,
            proxy_protocol: false,
        });
    }
    let s = item.section("{ address = \":80\" }")?;
    let address = s.require("address", listen);
    let h2c = s.get("h2c", Item::boolean).is_none_or(|at| at.value);
    let proxy_protocol = s.get("proxy_protocol", Item::boolean);
    if let Some(item) = s.item("tls")
        && item.boolean() == Some(true)
    {
        item.fail::<()>(Fault::new(
            "this version cannot do `tls` on a listener yet",
            "put a TLS terminator in front",
        ));
    }
    s.finish(&[]);
    Some(ListenItem {
        address: address?.value,
        h2c,
        proxy_protocol: proxy_protocol.is_some_and(|at| at.value),
    })
}

impl RouteTable {
    fn read(item: &Item<'_>) -> Option<Self> {
        let s = item.section("{ backend = \"api\" }")?;
        let host = s.get("host", |i| i.parse(location::host));
        let path_prefix = s.get("path_prefix", |i| i.parse(location::path_prefix));
        let backend = s.get("backend", Item::name);
        let redirect = s.get("redirect", |i| answers::redirect(i, path_prefix.is_some()));
        let rate_limit = s.get("rate_limit", answers::rate_limit);
        let is_target = |key: &str| matches!(key, "backend" | "redirect");
        let targets = s.entries().filter(|(key, _)| is_target(key)).count();
        s.finish(&[]);
        if targets != 1 {
            return item.fail(Fault::new(
                "a route needs either a backend or a redirect",
                "add backend = \"…\" or redirect = { scheme = \"https\" }",
            ));
        }
        let backend = backend.map(TargetItem::Backend);
        Some(Self {
            host: host.map(|at| at.value),
            path_prefix: path_prefix.map(|at| at.value),
            target: backend.or(redirect.map(|at| TargetItem::Redirect(at.value)))?,
            rate_limit: rate_limit.map(|at| at.value),
        })
    }
}
