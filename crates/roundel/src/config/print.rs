//! Shows the effective configuration as TOML, each value with where it came from.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use roundel_balance::{CheckKind, CheckSpec, OutlierSpec};
use roundel_proxy::{HashOn, Listen, Sticky};

use super::{Backend, Discover, Frontend, Origins, Settings, StaticServer};
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
            if let Some(advertise) = gossip.advertise {
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
        self.line("format", quote(p.access_log.as_str()));
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
                let backend = Some(format!("backend = {}", quote(&r.backend)));
                inline([host, prefix, backend].into_iter().flatten())
            };
            let _ = writeln!(self.text, "route = {}", list(f.routes.iter().map(route)));
        }
        self.line("trusted_proxies", list(f.trusted_proxies.iter().map(quote)));
        for (key, on) in [
            ("forwarded", f.marks.forwarded),
            ("real_ip", f.marks.real_ip),
            ("request_id", f.marks.request_id),
            ("traceparent", f.marks.traceparent),
        ] {
            self.line(&format!("fields.{key}"), on);
        }
        self.time("http_request", f.timeouts.http_request);
        self.time("http_keep_alive", f.timeouts.http_keep_alive);
        self.time("client", f.timeouts.client);
        self.time("tunnel", f.timeouts.tunnel);
        self.line("limits.header_bytes", size(f.limits.header_bytes));
        self.line("limits.headers", f.limits.headers);
        self.line("limits.uri_bytes", size(f.limits.uri_bytes));
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
        self.time("connect", b.timeouts.connect);
        self.time("server", b.timeouts.server);
        self.time("queue", b.timeouts.queue);
        self.time("upstream_idle", b.timeouts.upstream_idle);
        for source in &b.discover {
            if let Discover::Static(servers) = source {
                self.line("server", list(servers.iter().map(show_server)));
            }
        }
    }

    /// Dotted keys keep every value on a line of its own, with its origin.
    fn time(&mut self, key: &str, value: Duration) {
        self.line(&format!("timeouts.{key}"), quote(show_duration(value)));
    }
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
    if listen.h2c {
        address
    } else {
        format!("{{ address = {address}, h2c = false }}")
    }
}

fn show_discover(discover: &Discover) -> Option<String> {
    Some(match discover {
        Discover::Static(_) => return None,
        Discover::Gossip { role } => format!("{{ gossip = {{ role = {} }} }}", quote(role)),
        Discover::Dns { name } => format!("{{ dns = {{ name = {} }} }}", quote(name)),
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
        "{{ {kind}, every = {}, timeout = {}, rise = {}, fall = {} }}",
        quote(show_duration(spec.every)),
        quote(show_duration(spec.timeout)),
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

fn show_server(server: &StaticServer) -> String {
    let backup = if server.backup { ", backup = true" } else { "" };
    let maxconn = server.maxconn.map(|n| format!(", maxconn = {n}"));
    let maxconn = maxconn.unwrap_or_default();
    format!(
        "{{ name = {}, address = {}, weight = {}{backup}{maxconn} }}",
        quote(&server.name),
        quote(server.address),
        server.weight
    )
}
