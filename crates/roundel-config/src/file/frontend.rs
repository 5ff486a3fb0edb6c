//! `[[frontend]]`.

use std::net::SocketAddr;

use ipnet::IpNet;
use roundel_model::Name;
use roundel_proxy::{HeaderRules, HostPattern};

use super::answers::{PageFiles, Pages, RateTable, RedirectTable};
use super::headers::{Head, Headers};
use super::tls::TlsTable;
use super::{ClientTimesTable, LimitsTable, RouteTimesTable, location, networks, policy};
use crate::key::{Key, Maybe, Style, Table, key, part};
use crate::kind::{Bool, Kind, List, Listen, Named, Notation, Short, table};
use crate::reader::{At, Section};
use crate::value::Fault;

/// One `[[frontend]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FrontendTable {
    pub(crate) name: Maybe<Name>,
    pub(crate) listen: Maybe<Vec<At<ListenTable>>>,
    pub(crate) tls: Maybe<TlsTable>,
    pub(crate) default_backend: Maybe<Name>,
    pub(crate) route: Maybe<Vec<At<RouteTable>>>,
    pub(crate) strict_paths: Maybe<bool>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) rate_limit: Maybe<RateTable>,
    pub(crate) error_pages: Maybe<PageFiles>,
    pub(crate) timeouts: ClientTimesTable,
    pub(crate) limits: LimitsTable,
    pub(crate) trusted_proxies: Maybe<Vec<At<IpNet>>>,
    pub(crate) fields: MarksTable,
    pub(crate) request_headers: Maybe<HeaderRules>,
    pub(crate) response_headers: Maybe<HeaderRules>,
}

impl Table for FrontendTable {
    const EXAMPLE: &'static str = "[[frontend]]";

    fn keys() -> Vec<Key<Self>> {
        let listen = Short {
            is_short: |item| !item.is_table(),
            read: |item| {
                let mut table = ListenTable::on(Listen.read(item)?);
                table.address.as_mut()?.place = item.place();
                Some(table)
            },
            show: ListenTable::short,
            schema: || Listen.schema(),
        };
        vec![
            key!(name, Named).required().said("\"localnodes\""),
            key!(listen, List(listen))
                .required()
                .said("[\":80\", { address = \":8080\", h2c = false }]")
                .words("where it takes requests"),
            key!(tls, table::<TlsTable>())
                .example(TlsTable::EXAMPLE)
                .words("for listeners with tls = true"),
            key!(default_backend, Named)
                .said("\"nodes\"")
                .words("answers what no route takes; not needed with one backend"),
            key!(route, List(table::<RouteTable>()))
                .said(
                    "[\n\
                     \x20   { host = \"api.example.org\", path_prefix = \"/v1\", backend = \"api\" },\n\
                     \x20   { path_prefix = \"/login\", backend = \"nodes\", rate_limit = { requests = 5, per = \"1m\", burst = 10 } },\n\
                     \x20   { path_prefix = \"/old\", redirect = { path_prefix = \"/new\", status = 301 } },\n\
                     \x20   # { redirect = { scheme = \"https\" } },   # from plain listeners; behind a trusted proxy its X-Forwarded-Proto counts\n\
                     ]",
                )
                .words("the first that matches"),
            key!(strict_paths, Bool).default("false").words(
                "true: 400 for paths that servers read in different ways: an empty segment (//), \
                 \".\" and \"..\" segments, \";\", a backslash, escaped slashes and control \
                 characters, a path escaped twice, a lone \"%\"",
            ),
            key!(maxconn, policy::maxconn())
                .default("0")
                .words("client connections; 0: any number; beyond it they wait"),
            key!(rate_limit, table::<RateTable>())
                .example("{ requests = 100, per = \"1s\", burst = 200 }")
                .words(
                    "per client, an IPv4 address or an IPv6 network of 64 bits, as seen through \
                     trusted proxies. All workers count together; 65,536 clients are known at a \
                     time. Beyond it: 429 with Retry-After",
                ),
            key!(error_pages, Pages)
                .example("{ 503 = \"sorry.html\", 5xx = \"error.html\", 4xx = \"error.txt\" }")
                .words(
                    "instead of Roundel's own small answers; read with the configuration, at most \
                     256 KiB each. A backend may have its own. What servers answer is passed on \
                     as it is",
                ),
            part!(timeouts)
                .said("{ http_keep_alive = \"60s\" }")
                .words("those of [defaults.timeouts] on the clients' side"),
            part!(limits)
                .said("{ headers = 100 }")
                .words("as in [defaults.limits]"),
            key!(trusted_proxies, networks())
                .default("[]")
                .contextual()
                .words("as in [defaults]"),
            part!(fields).words("set on requests only when asked for"),
            key!(request_headers, Headers(Head::Request))
                .said("{ remove = [\"X-Debug\"], set = { X-Env = \"prod\", X-Client = \"%{client_ip}\" } }")
                .words(
                    "remove, then set, then add (beside those that are there); names are compared \
                     without case. Placeholders: %{client_ip}, %{host}, %{path}, %{request_id}, and of a \
                     client's certificate %{client_cert_subject}, %{client_cert_san}, \
                     %{client_cert_sha256}",
                ),
            key!(response_headers, Headers(Head::Response))
                .said("{ remove = [\"X-Powered-By\"], set = { X-Content-Type-Options = \"nosniff\" } }")
                .words(
                    "a frontend's act on Roundel's own answers too. HSTS is set = { \
                     Strict-Transport-Security = \"max-age=31536000\" } on the frontend that \
                     speaks TLS",
                ),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let listen = section.item("listen");
        if let Some(empty) = listen.filter(|item| item.list().is_empty()) {
            empty.fail::<()>(Fault::new(
                "a frontend listens somewhere",
                "write [\":80\"]",
            ));
            return false;
        }
        self.listeners_and_certificates_meet(section);
        true
    }
}

impl FrontendTable {
    /// Complains of listeners without certificates, and of certificates that nobody is shown.
    fn listeners_and_certificates_meet(&self, section: &Section<'_>) {
        let Some(listen) = &self.listen else { return };
        let speaks = |at: &&At<ListenTable>| at.value.tls.as_ref().is_some_and(|at| at.value);
        let mut speaking = listen.value.iter().filter(speaks);
        match section.item("tls") {
            None => speaking.for_each(|listener| {
                let fault = Fault::new(
                    "this listener speaks TLS, but its frontend has no certificate",
                    "add tls = { certificates = [\"/etc/roundel/certs\"] } to the frontend",
                );
                section.report_at(&listener.place, fault);
            }),
            Some(item) if speaking.next().is_none() => {
                let _ = item.fail::<()>(Fault::new(
                    "nobody is shown these certificates: no listener of this frontend speaks TLS",
                    "write listen = [{ address = \":443\", tls = true }]",
                ));
            }
            Some(_) => {}
        }
    }
}

/// One address to listen on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ListenTable {
    pub(crate) address: Maybe<SocketAddr>,
    pub(crate) h2c: Maybe<bool>,
    pub(crate) proxy_protocol: Maybe<bool>,
    pub(crate) tls: Maybe<bool>,
}

impl Table for ListenTable {
    const EXAMPLE: &'static str = "{ address = \":80\" }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(address, Listen)
                .example("\":80\"")
                .required()
                .words("\":80\", \"127.0.0.1:8080\", \"[::]:80\"; alone it needs no table"),
            key!(h2c, Bool)
                .default("true")
                .words("HTTP/2 by prior knowledge"),
            key!(proxy_protocol, Bool).default("false").words(
                "each connection begins with a PROXY header, v1 or v2, from trusted_proxies; all \
                 others are closed",
            ),
            key!(tls, Bool)
                .default("false")
                .words("HTTPS, with the certificates of the frontend's tls"),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let tls = self.tls.as_ref().is_some_and(|at| at.value);
        if let Some(h2c) = self.h2c.as_ref().filter(|_| tls) {
            section.report_at(
                &h2c.place,
                Fault::new(
                    "h2c is HTTP/2 without TLS, and this listener speaks TLS",
                    "leave it out; whether TLS offers HTTP/2 is the frontend's tls = { alpn = [\"h2\", \"http/1.1\"] }",
                ),
            );
        }
        true
    }
}

impl ListenTable {
    /// The address with everything else as by default.
    pub(crate) fn on(address: SocketAddr) -> Self {
        Self {
            address: Some(At::default(address)),
            ..Self::default()
        }
    }

    /// The address, if nothing else differs from the defaults.
    fn short(&self) -> Option<String> {
        let style = Style {
            all: false,
            secrets: true,
        };
        let mut lines = self.lines(style).into_iter();
        let address = lines.next().map(|line| line.value);
        address.filter(|_| lines.next().is_none())
    }
}

/// One rule of `route`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RouteTable {
    pub(crate) host: Maybe<HostPattern>,
    pub(crate) path_prefix: Maybe<String>,
    pub(crate) backend: Maybe<Name>,
    pub(crate) redirect: Maybe<RedirectTable>,
    pub(crate) rate_limit: Maybe<RateTable>,
    pub(crate) timeouts: Maybe<RouteTimesTable>,
}

impl Table for RouteTable {
    const EXAMPLE: &'static str = "{ backend = \"api\" }";

    fn keys() -> Vec<Key<Self>> {
        let host = Notation {
            read: location::host,
            show: HostPattern::to_string,
            pattern: "^[^/\\s]+$",
        };
        let path_prefix = Notation {
            read: location::path_prefix,
            show: String::clone,
            pattern: "^/",
        };
        vec![
            key!(host, host).example("\"api.example.org\"").words(
                "compared without case, port and final dot; \"*.example.org\" is every name below \
                 it; international names and addresses in any spelling",
            ),
            key!(path_prefix, path_prefix).example("\"/v1\"").words(
                "ends at a border: \"/v1\" is /v1 and /v1/x, not /v10; \"/v1/\" is /v1/x, not /v1. \
                 Paths are compared, with case, in their normal form (RFC 3986, 6.2.2): \
                 /%6cogin, /./login and /x/../login are /login; servers get them as they came. A \
                 server may still see /login in what is another path here: //login, /login;x, \
                 /x%2F..%2Flogin, /x\\..\\login, /LOGIN, other reserved characters escaped (%2B), \
                 or a path escaped twice: see strict_paths",
            ),
            key!(backend, Named)
                .example("\"api\"")
                .words("whose servers answer"),
            key!(redirect, table::<RedirectTable>()).words(
                "instead of a backend: what changes of the address; the query stays. A request \
                 that is there already does not match, so none goes in circles",
            ),
            key!(rate_limit, table::<RateTable>())
                .words("per client and route; counted beside the frontend's own"),
            key!(timeouts, table::<RouteTimesTable>()).words(
                "instead of the frontend's and the backend's, for what matches. Streams, such as \
                 gRPC's, are silent for as long as nothing happens: they need more than the others",
            ),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let has = |key: &str| section.entries().any(|(k, _)| k == key);
        let prefix = self.redirect.as_ref().map(|at| &at.value.path_prefix);
        if let Some(at) = prefix
            .and_then(Option::as_ref)
            .filter(|_| !has("path_prefix"))
        {
            section.report_at(
                &at.place,
                Fault::new(
                    "this route has no path_prefix that could be replaced",
                    "give the route a path_prefix, or the redirect a path",
                ),
            );
        }
        if let Some(at) = self.timeouts.as_ref().filter(|_| has("redirect")) {
            section.report_at(
                &at.place,
                Fault::new(
                    "a route that redirects waits for nobody",
                    "leave `timeouts` out",
                ),
            );
        }
        if has("backend") == has("redirect") {
            section.fail(Fault::new(
                "a route needs either a backend or a redirect",
                "add backend = \"…\" or redirect = { scheme = \"https\" }",
            ));
            return false;
        }
        self.backend.is_some() || self.redirect.is_some()
    }
}

/// `fields`: what is set on requests only when asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MarksTable {
    pub(crate) forwarded: Maybe<bool>,
    pub(crate) real_ip: Maybe<bool>,
    pub(crate) request_id: Maybe<bool>,
    pub(crate) traceparent: Maybe<bool>,
}

impl Table for MarksTable {
    const EXAMPLE: &'static str = "{ request_id = true }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(forwarded, Bool)
                .default("false")
                .words("Forwarded (RFC 7239), beside X-Forwarded-*"),
            key!(real_ip, Bool).default("false").words("X-Real-IP"),
            key!(request_id, Bool)
                .default("false")
                .words("X-Request-ID: a trusted proxy's, else a UUID; answers carry it too"),
            key!(traceparent, Bool)
                .default("false")
                .words("begins a trace where none is; one that came is always passed on"),
        ]
    }
}
