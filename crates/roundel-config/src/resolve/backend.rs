//! Backends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roundel_balance::{CheckSpec, OutlierSpec, Policy, RetryBudget, StickyKey};
use roundel_model::{Name, Weight};
use roundel_proxy::{HashOn, HeaderRules, ServerTimeouts, Sticky};

use super::Merge;
use crate::file::{
    BackendTable, CheckTable, DiscoverItem, File, ServerTable, ServerTimesTable, StickyTable,
};
use crate::flags::Choice;
use crate::reader::At;
use crate::value::{self, Fault};
use crate::{Backend, Discover, ErrorPages, Gossip, Source, StaticServer};

/// The port of the classroom's apps.
const SERVER_PORT: u16 = 3000;
/// The cookie of HAProxy's manual.
const COOKIE: &str = "SERVERID";
const RETRIES: u64 = 3;

impl Merge<'_> {
    pub(crate) fn backends(&mut self, file: &File, gossip: Option<&Gossip>) -> Vec<Backend> {
        if file.backends.is_empty() {
            return self.default_backend(file, gossip).into_iter().collect();
        }
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        for at in &file.backends {
            let name = &at.value.name;
            if !names.insert(&name.value) {
                let fault = Fault::new(
                    format!("there are two backends named `{}`", name.value),
                    "give one of them another name",
                );
                self.reader.report(name.span.clone(), fault);
            }
            list.extend(self.backend(at, file, gossip));
        }
        list
    }

    /// The backend that exists without any in a file.
    fn default_backend(&mut self, file: &File, gossip: Option<&Gossip>) -> Option<Backend> {
        let flags = &self.flags.backend;
        let name = Name::new("nodes").expect("a fixed name");
        let path = |key: &str| format!("backend.nodes.{key}");
        let server_port = flags.server_port.unwrap_or(SERVER_PORT);
        let mut discover = Vec::new();
        if !flags.static_servers.is_empty() {
            discover.push(Discover::Static(self.flagged_servers(server_port)));
        }
        if gossip.is_some() {
            let role = "backend".to_owned();
            discover.push(Discover::Gossip { role });
        }
        if discover.is_empty() {
            self.complain(Fault::new(
                "no server can ever appear: the file has no [[backend]] and no [gossip]",
                "add a [gossip] table, a [[backend]] with servers, or --static NAME=ADDR",
            ));
        }
        for (key, id) in [
            ("server_port", "server_port"),
            ("server", "static_servers"),
            ("balance", "balance"),
            ("sticky", "sticky"),
            ("check", "check"),
        ] {
            self.note_given(&path(key), id);
        }
        let cookie = match &flags.sticky {
            None => Some(COOKIE.to_owned()),
            Some(choice) => Choice::into_option(choice.clone()),
        };
        let mut check = CheckSpec::default();
        if let Some(kind) = &flags.check {
            check.kind = kind.clone();
        }
        Some(Backend {
            balance: flags.balance.unwrap_or_default(),
            hash_on: HashOn::Source,
            outlier: OutlierSpec::default(),
            slow_start: Duration::ZERO,
            maxconn: 0,
            max_queue: 0,
            retry_budget: RetryBudget::default(),
            discover,
            server_port,
            sticky: cookie.map(Sticky::new),
            sticky_key: sticky_key(None, gossip),
            check,
            send_proxy: None,
            retries: self.retries(file, &name, None),
            abort_on_close: false,
            request_headers: HeaderRules::new(),
            response_headers: HeaderRules::new(),
            error_pages: ErrorPages::new(),
            timeouts: self.server_timeouts(file, &name, &ServerTimesTable::default()),
            name,
        })
    }

    fn flagged_servers(&self, server_port: u16) -> Vec<StaticServer> {
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        for (name, address) in self.flags.backend.static_servers.iter().flatten() {
            if !names.insert(name) {
                self.complain(Fault::new(
                    format!("--static names `{name}` twice"),
                    "give each server a name of its own",
                ));
            }
            match value::server_address(address, server_port) {
                Ok(address) => list.push(StaticServer {
                    name: name.clone(),
                    address,
                    weight: Weight::ONE,
                    backup: false,
                    maxconn: None,
                    send_proxy: None,
                }),
                Err(fault) => self.complain(fault),
            }
        }
        list
    }

    fn backend(
        &mut self,
        at: &At<BackendTable>,
        file: &File,
        gossip: Option<&Gossip>,
    ) -> Option<Backend> {
        let table = &at.value;
        let name = table.name.value.clone();
        let path = |key: &str| format!("backend.{name}.{key}");
        let port = self.filed(
            &path("server_port"),
            table.server_port.as_ref(),
            u64::from(SERVER_PORT),
        );
        if let Some(at) = &table.sticky {
            self.note_file(&path("sticky"), &at.span);
        }
        if let Some(at) = &table.check {
            self.note_file(&path("check"), &at.span);
        }
        let policy = &table.policy;
        let balance = self.filed(&path("balance"), table.balance.as_ref(), Policy::default());
        if let Some(on) = policy.hash_on.as_ref().filter(|_| !balance.needs_key()) {
            let fault = Fault::new(
                format!("balance = \"{balance}\" does not pick by a key, so hash_on does nothing"),
                "set balance to \"hash\" or \"maglev\", or leave hash_on out",
            );
            self.reader.report(on.span.clone(), fault);
        }
        let own = table.sticky.as_ref().map(|at| at.value.as_ref());
        let key = own.flatten().and_then(|table| table.key.as_deref());
        Some(Backend {
            balance,
            hash_on: self.filed(&path("hash_on"), policy.hash_on.as_ref(), HashOn::Source),
            outlier: self.filed(
                &path("outlier"),
                policy.outlier.as_ref(),
                OutlierSpec::default(),
            ),
            slow_start: self.filed(
                &path("slow_start"),
                policy.slow_start.as_ref(),
                Duration::ZERO,
            ),
            maxconn: small(self.filed(&path("maxconn"), policy.maxconn.as_ref(), 0)),
            max_queue: small(self.filed(&path("max_queue"), policy.max_queue.as_ref(), 0)),
            retry_budget: RetryBudget {
                percent: self.filed(
                    &path("retry_budget"),
                    policy.retry_budget.as_ref(),
                    RetryBudget::default().percent,
                ),
                ..RetryBudget::default()
            },
            discover: self.discover(table, gossip)?,
            server_port: u16::try_from(port).expect("the reader allows 1 to 65535"),
            sticky: match own {
                None => Some(Sticky::new(COOKIE)),
                Some(table) => table.map(sticky),
            },
            sticky_key: sticky_key(key, gossip),
            check: table
                .check
                .as_ref()
                .map_or_else(CheckSpec::default, |at| check(&at.value)),
            send_proxy: self.filed(&path("send_proxy"), table.send_proxy.as_ref(), None),
            retries: self.retries(file, &name, table.retries.as_ref()),
            abort_on_close: self.filed(
                &path("abort_on_close"),
                table.abort_on_close.as_ref(),
                false,
            ),
            request_headers: self.headers(&path("request_headers"), &table.request_headers),
            response_headers: self.headers(&path("response_headers"), &table.response_headers),
            error_pages: self.pages(&path("error_pages"), &table.error_pages),
            timeouts: self.server_timeouts(file, &name, &table.timeouts),
            name,
        })
    }

    /// The sources in order: static servers first, then those of `discover`.
    fn discover(&mut self, table: &BackendTable, gossip: Option<&Gossip>) -> Option<Vec<Discover>> {
        let name = &table.name.value;
        let mut list = Vec::new();
        if !table.servers.is_empty() {
            list.push(Discover::Static(self.static_servers(&table.servers)));
        }
        match &table.discover {
            Some(at) => {
                self.note_file(&format!("backend.{name}.discover"), &at.span);
                for item in &at.value {
                    list.push(self.source_of(item, gossip)?);
                }
            }
            None if list.is_empty() && gossip.is_some() => list.push(Discover::Gossip {
                role: "backend".to_owned(),
            }),
            None => {}
        }
        if list.is_empty() && table.has_wrong_servers {
            return None;
        }
        if list.is_empty() {
            return self.at(
                Some(table.name.span.clone()),
                Fault::new(
                    format!("no server can ever appear in `{name}`"),
                    "add `server`, `discover`, or a [gossip] table",
                ),
            );
        }
        Some(list)
    }

    fn source_of(&self, item: &At<DiscoverItem>, gossip: Option<&Gossip>) -> Option<Discover> {
        match &item.value {
            DiscoverItem::Gossip { role } => {
                if gossip.is_none() {
                    return self.at(
                        Some(item.span.clone()),
                        Fault::new(
                            "this backend asks the gossip, but gossip is off",
                            "add a [gossip] table (it may be empty)",
                        ),
                    );
                }
                Some(Discover::Gossip { role: role.clone() })
            }
            DiscoverItem::Dns(dns) => Some(Discover::Dns(dns.clone())),
            DiscoverItem::File { path } => Some(Discover::File {
                path: self.relative(path),
            }),
        }
    }

    /// Paths in a file are relative to its folder.
    pub(crate) fn relative(&self, path: &Path) -> PathBuf {
        match self.source.and_then(Source::folder) {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
    }

    fn static_servers(&self, tables: &[At<ServerTable>]) -> Vec<StaticServer> {
        let mut names = BTreeSet::new();
        for at in tables {
            if !names.insert(&at.value.name.value) {
                let name = &at.value.name;
                let fault = Fault::new(
                    format!(
                        "there are two servers named `{}` in this backend",
                        name.value
                    ),
                    "give each server a name of its own",
                );
                self.reader.report(name.span.clone(), fault);
            }
        }
        let server = |at: &At<ServerTable>| StaticServer {
            name: at.value.name.value.clone(),
            address: at.value.address,
            weight: at.value.weight,
            backup: at.value.backup,
            maxconn: at.value.maxconn.map(small),
            send_proxy: at.value.send_proxy,
        };
        tables.iter().map(server).collect()
    }

    fn retries(&mut self, file: &File, name: &Name, own: Option<&At<u64>>) -> u32 {
        let at = own.or(file.defaults.retries.as_ref());
        let retries = self.filed(&format!("backend.{name}.retries"), at, RETRIES);
        u32::try_from(retries).expect("the reader allows at most 100")
    }

    fn server_timeouts(
        &mut self,
        file: &File,
        name: &Name,
        own: &ServerTimesTable,
    ) -> ServerTimeouts {
        let base = &file.defaults.server;
        let default = ServerTimeouts::default();
        let mut of = |key: &str, own: &crate::file::Maybe<_>, base: &Option<_>, default| {
            let path = format!("backend.{name}.timeouts.{key}");
            self.filed(&path, own.as_ref().or(base.as_ref()), default)
        };
        // What is said closer to the backend wins, however general it is.
        let first = |t: &ServerTimesTable| t.first_byte.clone().or(t.server.clone());
        let idle = |t: &ServerTimesTable| t.response_idle.clone().or(t.server.clone());
        ServerTimeouts {
            connect: of("connect", &own.connect, &base.connect, default.connect),
            first_byte: of("first_byte", &first(own), &first(base), default.first_byte),
            response_idle: of(
                "response_idle",
                &idle(own),
                &idle(base),
                default.response_idle,
            ),
            total: of("total", &own.total, &base.total, default.total),
            queue: of("queue", &own.queue, &base.queue, default.queue),
            upstream_idle: of(
                "upstream_idle",
                &own.upstream_idle,
                &base.upstream_idle,
                default.upstream_idle,
            ),
        }
    }
}

/// The key of sticky values: the backend's own, else the gossip's, else a fixed one, so that
/// balancers of one configuration agree.
fn sticky_key(own: Option<&str>, gossip: Option<&Gossip>) -> StickyKey {
    match (own, gossip.and_then(|g| g.keys.first())) {
        (Some(key), _) => StickyKey::derive(key.as_bytes()),
        (None, Some(key)) => StickyKey::derive(key),
        (None, None) => StickyKey::default(),
    }
}

fn small(n: u64) -> u32 {
    u32::try_from(n).expect("the reader allows at most 1,000,000")
}

fn sticky(table: &StickyTable) -> Sticky {
    let mut sticky = Sticky::new(&table.cookie);
    sticky.secure = table.secure;
    sticky.domain.clone_from(&table.domain);
    sticky.max_age = table.max_age;
    if let Some(site) = table.same_site {
        site.clone_into(&mut sticky.same_site);
    }
    sticky
}

/// A probe may take as long as the time between two, unless told otherwise.
fn check(table: &CheckTable) -> CheckSpec {
    let default = CheckSpec::default();
    let every = table.every.unwrap_or(default.every);
    let count = |n: Option<u64>, default: u32| {
        n.map_or(default, |n| {
            u32::try_from(n).expect("the reader allows at most 100")
        })
    };
    CheckSpec {
        kind: table.kind.clone().unwrap_or(default.kind),
        every,
        timeout: table.timeout.unwrap_or(every),
        fast: table.fast.unwrap_or(every / 2),
        rise: count(table.rise, default.rise),
        fall: count(table.fall, default.fall),
    }
}
