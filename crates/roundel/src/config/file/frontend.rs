//! `[[frontend]]`.

use ipnet::IpNet;
use roundel_model::Name;

use super::{ClientTable, LimitsTable, MarksTable, Maybe, listen, networks, section};
use crate::config::reader::{At, Item, Section};
use crate::value::Fault;

/// One `[[frontend]]`.
#[derive(Debug)]
pub(in crate::config) struct FrontendTable {
    pub(in crate::config) name: At<Name>,
    pub(in crate::config) listen: Vec<At<ListenItem>>,
    pub(in crate::config) default_backend: Maybe<Name>,
    pub(in crate::config) routes: Vec<At<RouteTable>>,
    pub(in crate::config) timeouts: ClientTable,
    pub(in crate::config) limits: LimitsTable,
    pub(in crate::config) trusted_proxies: Maybe<Vec<IpNet>>,
    pub(in crate::config) marks: MarksTable,
}

/// One address to listen on.
#[derive(Debug)]
pub(in crate::config) struct ListenItem {
    pub(in crate::config) address: std::net::SocketAddr,
    pub(in crate::config) h2c: bool,
}

/// One rule of `route`.
#[derive(Debug)]
pub(in crate::config) struct RouteTable {
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) path_prefix: Option<String>,
    pub(in crate::config) backend: At<Name>,
}

impl FrontendTable {
    pub(super) fn read(s: &Section<'_>) -> Option<Self> {
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
            Some(item) => item.list_of(|i| RouteTable::read(&i.section("{ backend = \"api\" }")?)),
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
        let limits = LimitsTable::read(s);
        let trusted_proxies = s.get("trusted_proxies", networks);
        let marks = MarksTable::read(s);
        s.finish(&[("tls", "put a TLS terminator in front")]);
        Some(Self {
            name: name?,
            listen: listen?,
            default_backend,
            routes,
            timeouts,
            limits,
            trusted_proxies,
            marks,
        })
    }
}

fn listen_item(item: &Item<'_>) -> Option<ListenItem> {
    if !item.is_table() {
        let address = listen(item)?;
        return Some(ListenItem { address, h2c: true });
    }
    let s = item.section("{ address = \":80\" }")?;
    let address = s.require("address", listen);
    let h2c = s.get("h2c", Item::boolean).is_none_or(|at| at.value);
    for (key, hint) in [
        ("tls", "put a TLS terminator in front"),
        ("proxy_protocol", "trust X-Forwarded-For by trusted_proxies"),
    ] {
        if let Some(item) = s.item(key)
            && item.boolean() == Some(true)
        {
            let message = format!("this version cannot do `{key}` on a listener yet");
            item.fail::<()>(Fault::new(message, hint));
        }
    }
    s.finish(&[]);
    Some(ListenItem {
        address: address?.value,
        h2c,
    })
}

impl RouteTable {
    fn read(s: &Section<'_>) -> Option<Self> {
        let host = s.get("host", |i| i.parse(host));
        let path_prefix = s.get("path_prefix", |i| i.parse(path_prefix));
        let backend = s.require("backend", Item::name);
        s.finish(&[]);
        Some(Self {
            host: host.map(|at| at.value),
            path_prefix: path_prefix.map(|at| at.value),
            backend: backend?,
        })
    }
}

fn host(text: &str) -> Result<String, Fault> {
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let plain = text.strip_prefix("*.").unwrap_or(text);
    if plain.is_empty() || !plain.chars().all(fits) {
        return Err(Fault::new(
            format!("`{text}` is not a host"),
            "write \"api.example.org\" or \"*.example.org\"",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

fn path_prefix(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') || text.contains(['?', '#']) || text.contains(char::is_whitespace) {
        return Err(Fault::new(
            format!("`{text}` is not the start of a path"),
            "write \"/v1\"",
        ));
    }
    Ok(text.to_owned())
}
