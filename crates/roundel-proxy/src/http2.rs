//! What both sides of HTTP/2 have in common.

use http::HeaderMap;
use http::header::HOST;
use roundel_http1::{Limits, Reason, Trailers};

pub(crate) mod ahead;

/// Takes trailers as `h2` gives them. Errors: more fields or bytes than those of HTTP/1 may have.
pub(crate) fn judged(map: &HeaderMap, limits: &Limits) -> Result<Trailers, Reason> {
    let mut trailers = Trailers::default();
    let (mut fields, mut size) = (0, 0);
    for (name, value) in map {
        if name == HOST && value.is_empty() {
            continue;
        }
        // As a line of HTTP/1: with a colon, a space and its end.
        size += name.as_str().len() + value.len() + 4;
        fields += 1;
        if fields > limits.fields {
            return Err(Reason::TooManyFields);
        }
        if size > limits.trailers {
            return Err(Reason::TrailersTooLarge);
        }
        trailers.push(name.as_str().as_bytes(), value.as_bytes());
    }
    Ok(trailers)
}
