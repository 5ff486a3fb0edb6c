//! A blocking HTTP/1.1 client that shares no code with the product.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// How long a read or a connect may take: far beyond what any answer in a test needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One answer, its body complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Field names in lower case and values, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body without its chunked coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The first field of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `name=value` pair of the first Set-Cookie for that cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.iter().filter(|(n, _)| n == "set-cookie");
        set.map(|(_, value)| value.split(';').next().unwrap_or_default().trim())
            .find(|pair| pair.split('=').next() == Some(name))
            .map(String::from)
    }

    fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|v| v.to_ascii_lowercase().contains("close"))
    }
}

/// One connection that carries several requests, one after the other.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    open: bool,
}

impl Connection {
    /// Connects. Errors: those of the connect.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        Self::open_within(to, PATIENCE)
    }

    /// Connects; neither that nor a read or write may take longer than `patience`.
    ///
    /// Errors: those of the connect.
    pub fn open_within(to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self {
            stream: BufReader::new(stream),
            open: true,
        })
    }

    /// Whether the last answer left the connection open for another request.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the other side has neither closed the connection nor sent what nobody asked for.
    pub fn is_quiet(&self) -> bool {
        let stream = self.stream.get_ref();
        let peeked = stream
            .set_nonblocking(true)
            .and_then(|()| stream.peek(&mut [0]));
        let quiet = peeked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && quiet && self.stream.buffer().is_empty()
    }

    /// Sends one request and reads the final answer; interim ones are skipped.
    ///
    /// A `Content-Length` is added when there is a body; Host is `roundel.test` unless given.
    /// Errors: those of the socket; `InvalidData` for an answer that is not HTTP/1;
    /// `UnexpectedEof` for one that ends early.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            head.push_str("Host: roundel.test\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        self.put(&message)?;
        self.take(method)
    }

    /// Sends bytes as they are. Errors: those of the socket.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Ends the sending side. Errors: those of the socket.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// Breaks the connection with a reset. Errors: those of the socket.
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO))
    }

    /// Reads the final answer to a request of that method; interim ones are skipped.
    ///
    /// Errors: as [`Self::send`].
    pub fn take(&mut self, method: &str) -> io::Result<Response> {
        let response = loop {
            let response = self.read_head()?;
            if !(100..200).contains(&response.status) {
                break self.read_body(response, method)?;
            }
        };
        self.open &= !response.closes();
        Ok(response)
    }

    /// Reads at most so many bytes of whatever comes. Errors: those of the socket.
    pub fn take_some(&mut self, most: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.stream).take(most), &mut io::sink())
    }

    fn read_head(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let mut words = first.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|w| w.parse().ok());
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            return Err(invalid(format!("bad status line {first:?}")));
        };
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid(format!("bad field {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        Ok(Response {
            status,
            headers,
            body: Vec::new(),
        })
    }

    fn read_body(&mut self, mut response: Response, method: &str) -> io::Result<Response> {
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some() {
            response.body = self.chunks()?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid("bad length".into()))?;
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
            self.open = false;
        }
        Ok(response)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16)
                .map_err(|_| invalid(format!("bad chunk size {line:?}")))?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("ended after {:?}", String::from_utf8_lossy(&line)),
            ));
        };
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

/// Sends one GET on a connection of its own.
pub fn get(to: SocketAddr, path: &str) -> io::Result<Response> {
    request(to, "GET", path, &[], b"")
}

/// Sends one request on a connection of its own, with `Connection: close`.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut all = vec![("Connection", "close")];
    all.extend_from_slice(headers);
    Connection::open(to)?.send(method, path, &all, body)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
