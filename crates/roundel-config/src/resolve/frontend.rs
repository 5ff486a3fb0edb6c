//! Frontends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use roundel_model::Name;
use roundel_proxy::{ClientTimeouts, HeaderRules, Limits, Listen, Marks, covers};

use super::Merge;
use crate::file::{
    ClientTable, File, FrontendTable, LimitsTable, ListenItem, MarksTable, Maybe, RouteTable,
    TargetItem,
};
use crate::reader::At;
use crate::value::{self, Fault, closest};
use crate::{Backend, ErrorPages, Frontend, Gossip, Process, Route, Target};

impl Merge<'_> {
    pub(crate) fn frontends(&mut self, file: &File, backends: &[Backend]) -> Vec<Frontend> {
        if file.frontends.is_empty() {
            return self.default_frontend(file, backends).into_iter().collect();
        }
        self.listeners_are_unique(file);
        let mut names = BTreeMap::new();
        let mut list = Vec::new();
        for at in &file.frontends {
            let name = &at.value.name;
            if names.insert(name.value.clone(), ()).is_some() {
                let fault = Fault::new(
                    format!("there are two frontends named `{}`", name.value),
                    "give one of them another name",
                );
                self.reader.report(name.span.clone(), fault);
            }
            list.extend(self.frontend(at, file, backends));
        }
        list
    }

    /// The frontend that exists without any in a file.
    fn default_frontend(&mut self, file: &File, backends: &[Backend]) -> Option<Frontend> {
        if backends.len() > 1 {
            self.complain(Fault::new(
                "there are several backends but no frontend",
                "add a [[frontend]] with name, listen and default_backend",
            ));
            return None;
        }
        let name = Name::new("localnodes").expect("a fixed name");
        let mut listen = self.flags.listen.clone();
        if listen.is_empty() {
            listen.push(value::listen(":80").expect("a fixed address"));
        } else {
            self.note_given("frontend.localnodes.listen", "listen");
        }
        Some(Frontend {
            maxconn: 0,
            timeouts: self.client_timeouts(file, &name, &ClientTable::default()),
            limits: self.limits(file, &name, &LimitsTable::default()),
            trusted_proxies: self.filed(
                "frontend.localnodes.trusted_proxies",
                file.defaults.trusted_proxies.as_ref(),
                Vec::new(),
            ),
            name,
            listen: listen.into_iter().map(Listen::new).collect(),
            default_backend: backends.first()?.name.clone(),
            routes: Vec::new(),
            strict_paths: false,
            marks: Marks::default(),
            request_headers: HeaderRules::new(),
            response_headers: HeaderRules::new(),
            error_pages: ErrorPages::new(),
            rate_limit: None,
        })
    }

    fn frontend(
        &mut self,
        at: &At<FrontendTable>,
        file: &File,
        backends: &[Backend],
    ) -> Option<Frontend> {
        let table = &at.value;
        let name = table.name.value.clone();
        let path = |key: &str| format!("frontend.{name}.{key}");
        let default_backend = match &table.default_backend {
            Some(at) => self.known_backend(at, file, backends),
            None => self.only_backend(&table.name.span, file, backends),
        };
        let mut listen = Vec::new();
        for item in &table.listen {
            self.note_file(&path("listen"), &item.span);
            listen.push(Listen {
                address: item.value.address,
                h2c: item.value.h2c,
                proxy_protocol: item.value.proxy_protocol,
            });
        }
        let route = |at: &At<RouteTable>| {
            Some(Route {
                host: at.value.host.clone(),
                path_prefix: at.value.path_prefix.clone(),
                target: match &at.value.target {
                    TargetItem::Backend(at) => {
                        Target::Backend(self.known_backend(at, file, backends)?)
                    }
                    TargetItem::Redirect(redirect) => Target::Redirect(redirect.clone()),
                },
                rate_limit: at.value.rate_limit,
            })
        };
        let routes = table.routes.iter().filter_map(route).collect();
        let trusted = table
            .trusted_proxies
            .as_ref()
            .or(file.defaults.trusted_proxies.as_ref());
        if trusted.is_none_or(|at| at.value.is_empty()) {
            self.nobody_may_speak(&table.listen);
        }
        Some(Frontend {
            listen,
            default_backend: default_backend?,
            routes,
            strict_paths: self.filed(&path("strict_paths"), table.strict_paths.as_ref(), false),
            maxconn: self.filed(&path("maxconn"), table.maxconn.as_ref(), 0),
            timeouts: self.client_timeouts(file, &name, &table.timeouts),
            limits: self.limits(file, &name, &table.limits),
            trusted_proxies: self.filed(&path("trusted_proxies"), trusted, Vec::new()),
            marks: self.marks(&name, &table.marks),
            request_headers: self.headers(&path("request_headers"), &table.request_headers),
            response_headers: self.headers(&path("response_headers"), &table.response_headers),
            error_pages: self.pages(&path("error_pages"), &table.error_pages),
            rate_limit: self.pick(&path("rate_limit"), ("", None), table.rate_limit.as_ref()),
            name,
        })
    }

    /// Complains of listeners that would close every connection.
    fn nobody_may_speak(&self, listen: &[At<ListenItem>]) {
        for item in listen.iter().filter(|item| item.value.proxy_protocol) {
            let fault = Fault::new(
                "nobody is trusted to send the PROXY protocol here",
                "add trusted_proxies = [\"10.0.0.0/8\"] with the networks of the proxies in front",
            );
            self.reader.report(item.span.clone(), fault);
        }
    }

    fn known_backend(&self, at: &At<Name>, file: &File, backends: &[Backend]) -> Option<Name> {
        // A backend with mistakes of its own still exists.
        let names = || {
            let tables = file.backends.iter().map(|b| b.value.name.value.as_str());
            tables.chain(backends.iter().map(|b| b.name.as_str()))
        };
        if names().any(|name| at.value == *name) {
            return Some(at.value.clone());
        }
        let hint = match closest(at.value.as_str(), names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add a [[backend]] with name = \"{}\"", at.value),
        };
        let message = format!("there is no backend named `{}`", at.value);
        self.at(Some(at.span.clone()), Fault::new(message, hint))
    }

    fn only_backend(&self, span: &Range<usize>, file: &File, backends: &[Backend]) -> Option<Name> {
        match (backends, file.backends.len()) {
            ([one], 0 | 1) => Some(one.name.clone()),
            // Its own mistakes were reported.
            ([], 1) => None,
            _ => self.at(
                Some(span.clone()),
                Fault::new(
                    "this frontend does not say which backend answers",
                    "add default_backend = \"…\"",
                ),
            ),
        }
    }

    fn listeners_are_unique(&self, file: &File) {
        let mut seen: BTreeMap<SocketAddr, &Name> = BTreeMap::new();
        for frontend in &file.frontends {
            let table = &frontend.value;
            for item in table.listen.iter().filter(|i| i.value.address.port() != 0) {
                if let Some(other) = seen.insert(item.value.address, &table.name.value) {
                    let shown = value::show_listen(item.value.address);
                    let fault = Fault::new(
                        format!("{shown} is already taken by the frontend `{other}`"),
                        "choose another port, or join both frontends by `route`",
                    );
                    self.reader.report(item.span.clone(), fault);
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
        gossip: Option<&Gossip>,
    ) {
        let mut taken = vec![(process.stats_listen, "stats.listen")];
        let others = [
            (process.cli_listen, "cli.listen"),
            (gossip.map(|g| g.listen), "gossip.listen"),
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
        for item in file.frontends.iter().flat_map(|f| &f.value.listen) {
            if let Some(by) = find(&taken, item.value.address) {
                self.reader
                    .report(item.span.clone(), fault(item.value.address, "", by));
            }
        }
        if file.frontends.is_empty() {
            let flags = self.flags.listen.iter();
            for address in flags {
                if let Some(by) = find(&taken, *address) {
                    self.complain(fault(*address, " of --listen", by));
                }
            }
        }
    }

    fn client_timeouts(&mut self, file: &File, name: &Name, own: &ClientTable) -> ClientTimeouts {
        let base = &file.defaults.client;
        let default = ClientTimeouts::default();
        let mut of = |key: &str, own: &Maybe<_>, base: &Option<_>, default| {
            let path = format!("frontend.{name}.timeouts.{key}");
            self.filed(&path, own.as_ref().or(base.as_ref()), default)
        };
        // What is said closer to the frontend wins, however general it is.
        let body = |t: &ClientTable| t.request_body.clone().or(t.client.clone());
        ClientTimeouts {
            http_request: of(
                "http_request",
                &own.http_request,
                &base.http_request,
                default.http_request,
            ),
            http_keep_alive: of(
                "http_keep_alive",
                &own.http_keep_alive,
                &base.http_keep_alive,
                default.http_keep_alive,
            ),
            client: of("client", &own.client, &base.client, default.client),
            request_body: of(
                "request_body",
                &body(own),
                &body(base),
                default.request_body,
            ),
            tunnel: of("tunnel", &own.tunnel, &base.tunnel, default.tunnel),
        }
    }

    pub(crate) fn headers(&mut self, path: &str, at: &Maybe<HeaderRules>) -> HeaderRules {
        self.filed(path, at.as_ref(), HeaderRules::new())
    }

    fn marks(&mut self, name: &Name, own: &MarksTable) -> Marks {
        let mut of = |key: &str, at: &Maybe<bool>| {
            self.filed(&format!("frontend.{name}.fields.{key}"), at.as_ref(), false)
        };
        Marks {
            forwarded: of("forwarded", &own.forwarded),
            real_ip: of("real_ip", &own.real_ip),
            request_id: of("request_id", &own.request_id),
            traceparent: of("traceparent", &own.traceparent),
        }
    }

    fn limits(&mut self, file: &File, name: &Name, own: &LimitsTable) -> Limits {
        let base = &file.defaults.limits;
        let default = Limits::default();
        let max_body = own.max_body.as_ref().or(base.max_body.as_ref());
        let max_body = self.filed(&format!("frontend.{name}.limits.max_body"), max_body, 0);
        let mut of = |key: &str, own: &Maybe<u64>, base: &Option<_>, default| {
            let path = format!("frontend.{name}.limits.{key}");
            self.filed(&path, own.as_ref().or(base.as_ref()), default as u64) as usize
        };
        Limits {
            header_bytes: of(
                "header_bytes",
                &own.header_bytes,
                &base.header_bytes,
                default.header_bytes,
            ),
            headers: of("headers", &own.headers, &base.headers, default.headers),
            uri_bytes: of(
                "uri_bytes",
                &own.uri_bytes,
                &base.uri_bytes,
                default.uri_bytes,
            ),
            max_body,
        }
    }
}
