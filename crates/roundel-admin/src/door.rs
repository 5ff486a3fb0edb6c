//! Who may read over HTTP: everybody, or whoever brings a token or a password.
//!
//! Health is answered always. A browser is shown a form to sign in and keeps a cookie afterwards,
//! since the stream of the page can send no token; programs send theirs with each request. Acts
//! keep their own guards behind this door.

use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::Admin;
use crate::admin::Acts;
use crate::guard::{self, Refusal, same_bytes};
use crate::guesses::Wrong;
use crate::serve::Peer;
use crate::{health, page, problem};

mod sessions;
mod users;

pub(crate) use sessions::Sessions;
pub use users::{Users, UsersError};

/// Who may read over HTTP.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Read {
    /// Whoever reaches the port.
    #[default]
    Open,
    /// Whoever brings this token, or the one for acts.
    Token(String),
    /// Whoever brings a name and password of these, or the token for acts.
    Basic(Users),
}

impl std::fmt::Debug for Read {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Token(_) => "token",
            Self::Basic(_) => "basic",
        })
    }
}

/// What somebody brings.
enum Given {
    Token(String),
    Password { user: String, password: String },
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// Nothing was brought.
    Empty,
    /// It is wrong.
    Wrong,
    /// Too much is being looked at, or this address was wrong too often.
    Later(Refusal),
}

/// Whether there is a door at all.
pub(crate) fn is_shut(admin: &Admin) -> bool {
    !matches!(admin.shared.config.read, Read::Open)
}

/// Lets a request through, or asks for what is missing.
pub(crate) async fn watch(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_free = health::is_asked(path)
        || (admin.shared.config.open_metrics && path == "/metrics")
        || !is_shut(&admin);
    if is_free {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>().copied();
    let (method, headers) = (request.method(), request.headers());
    if *method == Method::POST && path == "/login" {
        return sign_in(&admin, peer, request).await;
    }
    if *method == Method::POST && path == "/logout" && guard::is_same_site(headers) {
        admin.shared.sessions.end(headers);
        return (cookie(&admin, headers, "", 0), Redirect::to("/")).into_response();
    }
    let closed = match entitled(&admin, headers, peer).await {
        Ok(()) => return next.run(request).await,
        Err(closed) => closed,
    };
    let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let is_page = *method == Method::GET
        && guard::text(headers, header::ACCEPT).is_some_and(|a| a.contains("text/html"));
    match is_page {
        true => form(&admin, closed, local(target)),
        false => refusal(&admin, closed),
    }
}

/// Whether these fields let their sender read.
async fn entitled(admin: &Admin, headers: &HeaderMap, peer: Option<Peer>) -> Result<(), Closed> {
    if admin.shared.sessions.is_known(headers) {
        return Ok(());
    }
    let given = given(headers).ok_or(Closed::Empty)?;
    fits(admin, given, peer).await
}

fn given(headers: &HeaderMap) -> Option<Given> {
    if let Some(token) = guard::bearer(headers) {
        return Some(Given::Token(token.to_owned()));
    }
    let (scheme, coded) = guard::text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(coded.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(Given::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

/// Whether this is right. What is wrong is counted and slow to answer.
async fn fits(admin: &Admin, given: Given, peer: Option<Peer>) -> Result<(), Closed> {
    let shared = &admin.shared;
    if shared.guesses.wait(peer).is_some() {
        return Err(Closed::Later(Refusal::Guesses));
    }
    let is_right = match (&given, &shared.config.read) {
        (Given::Token(token), read) => {
            let is = |secret: &str| same_bytes(secret.as_bytes(), token.as_bytes());
            let reads = matches!(read, Read::Token(secret) if is(secret));
            reads || matches!(&shared.config.acts, Acts::Token(secret) if is(secret))
        }
        (Given::Password { user, password }, Read::Basic(users)) => {
            let fits = users.fits(user, password).await;
            fits.ok_or(Closed::Later(Refusal::Flood))?
        }
        (Given::Password { .. }, _) => false,
    };
    if is_right {
        return Ok(());
    }
    Err(match shared.guesses.refuse(peer).await {
        Wrong::Told => Closed::Wrong,
        Wrong::Flood => Closed::Later(Refusal::Flood),
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignIn {
    user: String,
    password: String,
    token: String,
    next: String,
}

/// `POST /login`: a cookie for whoever brings what is right.
async fn sign_in(admin: &Admin, peer: Option<Peer>, request: Request) -> Response {
    let headers = request.headers().clone();
    if !guard::is_same_site(&headers) {
        return Refusal::CrossSite.response();
    }
    let Ok(Form(form)) = Form::<SignIn>::from_request(request.map(Body::new), &()).await else {
        let detail = "Send the form's fields: token, or user and password.";
        return problem::response(StatusCode::BAD_REQUEST, "No such form", detail);
    };
    let given = match form.token.is_empty() {
        false => Given::Token(form.token),
        true => Given::Password {
            user: form.user,
            password: form.password,
        },
    };
    let next = local(&form.next);
    match fits(admin, given, peer).await {
        Ok(()) => {
            let session = admin.shared.sessions.begin();
            let seconds = sessions::LIFE.as_secs();
            (
                cookie(admin, &headers, &session, seconds),
                Redirect::to(next),
            )
                .into_response()
        }
        Err(closed) => self::form(admin, closed, next),
    }
}

/// The field that has a browser keep a session, or forget it.
fn cookie(
    admin: &Admin,
    headers: &HeaderMap,
    value: &str,
    seconds: u64,
) -> [(header::HeaderName, String); 1] {
    // Whoever speaks TLS for us says so; who lies about it loses its own cookie.
    let is_said = guard::text(
        headers,
        header::HeaderName::from_static("x-forwarded-proto"),
    )
    .is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
    let secure = if is_said || admin.shared.config.tls.load().is_some() {
        "; Secure"
    } else {
        ""
    };
    let name = sessions::COOKIE;
    let text =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    [(header::SET_COOKIE, text)]
}

/// A place on this port to go to afterwards; anything else is the page.
fn local(target: &str) -> &str {
    let is_path = target.starts_with('/') && !target.starts_with("//");
    let is_plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
    match is_path && target.bytes().all(is_plain) && !target.starts_with("/login") {
        true => target,
        false => "/",
    }
}

/// The form to sign in, for a browser.
fn form(admin: &Admin, closed: Closed, next: &str) -> Response {
    let (status, said) = match closed {
        Closed::Empty => (StatusCode::UNAUTHORIZED, None),
        Closed::Wrong => (StatusCode::UNAUTHORIZED, Some("That is not right.")),
        Closed::Later(refusal) => (refusal.status(), Some(refusal.detail())),
    };
    let by_name = matches!(admin.shared.config.read, Read::Basic(_));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            page::content_security_policy(),
        ),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (status, headers, page::login(by_name, next, said)).into_response()
}

/// The answer to a program.
fn refusal(admin: &Admin, closed: Closed) -> Response {
    if let Closed::Later(refusal) = closed {
        return refusal.response();
    }
    let (detail, scheme) = match admin.shared.config.read {
        Read::Basic(_) => (
            "Send a user and a password of users_file by basic authentication.",
            "Basic realm=\"roundel\", charset=\"UTF-8\"",
        ),
        _ => (
            "Send the token of read_token_file as `Authorization: Bearer TOKEN`.",
            "Bearer realm=\"roundel\"",
        ),
    };
    let mut answer = problem::response(StatusCode::UNAUTHORIZED, "Who reads must sign in", detail);
    let scheme = HeaderValue::from_static(scheme);
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    answer
}

#[cfg(test)]
mod tests;
