//! A proxy with servers made of raw sockets, and a raw client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roundel_balance::{BackendConfig, Balancer, Evidence, Placement, Policy, StickyKey};
use roundel_model::{Name, ServerState};
use roundel_proxy::{AccessLog, Backend, Config, Frontend, Listen, LogFormat, Proxy, Routes};

/// The patience of every read in these tests; reached only when something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy with one frontend `front` and one backend `nodes`.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) evidence: tokio::sync::mpsc::Receiver<Evidence>,
    pub(crate) address: SocketAddr,
    log: AccessLog,
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Stage {
    /// One worker, the given servers, all up, default settings.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        Self::with(servers, |_| {}, |_| {})
    }

    pub(crate) fn with(
        servers: &[SocketAddr],
        backend: impl FnOnce(&mut Backend),
        frontend: impl FnOnce(&mut Frontend),
    ) -> Self {
        Self::with_threads(1, servers, backend, frontend)
    }

    pub(crate) fn with_threads(
        threads: usize,
        servers: &[SocketAddr],
        backend: impl FnOnce(&mut Backend),
        frontend: impl FnOnce(&mut Frontend),
    ) -> Self {
        let config = Config {
            threads,
            ..Config::default()
        };
        Self::with_config(config, servers, backend, frontend)
    }

    pub(crate) fn with_config(
        config: Config,
        servers: &[SocketAddr],
        backend: impl FnOnce(&mut Backend),
        frontend: impl FnOnce(&mut Frontend),
    ) -> Self {
        let nodes = BackendConfig {
            name: name("nodes"),
            policy: Policy::RoundRobin,
            sticky_key: StickyKey::default(),
        };
        let balancer = Balancer::new(nodes, config.workers());
        publish(&balancer, servers, ServerState::Up);
        let (evidence_in, evidence) = tokio::sync::mpsc::channel(64);
        let lines = Lines::default();
        let log = AccessLog::new(LogFormat::Json, lines.clone()).unwrap();
        let routes = routes(&balancer, backend, frontend);
        let proxy = roundel_proxy::start(config, routes, evidence_in, log.clone()).unwrap();
        let address = proxy.frontends()[0].addresses[0];
        Self {
            proxy,
            balancer,
            evidence,
            address,
            log,
            lines,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Sends one request on a connection of its own and reads until the proxy closes.
    pub(crate) fn once(&self, request: &str) -> String {
        let mut client = self.client();
        client.send(request);
        client.read_to_end()
    }

    /// Stops the workers at once, and gives the whole access log.
    pub(crate) fn stop(self) -> String {
        drop(self.proxy);
        self.log.flush(PATIENCE);
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// Waits for the `n`-th line of the access log.
    pub(crate) fn log_line(&self, n: usize) -> String {
        self.wait_log(|text| text.lines().nth(n).map(str::to_owned))
    }

    /// The first log line that holds `needle`; workers write theirs in no common order.
    pub(crate) fn log_line_of(&self, needle: &str) -> String {
        self.wait_log(|text| {
            let mut lines = text.lines();
            lines.find(|line| line.contains(needle)).map(str::to_owned)
        })
    }

    fn wait_log(&self, find: impl Fn(&str) -> Option<String>) -> String {
        roundel_testkit::wait_for("a log line", PATIENCE, || {
            self.log.flush(Duration::from_secs(1));
            let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
            find(&text)
        })
    }
}

pub(crate) fn routes(
    balancer: &Arc<Balancer>,
    backend: impl FnOnce(&mut Backend),
    frontend: impl FnOnce(&mut Frontend),
) -> Routes {
    let mut made = Backend::new(balancer.clone());
    backend(&mut made);
    let listen = vec![Listen::new(([127, 0, 0, 1], 0).into())];
    let mut front = Frontend::new(name("front"), listen, Arc::new(made));
    frontend(&mut front);
    Routes {
        frontends: vec![front],
        ..Routes::default()
    }
}

/// Publishes servers `s1`, `s2`, … in one state.
pub(crate) fn publish(balancer: &Balancer, servers: &[SocketAddr], state: ServerState) {
    publish_each(balancer, servers, &vec![state; servers.len()]);
}

/// Publishes servers `s1`, `s2`, … each in its state.
pub(crate) fn publish_each(balancer: &Balancer, servers: &[SocketAddr], states: &[ServerState]) {
    let all = servers.iter().zip(states).enumerate();
    let placements = all.map(|(i, (address, state))| Placement {
        live: balancer.live(&name(&format!("s{}", i + 1))),
        address: *address,
        weight: Placement::WEIGHT_UNIT,
        backup: false,
        state: *state,
    });
    balancer.publish(placements.collect());
}

/// A raw client connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads exactly until `end` was read; fails when the connection ends before.
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        while !got.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let n = self.stream.read(&mut byte).unwrap();
            assert_ne!(n, 0, "ended after {:?}", String::from_utf8_lossy(&got));
            got.push(byte[0]);
        }
        String::from_utf8(got).unwrap()
    }

    pub(crate) fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    /// Reads one answer framed by Content-Length.
    pub(crate) fn read_answer(&mut self) -> (String, String) {
        let head = self.read_head();
        let length = field(&head, "content-length").map_or(0, |v| v.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads all there is; an orderly end is required.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut got = Vec::new();
        let read = self.stream.read_to_end(&mut got);
        let got = String::from_utf8(got).unwrap();
        read.unwrap_or_else(|error| panic!("{error} after {got:?}"));
        got
    }

    /// Reads all there is, whether it ends in order or by a reset.
    pub(crate) fn read_to_any_end(&mut self) -> (String, bool) {
        let mut got = Vec::new();
        let orderly = self.stream.read_to_end(&mut got).is_ok();
        (String::from_utf8_lossy(&got).into_owned(), orderly)
    }
}

/// The value of a field in a head, its name compared without case.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(crate) fn has_field(head: &str, name: &str) -> bool {
    field(head, name).is_some()
}

/// A server made of a closure per connection; heads that it read are told to the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Every request head as the server read it.
    pub(crate) heads: Receiver<String>,
}

impl Server {
    /// Runs `serve` for each connection in a thread of its own, with its number from 0.
    pub(crate) fn new(serve: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heads) = mpsc::channel();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let (serve, tell) = (serve.clone(), tell.clone());
                std::thread::spawn(move || {
                    let client = Client { stream };
                    serve(number, &mut Peer { client, tell });
                });
            }
        });
        Self { address, heads }
    }

    /// Answers every request on every connection with `answer`, reading bodies by Content-Length.
    pub(crate) fn always(answer: &'static str) -> Self {
        Self::new(move |_, peer| {
            while peer.request().is_some() {
                peer.client.send(answer);
            }
        })
    }

    pub(crate) fn head(&self) -> String {
        self.heads.recv_timeout(PATIENCE).unwrap()
    }
}

/// The server's end of one connection.
pub(crate) struct Peer {
    pub(crate) client: Client,
    tell: mpsc::Sender<String>,
}

impl Peer {
    /// Tells the test something else than a head.
    pub(crate) fn told(&self, what: &str) {
        let _ = self.tell.send(what.to_owned());
    }

    /// Reads one request head; `None` when the connection ends before.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.client.stream.read(&mut byte) {
                Ok(1) => got.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8(got).unwrap();
        let _ = self.tell.send(head.clone());
        Some(head)
    }

    /// Reads one request with a body of known or no length.
    pub(crate) fn request(&mut self) -> Option<(String, String)> {
        let head = self.head()?;
        let length = field(&head, "content-length").map_or(0, |v| v.parse().unwrap());
        let mut body = vec![0; length];
        self.client.stream.read_exact(&mut body).ok()?;
        Some((head, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// A short answer of a server.
pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A short request that keeps the connection.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A short request that ends the connection.
pub(crate) const GET_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// An address on which nobody listens.
pub(crate) fn refusing() -> SocketAddr {
    roundel_testkit::free_address()
}
