//! HTTP/2 and other people's programs: nginx, HAProxy and Caddy as servers, in clear by prior knowledge and
//! over TLS by ALPN, and httpx as a client.

mod caddy;
mod httpx;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roundel_testkit::{
    Process, SocketServer, external, free_address, free_port, get, loopback, request, wait_for,
    websocket_accept,
};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};
use crate::sockets::connect;

/// A folder with an authority and what it has signed for `nodes.internal`, key and chain in one file too.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(params, key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["nodes.internal".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("ca.pem"), authority.pem()).unwrap();
    fs::write(at("nodes.pem"), leaf.pem()).unwrap();
    fs::write(at("nodes.key"), key.serialize_pem()).unwrap();
    fs::write(at("both.pem"), leaf.pem() + &key.serialize_pem()).unwrap();
    folder
}

/// nginx that says which protocol it was asked by, and the how-manieth request of its connection that
/// was. `listen` follows the address.
fn nginx(folder: &TempDir, server: SocketAddr, listen: &str) -> Option<Process> {
    nginx_with(folder, server, listen, "")
}

/// The same with further locations.
fn nginx_with(
    folder: &TempDir,
    server: SocketAddr,
    listen: &str,
    locations: &str,
) -> Option<Process> {
    let nginx = external("nginx", "nginx-light")?;
    let at = folder.path().display();
    fs::write(folder.path().join("large"), vec![b'x'; 300_000]).unwrap();
    let text = format!(
        "daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen {server} {listen}; ssl_certificate {at}/nodes.pem;\n\
         ssl_certificate_key {at}/nodes.key; root {at};\n\
         location / {{ return 200 \"$server_protocol $scheme $host $request_uri $http_x_forwarded_for\"; }}\n\
         location = /large {{ }} location = /none {{ return 204; }} {locations} }} }}\n"
    );
    let path = folder.path().join("nginx.conf");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-e", "stderr", "-c"]).arg(&path);
    Some(Process::spawn(&mut command))
}

/// A balancer before a server, with these further keys of its backend.
fn balancer(folder: &TempDir, server: SocketAddr, keys: &str) -> Balancer {
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\nfields = {{ forwarded = true }}\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n\
         server = [{{ name = \"s1\", address = \"{server}\" }}]\n{keys}\n"
    );
    let path = folder.path().join("roundel.toml");
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(1, SOON);
    balancer
}

const TLS: &str = "tls = { server_name = \"nodes.internal\", ca_file = \"ca.pem\" }\n";

/// Asks for what is small, large and nothing at all, several times.
fn ask(balancer: &Balancer, protocol: &str) {
    for _ in 0..3 {
        let answer = request(
            balancer.front,
            "GET",
            "/a?b=c",
            &[("Host", "a.example")],
            b"",
        )
        .unwrap();
        assert_eq!(answer.status, 200, "{}", balancer.process);
        let text = answer.text();
        assert!(
            text.starts_with(&format!("{protocol} a.example /a?b=c 127.0.0.")),
            "{text}"
        );
        let large = get(balancer.front, "/large").unwrap();
        assert_eq!(large.body.len(), 300_000);
        assert_eq!(get(balancer.front, "/none").unwrap().status, 204);
        let post = request(balancer.front, "POST", "/post", &[], &vec![b'y'; 10_000]).unwrap();
        assert_eq!(post.status, 200);
    }
    let server = &balancer.snapshot()["backends"][0]["servers"][0];
    assert!(server.to_string().contains("L7OK"), "{server}");
}

fn count(balancer: &Balancer, name: &str) -> u64 {
    let page = balancer.page("/metrics");
    let all = page.lines().filter(|line| line.starts_with(name));
    all.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

#[test]
fn nginx_in_clear_by_prior_knowledge() {
    let (folder, server) = (folder(), free_address());
    let Some(_nginx) = nginx(&folder, server, "http2") else {
        return;
    };
    let balancer = balancer(&folder, server, "proto = \"h2\"");
    ask(&balancer, "HTTP/2.0 http");
    let reused = wait_for("the counters", SOON, || {
        let reused = count(&balancer, "roundel_server_connections_reused_total");
        (reused > 0).then_some(reused)
    });
    assert!(
        reused >= 6,
        "{reused} of 12 requests on a connection that was there"
    );
}

#[test]
fn nginx_over_tls() {
    let (folder, server) = (folder(), free_address());
    let Some(_nginx) = nginx(&folder, server, "ssl http2") else {
        return;
    };
    for proto in ["h2", "auto"] {
        let balancer = balancer(&folder, server, &format!("{TLS}proto = \"{proto}\""));
        ask(&balancer, "HTTP/2.0 https");
    }
}

#[test]
fn a_server_that_chooses_http1_gets_it() {
    let (folder, server) = (folder(), free_address());
    let Some(_nginx) = nginx(&folder, server, "ssl") else {
        return;
    };
    let balancer = balancer(&folder, server, &format!("{TLS}proto = \"auto\""));
    ask(&balancer, "HTTP/1.1 https");
}

#[test]
fn haproxy_in_clear_and_over_tls() {
    let Some(haproxy) = external("haproxy", "haproxy") else {
        return;
    };
    let folder = folder();
    let [clear, secure, origin] = [(); 3].map(|()| free_address());
    let at = folder.path().display();
    let text = format!(
        "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         frontend f\n bind {clear} proto h2\n bind {secure} ssl crt {at}/both.pem alpn h2,http/1.1\n\
         http-request wait-for-body time 10s if METH_POST\n\
         http-request return status 204 if {{ path /none }}\n\
         http-request return status 200 content-type text/plain lf-string \
         \"%HV %[ssl_fc,iif(https,http)] %[req.hdr(host)] %[pathq] %[req.hdr(x-forwarded-for)]\" unless {{ path /large }}\n\
         default_backend b\nbackend b\n server s {origin}\n"
    );
    let path = folder.path().join("haproxy.cfg");
    fs::write(&path, text).unwrap();
    let Some(_nginx) = nginx(&folder, origin, "") else {
        return;
    };
    let _haproxy = Process::spawn(Command::new(haproxy).args(["-db", "-f"]).arg(&path));
    for (server, keys, spoken) in [
        (clear, "proto = \"h2\"".to_owned(), "HTTP/2.0 http"),
        (secure, format!("{TLS}proto = \"auto\""), "HTTP/2.0 https"),
        (secure, TLS.to_owned(), "HTTP/1.1 https"),
    ] {
        let balancer = balancer(&folder, server, &keys);
        ask(&balancer, spoken);
    }
}

/// The status of the answer to an upgrade of HTTP/1.1. If it is 101, a frame goes there and back.
fn upgrade(front: SocketAddr, path: &str) -> u16 {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let mut stream = TcpStream::connect(front).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let asked = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status == 101 {
        assert!(head.contains(&websocket_accept(KEY)), "{head}");
        let hi = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        stream.get_mut().write_all(&hi).unwrap();
        let mut got = [0; 4];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, [0x81, 2, b'h', b'i']);
    }
    status
}

/// Sockets of clients of both versions.
fn ask_sockets(balancer: &Balancer, opened: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let front = balancer.front;
    let extended = |path: &str| {
        let asked = async { tokio::time::timeout(SOON, connect(front, "websocket", path)).await };
        let asked = runtime.block_on(asked);
        asked.unwrap_or_else(|_| panic!("{path} hangs {}", balancer.process))
    };
    for _ in 0..3 {
        let (one, two) = match opened {
            true => (101, (200, vec![0x81, 2, b'h', b'i'])),
            false => (502, (502, vec![])),
        };
        assert_eq!(upgrade(front, "/echo"), one, "{}", balancer.process);
        assert_eq!(extended("/echo"), two, "{}", balancer.process);
        // A refusal is the server's.
        let refused = if opened { 404 } else { 502 };
        assert_eq!(upgrade(front, "/404"), refused, "{}", balancer.process);
        assert_eq!(extended("/404").0, refused, "{}", balancer.process);
    }
}

#[test]
fn sockets_go_by_http_1_to_nginx_that_chose_http_2() {
    let (folder, server) = (folder(), free_address());
    let sockets = SocketServer::start();
    let locations = format!(
        "location ~ ^/(echo|404)$ {{ proxy_pass http://{}; proxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}",
        sockets.address()
    );
    let Some(_nginx) = nginx_with(&folder, server, "ssl http2", &locations) else {
        return;
    };
    let auto = balancer(&folder, server, &format!("{TLS}proto = \"auto\""));
    // Before and after anything is known of the server.
    ask_sockets(&auto, true);
    ask(&auto, "HTTP/2.0 https");
    ask_sockets(&auto, true);
    ask(&auto, "HTTP/2.0 https");
    let h2 = balancer(&folder, server, &format!("{TLS}proto = \"h2\""));
    ask_sockets(&h2, false);
    ask(&h2, "HTTP/2.0 https");
}

#[test]
fn sockets_are_streams_of_a_server_that_speaks_http_2_alone() {
    let Some(haproxy) = external("haproxy", "haproxy") else {
        return;
    };
    let (folder, server, sockets) = (folder(), free_address(), SocketServer::start());
    let at = folder.path().display();
    let text = format!(
        "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen l\n bind {server} ssl crt {at}/both.pem alpn h2\n server s {}\n",
        sockets.address()
    );
    let path = folder.path().join("haproxy.cfg");
    fs::write(&path, text).unwrap();
    let _haproxy = Process::spawn(Command::new(haproxy).args(["-db", "-f"]).arg(&path));
    let auto = balancer(&folder, server, &format!("{TLS}proto = \"auto\""));
    ask_sockets(&auto, true);
}
