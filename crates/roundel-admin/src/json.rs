//! JSON without characters that would steer whoever prints it.

use axum::response::{IntoResponse, Response};
use http::header;
use roundel_model::visible_json;
use serde::Serialize;

/// A value as JSON text, in one line.
pub(crate) fn text(value: &impl Serialize) -> String {
    visible_json(serde_json::to_string(value).expect("plain values encode"))
}

/// An answer of JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], text(&self.0)).into_response()
    }
}
