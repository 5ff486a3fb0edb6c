//! `discover` of a backend.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::networks;
use crate::key::{Key, Maybe, Table, key};
use crate::kind::{FilePath, List, Notation, Text, Time, any, table};
use crate::reader::{At, Section};
use crate::value::{self, Fault};

/// One entry of `discover`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DiscoverTable {
    pub(crate) gossip: Maybe<RoleTable>,
    pub(crate) dns: Maybe<DnsTable>,
    pub(crate) file: Maybe<FileTable>,
}

impl Table for DiscoverTable {
    const EXAMPLE: &'static str = "{ gossip = { role = \"backend\" } }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(gossip, table::<RoleTable>()).words("members of the gossip"),
            key!(dns, table::<DnsTable>())
                .words("A, AAAA; SRV for _http._tcp.…; asked every second"),
            key!(file, table::<FileTable>()).words(
                "a file or a folder of files with lines `name ip[:port]`, watched; `*.json`: \
                     Prometheus' file_sd",
            ),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        if section.entries().count() != 1 {
            section.fail(Fault::new(
                "one entry of `discover` is one source",
                "write [{ gossip = { role = \"backend\" } }, { dns = { name = \"webapp\" } }]",
            ));
            return false;
        }
        self.gossip.is_some() || self.dns.is_some() || self.file.is_some()
    }
}

/// `gossip = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RoleTable {
    pub(crate) role: Maybe<String>,
    pub(crate) from: Maybe<Vec<At<IpNet>>>,
}

impl Table for RoleTable {
    const EXAMPLE: &'static str = DiscoverTable::EXAMPLE;

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(role, Text)
                .default("\"backend\"")
                .contextual()
                .words("the value of their tag `role`"),
            key!(from, networks())
                .default("[]")
                .example("[\"10.0.0.0/8\"]")
                .words(
                    "the networks in which they may be; none: any but special ranges (loopback, \
                     carrier-grade, documentation, …), which must be named, such as \
                     \"100.64.0.0/10\"",
                ),
        ]
    }
}

/// `dns = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DnsTable {
    pub(crate) name: Maybe<String>,
    pub(crate) hold: Maybe<Duration>,
    pub(crate) nameservers: Maybe<Vec<At<SocketAddr>>>,
}

impl Table for DnsTable {
    const EXAMPLE: &'static str = "{ dns = { name = \"webapp\" } }";

    fn keys() -> Vec<Key<Self>> {
        let name = Notation {
            read: dns_name,
            show: String::clone,
            pattern: "^[A-Za-z0-9._-]+$",
        };
        let nameserver = Notation {
            read: name_server,
            show: SocketAddr::to_string,
            pattern: "^[0-9A-Fa-f:.]+$|^\\[.*\\](:[0-9]+)?$|^localhost:[0-9]+$",
        };
        vec![
            key!(name, name).example("\"webapp\"").required(),
            key!(hold, Time(any)).default("\"30s\"").words(
                "records that are gone (NXDOMAIN, none) count until that was said for so long; an \
                 error or silence changes nothing. Checks decide",
            ),
            key!(nameservers, List(nameserver)).default("[]").words(
                "otherwise the system's; the next one is asked while one fails or denies the \
                     name",
            ),
        ]
    }
}

/// `file = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FileTable {
    pub(crate) path: Maybe<PathBuf>,
}

impl Table for FileTable {
    const EXAMPLE: &'static str = "{ file = { path = \"nodes/\" } }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(path, FilePath)
                .example("\"nodes/\"")
                .required()
                .words("from the folder of this file"),
        ]
    }
}

/// Reads the address of a name server; DNS has port 53.
fn name_server(text: &str) -> Result<SocketAddr, Fault> {
    value::server_address(text, 53).map_err(|_| {
        Fault::new(
            format!("`{text}` is not the address of a name server"),
            "write \"10.0.0.53\" or \"127.0.0.1:8600\"",
        )
    })
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
