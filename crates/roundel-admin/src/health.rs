//! `/livez`, `/readyz`, `/healthz`, `/ping`.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

use crate::Admin;

/// A part that has not turned for so long stands still.
const STILL: Duration = Duration::from_secs(5);

/// Whether a path is one of these.
pub(crate) fn is_asked(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/healthz" | "/ping")
}

/// 200 while the control task makes its numbers, once a second, and every worker turns; 503 says
/// which one stands still. Never depends on servers.
pub(crate) async fn livez(State(admin): State<Admin>) -> Response {
    match still(&admin) {
        None => "ok\n".into_response(),
        Some(part) => (StatusCode::SERVICE_UNAVAILABLE, part + "\n").into_response(),
    }
}

/// The part that stands still.
fn still(admin: &Admin) -> Option<String> {
    let moment = admin.moment();
    let age = moment.since.elapsed();
    if age > STILL {
        return Some(format!(
            "the control task has made no numbers for {} s",
            age.as_secs()
        ));
    }
    let stall = moment.snapshot.process.worker_stall_seconds;
    (stall > STILL.as_secs_f64()).then(|| format!("a worker has not turned for {stall:.0} s"))
}

/// Answers as Traefik's does.
pub(crate) async fn ping() -> &'static str {
    "OK"
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReadyQuery {
    min_servers: Option<String>,
    verbose: Option<String>,
}

/// 200 when the configuration is loaded and nothing is ending.
///
/// Zero servers is ready: whoever waits for the balancer before starting servers would wait
/// for ever otherwise. `?min_servers=N` asks for more, `?verbose` lists what was looked at.
pub(crate) async fn readyz(
    State(admin): State<Admin>,
    Query(query): Query<ReadyQuery>,
) -> Response {
    let wanted = match query.min_servers.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(n)) => n,
        Some(Err(_)) => {
            return (StatusCode::BAD_REQUEST, "min_servers is a number\n").into_response();
        }
    };
    let moment = admin.moment();
    let serving = moment.rates.total.serving;
    let started = moment.snapshot.seq > 0;
    let still = still(&admin);
    let checks = [
        (
            still.is_none(),
            "turning",
            still.unwrap_or_else(|| "control and workers turn".to_owned()),
        ),
        (
            started,
            "started",
            "the first snapshot was taken".to_owned(),
        ),
        (
            !admin.is_draining(),
            "not draining",
            "no shutdown under way".to_owned(),
        ),
        (
            serving >= wanted,
            "servers",
            format!("{serving} serving, {wanted} wanted"),
        ),
    ];
    let ready = checks.iter().all(|(ok, ..)| *ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut text = String::new();
    for (ok, name, detail) in &checks {
        if query.verbose.is_some() || !ok {
            let sign = if *ok { '+' } else { '-' };
            text += &format!("[{sign}] {name}: {detail}\n");
        }
    }
    text += if ready { "ready\n" } else { "not ready\n" };
    (status, text).into_response()
}
