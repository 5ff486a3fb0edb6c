//! Backends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use roundel_balance::{CheckKind, CheckSpec, OutlierSpec, Policy, RetryBudget, StickyKey};
use roundel_model::{Name, Weight};
use roundel_proxy::{HashOn, Proto, ServerTimeouts, Sticky};

use super::{Merge, all, known, small, told};
use crate::file::{
    BackendTable, CheckTable, DefaultsTable, DiscoverTable, File, HashTable, HashWord,
    OutlierTable, RoleTable, ServerTable, ServerTimesTable, StickyTable,
};
use crate::flags::Choice;
use crate::key::Table;
use crate::reader::At;
use crate::value::{self, Fault};
use crate::{Backend, Discover, Dns, Gossip, Source, StaticServer};

impl Merge<'_> {
    pub(crate) fn backends(&self, file: &mut File, gossip: Option<&Gossip>) -> Vec<Backend> {
        let mut base = file.defaults.clone();
        base.timeouts.server.spread();
        let none = || At::default(vec![At::default(self.default_backend(gossip))]);
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        let tables = file.backend.take().filter(|at| !at.value.is_empty());
        let mut tables = tables.unwrap_or_else(none);
        for at in &mut tables.value {
            let name = at.value.name.clone();
            if let Some(name) = name.filter(|name| !names.insert(name.value.clone())) {
                let fault = Fault::new(
                    format!("there are two backends named `{}`", name.value),
                    "give one of them another name",
                );
                self.reader.report_at(&name.place, fault);
            }
            list.extend(self.backend(&mut at.value, &base, gossip));
        }
        file.backend = Some(tables);
        list
    }

    /// The backend that exists without any in a file.
    fn default_backend(&self, gossip: Option<&Gossip>) -> BackendTable {
        let flags = &self.flags.backend;
        let mut table = BackendTable {
            name: Some(At::default(Name::new("nodes").expect("a fixed name"))),
            ..BackendTable::default()
        };
        self.flagged_servers(&mut table);
        if gossip.is_some() {
            table.discover = Some(At::default(vec![At::default(by_gossip())]));
        } else if flags.static_servers.is_empty() {
            self.complain(Fault::new(
                "no server can ever appear: the file has no [[backend]] and no [gossip]",
                "add a [gossip] table, a [[backend]] with servers, or --static NAME=ADDR",
            ));
            // Which is what would be said of it, too.
            table.has_wrong_servers = true;
        }
        let port = flags.server_port.map(u64::from);
        self.overrule("server_port", port.as_ref(), &mut table.server_port);
        self.overrule("balance", flags.balance.as_ref(), &mut table.balance);
        let sticky = flags.sticky.clone().map(|choice| {
            let cookie = Choice::into_option(choice)?;
            Some(StickyTable {
                cookie: Some(self.given("sticky", cookie)),
                ..StickyTable::default()
            })
        });
        self.overrule("sticky", sticky.as_ref(), &mut table.sticky);
        let check = flags.check.as_ref().map(|kind| match kind {
            CheckKind::Off => None,
            kind => Some(CheckTable::of(self.given("check", kind.clone()))),
        });
        self.overrule("check", check.as_ref(), &mut table.check);
        table
    }

    fn flagged_servers(&self, table: &mut BackendTable) {
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        for (name, address) in self.flags.backend.static_servers.iter().flatten() {
            if !names.insert(name) {
                self.complain(Fault::new(
                    format!("--static names `{name}` twice"),
                    "give each server a name of its own",
                ));
                continue;
            }
            match value::server_address(address, 0) {
                Ok(address) => list.push(ServerTable {
                    name: Some(self.given("static_servers", name.clone())),
                    address: Some(self.given("static_servers", address)),
                    ..ServerTable::default()
                }),
                Err(fault) => self.complain(fault),
            }
        }
        self.overrule_list("static_servers", &list, &mut table.server);
    }

    fn backend(
        &self,
        table: &mut BackendTable,
        base: &DefaultsTable,
        gossip: Option<&Gossip>,
    ) -> Option<Backend> {
        self.hash_is_asked_for(table);
        table.timeouts.spread();
        table.timeouts.inherit(&base.timeouts.server);
        table.retries = table.retries.take().or(base.retries.clone());
        table.fill();
        let balance = known(&table.balance);
        let hash_on = hash_on(&known(&table.hash_on))?;
        if !balance.needs_key() {
            table.hash_on = None;
        }
        let server_port = small(known(&table.server_port));
        let sticky = known(&table.sticky);
        let key = sticky.as_ref().and_then(|table| told(&table.key));
        let error_pages = self.pages(&mut table.error_pages);
        let proto = known(&table.proto);
        if let Some(at) = table
            .proto
            .as_ref()
            .filter(|_| proto == Proto::Auto && table.tls.is_none())
        {
            let fault = Fault::new(
                "proto = \"auto\" asks each server during its TLS handshake, and there is none",
                "add tls = true, or write proto = \"h2\" where all servers speak HTTP/2 in clear",
            );
            self.reader.report_at(&at.place, fault);
        }
        let tls = self.back(&mut table.tls, proto);
        Some(Backend {
            name: known(&table.name),
            balance,
            hash_on,
            outlier: known(&table.outlier).map_or(OutlierSpec::OFF, |table| outlier(&table)),
            slow_start: known(&table.slow_start),
            maxconn: small(known(&table.maxconn)),
            max_queue: small(known(&table.max_queue)),
            max_servers: small(known(&table.max_servers)),
            retry_budget: RetryBudget {
                percent: known(&table.retry_budget),
                ..RetryBudget::default()
            },
            discover: self.discover(table, server_port, gossip)?,
            server_port,
            sticky: sticky.map(|table| cookie(&table)),
            sticky_key: sticky_key(key.as_deref(), gossip),
            check: check(known(&table.check).as_ref()),
            send_proxy: known(&table.send_proxy),
            tls,
            proto,
            reuse: known(&table.reuse),
            retries: small(known(&table.retries)),
            abort_on_close: known(&table.abort_on_close),
            request_headers: told(&table.request_headers).unwrap_or_default(),
            response_headers: told(&table.response_headers).unwrap_or_default(),
            error_pages,
            timeouts: server_timeouts(&table.timeouts),
        })
    }

    fn hash_is_asked_for(&self, table: &BackendTable) {
        let balance: Policy = told(&table.balance).unwrap_or_default();
        if let Some(on) = table.hash_on.as_ref().filter(|_| !balance.needs_key()) {
            let fault = Fault::new(
                format!("balance = \"{balance}\" does not pick by a key, so hash_on does nothing"),
                "set balance to \"hash\" or \"maglev\", or leave hash_on out",
            );
            self.reader.report_at(&on.place, fault);
        }
    }

    /// The sources in order: static servers first, then those of `discover`.
    fn discover(
        &self,
        table: &mut BackendTable,
        server_port: u16,
        gossip: Option<&Gossip>,
    ) -> Option<Vec<Discover>> {
        let mut list = Vec::new();
        if let Some(at) = table.server.as_ref().filter(|at| !at.value.is_empty()) {
            let servers = self.static_servers(&at.value, server_port);
            list.push(Discover::Static(servers));
        }
        if list.is_empty() && table.discover.is_none() && gossip.is_some() {
            table.discover = Some(At::default(vec![At::default(by_gossip())]));
        }
        for item in table.discover.iter_mut().flat_map(|at| &mut at.value) {
            list.push(self.source_of(item, gossip)?);
        }
        if list.is_empty() && table.has_wrong_servers {
            return None;
        }
        if list.is_empty() {
            let name = table.name.as_ref()?;
            return self.at(
                &name.place,
                Fault::new(
                    format!("no server can ever appear in `{}`", name.value),
                    "add `server`, `discover`, or a [gossip] table",
                ),
            );
        }
        Some(list)
    }

    fn source_of(&self, item: &mut At<DiscoverTable>, gossip: Option<&Gossip>) -> Option<Discover> {
        let table = &mut item.value;
        if let Some(role) = &table.gossip {
            if gossip.is_none() {
                return self.at(
                    &item.place,
                    Fault::new(
                        "this backend asks the gossip, but gossip is off",
                        "add a [gossip] table (it may be empty)",
                    ),
                );
            }
            return Some(Discover::Gossip {
                role: known(&role.value.role),
                from: all(&role.value.from),
            });
        }
        if let Some(dns) = &table.dns {
            return Some(Discover::Dns(Dns {
                name: known(&dns.value.name),
                hold: known(&dns.value.hold),
                nameservers: all(&dns.value.nameservers),
            }));
        }
        let path = table.file.as_mut()?.value.path.as_mut()?;
        path.value = self.relative(&path.value);
        Some(Discover::File {
            path: path.value.clone(),
        })
    }

    /// Paths in a file are relative to its folder.
    pub(crate) fn relative(&self, path: &Path) -> PathBuf {
        match self.source.and_then(Source::folder) {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
    }

    fn static_servers(&self, tables: &[At<ServerTable>], port: u16) -> Vec<StaticServer> {
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        for At { value: table, .. } in tables {
            let name = known(&table.name);
            let twice = table.name.as_ref().filter(|_| !names.insert(name.clone()));
            if let Some(twice) = twice {
                let fault = Fault::new(
                    format!("there are two servers named `{name}` in this backend"),
                    "give each server a name of its own",
                );
                self.reader.report_at(&twice.place, fault);
            }
            let mut address = known(&table.address);
            if address.port() == 0 {
                address.set_port(port);
            }
            list.push(StaticServer {
                name,
                address,
                weight: Weight::new(known(&table.weight)).expect("the reader allows only weights"),
                backup: known(&table.backup),
                maxconn: told(&table.maxconn).map(small),
                send_proxy: told(&table.send_proxy),
            });
        }
        list
    }
}

/// The members that carry the role of servers.
fn by_gossip() -> DiscoverTable {
    let mut role = RoleTable::default();
    role.fill();
    DiscoverTable {
        gossip: Some(At::default(role)),
        ..DiscoverTable::default()
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

fn server_timeouts(table: &ServerTimesTable) -> ServerTimeouts {
    ServerTimeouts {
        connect: known(&table.connect),
        first_byte: known(&table.first_byte),
        response_idle: known(&table.response_idle),
        total: known(&table.total),
        queue: known(&table.queue),
        upstream_idle: known(&table.upstream_idle),
    }
}

fn hash_on(table: &HashTable) -> Option<HashOn> {
    let header = || told(&table.header).map(HashOn::Header);
    match table.word {
        Some(HashWord::Source) => Some(HashOn::Source),
        Some(HashWord::Path) => Some(HashOn::Path),
        None => header().or_else(|| told(&table.cookie).map(HashOn::Cookie)),
    }
}

fn outlier(table: &OutlierTable) -> OutlierSpec {
    OutlierSpec {
        consecutive: small(known(&table.consecutive)),
        consecutive_5xx: small(known(&table.consecutive_5xx)),
        error_percent: known(&table.error_ratio),
        min_requests: known(&table.min_requests),
        interval: known(&table.interval),
        base_ejection: known(&table.base_ejection),
        max_ejected_percent: known(&table.max_ejected),
    }
}

fn cookie(table: &StickyTable) -> Sticky {
    Sticky {
        cookie: known(&table.cookie),
        secure: known(&table.secure),
        domain: told(&table.domain),
        max_age: told(&table.max_age),
        same_site: known(&table.same_site).to_owned(),
    }
}

fn check(table: Option<&CheckTable>) -> CheckSpec {
    let Some(table) = table else {
        let kind = CheckKind::Off;
        return CheckSpec {
            kind,
            ..CheckSpec::default()
        };
    };
    CheckSpec {
        kind: check_kind(table),
        every: known(&table.every),
        timeout: known(&table.timeout),
        fast: known(&table.fast),
        rise: small(known(&table.rise)),
        fall: small(known(&table.fall)),
    }
}

fn check_kind(table: &CheckTable) -> CheckKind {
    if table.is_tcp() {
        return CheckKind::Tcp;
    }
    if table.is_grpc() {
        return CheckKind::Grpc {
            service: told(&table.service).unwrap_or_default(),
            host: told(&table.host),
        };
    }
    let mut kind = known(&table.http);
    if let (CheckKind::Http { host, .. }, Some(own)) = (&mut kind, told(&table.host)) {
        *host = Some(own);
    }
    kind
}
