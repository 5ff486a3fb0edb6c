//! Which path is answered by what.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::Admin;
use crate::bounds::BUFFER;
use crate::metrics::Scope;
use crate::{acts, answers, api, csv, door, form, health, metrics, problem, sse};

/// A test holds it against the routes and what they answer.
const OPENAPI: &str = include_str!("../openapi.json");

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(form::show).post(form::act))
        .route("/events", get(sse::events))
        .route("/metrics", get(prometheus))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/healthz", get(health::readyz))
        .route("/ping", get(health::ping))
        .route("/sd/prometheus", get(api::service_discovery))
        .merge(api_routes())
        .fallback(missing)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(admin.clone(), haproxy_forms))
        .layer(middleware::from_fn_with_state(
            admin.clone(),
            answers::shared,
        ))
        .layer(middleware::from_fn_with_state(admin.clone(), door::watch))
        .layer(middleware::map_response(harden))
        .layer(DefaultBodyLimit::max(BUFFER))
        .with_state(admin)
}

/// The paths under `/api/v1`, each as `openapi.json` describes it.
fn api_routes() -> Router<Admin> {
    let add = |router: Router<Admin>, (path, methods)| router.route(path, methods);
    api_paths().into_iter().fold(Router::new(), add)
}

fn api_paths() -> Vec<(&'static str, MethodRouter<Admin>)> {
    vec![
        ("/api/v1/snapshot", get(api::snapshot)),
        ("/api/v1/backends", get(api::backends)),
        ("/api/v1/backends/{backend}", get(api::backend)),
        ("/api/v1/backends/{backend}/servers", get(api::servers)),
        (
            "/api/v1/backends/{backend}/servers/{server}",
            get(api::server).post(acts::server),
        ),
        ("/api/v1/frontends", get(api::frontends)),
        ("/api/v1/members", get(api::members)),
        ("/api/v1/events", get(api::events)),
        ("/api/v1/series", get(api::series)),
        ("/api/v1/cluster:join", post(acts::join)),
        ("/api/v1/cluster:leave", post(acts::leave)),
        ("/api/v1/cluster:query", post(acts::query)),
        ("/api/v1/cluster:event", post(acts::event)),
        ("/api/v1/cluster:keys", post(acts::keys)),
        ("/api/v1/config:reload", post(acts::reload)),
        ("/api/v1/openapi.json", get(openapi)),
    ]
}

/// Answers HAProxy's `;csv`, `;typed` and `;json` wherever they stand in the path or query, and its page
/// where it usually is.
async fn haproxy_forms(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or("", |p| p.as_str());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads {
        return next.run(request).await;
    }
    let (form, kind) = if target.contains(";csv") {
        (csv::Form::Csv, "text/plain")
    } else if target.contains(";typed") {
        (csv::Form::Typed, "text/plain")
    } else if target.contains(";json") && !target.contains(";json-schema") {
        (csv::Form::Json, "application/json")
    } else if is_haproxys_page(target) {
        return form::show_haproxy(&admin);
    } else {
        return next.run(request).await;
    };
    let filter = csv::Filter {
        up: target.contains(";up"),
        no_maint: target.contains(";no-maint"),
        scope: scope(target).to_owned(),
        form,
        ..csv::Filter::ALL
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let text = csv::render(&admin.moment(), &filter, &admin.cleared());
    (headers, text).into_response()
}

/// Whether this is where HAProxy's page is by custom: `/stats`, `/haproxy?stats`, `/?stats`, with
/// options such as `;norefresh` behind.
fn is_haproxys_page(target: &str) -> bool {
    let plain = target.split(';').next().unwrap_or_default();
    match plain.split_once('?') {
        Some((_, query)) => query == "stats" || query.starts_with("stats&"),
        None => plain.rsplit('/').next() == Some("stats") || plain.ends_with("/haproxy-stats"),
    }
}

/// HAProxy's `;scope=TEXT`: only what has this in its name.
fn scope(target: &str) -> &str {
    let (_, rest) = target.split_once(";scope=").unwrap_or_default();
    let end = rest.find([';', '&', '?', ' ']);
    &rest[..end.unwrap_or(rest.len())]
}

/// What the paths under `/api/v1` take and give (OpenAPI 3.1).
async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, OPENAPI).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScrapeQuery {
    scope: Option<String>,
    no_server: Option<String>,
    compat: Option<String>,
}

async fn prometheus(State(admin): State<Admin>, Query(query): Query<ScrapeQuery>) -> Response {
    let scope = match query.scope.as_deref() {
        None => Scope::ALL,
        Some(word) => Scope {
            global: word == "global",
            frontends: word == "frontend",
            backends: word == "backend",
            servers: word == "server",
        },
    };
    let scope = Scope {
        servers: scope.servers && query.no_server.is_none(),
        ..scope
    };
    let (moment, own) = (admin.moment(), admin.own_numbers());
    let text = match query.compat.as_deref() {
        Some("haproxy") => metrics::render_compat(&moment, &own, scope),
        _ => metrics::render(&moment, &own, scope),
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn missing(State(admin): State<Admin>, request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/;") && *request.method() == Method::GET {
        return form::show_classic(&admin, path);
    }
    let detail = "The page is at /, metrics at /metrics, JSON under /api/v1/.";
    problem::response(StatusCode::NOT_FOUND, "No such path", detail)
}

async fn not_allowed() -> Response {
    let detail = "This path does not take this method.";
    problem::response(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
}

/// Headers of every answer that did not set its own.
async fn harden(mut response: Response) -> Result<Response, Infallible> {
    const ALWAYS: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Under `no-referrer` browsers send the page's own forms with `Origin: null` (Fetch
        // standard, "append a request Origin header"), which looks like another site's.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}

#[cfg(test)]
mod described;
#[cfg(test)]
mod tests;
