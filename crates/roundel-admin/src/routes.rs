//! Which path is answered by what.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::Admin;
use crate::metrics::Scope;
use crate::{acts, api, csv, form, health, metrics, problem, sse};

/// Bodies are small forms and small JSON documents.
const MAX_BODY: usize = 16 * 1024;

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
        .layer(middleware::map_response(harden))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin)
}

fn api_routes() -> Router<Admin> {
    Router::new()
        .route("/api/v1/snapshot", get(api::snapshot))
        .route("/api/v1/backends", get(api::backends))
        .route("/api/v1/backends/{backend}", get(api::backend))
        .route("/api/v1/backends/{backend}/servers", get(api::servers))
        .route(
            "/api/v1/backends/{backend}/servers/{server}",
            get(api::server).post(acts::server),
        )
        .route("/api/v1/frontends", get(api::frontends))
        .route("/api/v1/members", get(api::members))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/series", get(api::series))
        .route("/api/v1/cluster:join", post(acts::join))
        .route("/api/v1/cluster:leave", post(acts::leave))
        .route("/api/v1/cluster:query", post(acts::query))
        .route("/api/v1/cluster:event", post(acts::event))
        .route("/api/v1/cluster:keys", post(acts::keys))
        .route("/api/v1/config:reload", post(acts::reload))
}

/// Answers HAProxy's `;csv` wherever it stands in the path or query.
async fn haproxy_forms(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or("", |p| p.as_str());
    if !target.contains(";csv") || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let filter = csv::Filter {
        up: target.contains(";up"),
        no_maint: target.contains(";no-maint"),
        ..csv::Filter::ALL
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, csv::render(&admin.moment(), &filter)).into_response()
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
        Some("haproxy") => metrics::render_compat(&moment, &own),
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
        (header::REFERRER_POLICY, "no-referrer"),
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
mod tests;
