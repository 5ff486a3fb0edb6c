//! A small HTTP/1 client for talking to a running balancer's page.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use roundel_tls::rustls::pki_types::ServerName;
use roundel_tls::{Back, Demand};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one request may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Whom to talk to.
pub(crate) struct Page<'a> {
    /// `http://host[:port]` or `https://host[:port]`.
    pub(crate) base: &'a str,
    /// PEM of who signs its certificate; `None`: whom browsers trust. At a loopback address nobody is
    /// asked, since nobody is in between.
    pub(crate) ca_file: Option<&'a Path>,
    /// Who asks, where it wants to know.
    pub(crate) credentials: Option<&'a Credentials>,
}

/// What tells a page who asks.
pub(crate) enum Credentials {
    Token(String),
    Password { user: String, password: String },
}

impl Credentials {
    /// The value of `Authorization`.
    fn field(&self) -> String {
        match self {
            Self::Token(token) => format!("Bearer {token}"),
            Self::Password { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
        }
    }
}

/// Sends one request, with `path` appended to the page's address.
///
/// Errors: an address that cannot be read or reached, a broken answer, too much time.
pub(crate) async fn send(
    method: Method,
    page: &Page<'_>,
    path: &str,
    body: Option<String>,
) -> anyhow::Result<Answer> {
    send_within(LIMIT, method, page, path, body).await
}

/// As [`send`], with another limit of time.
pub(crate) async fn send_within(
    limit: Duration,
    method: Method,
    page: &Page<'_>,
    path: &str,
    body: Option<String>,
) -> anyhow::Result<Answer> {
    let base = page.base;
    let (scheme, authority, prefix) = split(base)?;
    let target = match format!("{prefix}{path}") {
        target if target.starts_with('/') => target,
        target => format!("/{target}"),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, authority);
    if let Some(credentials) = page.credentials {
        request = request.header(AUTHORIZATION, credentials.field());
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
    let answered = async {
        let (host, port) = host_and_port(authority, scheme)?;
        let stream = TcpStream::connect((host, port)).await?;
        let stream: Box<dyn Stream> = match scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => Box::new(secured(stream, host, page.ca_file).await?),
        };
        exchange(stream, request).await
    };
    tokio::time::timeout(limit, answered)
        .await
        .with_context(|| format!("{base} did not answer within {} s", limit.as_secs()))?
        .with_context(|| format!("cannot reach Roundel at {base}"))
}

/// A connection in clear or over TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Speaks TLS. Errors: a file that is no good, a server that cannot be believed.
async fn secured(
    stream: TcpStream,
    host: &str,
    ca_file: Option<&Path>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned())?;
    let demand = Demand {
        ca_file: ca_file.map(Path::to_owned),
        verify: !stream.peer_addr()?.ip().to_canonical().is_loopback(),
        ..Demand::default()
    };
    let back = Back::read(&demand).map_err(|refused| {
        let lines: Vec<String> = refused.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("; "))
    })?;
    let connector = TlsConnector::from(Arc::clone(back.config()));
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| anyhow!("{error}{}", cure(&error)))
}

/// What helps against a handshake that failed, in most cases.
fn cure(error: &std::io::Error) -> &'static str {
    use roundel_tls::rustls::Error;
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) => "; it speaks HTTP in clear, so write http://",
        Some(Error::InvalidCertificate(_)) => "; name who signs its certificate by --ca-file",
        _ => "",
    }
}

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok(Answer { status, body })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// The scheme, the authority and what stands behind it.
///
/// Errors: no address of a page, or one with a password in it, which is not repeated.
fn split(base: &str) -> anyhow::Result<(Scheme, &str, &str)> {
    if base.contains('@') {
        bail!(
            "an address with a name or a password in it is not used, since others see it: write the \
             address alone, and --user NAME with --password-file FILE"
        );
    }
    let (scheme, rest) = match (base.strip_prefix("http://"), base.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (_, Some(rest)) => (Scheme::Https, rest),
        _ => bail!("`{base}` is not an address; write http://127.0.0.1:1936"),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, prefix) = rest.split_at(at);
    if authority.is_empty() {
        bail!("`{base}` names no host; write http://127.0.0.1:1936");
    }
    Ok((scheme, authority, prefix.trim_end_matches('/')))
}

fn host_and_port(authority: &str, scheme: Scheme) -> anyhow::Result<(&str, u16)> {
    let usual = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse()?),
        _ => (authority, usual),
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    Ok((bare.unwrap_or(host), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_addresses() {
        let split = |base| split(base).unwrap();
        assert_eq!(split("http://a:1936"), (Scheme::Http, "a:1936", ""));
        assert_eq!(split("http://a/x/"), (Scheme::Http, "a", "/x"));
        assert_eq!(split("https://a/x"), (Scheme::Https, "a", "/x"));
        assert!(super::split("a:1936").is_err() && super::split("http:///x").is_err());
    }

    #[test]
    fn no_password_of_an_address_is_repeated() {
        for base in [
            "http://ada:secret@a:1936",
            "https://ada:se/cret@a/x",
            "ada:secret@a:1936",
            "ftp://secret@a",
        ] {
            let told = split(base).unwrap_err().to_string();
            assert!(!told.contains("cret@") && told.contains("--user"), "{told}");
        }
    }

    #[test]
    fn finds_the_port() {
        for (authority, scheme, found) in [
            ("a", Scheme::Http, ("a", 80)),
            ("a", Scheme::Https, ("a", 443)),
            ("a:1936", Scheme::Https, ("a", 1936)),
            ("[::1]:1936", Scheme::Http, ("::1", 1936)),
            ("[::1]", Scheme::Https, ("::1", 443)),
        ] {
            assert_eq!(host_and_port(authority, scheme).unwrap(), found);
        }
        assert!(host_and_port("a:b", Scheme::Http).is_err());
    }
}
