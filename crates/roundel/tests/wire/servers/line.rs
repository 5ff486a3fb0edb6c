//! Frames by hand, the ends of a program's connections to servers, and the program.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use roundel_testkit::{Process, Response, free_address, get, request, wait_for};

/// Longest wait for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `:status: 200` and `:status: 204` of the static table (RFC 7541, appendix A).
pub(super) const OK: u8 = 0x88;
pub(super) const NO_CONTENT: u8 = 0x89;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// Says that streams above `last` were not looked at.
pub(super) fn goaway(last: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// A whole answer of 200 without `content-length`.
pub(super) fn whole(stream: u32, body: &[u8]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &[OK]);
    [head, frame(DATA, END_STREAM, stream, body)].concat()
}

/// One frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// One connection of the program to a server.
pub(super) struct Line(pub(super) TcpStream);

impl Line {
    /// Takes the next one, which begins with the preface.
    pub(super) fn take(listener: &TcpListener) -> Self {
        let mut line = Self::accept(listener);
        line.greet();
        line
    }

    pub(super) fn accept(listener: &TcpListener) -> Self {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Reads the preface and says SETTINGS without one.
    pub(super) fn greet(&mut self) {
        let mut preface = [0; 24];
        self.0.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        self.send(&frame(SETTINGS, 0, 0, &[]));
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next frame; `None` when the connection ends.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The stream of the next frame of this kind.
    pub(super) fn until(&mut self, kind: u8) -> u32 {
        loop {
            let frame = self.next().expect("the connection lives");
            if frame.kind == kind {
                return frame.stream;
            }
        }
    }

    /// The stream of the next request, which is whole then.
    pub(super) fn request(&mut self) -> u32 {
        loop {
            let frame = self.next().expect("the connection lives");
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return frame.stream;
            }
        }
    }

    /// Waits for the end of the connection.
    pub(super) fn end(&mut self) {
        while self.next().is_some() {}
    }
}

pub(super) fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A running program in front of servers of HTTP/2.
pub(super) struct Proxy {
    pub(super) front: SocketAddr,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// With these lines for the backend.
    pub(super) fn start(servers: &[SocketAddr], backend: &str) -> Self {
        let (front, stats) = (free_address(), free_address());
        let mut text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [global]\nthreads = 1\n[[frontend]]\nname = \"f\"\nlisten = [\"{front}\"]\n\
             default_backend = \"b\"\n[[backend]]\nname = \"b\"\nproto = \"h2\"\ncheck = \"off\"\n\
             sticky = \"off\"\noutlier = \"off\"\n{backend}\nserver = ["
        );
        for (n, server) in servers.iter().enumerate() {
            write!(text, "{{ name = \"s{n}\", address = \"{server}\" }},").unwrap();
        }
        text += "]\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roundel.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
        let mut process = Process::spawn(command.args(["serve", "-c"]).arg(&file));
        wait_for("the program", PATIENCE, || {
            assert!(process.try_exit().is_none(), "{process}");
            let ready = get(stats, "/readyz").ok()?;
            (ready.status == 200).then_some(())
        });
        Self {
            front,
            _process: process,
            _folder: folder,
        }
    }

    /// One request on a connection of its own, under way.
    pub(super) fn ask(
        &self,
        method: &'static str,
        body: &'static str,
    ) -> thread::JoinHandle<Response> {
        let front = self.front;
        thread::spawn(move || request(front, method, "/x", &[], body.as_bytes()).unwrap())
    }
}

/// A field as a literal; `kept` puts it into the table (RFC 7541 6.2). Lengths stay below 127.
pub(super) fn literal(name: &str, value: &str, kept: bool) -> Vec<u8> {
    let mut bytes = vec![if kept { 0x40 } else { 0 }];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.bytes());
    }
    bytes
}
