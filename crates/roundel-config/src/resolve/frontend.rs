//! Frontends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use roundel_model::Name;
use roundel_proxy::{
    ClientTimeouts, Limits, Listen, Marks, NewPath, RateLimit, Redirect, RouteTimeouts, covers,
};

use super::{Merge, all, known, small, told};
use crate::file::{
    ClientTimesTable, DefaultsTable, File, FrontendTable, LimitsTable, ListenTable, MarksTable,
    RateTable, RedirectTable, RouteTable, RouteTimesTable,
};
use crate::key::Table;
use crate::reader::{At, Place};
use crate::value::{self, Fault};
use crate::{Backend, Cluster, Frontend, Gossip, Process, Route, Target};

impl Merge<'_> {
    pub(crate) fn frontends(&self, file: &mut File, backends: &[Backend]) -> Vec<Frontend> {
        let mut base = file.defaults.clone();
        base.timeouts.client.spread();
        let tables = file.frontend.take().filter(|at| !at.value.is_empty());
        let Some(mut tables) = tables.or_else(|| self.default_frontends(backends)) else {
            return Vec::new();
        };
        self.listeners_are_unique(&tables.value);
        let backends = Backends::new(file, backends);
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        for at in &mut tables.value {
            let name = at.value.name.clone();
            if let Some(name) = name.filter(|name| !names.insert(name.value.clone())) {
                let fault = Fault::new(
                    format!("there are two frontends named `{}`", name.value),
                    "give one of them another name",
                );
                self.reader.report_at(&name.place, fault);
            }
            list.extend(self.frontend(&mut at.value, &base, &backends));
        }
        self.proofs_can_be_asked_for(&tables.value);
        file.frontend = Some(tables);
        list
    }

    /// The frontend that exists without any in a file.
    fn default_frontends(&self, backends: &[Backend]) -> Option<At<Vec<At<FrontendTable>>>> {
        if backends.len() > 1 {
            self.complain(Fault::new(
                "there are several backends but no frontend",
                "add a [[frontend]] with name, listen and default_backend",
            ));
            return None;
        }
        let name = Name::new("localnodes").expect("a fixed name");
        let backend = backends.first()?.name.clone();
        let every = value::listen(":80").expect("a fixed address");
        let mut table = FrontendTable {
            name: Some(At::default(name)),
            listen: Some(At::default(vec![At::default(ListenTable::on(every))])),
            default_backend: Some(At::default(backend)),
            ..FrontendTable::default()
        };
        let listen: Vec<_> = self
            .flags
            .listen
            .iter()
            .copied()
            .map(ListenTable::on)
            .collect();
        self.overrule_list("listen", &listen, &mut table.listen);
        Some(At::default(vec![At::default(table)]))
    }

    fn frontend(
        &self,
        table: &mut FrontendTable,
        base: &DefaultsTable,
        backends: &Backends<'_>,
    ) -> Option<Frontend> {
        table.timeouts.spread();
        table.timeouts.inherit(&base.timeouts.client);
        table.limits.inherit(&base.limits);
        let trusted = table.trusted_proxies.take();
        table.trusted_proxies = trusted.or(base.trusted_proxies.clone());
        table.fill();
        let default_backend = match &table.default_backend {
            Some(at) => self.known_backend(at, backends),
            None => self.only_backend(table, backends),
        };
        if table.default_backend.is_none() {
            table.default_backend = default_backend.clone().map(At::default);
        }
        let route = |at: &At<RouteTable>| self.route(&at.value, backends);
        let routes = table.route.iter().flat_map(|at| &at.value);
        let routes = routes.filter_map(route).collect();
        let trusted_proxies = all(&table.trusted_proxies);
        if trusted_proxies.is_empty() {
            self.nobody_may_speak(table);
        }
        let error_pages = self.pages(&mut table.error_pages);
        let tls = table.tls.as_mut().and_then(|at| self.tls(&mut at.value));
        Some(Frontend {
            name: known(&table.name),
            listen: listeners(table)
                .iter()
                .map(|at| listen(&at.value))
                .collect(),
            tls,
            default_backend: default_backend?,
            routes,
            strict_paths: known(&table.strict_paths),
            maxconn: known(&table.maxconn),
            timeouts: client_timeouts(&table.timeouts),
            limits: limits(&table.limits),
            trusted_proxies,
            marks: marks(&table.fields),
            request_headers: told(&table.request_headers).unwrap_or_default(),
            response_headers: told(&table.response_headers).unwrap_or_default(),
            error_pages,
            rate_limit: told(&table.rate_limit).map(|table| rate_limit(&table)),
        })
    }

    fn route(&self, table: &RouteTable, backends: &Backends<'_>) -> Option<Route> {
        let target = match (&table.backend, &table.redirect) {
            (Some(at), _) => Target::Backend(self.known_backend(at, backends)?),
            (None, at) => Target::Redirect(redirect(&at.as_ref()?.value)),
        };
        Some(Route {
            host: told(&table.host),
            path_prefix: told(&table.path_prefix),
            target,
            rate_limit: told(&table.rate_limit).map(|table| rate_limit(&table)),
            timeouts: told(&table.timeouts).map_or_else(RouteTimeouts::default, route_timeouts),
        })
    }

    /// Complains of listeners that would close every connection.
    fn nobody_may_speak(&self, table: &FrontendTable) {
        let speaks = |at: &&At<ListenTable>| known(&at.value.proxy_protocol);
        for item in listeners(table).iter().filter(speaks) {
            let fault = Fault::new(
                "nobody is trusted to send the PROXY protocol here",
                "add trusted_proxies = [\"10.0.0.0/8\"] with the networks of the proxies in front",
            );
            self.reader.report_at(&item.place, fault);
        }
    }

    fn known_backend(&self, at: &At<Name>, backends: &Backends<'_>) -> Option<Name> {
        if backends.names.contains(at.value.as_str()) {
            return Some(at.value.clone());
        }
        let names = backends.names.iter().copied();
        let hint = match self.reader.near(at.value.as_str(), names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add a [[backend]] with name = \"{}\"", at.value),
        };
        let message = format!("there is no backend named `{}`", at.value);
        self.at(&at.place, Fault::new(message, hint))
    }

    fn only_backend(&self, table: &FrontendTable, backends: &Backends<'_>) -> Option<Name> {
        match (backends.whole, backends.tables) {
            ([one], 0 | 1) => Some(one.name.clone()),
            // Its own mistakes were reported.
            ([], 1) => None,
            _ => self.at(
                &table.name.as_ref()?.place,
                Fault::new(
                    "this frontend does not say which backend answers",
                    "add default_backend = \"…\"",
                ),
            ),
        }
    }

    fn listeners_are_unique(&self, frontends: &[At<FrontendTable>]) {
        let mut seen: BTreeMap<SocketAddr, Name> = BTreeMap::new();
        for At { value: table, .. } in frontends {
            for item in listeners(table) {
                let address = known(&item.value.address);
                let is_from_file = matches!(item.place, Place::File(_));
                if address.port() == 0 || !is_from_file {
                    continue;
                }
                if let Some(other) = seen.insert(address, known(&table.name)) {
                    let shown = value::show_listen(address);
                    let fault = Fault::new(
                        format!("{shown} is already taken by the frontend `{other}`"),
                        "choose another port, or join both frontends by `route`",
                    );
                    self.reader.report_at(&item.place, fault);
                }
            }
        }
    }

    /// Complains of addresses of which the kernel gives only one to a process: unlike frontends,
    /// these do not share a port with a wider or narrower address.
    pub(crate) fn addresses_are_free(
        &self,
        file: &File,
        process: &Process,
        (gossip, cluster): (Option<&Gossip>, Option<&Cluster>),
    ) {
        let mut taken = vec![(process.stats_listen, "stats.listen")];
        let others = [
            (process.cli_listen, "cli.listen"),
            (gossip.map(|g| g.listen), "gossip.listen"),
            (cluster.map(|c| c.listen), "cluster.listen"),
        ];
        let fault = |address, other: &str, by: &str| {
            let shown = value::show_listen(address);
            Fault::new(
                format!("{shown}{other} is already taken by {by}"),
                "choose another port for one of them",
            )
        };
        let find = |taken: &[(SocketAddr, &'static str)], address| {
            let overlaps = |own| covers(own, address) || covers(address, own);
            let mut taken = taken.iter().filter(|_| address.port() != 0);
            taken.find(|(own, _)| overlaps(*own)).map(|(_, by)| *by)
        };
        for (address, name) in others {
            let Some(address) = address else { continue };
            if let Some(by) = find(&taken, address) {
                self.complain(fault(address, &format!(" of {name}"), by));
            }
            taken.push((address, name));
        }
        for item in file.frontends().iter().flat_map(|at| listeners(&at.value)) {
            let address = known(&item.value.address);
            let of = match item.place {
                Place::File(_) => "",
                Place::Said(_) => " of --listen",
                // Which fails when it is bound, if at all.
                Place::Default => continue,
            };
            if let Some(by) = find(&taken, address) {
                self.reader.report_at(&item.place, fault(address, of, by));
            }
        }
    }
}

/// The backends that frontends may name.
struct Backends<'a> {
    /// In order of their bytes. One with mistakes of its own still exists.
    names: BTreeSet<&'a str>,
    /// Those without mistakes.
    whole: &'a [Backend],
    /// Those of the file.
    tables: usize,
}

impl<'a> Backends<'a> {
    fn new(file: &'a File, whole: &'a [Backend]) -> Self {
        let tables = file.backends();
        let named = tables.iter().filter_map(|at| at.value.name.as_ref());
        let named = named.map(|name| name.value.as_str());
        Self {
            names: named.chain(whole.iter().map(|b| b.name.as_str())).collect(),
            whole,
            tables: tables.len(),
        }
    }
}

fn listeners(table: &FrontendTable) -> &[At<ListenTable>] {
    table.listen.as_ref().map_or(&[], |at| &at.value)
}

fn listen(table: &ListenTable) -> Listen {
    Listen {
        address: known(&table.address),
        h2c: known(&table.h2c),
        proxy_protocol: known(&table.proxy_protocol),
        tls: known(&table.tls),
    }
}

fn client_timeouts(table: &ClientTimesTable) -> ClientTimeouts {
    ClientTimeouts {
        http_request: known(&table.http_request),
        http_keep_alive: known(&table.http_keep_alive),
        client: known(&table.client),
        request_body: known(&table.request_body),
        tunnel: known(&table.tunnel),
    }
}

/// What is said of one time counts more than what is said of several.
fn route_timeouts(table: RouteTimesTable) -> RouteTimeouts {
    let server = told(&table.server);
    RouteTimeouts {
        client: told(&table.client),
        request_body: told(&table.request_body).or(told(&table.client)),
        first_byte: told(&table.first_byte).or(server),
        response_idle: told(&table.response_idle).or(server),
        total: told(&table.total),
        queue: told(&table.queue),
    }
}

fn limits(table: &LimitsTable) -> Limits {
    Limits {
        header_bytes: small(known(&table.header_bytes)),
        headers: small(known(&table.headers)),
        uri_bytes: small(known(&table.uri_bytes)),
        max_body: known(&table.max_body),
    }
}

fn marks(table: &MarksTable) -> Marks {
    Marks {
        forwarded: known(&table.forwarded),
        real_ip: known(&table.real_ip),
        request_id: known(&table.request_id),
        traceparent: known(&table.traceparent),
    }
}

fn rate_limit(table: &RateTable) -> RateLimit {
    RateLimit {
        requests: small(known(&table.requests)),
        per: known(&table.per),
        burst: small(known(&table.burst)),
    }
}

fn redirect(table: &RedirectTable) -> Redirect {
    let whole = told(&table.path).map(NewPath::Whole);
    Redirect {
        scheme: told(&table.scheme),
        host: told(&table.host),
        port: told(&table.port).map(small),
        path: whole.or(told(&table.path_prefix).map(NewPath::Prefix)),
        status: small(known(&table.status)),
    }
}
