//! `[[backend]]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use roundel_balance::{CheckKind, CheckSpec, Policy};
use roundel_model::{Name, Weight};
use roundel_proxy::{HeaderRules, HostPattern, ProxyVersion};

use super::answers::{self, PageFiles};
use super::headers::{self, Head};
use super::policy::{PolicyTable, maxconn};
use super::{Maybe, ServerTimesTable, duration, location, section};
use crate::reader::{At, Item, Section};
use crate::value::{self, Fault};
use crate::{DNS_HOLD, Dns};

/// One `[[backend]]`.
#[derive(Debug)]
pub(crate) struct BackendTable {
    pub(crate) name: At<Name>,
    pub(crate) balance: Maybe<Policy>,
    pub(crate) policy: PolicyTable,
    pub(crate) discover: Maybe<Vec<At<DiscoverItem>>>,
    pub(crate) server_port: Maybe<u64>,
    pub(crate) sticky: Maybe<Option<StickyTable>>,
    pub(crate) check: Maybe<CheckTable>,
    pub(crate) servers: Vec<At<ServerTable>>,
    /// Servers are named that cannot be, which was reported.
    pub(crate) has_wrong_servers: bool,
    pub(crate) send_proxy: Maybe<Option<ProxyVersion>>,
    pub(crate) retries: Maybe<u64>,
    pub(crate) abort_on_close: Maybe<bool>,
    pub(crate) timeouts: ServerTimesTable,
    pub(crate) request_headers: Maybe<HeaderRules>,
    pub(crate) response_headers: Maybe<HeaderRules>,
    pub(crate) error_pages: Maybe<PageFiles>,
}

/// One entry of `discover`.
#[derive(Debug)]
pub(crate) enum DiscoverItem {
    Gossip { role: String },
    Dns(Dns),
    File { path: PathBuf },
}

/// `sticky = { … }`.
#[derive(Debug)]
pub(crate) struct StickyTable {
    pub(crate) cookie: String,
    pub(crate) key: Option<String>,
    pub(crate) secure: bool,
    pub(crate) domain: Option<String>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) same_site: Option<&'static str>,
}

/// `check = …`.
#[derive(Debug)]
pub(crate) struct CheckTable {
    pub(crate) kind: Option<CheckKind>,
    pub(crate) every: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) fast: Option<Duration>,
    pub(crate) rise: Option<u64>,
    pub(crate) fall: Option<u64>,
}

/// One static server; its port may still be missing.
#[derive(Debug)]
pub(crate) struct ServerTable {
    pub(crate) name: At<Name>,
    pub(crate) address: SocketAddr,
    pub(crate) weight: Weight,
    pub(crate) backup: bool,
    /// `None`: the backend's counts.
    pub(crate) maxconn: Option<u64>,
    /// `None`: as the backend says.
    pub(crate) send_proxy: Option<Option<ProxyVersion>>,
}

impl BackendTable {
    pub(crate) fn read(s: &Section<'_>) -> Option<Self> {
        let name = s.require("name", Item::name);
        let balance = s.get("balance", |i| i.parse(super::policy));
        let policy = PolicyTable::read(s);
        let discover = s.get("discover", |i| Some(i.list_of(discover)));
        let server_port = s.get("server_port", |i| i.integer(1..=65_535));
        let default_port = server_port.as_ref().map_or(3000, |at| at.value as u16);
        let sticky = s.get("sticky", sticky);
        let check = s.get("check", check);
        let servers = match s.item("server") {
            Some(item) => item.list_of(|i| ServerTable::read(i, default_port)),
            None => Vec::new(),
        };
        let named = s.item("server").map_or(0, |item| item.list().len());
        let has_wrong_servers = named > servers.len();
        let send_proxy = s.get("send_proxy", send_proxy);
        let retries = s.get("retries", |i| i.integer(0..=100));
        let abort_on_close = s.get("abort_on_close", Item::boolean);
        let request_headers = s.get("request_headers", |i| headers::rules(i, Head::Request));
        let response_headers = s.get("response_headers", |i| headers::rules(i, Head::Response));
        let error_pages = s.get("error_pages", answers::error_pages);
        let timeouts = match section(s, "timeouts", "{ connect = \"5s\" }") {
            Some(times) => {
                let table = ServerTimesTable::read(&times);
                times.finish(&[]);
                table
            }
            None => ServerTimesTable::default(),
        };
        s.finish(&[]);
        Some(Self {
            name: name?,
            balance,
            policy,
            discover,
            server_port,
            sticky,
            check,
            servers,
            has_wrong_servers,
            send_proxy,
            retries,
            request_headers,
            response_headers,
            error_pages,
            abort_on_close,
            timeouts,
        })
    }
}

/// Reads the address of a name server; DNS has port 53.
fn name_server(item: &Item<'_>) -> Option<SocketAddr> {
    item.parse(|text| {
        value::server_address(text, 53).map_err(|_| {
            Fault::new(
                format!("`{text}` is not the address of a name server"),
                "write \"10.0.0.53\" or \"127.0.0.1:8600\"",
            )
        })
    })
}

fn discover(item: &Item<'_>) -> Option<DiscoverItem> {
    let example = "{ gossip = { role = \"backend\" } }";
    let s = item.section(example)?;
    let mut found = Vec::new();
    if let Some(g) = section(&s, "gossip", example) {
        let role = g.get("role", Item::text);
        g.finish(&[]);
        found.push(DiscoverItem::Gossip {
            role: role.map_or_else(|| "backend".to_owned(), |at| at.value),
        });
    }
    if let Some(d) = section(&s, "dns", "{ dns = { name = \"webapp\" } }") {
        let name = d.require("name", |i| i.parse(dns_name));
        let hold = d.get("hold", duration);
        let servers = d.get("nameservers", |i| Some(i.list_of(name_server)));
        d.finish(&[]);
        let servers = servers.map_or_else(Vec::new, |at| at.value);
        found.extend(name.map(|at| {
            DiscoverItem::Dns(Dns {
                name: at.value,
                hold: hold.map_or(DNS_HOLD, |at| at.value),
                nameservers: servers.into_iter().map(|at| at.value).collect(),
            })
        }));
    }
    if let Some(f) = section(&s, "file", "{ file = { path = \"nodes/\" } }") {
        let path = f.require("path", Item::text);
        f.finish(&[]);
        found.extend(path.map(|at| DiscoverItem::File {
            path: at.value.into(),
        }));
    }
    let asked = s.entries().count();
    s.finish(&[]);
    if asked != 1 {
        return item.fail(Fault::new(
            "one entry of `discover` is one source",
            "write [{ gossip = { role = \"backend\" } }, { dns = { name = \"webapp\" } }]",
        ));
    }
    found.pop()
}

fn dns_name(text: &str) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
        return Err(Fault::new(
            format!("`{text}` is not a name for DNS"),
            "write \"webapp\" or \"_http._tcp.example.org\"; the port goes to server_port",
        ));
    }
    Ok(text.to_owned())
}

fn sticky(item: &Item<'_>) -> Option<Option<StickyTable>> {
    if item.is_text() {
        return item.parse(|text| match text {
            "off" => Ok(None),
            _ => Err(Fault::new(
                format!("`{text}` is not a sticky setting"),
                format!("write sticky = \"off\" or sticky = {{ cookie = \"{text}\" }}"),
            )),
        });
    }
    let s = item.section("{ cookie = \"SERVERID\" }")?;
    let sites = [("lax", "Lax"), ("strict", "Strict"), ("none", "None")];
    let site = |i: &Item<'_>| i.parse(|t| crate::reader::choose(&t.to_lowercase(), &sites));
    let cookie = s.require("cookie", |i| i.parse(cookie_name));
    let key = s.get("key", Item::text);
    let secure = s.get("secure", Item::boolean);
    let domain = s.get("domain", |i| i.parse(cookie_domain));
    let max_age = s.get("max_age", cookie_age);
    let same_site = s.get("same_site", site);
    s.finish(&[]);
    let is_secure = secure.as_ref().is_some_and(|at| at.value);
    let https = "add secure = true; clients then send it over HTTPS only";
    if let Some(item) = s.item("same_site")
        && same_site.as_ref().is_some_and(|at| at.value == "None")
        && !is_secure
    {
        let message = "browsers drop a cookie with SameSite=None and without Secure";
        item.fail::<()>(Fault::new(message, https));
    }
    if let (Some(item), Some(name)) = (s.item("cookie"), &cookie)
        && let Some(prefix) = cookie_prefix(&name.value)
    {
        if !is_secure {
            let message = format!("browsers drop a cookie named {prefix}… without Secure");
            item.fail::<()>(Fault::new(message, https));
        }
        if prefix == "__Host-" && domain.is_some() {
            let message = "browsers drop a cookie named __Host-… with a Domain";
            let hint = "leave domain out, or name it \"__Secure-…\"";
            item.fail::<()>(Fault::new(message, hint));
        }
    }
    Some(Some(StickyTable {
        cookie: cookie?.value,
        key: key.map(|at| at.value),
        secure: secure.is_some_and(|at| at.value),
        domain: domain.map(|at| at.value),
        max_age: max_age.map(|at| at.value),
        same_site: same_site.map(|at| at.value),
    }))
}

/// Checks the name of a cookie. Source: RFC 6265 4.1.1, a token.
pub(crate) fn cookie_name(text: &str) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        return Err(Fault::new(
            format!("`{text}` cannot be the name of a cookie"),
            "write \"SERVERID\"",
        ));
    }
    Ok(text.to_owned())
}

/// The prefix by which browsers ask more of a cookie, in any case.
/// Source: RFC 6265bis (draft 22), 4.1.3. Path and HttpOnly are always as they ask.
pub(crate) fn cookie_prefix(name: &str) -> Option<&'static str> {
    let begins = |prefix: &&str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    ["__Host-", "__Secure-", "__Http-"].into_iter().find(begins)
}

fn cookie_domain(text: &str) -> Result<String, Fault> {
    // A dot before it means nothing to browsers (RFC 6265 5.2.3); one behind it matches no host.
    match location::host(text.strip_prefix('.').unwrap_or(text)) {
        Ok(host @ HostPattern::Name(_)) if !text.ends_with('.') => Ok(host.to_string()),
        _ => Err(Fault::new(
            format!("`{text}` cannot be the domain of a cookie"),
            "write \"example.org\"; without a domain it is for the host that was asked for",
        )),
    }
}

/// Reads how long a cookie lives. It is told in whole seconds, and none would delete it.
fn cookie_age(item: &Item<'_>) -> Option<Duration> {
    let age = duration(item)?;
    match age < Duration::from_secs(1) {
        true => item.fail(Fault::new(
            "a cookie of less than a second is deleted at once",
            "write for example \"1d\", or leave max_age out for the browser's session",
        )),
        false => Some(age),
    }
}

fn check(item: &Item<'_>) -> Option<CheckTable> {
    let mut table = CheckTable {
        kind: None,
        every: None,
        timeout: None,
        fast: None,
        rise: None,
        fall: None,
    };
    if item.is_text() {
        table.kind = Some(item.parse(super::check_word)?);
        return Some(table);
    }
    let s = item.section("{ http = \"HEAD /\", every = \"2s\" }")?;
    let http = s.get("http", |i| i.parse(check_kind));
    let tcp = s.get("tcp", Item::boolean);
    let host = s.get("host", |i| i.parse(check_host));
    let positive = |i: &Item<'_>| {
        let time = duration(i)?;
        if time.is_zero() {
            return i.fail(Fault::new("this time cannot be zero", "write \"2s\""));
        }
        Some(time)
    };
    table.every = s.get("every", positive).map(|at| at.value);
    table.timeout = s.get("timeout", positive).map(|at| at.value);
    let every = table.every.unwrap_or(CheckSpec::default().every);
    let quick = |i: &Item<'_>| {
        let time = positive(i)?;
        if time > every {
            return i.fail(Fault::new(
                "checks after a failure are faster than others",
                "write at most what `every` says, or leave `fast` out: it is half of that",
            ));
        }
        Some(time)
    };
    table.fast = s.get("fast", quick).map(|at| at.value);
    table.rise = s.get("rise", |i| i.integer(1..=100)).map(|at| at.value);
    table.fall = s.get("fall", |i| i.integer(1..=100)).map(|at| at.value);
    let port = "a check goes to the port of its server; `host` is what its Host header says";
    s.finish(&[("port", port)]);
    table.kind = match (http, tcp.is_some_and(|at| at.value)) {
        (Some(_), true) => {
            return item.fail(Fault::new(
                "a check is either `http` or `tcp`",
                "leave one of them out",
            ));
        }
        (Some(at), false) => Some(at.value),
        (None, true) => Some(CheckKind::Tcp),
        (None, false) => None,
    };
    if let Some(at) = host {
        let kind = table.kind.get_or_insert_with(|| CheckKind::Http {
            method: "HEAD".to_owned(),
            path: "/".to_owned(),
            host: None,
        });
        if let CheckKind::Http { host, .. } = kind {
            *host = Some(at.value);
        }
    }
    Some(table)
}

fn send_proxy(item: &Item<'_>) -> Option<Option<ProxyVersion>> {
    item.word(&[
        ("v1", Some(ProxyVersion::V1)),
        ("v2", Some(ProxyVersion::V2)),
        ("off", None),
    ])
}

/// Reads `METHOD PATH`.
pub(crate) fn check_kind(text: &str) -> Result<CheckKind, Fault> {
    let fault = || {
        Fault::new(
            format!("`{text}` is not a check"),
            "write \"HEAD /\", \"GET /healthz\", \"tcp\" or \"off\"",
        )
    };
    let (method, path) = text.split_once(' ').ok_or_else(fault)?;
    let token = !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase());
    let printable = path.chars().all(|c| c.is_ascii_graphic());
    if !token || !path.starts_with('/') || !printable {
        return Err(fault());
    }
    Ok(CheckKind::Http {
        method: method.to_owned(),
        path: path.to_owned(),
        host: None,
    })
}

fn check_host(text: &str) -> Result<String, Fault> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new(
            format!("`{text}` cannot be a Host field"),
            "write \"app.example.org\"",
        ));
    }
    Ok(text.to_owned())
}

impl ServerTable {
    fn read(item: &Item<'_>, default_port: u16) -> Option<Self> {
        let s = item.section("{ name = \"s1\", address = \"10.0.0.1:3000\" }")?;
        let name = s.require("name", Item::name);
        let address = s.require("address", |i| {
            i.parse(|text| value::server_address(text, default_port))
        });
        let weight = s.get("weight", |i| {
            let number = i.integer(0..=u64::from(Weight::MAX))?;
            Weight::new(number).ok()
        });
        let backup = s.get("backup", Item::boolean);
        let maxconn = s.get("maxconn", maxconn);
        let send_proxy = s.get("send_proxy", send_proxy);
        s.finish(&[]);
        Some(Self {
            name: name?,
            address: address?.value,
            weight: weight.map_or(Weight::ONE, |at| at.value),
            backup: backup.is_some_and(|at| at.value),
            maxconn: maxconn.map(|at| at.value),
            send_proxy: send_proxy.map(|at| at.value),
        })
    }
}
