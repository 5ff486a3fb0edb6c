//! The programs compared and the plain configuration each gets.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{ORIGINS, PROXY_CORE, Running};

/// A balancer with two listeners: one plain, one with a sticky cookie.
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Ports on 127.0.0.1.
    pub(crate) plain: u16,
    pub(crate) sticky: u16,
    command: Vec<PathBuf>,
    environment: Vec<(&'static str, &'static str)>,
}

/// Says which packages are missing before anything starts.
pub(crate) fn require_programs() -> Result<()> {
    let needed = [
        ("haproxy", "haproxy"),
        ("nginx", "nginx-light"),
        ("wrk", "wrk"),
        ("taskset", "util-linux"),
    ];
    let missing: Vec<_> = needed
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("missing Debian packages: {}", missing.join(" "))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Every peer with its configuration written into `scratch`; the first is the reference.
pub(crate) fn all(roundel: &Path, haproxies: &[PathBuf], scratch: &Path) -> Result<Vec<Peer>> {
    let debian = find("haproxy").context("haproxy is gone")?;
    let mut peers = vec![haproxy("haproxy", &debian, 18110, scratch)?];
    peers.push(roundel_peer(roundel, 18130, scratch)?);
    peers.push(nginx(18120, scratch)?);
    for (index, binary) in haproxies.iter().enumerate() {
        let port = 18140 + 10 * u16::try_from(index)?;
        peers.push(haproxy(
            &binary.display().to_string(),
            binary,
            port,
            scratch,
        )?);
    }
    Ok(peers)
}

fn haproxy(name: &str, binary: &Path, port: u16, scratch: &Path) -> Result<Peer> {
    let [one, two] = ORIGINS;
    let text = format!(
        "global\n  no strict-limits\n  nbthread 1\n  maxconn 12000\n  no log\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         \x20 timeout http-request 10s\n  timeout http-keep-alive 60s\n  http-reuse always\n  retries 1\n\
         frontend plain\n  bind 127.0.0.1:{port}\n  default_backend b_plain\n\
         frontend sticky\n  bind 127.0.0.1:{}\n  default_backend b_sticky\n\
         backend b_plain\n  balance roundrobin\n  server b1 {one}\n  server b2 {two}\n\
         backend b_sticky\n  balance roundrobin\n  cookie SERVERID insert indirect nocache\n\
         \x20 server b1 {one} cookie b1\n  server b2 {two} cookie b2\n",
        port + 1
    );
    let file = scratch.join(format!("haproxy-{port}.cfg"));
    std::fs::write(&file, text)?;
    Ok(Peer {
        name: name.into(),
        plain: port,
        sticky: port + 1,
        command: vec![binary.into(), "-db".into(), "-f".into(), file],
        environment: Vec::new(),
    })
}

fn nginx(port: u16, scratch: &Path) -> Result<Peer> {
    let [one, two] = ORIGINS;
    let location = "location / { proxy_pass http://bk; proxy_http_version 1.1; \
        proxy_set_header Connection \"\"; proxy_set_header Host $http_host; \
        proxy_buffers 8 16k; proxy_buffer_size 16k; proxy_max_temp_file_size 0; }";
    let dir = scratch.display();
    // One process, so that the process started is the one that serves.
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;\n\
         error_log /dev/null crit; worker_rlimit_nofile 16384;\n\
         events {{ worker_connections 8192; use epoll; multi_accept on; }}\n\
         http {{ access_log off; sendfile off; tcp_nodelay on; client_body_buffer_size 16k;\n\
         client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;\n\
         uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         keepalive_requests 100000000; keepalive_timeout 3600s;\n\
         upstream bk {{ server {one}; server {two}; keepalive 128; keepalive_requests 100000000; }}\n\
         map $upstream_addr $ck {{ default \"\"; \"{one}\" \"SERVERID=b1; path=/\"; \"{two}\" \"SERVERID=b2; path=/\"; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; {location} }}\n\
         server {{ listen 127.0.0.1:{} backlog=4096; add_header Set-Cookie $ck; \
         add_header Cache-Control private; {location} }} }}\n",
        port + 1
    );
    let file = scratch.join("nginx.conf");
    std::fs::write(&file, text)?;
    Ok(Peer {
        name: "nginx".into(),
        plain: port,
        sticky: port + 1,
        command: vec![find("nginx").context("nginx is gone")?, "-c".into(), file],
        environment: Vec::new(),
    })
}

fn roundel_peer(binary: &Path, port: u16, scratch: &Path) -> Result<Peer> {
    if !binary.is_file() {
        bail!(
            "{} is missing; build it with `cargo build --release` or name it with --roundel",
            binary.display()
        );
    }
    let [one, two] = ORIGINS;
    let backend = |name: &str, sticky: &str| {
        format!(
            "[[backend]]\nname = \"{name}\"\ncheck = \"off\"\nsticky = {sticky}\n\
             server = [{{ name = \"b1\", address = \"{one}\" }}, {{ name = \"b2\", address = \"{two}\" }}]\n"
        )
    };
    let text = format!(
        "[global]\nthreads = 1\n[stats]\nlisten = \"127.0.0.1:{}\"\n[cli]\nlisten = \"off\"\n\
         [access_log]\nformat = \"off\"\n\
         [[frontend]]\nname = \"plain\"\nlisten = [\"127.0.0.1:{port}\"]\ndefault_backend = \"b_plain\"\n\
         [[frontend]]\nname = \"sticky\"\nlisten = [\"127.0.0.1:{}\"]\ndefault_backend = \"b_sticky\"\n{}{}",
        port + 2,
        port + 1,
        backend("b_plain", "\"off\""),
        backend("b_sticky", "{ cookie = \"SERVERID\" }"),
    );
    let file = scratch.join("roundel.toml");
    std::fs::write(&file, text)?;
    Ok(Peer {
        name: "roundel".into(),
        plain: port,
        sticky: port + 1,
        command: vec![binary.into(), "serve".into(), "-c".into(), file],
        environment: vec![("ROUNDEL_LOG_LEVEL", "warn")],
    })
}

impl Peer {
    /// Starts it on its core and waits until both listeners accept.
    pub(crate) fn start(&self) -> Result<Running> {
        let child = Command::new("taskset")
            .args(["-c", PROXY_CORE])
            .args(&self.command)
            .envs(self.environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let running = Running(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        for port in [self.plain, self.sticky] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                if Instant::now() > deadline {
                    bail!("{} does not listen on port {port}", self.name);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(running)
    }
}
