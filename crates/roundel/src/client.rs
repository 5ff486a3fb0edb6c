//! A small HTTP/1 client for talking to a running balancer's page.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long one request may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Sends one request to `base` (`http://host[:port]`) with `path` appended.
///
/// Errors: an address that cannot be read or reached, a broken answer, too much time.
pub(crate) async fn send(
    method: Method,
    base: &str,
    path: &str,
    token: Option<&str>,
    body: Option<String>,
) -> anyhow::Result<Answer> {
    send_within(LIMIT, method, base, path, token, body).await
}

/// As [`send`], with another limit of time.
pub(crate) async fn send_within(
    limit: Duration,
    method: Method,
    base: &str,
    path: &str,
    token: Option<&str>,
    body: Option<String>,
) -> anyhow::Result<Answer> {
    let (authority, prefix) = split(base)?;
    let target = match format!("{prefix}{path}") {
        target if target.starts_with('/') => target,
        target => format!("/{target}"),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, authority);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
    tokio::time::timeout(limit, exchange(authority, request))
        .await
        .with_context(|| format!("{base} did not answer within {} s", limit.as_secs()))?
        .with_context(|| format!("cannot reach Roundel at {base}"))
}

async fn exchange(authority: &str, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let address = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok(Answer { status, body })
}

/// Splits `http://host[:port][/prefix]`.
fn split(base: &str) -> anyhow::Result<(&str, &str)> {
    let Some(rest) = base.strip_prefix("http://") else {
        bail!("`{base}` is not an address; write http://127.0.0.1:1936 (there is no https here)");
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, prefix) = rest.split_at(at);
    if authority.is_empty() {
        bail!("`{base}` names no host; write http://127.0.0.1:1936");
    }
    Ok((authority, prefix.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_addresses() {
        assert_eq!(split("http://a:1936").unwrap(), ("a:1936", ""));
        assert_eq!(split("http://a/x/").unwrap(), ("a", "/x"));
        assert!(split("https://a").is_err() && split("http:///x").is_err());
    }
}
