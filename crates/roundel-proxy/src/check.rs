//! One active check: connects to a server, asks, judges the answer.
//!
//! When a check is due and what its result leads to is decided in `roundel-balance`.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_balance::{CheckKind, CheckReport, CheckSpec, CheckStatus};
use roundel_http1::proxy_protocol;
use roundel_tls::Back;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::ProxyVersion;
use crate::config::Proto;
use crate::connect::secure::secure;
use crate::headers::via;
use crate::shortage::{self, is_shortage};
use crate::transport::Io;

mod grpc;
mod h2;

/// The longest head of an answer that is read. Nginx's whole default head buffer is half of it.
const MAX_HEAD: usize = 16 * 1024;
/// The most fields in a head.
const MAX_FIELDS: usize = 128;

/// Probes `address` once, as `spec` says, and ends within `spec.timeout`.
///
/// A server that expects the PROXY protocol gets a header of version `send_proxy` first, which
/// says that Roundel speaks for itself. With `tls` all else goes over TLS.
///
/// The gRPC check calls `grpc.health.v1.Health/Check` over HTTP/2 and passes on SERVING.
///
/// The HTTP check sends one HTTP/1.1 request with `Connection: close`, no cookie, and with a Via
/// by which this process knows its own: a server that is itself answers 508. It passes on
/// a final status of 2xx or 3xx; the body is not read. With checks off the report says `UNK`.
/// Servers of HTTP/2 are asked the same over that.
pub async fn probe(
    address: SocketAddr,
    spec: &CheckSpec,
    send_proxy: Option<ProxyVersion>,
    tls: Option<&Back>,
    proto: Proto,
) -> CheckReport {
    let start = Instant::now();
    let mut header = Vec::new();
    if let Some(version) = send_proxy {
        proxy_protocol::write(version, None, None, &mut header);
    }
    let connected = async || {
        let (socket, deadline) = connect(address, spec.timeout).await?;
        let alpn = matches!(spec.kind, CheckKind::Grpc { .. }).then_some(&b"h2"[..]);
        match timeout_at(deadline.into(), begin(socket, &header, tls, alpn, address)).await {
            Ok(Ok(stream)) => Ok((stream, deadline)),
            Ok(Err(error)) => Err(Finding::new(CheckStatus::L6Rsp, words(&error))),
            Err(_) => Err(Finding::new(CheckStatus::L6Tout, "no handshake in time")),
        }
    };
    let finding = match &spec.kind {
        CheckKind::Off => Finding::new(CheckStatus::Unk, "checks are off"),
        CheckKind::Tcp => match connected().await {
            Ok((mut stream, deadline)) => {
                let _ = timeout_at(deadline.into(), stream.flush()).await;
                let passed = if tls.is_some() {
                    CheckStatus::L6Ok
                } else {
                    CheckStatus::L4Ok
                };
                Finding::new(passed, "")
            }
            Err(finding) => finding,
        },
        CheckKind::Grpc { service, host } => {
            let host = host.clone().unwrap_or_else(|| address.to_string());
            let question = grpc::Question {
                is_secured: tls.is_some(),
                host: &host,
                service,
            };
            match connected().await {
                Ok((stream, deadline)) => grpc::ask(stream, &question, deadline).await,
                Err(finding) => finding,
            }
        }
        CheckKind::Http { method, path, host } => {
            let host = host.clone().unwrap_or_else(|| address.to_string());
            match connected().await {
                Ok((stream, deadline)) if proto.is_h2(&stream) => {
                    let asked = h2::converse(stream, method, path, &host);
                    judge_by(asked, deadline).await
                }
                Ok((stream, deadline)) => {
                    let request = request(method, path, &host);
                    ask(stream, request.as_bytes(), deadline).await
                }
                Err(finding) => finding,
            }
        }
    };
    finding.into_report(start.elapsed())
}

struct Finding {
    status: CheckStatus,
    http_code: Option<u16>,
    description: String,
}

impl Finding {
    fn new(status: CheckStatus, description: impl Into<String>) -> Self {
        Self {
            status,
            http_code: None,
            description: description.into(),
        }
    }

    fn into_report(self, duration: Duration) -> CheckReport {
        CheckReport {
            status: self.status,
            http_code: self.http_code,
            duration,
            description: self.description.into(),
        }
    }
}

/// Connects, and gives the time until which the whole check may take.
///
/// A shortage of our own descriptors says nothing about the server: it is waited for.
async fn connect(address: SocketAddr, limit: Duration) -> Result<(TcpStream, Instant), Finding> {
    loop {
        let deadline = Instant::now() + limit;
        return match timeout_at(deadline.into(), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok((stream, deadline)),
            Ok(Err(error)) if is_shortage(&error) => {
                tokio::time::sleep(shortage::PAUSE).await;
                continue;
            }
            Ok(Err(error)) => Err(Finding::new(CheckStatus::L4Con, words(&error))),
            Err(_) => Err(Finding::new(
                CheckStatus::L4Tout,
                "no answer to the connect",
            )),
        };
    }
}

/// Sends the header of the PROXY protocol, without which a server that waits for one would complain,
/// and makes the handshake where there is one.
async fn begin(
    mut socket: TcpStream,
    header: &[u8],
    tls: Option<&Back>,
    alpn: Option<&[u8]>,
    address: SocketAddr,
) -> io::Result<Io> {
    match tls {
        Some(back) => secure(socket, header, back, alpn, address.ip()).await,
        None => {
            // What goes wrong is found by whoever reads an answer.
            let _ = socket.write_all(header).await;
            Ok(Io::Plain(socket))
        }
    }
}

fn request(method: &str, path: &str, host: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: roundel-check/{}\r\n\
         Accept: */*\r\nVia: {}\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        via::value("1.1")
    )
}

async fn ask(mut stream: Io, request: &[u8], deadline: Instant) -> Finding {
    judge_by(converse(&mut stream, request), deadline).await
}

/// Judges the status that is the answer to what was asked.
async fn judge_by(asked: impl Future<Output = Result<u16, String>>, deadline: Instant) -> Finding {
    match timeout_at(deadline.into(), asked).await {
        Ok(Ok(code)) => judge(code),
        Ok(Err(fault)) => Finding::new(CheckStatus::L7Rsp, fault),
        Err(_) => Finding::new(CheckStatus::L7Tout, "no answer in time"),
    }
}

/// Source: HAProxy passes 2xx and 3xx unless told otherwise.
fn judge(code: u16) -> Finding {
    let (status, description) = match code {
        200..=399 => (CheckStatus::L7Ok, ""),
        _ => (CheckStatus::L7Sts, "the status does not pass"),
    };
    Finding {
        http_code: Some(code),
        ..Finding::new(status, description)
    }
}

/// Sends the request and returns the final status. Errors: words about what came instead.
async fn converse(stream: &mut Io, request: &[u8]) -> Result<u16, String> {
    let sent = send(stream, request).await;
    sent.map_err(|error| format!("sending: {}", words(&error)))?;
    let mut head = Vec::with_capacity(1024);
    loop {
        while let Some((code, length)) = parse(&head)? {
            // 101 cannot follow a request without Upgrade; other 1xx come before the answer.
            if !(100..200).contains(&code) || code == 101 {
                return Ok(code);
            }
            head.drain(..length);
        }
        if head.len() >= MAX_HEAD {
            return Err(format!("the head is longer than {MAX_HEAD} bytes"));
        }
        match stream.read_buf(&mut head).await {
            Ok(0) if head.is_empty() => return Err("closed without an answer".into()),
            Ok(0) => return Err("closed inside the head".into()),
            Ok(_) => {}
            Err(error) => return Err(words(&error)),
        }
    }
}

async fn send(stream: &mut Io, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Parses a whole head and returns status and length; `None` while it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => match response.code {
            Some(code @ 100..=599) => Ok(Some((code, length))),
            code => Err(format!("status {}", code.unwrap_or_default())),
        },
        Err(error) => Err(format!("not HTTP: {error}")),
    }
}

/// The few words of an error, without the number of the operating system.
fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "Connection refused".into(),
        ErrorKind::ConnectionReset => "Connection reset".into(),
        ErrorKind::HostUnreachable => "No route to host".into(),
        ErrorKind::NetworkUnreachable => "Network is unreachable".into(),
        // What the library says names no secret; what it quotes may be the server's.
        ErrorKind::InvalidData => error.to_string(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn spec(kind: CheckKind) -> CheckSpec {
        CheckSpec {
            kind,
            timeout: Duration::from_secs(5),
            ..CheckSpec::default()
        }
    }

    fn head() -> CheckKind {
        CheckSpec::default().kind
    }

    /// Probes a server that reads the request, writes `answer` and closes; gives both sides.
    async fn exchange(answer: &'static [u8]) -> (CheckReport, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(seen).unwrap()
        });
        let report = probe(address, &spec(head()), None, None, Proto::H1).await;
        (report, served.await.unwrap())
    }

    #[tokio::test]
    async fn asks_as_a_check_and_passes_on_2xx_and_3xx() {
        let (report, seen) = exchange(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(
            (report.status, report.http_code),
            (CheckStatus::L7Ok, Some(204))
        );
        assert!(seen.starts_with("HEAD / HTTP/1.1\r\nHost: 127.0.0.1:"));
        assert!(seen.contains("\r\nUser-Agent: roundel-check/"));
        assert!(seen.contains("\r\nConnection: close\r\n"));
        let (report, _) = exchange(b"HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n").await;
        assert_eq!(report.status, CheckStatus::L7Ok);
    }

    #[tokio::test]
    async fn judges_what_comes_instead() {
        use CheckStatus::{L7Ok, L7Rsp, L7Sts};
        for (answer, status) in [
            (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], L7Sts),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", L7Sts),
            (
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                L7Ok,
            ),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", L7Sts),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", L7Rsp),
            (b"HTTP/1.1 200 OK\r\n", L7Rsp),
            (b"HTTP/1.1 999 Odd\r\n\r\n", L7Rsp),
            (b"", L7Rsp),
        ] {
            let (report, _) = exchange(answer).await;
            let text = String::from_utf8_lossy(answer);
            assert_eq!(report.status, status, "{text} {}", report.description);
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let long: &[u8] = b"HTTP/1.1 200 OK\r\nX: ".as_slice();
        let mut answer = long.to_vec();
        answer.extend(std::iter::repeat_n(b'a', 2 * MAX_HEAD));
        let (report, _) = exchange(answer.leak()).await;
        assert_eq!(report.status, CheckStatus::L7Rsp);
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_an_open_one_passes_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let report = probe(address, &spec(CheckKind::Tcp), None, None, Proto::H1).await;
        assert_eq!(report.status, CheckStatus::L4Ok);
        drop(listener);
        for kind in [CheckKind::Tcp, head()] {
            let report = probe(address, &spec(kind), None, None, Proto::H1).await;
            assert_eq!(report.status, CheckStatus::L4Con);
            assert_eq!(&*report.description, "Connection refused");
        }
    }

    #[tokio::test]
    async fn silence_after_the_connect_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = CheckSpec {
            timeout: Duration::from_millis(50),
            ..spec(head())
        };
        let report = probe(listener.local_addr().unwrap(), &spec, None, None, Proto::H1).await;
        assert_eq!(report.status, CheckStatus::L7Tout);
        assert!(report.duration >= spec.timeout);
    }
}
