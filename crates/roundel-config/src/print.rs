//! Shows the effective configuration as TOML, each value with where it came from.

use std::fmt::{self, Display, Write};
use std::path::PathBuf;
use std::time::Duration;

use roundel_balance::{CheckKind, CheckSpec, OutlierSpec};
use roundel_proxy::{
    HashOn, HeaderRule, Listen, NewPath, ProxyVersion, RateLimit, Redirect, Sticky, Template,
};

use super::{
    AccessLogFormat, Backend, Discover, ErrorPages, Frontend, LOG_FORMATS, Origins, Settings,
    StaticServer, Target,
};
use crate::value::{show_duration, show_listen, show_size};

impl Display for Settings {
    /// Writes a file that means the same; secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Printer {
            text: String::new(),
            origins: &self.origins,
            prefix: String::new(),
        };
        out.process(self);
        if let Some(gossip) = &self.gossip {
            out.table("[gossip]", "gossip");
            out.line("listen", quote(show_listen(gossip.listen)));
            if let Some(advertise) = &gossip.advertise {
                out.line("advertise", quote(advertise));
            }
            out.line("join", list(gossip.join.iter().map(quote)));
            out.line("node_name", quote(&gossip.node_name));
            let tags = gossip.tags.iter();
            let pairs = tags.map(|(key, value)| format!("{} = {}", quote(key), quote(value)));
            out.line("tags", inline(pairs));
            if !gossip.keys.is_empty() {
                out.note("encrypted");
            }
            if let Some(path) = &gossip.keyring {
                out.line("keyring_file", quote(path.display()));
            }
            if let Some(path) = &gossip.snapshot {
                out.line("snapshot", quote(path.display()));
            }
            if !gossip.handlers.is_empty() {
                out.line("event_handlers", list(gossip.handlers.iter().map(quote)));
            }
        }
        for frontend in &self.frontends {
            out.frontend(frontend);
        }
        for backend in &self.backends {
            out.backend(backend);
        }
        f.write_str(out.text.trim_start())
    }
}

struct Printer<'a> {
    text: String,
    origins: &'a Origins,
    prefix: String,
}

impl Printer<'_> {
    fn table(&mut self, header: &str, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
        let _ = writeln!(self.text, "\n{header}");
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let origin = self.origins.of(&format!("{}.{key}", self.prefix));
        let line = format!("{key} = {value}");
        let _ = writeln!(self.text, "{line:<48} # {origin}");
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.text, "# {text}");
    }

    fn process(&mut self, settings: &Settings) {
        let p = &settings.process;
        self.table("[global]", "global");
        self.line("threads", p.threads);
        self.line("maxconn", p.maxconn);
        self.line("drain_timeout", quote(show_duration(p.drain_timeout)));
        self.table("[stats]", "stats");
        self.line("listen", quote(show_listen(p.stats_listen)));
        self.line("admin", quote(p.acts.as_str()));
        self.table("[cli]", "cli");
        let listen = p.cli_listen.map_or_else(|| "off".to_owned(), show_listen);
        self.line("listen", quote(listen));
        if let Some(path) = &p.cli_socket {
            self.line("socket", quote(path.display()));
        }
        self.table("[access_log]", "access_log");
        self.line("format", quote(log_word(p.access_log)));
    }

    fn frontend(&mut self, f: &Frontend) {
        self.table("[[frontend]]", &format!("frontend.{}", f.name));
        let _ = writeln!(self.text, "name = {}", quote(&f.name));
        self.line("listen", list(f.listen.iter().map(show_socket)));
        let _ = writeln!(self.text, "default_backend = {}", quote(&f.default_backend));
        if !f.routes.is_empty() {
            let route = |r: &super::Route| {
                let host = r.host.as_ref().map(|h| format!("host = {}", quote(h)));
                let prefix = r.path_prefix.as_ref();
                let prefix = prefix.map(|p| format!("path_prefix = {}", quote(p)));
                let target = Some(match &r.target {
                    Target::Backend(name) => format!("backend = {}", quote(name)),
                    Target::Redirect(to) => format!("redirect = {}", show_redirect(to)),
                });
                let rate = r
                    .rate_limit
                    .map(|limit| format!("rate_limit = {}", show_rate(limit)));
                inline([host, prefix, target, rate].into_iter().flatten())
            };
            let _ = writeln!(self.text, "route = {}", list(f.routes.iter().map(route)));
        }
        self.line("strict_paths", f.strict_paths);
        self.line("maxconn", f.maxconn);
        self.line("trusted_proxies", list(f.trusted_proxies.iter().map(quote)));
        for (key, on) in [
            ("forwarded", f.marks.forwarded),
            ("real_ip", f.marks.real_ip),
            ("request_id", f.marks.request_id),
            ("traceparent", f.marks.traceparent),
        ] {
            self.line(&format!("fields.{key}"), on);
        }
        self.headers(&f.request_headers, &f.response_headers);
        self.pages(&f.error_pages);
        if let Some(limit) = f.rate_limit {
            self.line("rate_limit", show_rate(limit));
        }
        self.time("http_request", f.timeouts.http_request);
        self.time("http_keep_alive", f.timeouts.http_keep_alive);
        self.time("client", f.timeouts.client);
        self.time("request_body", f.timeouts.request_body);
        self.time("tunnel", f.timeouts.tunnel);
        self.line("limits.header_bytes", size(f.limits.header_bytes));
        self.line("limits.headers", f.limits.headers);
        self.line("limits.uri_bytes", size(f.limits.uri_bytes));
        self.line("limits.max_body", quote(show_size(f.limits.max_body)));
    }

    fn backend(&mut self, b: &Backend) {
        self.table("[[backend]]", &format!("backend.{}", b.name));
        let _ = writeln!(self.text, "name = {}", quote(&b.name));
        self.line("balance", quote(b.balance));
        if b.balance.needs_key() {
            self.line("hash_on", show_hash_on(&b.hash_on));
        }
        let sources = b.discover.iter().filter_map(show_discover);
        self.line("discover", list(sources));
        self.line("server_port", b.server_port);
        self.line("sticky", show_sticky(b.sticky.as_ref()));
        self.line("check", show_check(&b.check));
        self.line("outlier", show_outlier(&b.outlier));
        self.line("slow_start", quote(show_duration(b.slow_start)));
        self.line("maxconn", b.maxconn);
        self.line("max_queue", b.max_queue);
        self.line("retry_budget", show_percent(b.retry_budget.percent));
        self.line("retries", b.retries);
        self.line("abort_on_close", b.abort_on_close);
        if let Some(version) = b.send_proxy {
            self.line("send_proxy", quote(show_version(version)));
        }
        self.headers(&b.request_headers, &b.response_headers);
        self.pages(&b.error_pages);
        self.time("connect", b.timeouts.connect);
        self.time("first_byte", b.timeouts.first_byte);
        self.time("response_idle", b.timeouts.response_idle);
        self.time("total", b.timeouts.total);
        self.time("queue", b.timeouts.queue);
        self.time("upstream_idle", b.timeouts.upstream_idle);
        for source in &b.discover {
            if let Discover::Static(servers) = source {
                self.line("server", list(servers.iter().map(show_server)));
            }
        }
    }

    fn headers(&mut self, request: &[HeaderRule], response: &[HeaderRule]) {
        for (key, rules) in [("request_headers", request), ("response_headers", response)] {
            if !rules.is_empty() {
                self.line(key, show_headers(rules));
            }
        }
    }

    fn pages(&mut self, pages: &ErrorPages) {
        if !pages.is_empty() {
            let pair = |(status, (path, _)): (&u16, &(PathBuf, _))| {
                let class = if *status < 10 { "xx" } else { "" };
                format!("{status}{class} = {}", quote(path.display()))
            };
            self.line("error_pages", inline(pages.iter().map(pair)));
        }
    }

    /// Dotted keys keep every value on a line of its own, with its origin.
    fn time(&mut self, key: &str, value: Duration) {
        self.line(&format!("timeouts.{key}"), quote(show_duration(value)));
    }
}

fn log_word(format: AccessLogFormat) -> &'static str {
    let named = LOG_FORMATS.iter().find(|(_, f)| *f == format);
    named.map_or("off", |(word, _)| word)
}

fn quote(value: impl Display) -> String {
    let mut out = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // A dollar would start a variable.
            '$' => out.push_str("$$"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn inline(pairs: impl Iterator<Item = String>) -> String {
    let text = pairs.collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {text} }}")
    }
}

fn size(bytes: usize) -> String {
    quote(show_size(bytes as u64))
}

fn show_socket(listen: &Listen) -> String {
    let address = quote(show_listen(listen.address));
    let h2c = if listen.h2c { "" } else { ", h2c = false" };
    let proxied = match listen.proxy_protocol {
        true => ", proxy_protocol = true",
        false => "",
    };
    match h2c.len() + proxied.len() {
        0 => address,
        _ => format!("{{ address = {address}{h2c}{proxied} }}"),
    }
}

fn show_discover(discover: &Discover) -> Option<String> {
    Some(match discover {
        Discover::Static(_) => return None,
        Discover::Gossip { role } => format!("{{ gossip = {{ role = {} }} }}", quote(role)),
        Discover::Dns(dns) => {
            let hold = show_duration(dns.hold);
            let servers = match &dns.nameservers[..] {
                [] => None,
                some => Some(format!("nameservers = {}", list(some.iter().map(quote)))),
            };
            let pairs = [
                Some(format!("name = {}", quote(&dns.name))),
                Some(format!("hold = {}", quote(hold))),
                servers,
            ];
            format!("{{ dns = {} }}", inline(pairs.into_iter().flatten()))
        }
        Discover::File { path } => {
            format!("{{ file = {{ path = {} }} }}", quote(path.display()))
        }
    })
}

fn show_sticky(sticky: Option<&Sticky>) -> String {
    let Some(s) = sticky else {
        return quote("off");
    };
    let mut pairs = vec![format!("cookie = {}", quote(&s.cookie))];
    if s.secure {
        pairs.push("secure = true".to_owned());
    }
    if let Some(domain) = &s.domain {
        pairs.push(format!("domain = {}", quote(domain)));
    }
    if let Some(age) = s.max_age {
        pairs.push(format!("max_age = {}", quote(show_duration(age))));
    }
    pairs.push(format!("same_site = {}", quote(&s.same_site)));
    inline(pairs.into_iter())
}

fn show_check(spec: &CheckSpec) -> String {
    let kind = match &spec.kind {
        CheckKind::Off => return quote("off"),
        CheckKind::Tcp => "tcp = true".to_owned(),
        kind @ CheckKind::Http { host, .. } => {
            let host = host.as_ref().map(|h| format!(", host = {}", quote(h)));
            format!("http = {}{}", quote(kind), host.unwrap_or_default())
        }
    };
    format!(
        "{{ {kind}, every = {}, timeout = {}, fast = {}, rise = {}, fall = {} }}",
        quote(show_duration(spec.every)),
        quote(show_duration(spec.timeout)),
        quote(show_duration(spec.fast())),
        spec.rise,
        spec.fall
    )
}

fn show_hash_on(on: &HashOn) -> String {
    match on {
        HashOn::Source => quote("source"),
        HashOn::Path => quote("path"),
        HashOn::Header(name) => format!("{{ header = {} }}", quote(name)),
        HashOn::Cookie(name) => format!("{{ cookie = {} }}", quote(name)),
    }
}

fn show_redirect(to: &Redirect) -> String {
    let path = to.path.as_ref().map(|path| match path {
        NewPath::Whole(path) => format!("path = {}", quote(path)),
        NewPath::Prefix(prefix) => format!("path_prefix = {}", quote(prefix)),
    });
    let pairs = [
        to.scheme
            .map(|scheme| format!("scheme = {}", quote(scheme))),
        to.host
            .as_ref()
            .map(|host| format!("host = {}", quote(host))),
        to.port.map(|port| format!("port = {port}")),
        path,
        Some(format!("status = {}", to.status)),
    ];
    inline(pairs.into_iter().flatten())
}

fn show_rate(limit: RateLimit) -> String {
    format!(
        "{{ requests = {}, per = {}, burst = {} }}",
        limit.requests,
        quote(show_duration(limit.per)),
        limit.burst
    )
}

fn show_headers(rules: &[HeaderRule]) -> String {
    let pair = |(name, value): (&String, &Template)| format!("{} = {}", quote(name), quote(value));
    let removed = rules.iter().filter_map(|rule| match rule {
        HeaderRule::Remove(name) => Some(quote(name)),
        _ => None,
    });
    let set = rules.iter().filter_map(|rule| match rule {
        HeaderRule::Set(name, value) => Some(pair((name, value))),
        _ => None,
    });
    let added = rules.iter().filter_map(|rule| match rule {
        HeaderRule::Add(name, value) => Some(pair((name, value))),
        _ => None,
    });
    let tables = [
        ("remove", list(removed)),
        ("set", inline(set)),
        ("add", inline(added)),
    ];
    let tables = tables
        .iter()
        .filter(|(_, text)| !matches!(&text[..], "[]" | "{}"));
    inline(tables.map(|(key, text)| format!("{key} = {text}")))
}

fn show_outlier(spec: &OutlierSpec) -> String {
    if !spec.is_on() {
        return quote("off");
    }
    format!(
        "{{ consecutive = {}, consecutive_5xx = {}, error_ratio = {}, min_requests = {}, interval = {}, base_ejection = {}, max_ejected = {} }}",
        spec.consecutive,
        spec.consecutive_5xx,
        show_percent(spec.error_percent),
        spec.min_requests,
        quote(show_duration(spec.interval)),
        quote(show_duration(spec.base_ejection)),
        show_percent(spec.max_ejected_percent),
    )
}

/// A share from 0.00 to 1.00.
fn show_percent(percent: u8) -> String {
    format!("{}.{:02}", percent / 100, percent % 100)
}

fn show_version(version: ProxyVersion) -> &'static str {
    match version {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    }
}

fn show_server(server: &StaticServer) -> String {
    let backup = if server.backup { ", backup = true" } else { "" };
    let maxconn = server.maxconn.map(|n| format!(", maxconn = {n}"));
    let maxconn = maxconn.unwrap_or_default();
    let send_proxy = server.send_proxy.map(|own| {
        let word = own.map_or("off", show_version);
        format!(", send_proxy = {}", quote(word))
    });
    let send_proxy = send_proxy.unwrap_or_default();
    format!(
        "{{ name = {}, address = {}, weight = {}{backup}{maxconn}{send_proxy} }}",
        quote(&server.name),
        quote(server.address),
        server.weight
    )
}
