//! The PROXY protocol on both sides, by hand and with HAProxy and nginx as partners.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use roundel_testkit::{
    Connection, Origin, Process, Reply, external, free_address, free_port, get, loopback, wait_for,
};

use crate::balancer::{Balancer, SOON};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A balancer with one server; `frontend` and `backend` are further keys of theirs.
fn balancer(listen: &str, frontend: &str, backend: &str, server: SocketAddr) -> Balancer {
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [{{ address = \"{front}\"{listen} }}]\n{frontend}\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\nserver = [{{ name = \"s1\", address = \"{server}\" }}]\n{backend}\n"
    );
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(1, SOON);
    balancer
}

/// A balancer that takes the PROXY protocol from this machine, before a server that echoes the
/// forwarding fields.
fn behind_a_proxy(more: &str) -> (Balancer, Origin) {
    let origin = Origin::start(|request| {
        let of = |name: &str| request.header(name).unwrap_or("-").to_owned();
        let names = ["x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"];
        Reply::text(names.map(of).join(" "))
    });
    let keys = format!("trusted_proxies = [\"127.0.0.0/8\"]\n{more}");
    let balancer = balancer(", proxy_protocol = true", &keys, "", origin.address());
    (balancer, origin)
}

/// Sends `bytes` and gives everything that comes back.
fn talk(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const GET: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";

#[track_caller]
fn assert_body(answer: &str, body: &str) {
    let told = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    assert_eq!(told, Some(body), "{answer}");
}

fn rejected(balancer: &Balancer) -> u64 {
    let name = "roundel_frontend_connections_rejected_total{frontend=\"front\",reason=\"proxy_protocol\"} ";
    let page = balancer.page("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the counter").parse().unwrap()
}

#[test]
fn the_header_names_the_client() {
    let (balancer, _origin) = behind_a_proxy("");
    let with = |header: &[u8]| talk(balancer.front, &[header, GET].concat());
    assert_body(
        &with(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"),
        "192.0.2.7 443 http",
    );
    assert_body(
        &with(b"PROXY TCP6 2001:db8::7 2001:db8::1 56325 81\r\n"),
        "2001:db8::7 81 http",
    );
    let ends = [192, 0, 2, 8, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
    let four = [V2, &[0x21, 0x11, 0, 12], &ends].concat();
    assert_body(&with(&four), "192.0.2.8 443 http");
    // The value that tells of TLS (type 0x20, the flag of the client).
    let tls = [
        V2,
        &[0x21, 0x11, 0, 20],
        &ends,
        &[0x20, 0, 5, 1, 0, 0, 0, 0],
    ]
    .concat();
    assert_body(&with(&tls), "192.0.2.8 443 https");
    // The proxy speaks for itself, and is trusted with its own words.
    let port = balancer.front.port();
    for own in [&b"PROXY UNKNOWN\r\n"[..], &[V2, &[0x20, 0, 0, 0]].concat()] {
        assert_body(&with(own), &format!("6.6.6.6, 127.0.0.1 {port} http"));
    }
    let log = wait_for("the log lines", SOON, || {
        let log = balancer.process.stdout();
        log.contains("2001:db8::7").then_some(log)
    });
    assert!(log.contains("\"client\":\"192.0.2.7:56324\""), "{log}");
}

#[test]
fn a_trusted_client_behind_the_proxy_is_believed() {
    let (balancer, _origin) = behind_a_proxy("");
    let header = b"PROXY TCP4 127.1.2.3 127.0.0.1 1 80\r\n";
    let answer = talk(balancer.front, &[&header[..], GET].concat());
    assert_body(&answer, "6.6.6.6, 127.1.2.3 80 http");
}

#[test]
fn pieces_and_pipelined_requests_are_no_matter() {
    let (balancer, _origin) = behind_a_proxy("");
    let mut stream = TcpStream::connect(balancer.front).unwrap();
    stream.set_nodelay(true).unwrap();
    let keep = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let all = [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", &keep[..], GET].concat();
    for byte in all {
        stream.write_all(&[byte]).unwrap();
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("192.0.2.7 2 http").count(), 2, "{answers}");
}

#[test]
fn what_is_no_header_is_closed_counted_and_told() {
    let (balancer, origin) = behind_a_proxy("timeouts = { http_request = \"300ms\" }");
    let wrong: [&[u8]; 7] = [
        GET,
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\nGET / HTTP/1.1\r\n\r\n",
        &[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
        &[V2, &[0x21, 0x11, 0, 3], b"abc"].concat(),
        &[V2, &[0x31, 0x11, 0, 0]].concat(),
        // Not complete in time.
        b"PROXY TCP4 192.0.2.7",
    ];
    for bytes in wrong {
        let answer = talk(balancer.front, bytes);
        assert_eq!(answer, "", "{}", String::from_utf8_lossy(bytes));
    }
    wait_for("the counter", SOON, || {
        (rejected(&balancer) == wrong.len() as u64).then_some(())
    });
    balancer
        .process
        .wait_line("was closed: this is not a PROXY protocol header", SOON);
    // A check that only connects is no fault.
    let stream = TcpStream::connect(balancer.front).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    talk(balancer.front, &[&b"PROXY UNKNOWN\r\n"[..], GET].concat());
    assert_eq!(rejected(&balancer), wrong.len() as u64);
    drop(origin);
}

#[test]
fn only_trusted_addresses_may_speak_for_others() {
    let origin = Origin::named("a");
    let keys = "trusted_proxies = [\"192.0.2.0/24\"]";
    let balancer = balancer(", proxy_protocol = true", keys, "", origin.address());
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n";
    assert_eq!(talk(balancer.front, &[&header[..], GET].concat()), "");
    assert_eq!(talk(balancer.front, GET), "");
    balancer
        .process
        .wait_line("is not in trusted_proxies", SOON);
}

#[test]
fn an_open_listener_takes_no_header() {
    let origin = Origin::named("a");
    let balancer = balancer(
        "",
        "trusted_proxies = [\"127.0.0.0/8\"]",
        "",
        origin.address(),
    );
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n";
    let answer = talk(balancer.front, &[&header[..], GET].concat());
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn http2_may_follow_the_header() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let (balancer, _origin) = behind_a_proxy("");
    let mut command = Command::new(curl);
    command
        .args([
            "-s",
            "--haproxy-protocol",
            "--http2-prior-knowledge",
            "-w",
            " %{http_version}",
        ])
        .args([
            "--interface",
            "127.0.0.9",
            &format!("http://{}/", balancer.front),
        ]);
    let told = command.output().unwrap();
    let port = balancer.front.port();
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        format!("127.0.0.9 {port} http 2")
    );
}

/// A running HAProxy; its folder goes with it.
struct Haproxy(Process, tempfile::TempDir);

/// HAProxy with this configuration behind the common part.
fn haproxy(text: &str) -> Option<Haproxy> {
    let program = external("haproxy", "haproxy")?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("haproxy.cfg");
    let common =
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n";
    fs::write(&path, format!("{common}{text}")).unwrap();
    let process = Process::spawn(Command::new(program).arg("-db").arg("-f").arg(&path));
    Some(Haproxy(process, folder))
}

#[test]
fn haproxy_in_front_speaks_for_its_clients() {
    let (balancer, _origin) = behind_a_proxy("");
    for word in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2-ssl",
        "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id",
    ] {
        let front = free_address();
        let server = balancer.front;
        // The connections come from 127.0.0.77: what is told is the header's word.
        let text = format!(
            "listen front\n  bind {front}\n  server roundel {server} {word} check check-send-proxy source 127.0.0.77\n"
        );
        let Some(Haproxy(process, _folder)) = haproxy(&text) else {
            return;
        };
        let told = wait_for("an answer through HAProxy", SOON, || {
            let answer = get(front, "/").ok()?;
            (answer.status == 200).then(|| answer.text())
        });
        let port = front.port();
        assert_eq!(told, format!("127.0.0.1 {port} http"), "{word}\n{process}");
    }
    assert_eq!(rejected(&balancer), 0);
}

/// What one connection to a [`Witness`] brought.
#[derive(Debug, Clone, Default)]
struct Seen {
    header: Vec<u8>,
    requests: Vec<String>,
}

/// A server that expects a PROXY protocol header and keeps what each connection brings.
struct Witness {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Witness {
    fn start() -> Self {
        let listener = TcpListener::bind(free_address()).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let all = Arc::clone(&all);
                thread::spawn(move || serve(stream.unwrap(), &all));
            }
        });
        Self { address, seen }
    }

    /// Connections that carried requests other than checks, and those that were checks.
    fn split(&self) -> (Vec<Seen>, Vec<Seen>) {
        let all = self.seen.lock().unwrap().clone();
        let is_check = |seen: &Seen| seen.requests.iter().all(|line| line.starts_with("HEAD"));
        all.into_iter().partition(|seen| !is_check(seen))
    }
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    let mut header = Vec::new();
    if reader.fill_buf().is_ok_and(|b| b.first() == Some(&b'\r')) {
        header.resize(16, 0);
        reader.read_exact(&mut header).unwrap();
        let length = usize::from(header[14]) * 256 + usize::from(header[15]);
        header.resize(16 + length, 0);
        reader.read_exact(&mut header[16..]).unwrap();
    } else {
        let _ = reader.read_until(b'\n', &mut header);
    }
    let at = {
        let mut all = all.lock().unwrap();
        let requests = Vec::new();
        all.push(Seen { header, requests });
        all.len() - 1
    };
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        let first = std::mem::take(&mut line);
        while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
            line.clear();
        }
        line.clear();
        all.lock().unwrap()[at]
            .requests
            .push(first.trim().to_owned());
        let body = if first.starts_with("HEAD") { "" } else { "ok" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A connection to `to` from `from`, with the port that it got.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> (BufReader<TcpStream>, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let port = stream.local_addr().unwrap().port();
    (BufReader::new(stream), port)
}

fn ask(client: &mut BufReader<TcpStream>, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.get_mut().write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).unwrap();
    }
    let mut body = [0; 2];
    client.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"ok");
}

#[test]
fn each_client_has_connections_of_its_own() {
    for (word, local) in [
        ("v1", &b"PROXY UNKNOWN\r\n"[..]),
        ("v2", &[V2, &[0x20, 0, 0, 0]].concat()),
    ] {
        let witness = Witness::start();
        let backend = format!("send_proxy = \"{word}\"\ntimeouts = {{ upstream_idle = \"30s\" }}");
        let balancer = balancer("", "", &backend, witness.address);
        let (mut a, a_port) = connect_from([127, 0, 0, 11].into(), balancer.front);
        let (mut b, b_port) = connect_from([127, 0, 0, 12].into(), balancer.front);
        for _ in 0..3 {
            ask(&mut a, "/a");
            ask(&mut b, "/b");
        }
        let (traffic, checks) = witness.split();
        assert!(
            !checks.is_empty() && checks.iter().all(|c| c.header == local),
            "{checks:?}"
        );
        let header = |last: u8, port: u16| {
            let (ip, to) = (balancer.front.ip(), balancer.front.port());
            let line = format!("PROXY TCP4 127.0.0.{last} {ip} {port} {to}\r\n");
            let SocketAddr::V4(front) = balancer.front else {
                panic!("a test listens on IPv4");
            };
            let ends = [[127, 0, 0, last], front.ip().octets()].concat();
            let ports = [port.to_be_bytes(), to.to_be_bytes()].concat();
            match word {
                "v1" => line.into_bytes(),
                _ => [V2, &[0x21, 0x11, 0, 12], &ends, &ports].concat(),
            }
        };
        for (last, port, path) in [(11, a_port, "/a"), (12, b_port, "/b")] {
            let own: Vec<_> = traffic
                .iter()
                .filter(|s| s.header == header(last, port))
                .collect();
            let line = format!("GET {path} HTTP/1.1");
            assert_eq!(own.len(), 1, "{word} {traffic:?}");
            assert_eq!(own[0].requests, [line.as_str(); 3]);
        }
        assert_eq!(traffic.len(), 2, "{traffic:?}");
        // What nobody else may use ends with its client.
        drop(a);
        wait_for(
            "the server's side of the first client to close",
            SOON,
            || {
                let snapshot = balancer.snapshot();
                (snapshot["frontends"][0]["connections"] == 1).then_some(())
            },
        );
        ask(&mut b, "/b");
        assert_eq!(witness.split().0.len(), 2);
    }
}

#[test]
fn one_server_may_differ_from_its_backend() {
    let (plain, told) = (Origin::named("plain"), Witness::start());
    let extra = format!(
        "send_proxy = \"v2\"\n[[backend]]\nname = \"other\"\nsticky = \"off\"\nsend_proxy = \"v1\"\n\
         server = [{{ name = \"p\", address = \"{}\", send_proxy = \"off\" }}]",
        plain.address()
    );
    let route =
        "route = [{ path_prefix = \"/other\", backend = \"other\" }]\ndefault_backend = \"nodes\"";
    let balancer = balancer("", route, &extra, told.address);
    let answer = wait_for("the plain server", SOON, || {
        let answer = get(balancer.front, "/other").ok()?;
        (answer.status == 200).then(|| answer.text())
    });
    assert_eq!(answer, "plain");
    let mut connection = Connection::open(balancer.front).unwrap();
    assert_eq!(connection.send("GET", "/", &[], b"").unwrap().text(), "ok");
}

#[test]
fn haproxy_and_nginx_behind_learn_the_client() {
    for word in ["v1", "v2"] {
        let backend = format!("send_proxy = \"{word}\"");
        let server = free_address();
        let text = format!(
            "frontend app\n  bind {server} accept-proxy\n  http-request return status 200 content-type text/plain lf-string \"%[src] %[dst_port]\"\n"
        );
        if let Some(Haproxy(process, _folder)) = haproxy(&text) {
            let balancer = balancer("", "", &backend, server);
            assert_eq!(
                from_11(balancer.front),
                format!("127.0.0.11 {}", balancer.front.port()),
                "{process}"
            );
        }
        let Some(nginx) = external("nginx", "nginx-light") else {
            return;
        };
        let server = free_address();
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let text = format!(
            "daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
             client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen {server} proxy_protocol; location / {{\n\
             return 200 \"$proxy_protocol_addr $proxy_protocol_server_port\"; }} }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, text).unwrap();
        let process = Process::spawn(
            Command::new(nginx)
                .arg("-e")
                .arg("stderr")
                .arg("-c")
                .arg(&path),
        );
        let balancer = balancer("", "", &backend, server);
        assert_eq!(
            from_11(balancer.front),
            format!("127.0.0.11 {}", balancer.front.port()),
            "{process}"
        );
        // Checks say whose they are too: nothing to complain of.
        assert!(!process.stderr().contains("broken header"), "{process}");
    }
}

/// The body of an answer to a client at 127.0.0.11.
fn from_11(to: SocketAddr) -> String {
    let (mut client, _) = connect_from([127, 0, 0, 11].into(), to);
    client.get_mut().write_all(GET).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}
