//! One connection: a request out, its answer read to the last byte and checked.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::Plan;
use super::secure::{Secure, Session};

/// Room for what one read brings; large answers are read in such parts.
const LARGE: usize = 256 << 10;
const SMALL: usize = 32 << 10;

/// Why a request counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Connect,
    Handshake,
    /// It was resumed where it should not be, or the other way round.
    HandshakeKind,
    Send,
    Receive,
    /// Closed before the answer was whole.
    Closed,
    /// Not an answer of HTTP/1.1, or without a length.
    Malformed,
    Status,
    /// The body is longer or shorter than it must be.
    Length,
}

impl Failure {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "not connected",
            Self::Handshake => "handshake failed",
            Self::HandshakeKind => "another handshake than asked for",
            Self::Send => "not sent",
            Self::Receive => "reset",
            Self::Closed => "closed early",
            Self::Malformed => "malformed answer",
            Self::Status => "wrong status",
            Self::Length => "wrong length",
        }
    }
}

/// What carries requests and answers.
trait Transport: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport for T {}

pub(super) struct Client {
    stream: Option<Box<dyn Transport>>,
    session: Option<Session>,
    buffer: Vec<u8>,
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Bytes of the head itself.
    size: usize,
    status: [u8; 3],
    length: u64,
    close: bool,
}

impl Client {
    pub(super) fn new(plan: &Plan) -> Self {
        let large = plan.expect > SMALL as u64;
        Self {
            stream: None,
            session: plan.secure.as_ref().map(Secure::client),
            buffer: vec![0; if large { LARGE } else { SMALL }],
        }
    }

    pub(super) fn forget_buffer(&mut self) {
        self.buffer = Vec::new();
    }

    /// Sends the request and reads the answer, on a new connection if there is none.
    ///
    /// After a failure the connection is closed.
    pub(super) async fn exchange(&mut self, plan: &Plan) -> Result<(), Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect(plan).await?,
        };
        let sent = stream.write_all(&plan.request).await;
        sent.map_err(|_| Failure::Send)?;
        let close = answer(&mut stream, &mut self.buffer, plan.expect).await?;
        if !(close || plan.close) {
            self.stream = Some(stream);
            return Ok(());
        }
        // The peer closes first, so that its side keeps the connection's remains.
        match stream.read(&mut self.buffer).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(Failure::Length),
            Err(_) => Err(Failure::Receive),
        }
    }

    /// Sends the request and reads what comes first of the answer, no more.
    pub(super) async fn begin(&mut self, plan: &Plan) -> Result<(), Failure> {
        // Else the kernel would take in megabytes for the reader.
        let socket = TcpSocket::new_v4().map_err(|_| Failure::Connect)?;
        let small = socket.set_recv_buffer_size(SMALL as u32);
        small.map_err(|_| Failure::Connect)?;
        let stream = socket.connect(plan.address).await;
        let mut stream = stream.map_err(|_| Failure::Connect)?;
        let sent = stream.write_all(&plan.request).await;
        sent.map_err(|_| Failure::Send)?;
        receive(&mut stream, &mut self.buffer[..1024]).await?;
        self.stream = Some(Box::new(stream));
        Ok(())
    }

    async fn connect(&mut self, plan: &Plan) -> Result<Box<dyn Transport>, Failure> {
        let stream = TcpStream::connect(plan.address).await;
        let stream = stream.map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        Ok(match &mut self.session {
            Some(session) => Box::new(session.connect(stream).await?),
            None => Box::new(stream),
        })
    }
}

/// Reads one answer; says whether its sender closes the connection.
async fn answer(
    stream: &mut impl Transport,
    buffer: &mut [u8],
    expect: u64,
) -> Result<bool, Failure> {
    let mut have = 0;
    let head = loop {
        let n = receive(stream, &mut buffer[have..]).await?;
        have += n;
        if let Some(head) = parse(&buffer[..have])? {
            break head;
        }
    };
    if head.status != *b"200" {
        return Err(Failure::Status);
    }
    if head.length != expect {
        return Err(Failure::Length);
    }
    let whole = head.size as u64 + expect;
    let mut left = whole.checked_sub(have as u64).ok_or(Failure::Length)?;
    while left > 0 {
        let n = receive(stream, buffer).await? as u64;
        left = left.checked_sub(n).ok_or(Failure::Length)?;
    }
    Ok(head.close)
}

async fn receive(stream: &mut impl Transport, buffer: &mut [u8]) -> Result<usize, Failure> {
    if buffer.is_empty() {
        return Err(Failure::Malformed);
    }
    match stream.read(buffer).await {
        Ok(0) => Err(Failure::Closed),
        Ok(n) => Ok(n),
        Err(_) => Err(Failure::Receive),
    }
}

/// Reads the head of an answer; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = bytes[..end].split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let status = match lines.next() {
        Some(
            [
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                b'1',
                b'.',
                _,
                b' ',
                a,
                b,
                c,
                ..,
            ],
        ) => [*a, *b, *c],
        _ => return Err(Failure::Malformed),
    };
    let (mut length, mut close) = (None, false);
    for line in lines.filter(|line| matches!(line.first(), Some(b'c' | b'C'))) {
        if let Some(value) = value_of(line, b"content-length:") {
            length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        } else if let Some(value) = value_of(line, b"connection:") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some(Head {
        size: end + 4,
        status,
        length: length.ok_or(Failure::Malformed)?,
        close,
    }))
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let text =
            b"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-LENGTH: 12\r\nConnection: Close\r\n\r\nab";
        let head = parse(text).unwrap().unwrap();
        assert_eq!((&head.status, head.length, head.close), (b"200", 12, true));
        assert_eq!(head.size, text.len() - 2);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        let without_length = b"HTTP/1.1 503 No\r\n\r\n";
        assert_eq!(parse(without_length), Err(Failure::Malformed));
        assert_eq!(parse(b"nonsense\r\n\r\n"), Err(Failure::Malformed));
    }
}
