//! Refusals as RFC 9457 problem documents.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

use crate::json;

/// An answer that says what went wrong and what would help.
pub(crate) fn response(status: StatusCode, title: &str, detail: &str) -> Response {
    let document = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, json::text(&document)).into_response()
}
