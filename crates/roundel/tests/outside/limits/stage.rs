//! A balancer with a written configuration, raw clients, and servers that are no help.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use roundel_testkit::{free_port, loopback, wait_for};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::balancer::{Balancer, SOON};

/// A request without a body that keeps its connection.
pub(super) const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// The parts of a configuration that differ.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keys<'a> {
    pub(super) global: &'a str,
    pub(super) frontend: &'a str,
    pub(super) backend: &'a str,
}

impl Keys<'_> {
    /// Writes the file of a frontend at `front` and a backend of these servers, without checks
    /// unless the keys ask for them.
    pub(super) fn file(self, [front, stats]: [SocketAddr; 2], servers: &[SocketAddr]) -> String {
        let mut list = String::new();
        for (n, address) in servers.iter().enumerate() {
            list += &format!("{{ name = \"s{}\", address = \"{address}\" }}, ", n + 1);
        }
        let check = match self.backend.starts_with("check =") {
            true => "",
            false => "check = \"off\"\n",
        };
        format!(
            "[global]\nthreads = 2\n{}\n[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n{}\n\
             [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{check}server = [{list}]\n{}\n",
            self.global, self.frontend, self.backend
        )
    }

    /// Starts a balancer of these servers and waits until all are up.
    pub(super) fn serve(self, servers: &[SocketAddr]) -> Balancer {
        let balancer = self.start(servers);
        balancer.wait_up(servers.len(), SOON);
        balancer
    }

    /// Starts a balancer of these servers, up or not.
    pub(super) fn start(self, servers: &[SocketAddr]) -> Balancer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.toml");
        let at = addresses();
        fs::write(&path, self.file(at, servers)).unwrap();
        Balancer::with_file(path.to_str().unwrap(), at)
    }
}

/// Runs every case, four at a time.
pub(super) fn each<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, SeqCst)) {
                    check(case);
                }
            });
        }
    });
}

/// Two free addresses: of a frontend and of the page.
pub(super) fn addresses() -> [SocketAddr; 2] {
    let ip = loopback();
    [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))))
}

/// Waits for a line of the access log with this reason word and these letters, and gives it.
pub(super) fn wait_log(balancer: &Balancer, word: &str, letters: &str) -> Value {
    let word = format!("\"term\":\"{word}\"");
    let line = balancer.process.wait_line(&word, SOON);
    let line: Value = serde_json::from_str(&line).unwrap();
    let shown = line["term_ha"].as_str().unwrap_or_default().to_owned();
    assert!(shown.starts_with(letters), "{shown} in {line}");
    line
}

/// A raw client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
}

impl Client {
    pub(super) fn new(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self { stream }
    }

    /// Connects and sends.
    pub(super) fn asking(to: SocketAddr, bytes: &[u8]) -> Self {
        let mut client = Self::new(to);
        client.send(bytes);
        client
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Ends its side.
    pub(super) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection.
    pub(super) fn reset(self) {
        let linger = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.unwrap();
    }

    /// Reads until these bytes have come; panics at the end of the connection.
    pub(super) fn read_until(&mut self, needle: &str) -> String {
        let mut got = Vec::new();
        while !got.ends_with(needle.as_bytes()) {
            let mut byte = [0];
            let n = self.stream.read(&mut byte).unwrap();
            assert_ne!(n, 0, "ended after {:?}", String::from_utf8_lossy(&got));
            got.push(byte[0]);
        }
        String::from_utf8_lossy(&got).into_owned()
    }

    /// Reads to the end of the connection, or of a 101's head, or of a short answer of our own.
    pub(super) fn read_to_end_or_answer(&mut self) -> String {
        let head = self.read_until("\r\n\r\n");
        let goes_on = head.starts_with("HTTP/1.1 101") || head.starts_with("HTTP/1.1 50");
        match goes_on {
            true => head,
            false => head + &self.read_to_end(),
        }
    }

    /// Reads to whatever end; panics if it hangs.
    pub(super) fn read_to_end(&mut self) -> String {
        let mut got = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut got) {
            let kind = error.kind();
            assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{error}");
        }
        String::from_utf8_lossy(&got).into_owned()
    }
}

/// A client of HTTP/2 with prior knowledge; its frames are written by hand.
#[derive(Debug)]
pub(super) struct Http2;

impl Http2 {
    /// Connects, asks and gives up, so many times over, at once.
    pub(super) fn giving_up(to: SocketAddr, times: u32) -> Client {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut bytes, 4, 0, 0, b"");
        for stream in (1..).step_by(2).take(times as usize) {
            frame(&mut bytes, 1, 5, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'a']);
            frame(&mut bytes, 3, 0, stream, &[0, 0, 0, 8]);
        }
        Client::asking(to, &bytes)
    }

    /// Connects and asks; with `posts` only half of the request's body comes. Nothing is read.
    pub(super) fn asking(to: SocketAddr, posts: bool) -> Client {
        const HEADERS: u8 = 1;
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut bytes, 4, 0, 0, b"");
        // RFC 7541 appendix A: method, scheme http, path /, and the authority as a literal.
        let fields = |method: u8| [&[method, 0x86, 0x84, 0x41, 1][..], b"a"].concat();
        match posts {
            true => {
                frame(&mut bytes, HEADERS, END_HEADERS, 1, &fields(0x83));
                frame(&mut bytes, 0, 0, 1, b"part");
            }
            false => {
                let flags = END_HEADERS | END_STREAM;
                frame(&mut bytes, HEADERS, flags, 1, &fields(0x82));
            }
        }
        Client::asking(to, &bytes)
    }
}

/// The frame by which a client gives up stream 1 (RFC 9113 6.4, CANCEL).
pub(super) fn reset_stream() -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, 3, 0, 1, &[0, 0, 0, 8]);
    bytes
}

/// Appends a frame (RFC 9113 4.1).
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What a server does with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Answers.
    Answers,
    /// Reads the request and says nothing.
    Waits,
    /// Begins an answer of 500 bytes with `hello`.
    Begins,
    /// Sends without end for as long as somebody reads.
    Floods,
    /// Sends a byte of its answer every now and then.
    Drips,
    /// Sends a byte of its head every now and then.
    DripsHead,
    /// Switches protocols and says nothing more.
    Switches,
    /// Takes no connection.
    Nothing,
}

/// A server on a free port.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Requests that it works on.
    busy: Arc<AtomicUsize>,
    /// Requests seen.
    seen: Arc<AtomicUsize>,
    _queued: Vec<TcpStream>,
}

impl Server {
    pub(super) fn that(does: Does) -> Self {
        let listener = match does {
            Does::Nothing => short_listener(),
            _ => TcpListener::bind("127.0.0.1:0").unwrap(),
        };
        let address = listener.local_addr().unwrap();
        let (busy, seen) = (Arc::default(), Arc::default());
        let mut server = Self {
            address,
            busy: Arc::clone(&busy),
            seen: Arc::clone(&seen),
            _queued: Vec::new(),
        };
        if does == Does::Nothing {
            let short = Duration::from_millis(100);
            while let Ok(stream) = TcpStream::connect_timeout(&address, short) {
                server._queued.push(stream);
            }
            // It lives as long as the test's process.
            std::mem::forget(listener);
            return server;
        }
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (busy, seen) = (Arc::clone(&busy), Arc::clone(&seen));
                thread::spawn(move || attend(stream, does, &busy, &seen));
            }
        });
        server
    }

    /// Waits until it works on this many requests.
    pub(super) fn wait_busy(&self, count: usize) {
        wait_for("requests at the server", SOON, || {
            (self.busy.load(SeqCst) == count).then_some(())
        });
    }

    /// How many requests it has seen.
    pub(super) fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }
}

/// A listener with room for one connection that nobody accepts.
fn short_listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    socket.into()
}

/// Serves one connection.
fn attend(mut stream: TcpStream, does: Does, busy: &AtomicUsize, seen: &AtomicUsize) {
    let mut block = [0; 64 * 1024];
    let mut head = Vec::new();
    while let Ok(n @ 1..) = stream.read(&mut block) {
        head.extend_from_slice(&block[..n]);
        if !head.windows(4).any(|w| w == b"\r\n\r\n") {
            continue;
        }
        head.clear();
        seen.fetch_add(1, SeqCst);
        busy.fetch_add(1, SeqCst);
        let goes_on = reply(&mut stream, does);
        busy.fetch_sub(1, SeqCst);
        if !goes_on {
            return;
        }
    }
}

/// Answers one request as told; false when the connection is over.
fn reply(stream: &mut TcpStream, does: Does) -> bool {
    let bytes: &[u8] = match does {
        Does::Answers => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Does::Begins => b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
        Does::Floods => b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\nhello",
        Does::Drips => b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        Does::DripsHead => b"HTTP/1.1 200 OK\r\nX: ",
        Does::Switches => b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        Does::Waits | Does::Nothing => b"",
    };
    if stream.write_all(bytes).is_err() || does == Does::Answers {
        return does == Does::Answers;
    }
    if does == Does::Floods {
        while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    }
    if matches!(does, Does::Drips | Does::DripsHead) {
        while stream.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    }
    let mut rest = [0; 4096];
    while let Ok(1..) = stream.read(&mut rest) {}
    false
}
