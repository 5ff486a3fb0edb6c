//! The answers that Roundel gives itself: small, plain, and honest about what to do.
//!
//! They are rendered as HTTP/1.1 and then read like a server's answer, so that there is one way
//! to a client whatever it speaks.

use roundel_http1::reason_phrase;

/// What kind of document a client prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Html,
    Json,
}

impl Kind {
    /// Reads the first of the kinds that the Accept value names; text when it names none.
    fn of(accept: &[u8]) -> Self {
        for element in accept.split(|b| *b == b',') {
            let name = element.split(|b| *b == b';').next().unwrap_or_default();
            match name.trim_ascii() {
                b"text/html" => return Self::Html,
                b"application/json" => return Self::Json,
                b"text/plain" => return Self::Text,
                _ => {}
            }
        }
        Self::Text
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// Renders an answer with its head, body and, for 429 and 503, `Retry-After: 1`.
///
/// Shape: `sentence` is plain ASCII of our own, without markup and quotes.
pub(crate) fn render(status: u16, sentence: &str, accept: &[u8], date: &str) -> Vec<u8> {
    let kind = Kind::of(accept);
    let phrase = reason_phrase(status);
    let body = match kind {
        Kind::Text => format!("{status} {phrase}\n{sentence}\n"),
        Kind::Html => format!(
            "<!doctype html><title>{status} {phrase}</title>\n<h1>{status} {phrase}</h1>\n<p>{sentence}</p>\n"
        ),
        Kind::Json => {
            format!("{{\"status\":{status},\"error\":\"{phrase}\",\"detail\":\"{sentence}\"}}\n")
        }
    };
    let retry = match status {
        429 | 503 => "Retry-After: 1\r\n",
        405 => "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n",
        _ => "",
    };
    format!(
        "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{retry}\r\n{body}",
        kind.content_type(),
        body.len()
    )
    .into_bytes()
}

/// The sentence for a status that Roundel answers without knowing more.
pub(crate) fn sentence(status: u16) -> &'static str {
    match status {
        400 => "The request is malformed or ambiguous, so it was not passed on.",
        405 => "This method is not allowed here.",
        408 => "The request did not arrive completely in time.",
        413 => "The request body is larger than this server accepts.",
        414 => "The request target is longer than this server accepts.",
        431 => "The request header fields are larger than this server accepts.",
        501 => "The request asks for something that this server does not offer.",
        502 => "The application server gave an answer that could not be passed on.",
        503 => "No application server can take the request at the moment. Try again in a second.",
        504 => "The application server did not answer in time.",
        505 => "This version of HTTP is not offered; use HTTP/1.1 or HTTP/2.",
        _ => "The request could not be answered.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, accept: &str) -> String {
        let bytes = render(status, sentence(status), accept.as_bytes(), "D");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_length_is_that_of_the_body() {
        for accept in ["", "text/html,*/*;q=0.8", "application/json", "*/*"] {
            let text = answer(503, accept);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
            assert!(head.contains("Retry-After: 1"), "{head}");
            assert!(body.contains("No application server"), "{body}");
        }
    }

    #[test]
    fn the_form_follows_accept() {
        assert!(answer(502, "text/html;q=0.9, */*").contains("<h1>502 Bad Gateway</h1>"));
        assert!(answer(502, "application/json").contains("{\"status\":502,"));
        assert!(answer(504, "*/*").contains("text/plain"));
        assert!(!answer(504, "*/*").contains("Retry-After"));
    }
}
