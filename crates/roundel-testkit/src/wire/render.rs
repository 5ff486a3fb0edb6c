//! The topology as configurations of plain intent, one per kind of proxy.

use std::fmt::Write;
use std::net::SocketAddr;

use super::{Lane, Slot, Topology};

impl Topology {
    /// Every lane of every slot: a unique name, where it listens, and its servers.
    fn lanes(&self) -> impl Iterator<Item = (String, Lane, SocketAddr, &Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.flat_map(|(i, slot)| {
            let named = move |(lane, at): &(Lane, SocketAddr)| (*lane, *at);
            let lanes = slot.lanes.iter().map(named);
            lanes.map(move |(lane, at)| (format!("{}{i}", lane.word()), lane, at, slot))
        })
    }

    /// Roundel's configuration; the page listens on `stats`.
    pub fn roundel(&self, stats: SocketAddr) -> String {
        let mut text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [access_log]\nformat = \"off\"\n[global]\nthreads = 2\n"
        );
        for (name, lane, at, slot) in self.lanes() {
            let _ = write!(
                text,
                "[[frontend]]\nname = \"{name}\"\ndefault_backend = \"{name}\"\n"
            );
            let _ = match &slot.shown {
                None => writeln!(text, "listen = [\"{at}\"]"),
                Some(shown) => writeln!(
                    text,
                    "listen = [{{ address = \"{at}\", tls = true }}]\n\
                     tls = {{ certificates = [{:?}] }}",
                    shown.file
                ),
            };
            let quick = Self::QUICK;
            match lane {
                Lane::Trusted => text += "trusted_proxies = [\"127.0.0.0/8\"]\n",
                Lane::Quick => {
                    let _ = writeln!(
                        text,
                        "timeouts = {{ http_request = \"{quick}ms\", client = \"{quick}ms\", \
                         http_keep_alive = \"{quick}ms\" }}"
                    );
                }
                _ => {}
            }
            let sticky = match lane {
                Lane::Sticky => "{ cookie = \"SERVERID\" }",
                _ => "\"off\"",
            };
            let _ = write!(
                text,
                "[[backend]]\nname = \"{name}\"\ncheck = \"off\"\nsticky = {sticky}\n"
            );
            if lane == Lane::Quick {
                let _ = writeln!(text, "timeouts = {{ server = \"{quick}ms\" }}");
            }
            if slot.pairing.behind_is_http2() {
                text += "proto = \"h2\"\n";
            }
            let servers: Vec<String> = Self::servers(slot, lane)
                .iter()
                .map(|(name, at)| format!("{{ name = \"{name}\", address = \"{at}\" }}"))
                .collect();
            let _ = writeln!(text, "server = [{}]", servers.join(", "));
        }
        text
    }

    /// HAProxy's configuration.
    pub fn haproxy(&self) -> String {
        let mut text = "global\n  maxconn 2000\ndefaults\n  mode http\n  option redispatch 1\n  \
             retries 3\n  option forwardfor\n  timeout connect 5s\n  timeout client 50s\n  \
             timeout server 50s\n  timeout http-request 10s\n"
            .to_owned();
        for (name, lane, at, slot) in self.lanes() {
            let quick = Self::QUICK;
            let _ = write!(
                text,
                "frontend {name}\n  bind {at}\n  default_backend {name}\n"
            );
            if lane == Lane::Quick {
                let _ = writeln!(
                    text,
                    "  timeout client {quick}ms\n  timeout http-request {quick}ms"
                );
            }
            let _ = writeln!(text, "backend {name}");
            if lane == Lane::Quick {
                let _ = writeln!(text, "  timeout server {quick}ms");
            }
            if lane == Lane::Sticky {
                text += "  cookie SERVERID insert indirect nocache\n";
            }
            for (server, at) in Self::servers(slot, lane) {
                let cookie = match lane {
                    Lane::Sticky => format!(" cookie {server}"),
                    _ => String::new(),
                };
                let _ = writeln!(text, "  server {server} {at}{cookie}");
            }
        }
        text
    }

    /// nginx's configuration; `dir` takes its files.
    pub fn nginx(&self, dir: &str) -> String {
        let mut text = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
             events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  \
             client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  \
             fastcgi_temp_path {dir}/f;\n  uwsgi_temp_path {dir}/u;\n  scgi_temp_path {dir}/s;\n  \
             proxy_http_version 1.1;\n  map $http_upgrade $up {{ default upgrade; '' ''; }}\n  \
             proxy_set_header Connection $up;\n  proxy_set_header Upgrade $http_upgrade;\n  \
             proxy_set_header Host $http_host;\n  \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
        );
        for (name, lane, at, slot) in self.lanes() {
            let _ = writeln!(text, "  upstream {name} {{");
            for (_, at) in Self::servers(slot, lane) {
                let _ = writeln!(text, "    server {at} max_fails=0;");
            }
            let _ = writeln!(
                text,
                "    keepalive 8;\n  }}\n  server {{\n    listen {at};"
            );
            if lane == Lane::Quick {
                let quick = Self::QUICK;
                let _ = writeln!(
                    text,
                    "    client_header_timeout {quick}ms;\n    client_body_timeout {quick}ms;\n    \
                     send_timeout {quick}ms;\n    keepalive_timeout {quick}ms;\n    \
                     proxy_read_timeout {quick}ms;"
                );
            }
            let _ = writeln!(text, "    location / {{ proxy_pass http://{name}; }}\n  }}");
        }
        text + "}\n"
    }
}
