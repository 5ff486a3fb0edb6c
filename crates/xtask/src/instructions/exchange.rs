//! The five kinds of exchange, a client that plays them and an origin that answers: raw bytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, bail};

/// One kind of exchange; its figure has its name.
pub(super) struct Exchange {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A short request, 128 bytes back.
    Small,
    /// A browser's fields and a jar with a valid sticky cookie, 128 bytes back.
    Sticky,
    /// 10 KB back.
    Answer,
    /// 10 KB there, 128 bytes back.
    Post,
    /// Four chunks of 1 KB there, four back.
    Chunked,
}

pub(super) const EXCHANGES: [Exchange; 5] = [
    Exchange {
        name: "get-128",
        kind: Kind::Small,
    },
    Exchange {
        name: "browser-sticky",
        kind: Kind::Sticky,
    },
    Exchange {
        name: "answer-10k",
        kind: Kind::Answer,
    },
    Exchange {
        name: "post-10k",
        kind: Kind::Post,
    },
    Exchange {
        name: "chunked-both-ways",
        kind: Kind::Chunked,
    },
];

const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: fr-CH,fr;q=0.8,en-US;q=0.5,en;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nDNT: 1\r\nSec-GPC: 1\r\n\
    Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-User: ?1\r\nPriority: u=0, i\r\n\
    Referer: http://www.example.org/shop/items?page=2\r\nCache-Control: max-age=0\r\n";

impl Exchange {
    /// The bytes of the request. `cookie` is a `NAME=value` pair that leads to a server.
    pub(super) fn request(&self, cookie: Option<String>) -> Vec<u8> {
        let host = "Host: www.example.org\r\n";
        let text = match self.kind {
            Kind::Small => format!("GET /128 HTTP/1.1\r\n{host}\r\n"),
            Kind::Answer => format!("GET /10k HTTP/1.1\r\n{host}\r\n"),
            Kind::Sticky => format!(
                "GET /128 HTTP/1.1\r\n{host}{BROWSER}Cookie: theme=dark; {}; lang=fr\r\n\r\n",
                cookie.unwrap_or_default()
            ),
            Kind::Post => format!(
                "POST /128 HTTP/1.1\r\n{host}Content-Length: 10240\r\n\r\n{}",
                "x".repeat(10240)
            ),
            Kind::Chunked => format!(
                "POST /chunked HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{}",
                chunks()
            ),
        };
        text.into_bytes()
    }
}

fn chunks() -> String {
    let one = format!("400\r\n{}\r\n", "x".repeat(1024));
    one.repeat(4) + "0\r\n\r\n"
}

/// A kept connection that asks one thing after the other.
pub(super) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request)?)
    }

    /// Reads an answer to its end. Errors: it is not a 200.
    pub(super) fn receive(&mut self) -> Result<()> {
        let length = message(&mut self.stream, &mut self.read)?.context("closed")?;
        if length != self.read.len() || !self.read.starts_with(b"HTTP/1.1 200 ") {
            bail!("an odd answer: {}", String::from_utf8_lossy(&self.read));
        }
        Ok(())
    }

    /// The sticky cookie that a new client gets on this connection, if one is set there.
    pub(super) fn cookie(&mut self) -> Result<Option<String>> {
        self.send(b"GET /128 HTTP/1.1\r\nHost: www.example.org\r\n\r\n")?;
        self.receive()?;
        let text = String::from_utf8_lossy(&self.read);
        let set = text
            .lines()
            .find_map(|line| line.strip_prefix("Set-Cookie: "));
        Ok(set
            .and_then(|value| value.split(';').next())
            .map(str::to_owned))
    }
}

/// Starts a server of prebuilt answers on a free port of loopback.
pub(super) fn origin() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = |framing: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 01 Nov 2026 08:49:37 GMT\r\n\
             Content-Type: text/plain\r\nX-Backend: b1\r\n{framing}\r\n\r\n{body}"
        )
    };
    let sized = |size| answer(&format!("Content-Length: {size}"), &"x".repeat(size));
    let (small, large) = (sized(128), sized(10240));
    let chunked = answer("Transfer-Encoding: chunked", &chunks());
    let mut read = Vec::new();
    while message(&mut stream, &mut read)?.is_some() {
        let answer = match &read {
            r if r.starts_with(b"GET /10k ") => &large,
            r if r.starts_with(b"POST /chunked ") => &chunked,
            _ => &small,
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Reads one message with its body into `read`; `None` when the peer ended the connection.
fn message(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<usize>> {
    read.clear();
    loop {
        if let Some(length) = whole(read) {
            return Ok(Some(length));
        }
        let mut room = [0; 32 * 1024];
        match stream.read(&mut room)? {
            0 => return Ok(None),
            n => read.extend_from_slice(&room[..n]),
        }
    }
}

/// The length of the message at the front of `read`, once it is whole.
fn whole(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name).map(str::trim))
    };
    if field("transfer-encoding:").is_some() {
        return read.ends_with(b"\r\n0\r\n\r\n").then_some(read.len());
    }
    let body = field("content-length:").map_or(Some(0), |n| n.parse().ok())?;
    (read.len() >= head + body).then_some(head + body)
}
