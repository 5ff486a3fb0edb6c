//! Who may act over HTTP.
//!
//! Three gates, in this order: acts must be on (405); the request must not come from another
//! site's page (403); whoever asks must be entitled (401, or 403 off loopback).

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::Admin;
use crate::admin::{Acts, Config};
use crate::command::Principal;
use crate::guesses::Wrong;
use crate::problem;
use crate::serve::Peer;

/// Why an act was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Acts are off.
    Off,
    /// A page of another site sent it.
    CrossSite,
    /// It is addressed to a host name that may be a trap.
    Host,
    /// The token is missing or wrong.
    Token,
    /// Too many wrong tokens are being answered.
    Flood,
    /// Too many wrong tokens came from this address.
    Guesses,
    /// It does not come from a loopback address.
    NotLoopback,
}

impl Refusal {
    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Off => StatusCode::METHOD_NOT_ALLOWED,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Flood | Self::Guesses => StatusCode::TOO_MANY_REQUESTS,
            Self::CrossSite | Self::Host | Self::NotLoopback => StatusCode::FORBIDDEN,
        }
    }

    /// What would help.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Off => {
                "Acts over HTTP are off. Start with --admin-token-file FILE, set admin = \"loopback\" under [stats], or use the runtime API's socket (--cli-socket PATH)."
            }
            Self::CrossSite => {
                "The request comes from another site's page. Send it without Origin, or from this page."
            }
            Self::Host => {
                "The Host is neither an IP address, a loopback name nor a name without a dot. Address the balancer that way."
            }
            Self::Token => "Send the administration token as `Authorization: Bearer TOKEN`.",
            Self::Flood => "Too many wrong tokens come at once. Ask again with the right one.",
            Self::Guesses => {
                "Too many wrong tokens or passwords came from this address. Ask again in a minute."
            }
            Self::NotLoopback => {
                "Acts are let through from loopback addresses only. Ask from the machine itself, or configure a token."
            }
        }
    }

    /// The whole answer.
    pub(crate) fn response(self) -> Response {
        let title = match self {
            Self::Off => "Acts are off",
            Self::Token => "A token is needed",
            Self::Flood | Self::Guesses => "Too many wrong tokens",
            Self::CrossSite | Self::Host | Self::NotLoopback => "Not allowed",
        };
        let mut answer = problem::response(self.status(), title, self.detail());
        let extra = match self {
            Self::Off => Some((header::ALLOW, "GET, HEAD")),
            Self::Token => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"roundel\"")),
            Self::Guesses => Some((header::RETRY_AFTER, "60")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            answer
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

fn shown(peer: Option<Peer>) -> String {
    peer.map_or("unknown".to_owned(), |p| p.0.to_string())
}

/// Lets an act through, and says who asked. A wrong token is counted, told of, and refused after a
/// moment.
///
/// `form_token` is a token given in a form's field instead of the header.
pub(crate) async fn admit(
    admin: &Admin,
    headers: &HeaderMap,
    peer: Option<Peer>,
    form_token: Option<&str>,
) -> Result<Principal, Refusal> {
    let guesses = &admin.shared.guesses;
    let is_given = !given(headers, form_token).is_empty();
    let is_guess = is_given && matches!(admin.shared.config.acts, Acts::Token(_));
    if is_guess && guesses.wait(peer).is_some() {
        return Err(Refusal::Guesses);
    }
    let judged = judge(&admin.shared.config, headers, peer, form_token);
    match judged {
        Err(Refusal::Token) if is_given => Err(match guesses.refuse(peer).await {
            Wrong::Told => Refusal::Token,
            Wrong::Flood => Refusal::Flood,
        }),
        judged => judged,
    }
}

fn given<'a>(headers: &'a HeaderMap, form_token: Option<&'a str>) -> &'a str {
    bearer(headers).or(form_token).unwrap_or_default()
}

fn judge(
    config: &Config,
    headers: &HeaderMap,
    peer: Option<Peer>,
    form_token: Option<&str>,
) -> Result<Principal, Refusal> {
    if config.acts == Acts::Off {
        return Err(Refusal::Off);
    }
    if !is_same_site(headers) {
        return Err(Refusal::CrossSite);
    }
    if !is_safe_host(
        text(headers, header::HOST).unwrap_or_default(),
        &config.hosts,
    ) {
        return Err(Refusal::Host);
    }
    match &config.acts {
        Acts::Off => return Err(Refusal::Off),
        Acts::Loopback => {
            let near = peer.is_some_and(|p| p.0.ip().to_canonical().is_loopback());
            if !near {
                return Err(Refusal::NotLoopback);
            }
        }
        Acts::Token(token) => {
            let given = given(headers, form_token);
            if !same_bytes(token.as_bytes(), given.as_bytes()) {
                return Err(Refusal::Token);
            }
        }
    }
    Ok(Principal(format!("http {}", shown(peer))))
}

pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}"))
}

/// Browsers name the page that sends a request; programs do not.
///
/// No script can set `Sec-Fetch-Site`, and a page without an origin of its own (a sandboxed
/// frame, a `data:` URL) is `cross-site` to everything. `same-origin` therefore vouches for an
/// `Origin: null`, which is all that a browser or a front proxy with a strict referrer policy
/// tells.
pub(crate) fn is_same_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|s| s != b"same-origin" && s != b"none") {
        return false;
    }
    let Some(origin) = text(headers, header::ORIGIN) else {
        return true;
    };
    if origin == "null" {
        return site == Some(b"same-origin");
    }
    let host = text(headers, header::HOST).unwrap_or_default();
    let authority = origin
        .strip_prefix("http://")
        .or(origin.strip_prefix("https://"));
    !host.is_empty() && authority.is_some_and(|a| a.eq_ignore_ascii_case(host))
}

/// A name with dots can be pointed at us by whoever owns its zone (DNS rebinding); an
/// address, a loopback name or a bare name cannot.
fn is_safe_host(host: &str, allowed: &[String]) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    if let Some(v6) = bare.strip_prefix('[').and_then(|b| b.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    bare.parse::<std::net::Ipv4Addr>().is_ok()
        || bare.ends_with(".localhost")
        || (!bare.is_empty() && bare.chars().all(plain))
        || allowed.iter().any(|name| name.eq_ignore_ascii_case(&bare))
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares without telling by time where two texts differ. An empty secret fits nothing.
pub(crate) fn same_bytes(secret: &[u8], given: &[u8]) -> bool {
    let difference = secret.iter().zip(given).fold(0u8, |d, (a, b)| d | (a ^ b));
    !secret.is_empty() && secret.len() == given.len() && difference == 0
}

#[cfg(test)]
mod tests;
