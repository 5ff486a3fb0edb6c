//! Chromium's own WebSocket through the balancer, over the connection that brought its page; and what
//! HAProxy makes of the same.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};
use rcgen::{CertificateParams, KeyPair};
use roundel_testkit::{
    Process, Signal, SocketServer, external, free_address, free_port, loopback, wait_for,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};
use crate::driver::Browser;
use crate::turns::{alone, beside_others};

/// What the scripts below have in common: `open(path)`, and `next(socket)`, which waits for a message.
const TOOLS: &str = "window.open_ = (path, protocols) => new Promise((yes, no) => { \
      const s = new WebSocket(`wss://${location.host}${path}`, protocols ?? []); \
      s.binaryType = 'arraybuffer'; s.queue = []; s.waiting = []; \
      s.onmessage = e => s.waiting.length ? s.waiting.shift()(e.data) : s.queue.push(e.data); \
      s.ended = new Promise(ended => s.onclose = e => { \
        ended([e.code, e.reason, e.wasClean]); no(new Error(`closed ${e.code}`)); }); \
      s.onopen = () => yes(s); }); \
    window.next_ = s => s.queue.length ? Promise.resolve(s.queue.shift()) \
      : new Promise(yes => s.waiting.push(yes));";

/// A balancer with TLS in front of a server of sockets, and a browser that has its page.
struct Stage {
    _folder: TempDir,
    server: SocketServer,
    balancer: Balancer,
    browser: Browser,
}

impl Stage {
    /// With these further keys of the frontend; nothing without a browser.
    fn start(more: &str) -> Option<Self> {
        let server = SocketServer::start();
        let address = server.address();
        Self::before(address, server, more, "")
    }

    /// Before what brings it to the server at this address, with further keys of the backend.
    fn before(
        address: SocketAddr,
        server: SocketServer,
        more: &str,
        backend: &str,
    ) -> Option<Self> {
        external("chromium", "chromium")?;
        let chromedriver = external("chromedriver", "chromium-driver")?;
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem() + &key.serialize_pem();
        fs::write(folder.path().join("site.pem"), pem).unwrap();
        // The browser is to take the address as it is.
        let ip = loopback();
        let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"json\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [{{ address = \"{front}\", tls = true }}]\n\
             tls = {{ certificates = [\"site.pem\"] }}\n{more}\n\
             [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{backend}\n\
             server = [{{ name = \"a\", address = \"{address}\" }}]\n"
        );
        let path = folder.path().join("roundel.toml");
        fs::write(&path, text).unwrap();
        let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
        balancer.wait_up(1, SOON);
        let browser = Browser::start(&chromedriver, (800, 600), true);
        browser.open(&format!("https://{front}/"));
        browser.script(TOOLS);
        Some(Self {
            _folder: folder,
            server,
            balancer,
            browser,
        })
    }

    /// What a script gives; it may wait.
    fn run(&self, script: &str) -> Value {
        let script = format!("return (async () => {{ {script} }})()");
        self.browser.script(&script)
    }

    fn wait_end(&self, end: &str) {
        wait_for(end, SOON, || {
            let ends = self.server.ends();
            ends.iter().any(|heard| heard == end).then_some(())
        });
    }

    /// The lines of the access log about a path, once there are so many.
    fn lines(&self, path: &str, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} lines about {path}"), SOON, || {
            let told = self.balancer.process.stdout();
            let lines = told
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let about = |line: &Value| line["path"] == path;
            let found: Vec<Value> = lines.filter(about).collect();
            (found.len() >= count).then_some(found)
        })
    }
}

#[test]
fn chromium_has_its_sockets_on_the_connection_of_its_page() {
    let _turn = alone();
    let Some(stage) = Stage::start("") else {
        return;
    };
    let told = stage.run(
        "const s = await open_('/echo', ['chat', 'other']); \
         s.send('hello'); const small = await next_(s); \
         const large = new Uint8Array(1 << 20); \
         for (let i = 0; i < large.length; i++) large[i] = i * 7; \
         s.send(large); const got = new Uint8Array(await next_(s)); \
         const same = got.length == large.length && got.every((b, i) => b == large[i]); \
         s.close(4001, 'enough'); \
         return [s.protocol, small, same, await s.ended]",
    );
    let expected = serde_json::json!(["other", "hello", true, [4001, "enough", true]]);
    assert_eq!(told, expected, "{}", stage.balancer.process);
    stage.wait_end("/echo 4001");
    let told = stage.run(
        "const s = await open_('/pieces'); const text = 'äöü '.repeat(5000); \
         s.send(text); const same = await next_(s) == text; \
         const p = await open_('/ping'); const pong = await next_(p); \
         p.close(); s.close(3000); return [same, pong, (await s.ended)[0], (await p.ended)[0]]",
    );
    let expected = serde_json::json!([true, "are you there", 3000, 1005]);
    assert_eq!(told, expected, "{}", stage.balancer.process);

    let page = &stage.lines("/", 1)[0];
    for path in ["/echo", "/pieces", "/ping"] {
        let line = &stage.lines(path, 1)[0];
        for (key, value) in [
            ("status", Value::from(101)),
            ("method", "GET".into()),
            ("proto", "HTTP/2.0".into()),
            ("client", page["client"].clone()),
            ("term", "ok".into()),
        ] {
            assert_eq!(line[key], value, "{key}: {line}");
        }
    }
    assert_eq!(stage.browser.complaints(), Vec::<String>::new());
}

#[test]
fn chromium_is_told_how_a_socket_ended() {
    let _turn = alone();
    let Some(stage) = Stage::start("timeouts = { tunnel = \"1s\" }") else {
        return;
    };
    let told = stage.run(
        "const s = await open_('/close?1001'); s.send('going'); const closed = await s.ended; \
         const a = await open_('/abort'); a.send('x'); const aborted = await a.ended; \
         const i = await open_('/echo'); const idle = await i.ended; \
         const none = await open_('/404').catch(e => e.message); \
         const other = await open_('/426').catch(e => e.message); \
         return [closed, aborted, idle, none, other]",
    );
    let expected = serde_json::json!([
        [1001, "going", true],
        [1006, "", false],
        [1006, "", false],
        "closed 1006",
        "closed 1006"
    ]);
    assert_eq!(told, expected, "{}", stage.balancer.process);
    for (path, status, term) in [
        ("/abort", 101, "client_abort"),
        ("/echo", 101, "tunnel_timeout"),
        ("/404", 404, "ok"),
        ("/426", 426, "ok"),
    ] {
        let line = &stage.lines(path, 1)[0];
        assert_eq!(
            (&line["status"], &line["term"]),
            (&status.into(), &term.into()),
            "{line}"
        );
    }
    // A page that is left gives its sockets up.
    let _ = stage.run("window.kept = await open_('/echo?left'); return 0");
    stage.browser.open("about:blank");
    let line = &stage.lines("/echo", 2)[1];
    assert_eq!(line["status"], 101, "{line}");
}

#[test]
fn a_hundred_of_chromiums_sockets_and_a_page_drain() {
    let _turn = alone();
    let Some(mut stage) = Stage::start("") else {
        return;
    };
    let told = stage.run(
        "const all = await Promise.all([...Array(100)].map(() => open_('/echo'))); \
         window.all = all; all.forEach((s, i) => s.send(`${i}`)); \
         const got = await Promise.all(all.map(next_)); \
         const page = await (await fetch('/page')).text(); \
         return [got.every((text, i) => text == `${i}`), page.includes('sockets')]",
    );
    assert_eq!(
        told,
        serde_json::json!([true, true]),
        "{}",
        stage.balancer.process
    );
    let page = stage.lines("/page", 1)[0].clone();
    stage.balancer.process.signal(Signal::TERM);
    // They go on while the balancer leaves, and end when their page says so.
    let told = stage.run(
        "all.forEach((s, i) => s.send(`again ${i}`)); \
         const got = await Promise.all(all.map(next_)); \
         all.forEach(s => s.close(1000)); \
         const ends = await Promise.all(all.map(s => s.ended)); \
         return got.every((text, i) => text == `again ${i}`) && ends.every(e => e[2])",
    );
    assert_eq!(told, true, "{}", stage.balancer.process);
    let status = stage.balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", stage.balancer.process);
    for line in stage.lines("/echo", 100) {
        assert_eq!(line["client"], page["client"], "{line}");
        assert_eq!(
            (&line["status"], &line["term"]),
            (&101.into(), &"ok".into()),
            "{line}"
        );
    }
}

/// The status that a client of HTTP/2 gets for an extended CONNECT. If it is 200, it sends a frame of
/// WebSocket, and gets as much.
pub(crate) async fn connect(front: SocketAddr, protocol: &str, path: &str) -> (u16, Vec<u8>) {
    let stream = tokio::net::TcpStream::connect(front).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://a{path}"))
        .extension(Protocol::from(protocol))
        .header("sec-websocket-version", "13");
    let request = request.body(()).unwrap();
    let (answer, mut send) = client.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut got = Vec::new();
    if status == 200 {
        let hi = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        // One that is no socket may have ended already.
        let _ = send.send_data(Bytes::copy_from_slice(&hi), false);
        let mut body = answer.into_body();
        while got.len() < 4
            && let Some(Ok(piece)) = body.data().await
        {
            got.extend_from_slice(&piece);
        }
    }
    (status, got)
}

/// HAProxy before the server, which takes HTTP/2 in clear.
fn start_haproxy(haproxy: &Path, server: &SocketServer) -> (SocketAddr, TempDir, Process) {
    let (front, folder) = (free_address(), tempfile::tempdir().unwrap());
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 9s\n  timeout server 9s\n\
         listen l\n  bind {front} proto h2\n  server a {}\n",
        server.address()
    );
    let path = folder.path().join("haproxy.cfg");
    fs::write(&path, text).unwrap();
    let process = Process::spawn(Command::new(haproxy).args(["-db", "-f"]).arg(&path));
    wait_for("HAProxy", SOON, || TcpStream::connect(front).ok());
    (front, folder, process)
}

#[test]
fn a_socket_goes_on_over_http_2_to_a_server_that_takes_it() {
    let Some(haproxy) = external("haproxy", "haproxy") else {
        return;
    };
    let _turn = beside_others();
    let server = SocketServer::start();
    let (behind, _folder, process) = start_haproxy(&haproxy, &server);
    let keys = "proto = \"h2\"\ncheck = \"tcp\"";
    let Some(stage) = Stage::before(behind, server, "", keys) else {
        return;
    };
    let told = stage.run(
        "const all = await Promise.all([...Array(30)].map(() => open_('/echo', ['chat']))); \
         const large = 'x'.repeat(300000); all.forEach(s => s.send(large)); \
         const got = await Promise.all(all.map(next_)); \
         all.forEach(s => s.close(4002, 'done')); \
         const ends = await Promise.all(all.map(s => s.ended)); \
         const none = await open_('/404').catch(e => e.message); \
         return [all[0].protocol, got.every(text => text == large), \
                 ends.every(e => e[0] == 4002 && e[2]), none]",
    );
    let expected = serde_json::json!(["chat", true, true, "closed 1006"]);
    assert_eq!(told, expected, "{process}\n{}", stage.balancer.process);
    stage.wait_end("/echo 4002");
    for line in stage.lines("/echo", 30) {
        assert_eq!(
            (&line["status"], &line["term"]),
            (&101.into(), &"ok".into()),
            "{line}"
        );
    }
    assert_eq!(stage.lines("/404", 1)[0]["status"], 404);
}

#[test]
fn haproxy_takes_the_same_for_a_socket() {
    let Some(haproxy) = external("haproxy", "haproxy") else {
        return;
    };
    let _turn = beside_others();
    let server = SocketServer::start();
    let name = format!("a={}", server.address());
    let ours = Balancer::serve(&["--static", &name]);
    ours.wait_up(1, SOON);
    let (theirs, _folder, process) = start_haproxy(&haproxy, &server);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ask = |front, protocol, path| {
        let asked = runtime
            .block_on(async { tokio::time::timeout(SOON, connect(front, protocol, path)).await });
        asked.unwrap_or_else(|_| panic!("{path} at {front} hangs\n{process}"))
    };
    let echo = vec![0x81, 2, b'h', b'i'];
    for (protocol, path, our, their) in [
        ("websocket", "/echo", (200, echo.clone()), (200, echo)),
        ("websocket", "/404", (404, vec![]), (404, vec![])),
        ("websocket", "/426", (426, vec![]), (426, vec![])),
        // `HAPROXY.md`.
        ("websocket", "/page", (502, vec![]), (200, b"<!DO".to_vec())),
    ] {
        let mut got = ask(theirs, protocol, path);
        got.1.truncate(4);
        assert_eq!(got, their, "HAProxy: {path}\n{process}");
        assert_eq!(
            ask(ours.front, protocol, path),
            our,
            "{path}\n{}",
            ours.process
        );
    }
    assert_eq!(ask(ours.front, "webtransport", "/echo").0, 501);
}
