//! The answers that Roundel gives itself: small, plain, and honest about what to do.
//!
//! They are rendered as HTTP/1.1 and then read like a server's answer, so that there is one way
//! to a client whatever it speaks.

use std::sync::Arc;

use bytes::Bytes;
use roundel_http1::reason_phrase;

use crate::pages::Page;

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

    fn body(self, status: u16, phrase: &str, sentence: &str) -> String {
        match self {
            Self::Text => format!("{status} {phrase}\n{sentence}\n"),
            Self::Html => format!(
                "<!doctype html><title>{status} {phrase}</title>\n<h1>{status} {phrase}</h1>\n<p>{sentence}</p>\n"
            ),
            Self::Json => format!(
                "{{\"status\":{status},\"error\":\"{phrase}\",\"detail\":\"{sentence}\"}}\n"
            ),
        }
    }
}

/// What an answer of our own says, before it has a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Plain ASCII of our own, without markup and quotes.
    pub(crate) sentence: &'static str,
    /// The whole body, in place of the sentence.
    pub(crate) text: Option<Arc<str>>,
    /// Where a redirect leads: a URI.
    pub(crate) location: Option<String>,
    /// Seconds after which asking again makes sense; 0 for nothing to say.
    pub(crate) retry_after: u64,
}

impl Reply {
    /// Makes an answer with this sentence; 429 and 503 say to come back in a second.
    pub(crate) fn new(status: u16, sentence: &'static str) -> Self {
        Self {
            status,
            sentence,
            text: None,
            location: None,
            retry_after: u64::from(matches!(status, 429 | 503)),
        }
    }
}

/// An answer in its form.
pub(crate) struct Rendered {
    /// The head, with its final empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Bytes,
}

/// Renders an answer: with `page` as its body, else in the form that `accept` prefers.
pub(crate) fn render(reply: &Reply, accept: &[u8], page: Option<&Page>, date: &str) -> Rendered {
    let status = reply.status;
    let phrase = reason_phrase(status);
    let (content_type, body) = match (&reply.text, page) {
        (Some(text), _) => {
            let body = Bytes::copy_from_slice(text.as_bytes());
            ("application/octet-stream", body)
        }
        (None, Some(page)) => (page.content_type, page.body.clone()),
        (None, None) => {
            let kind = Kind::of(accept);
            let body = kind.body(status, phrase, reply.sentence);
            (kind.content_type(), body.into_bytes().into())
        }
    };
    let mut head = format!(
        "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    // RFC 9110 15.4: the permanent ones may be kept, which spares the next round trip.
    if !matches!(status, 301 | 308) {
        head += "Cache-Control: no-store\r\n";
    }
    if let Some(location) = &reply.location {
        head += &format!("Location: {location}\r\n");
    }
    if reply.retry_after > 0 {
        head += &format!("Retry-After: {}\r\n", reply.retry_after);
    }
    if status == 405 {
        head += "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n";
    }
    head += "\r\n";
    Rendered {
        head: head.into_bytes(),
        body,
    }
}

/// The sentence for a status that Roundel answers without knowing more.
pub(crate) fn sentence(status: u16) -> &'static str {
    match status {
        400 => "The request is malformed or ambiguous, so it was not passed on.",
        405 => "This method is not allowed here.",
        408 => "The request did not arrive completely in time.",
        413 => "The request body is larger than this server accepts.",
        414 => "The request target is longer than this server accepts.",
        421 => "This connection is not for that host: its certificate was not shown.",
        429 => "Too many requests came from this address. Try again later.",
        431 => "The request header fields are larger than this server accepts.",
        501 => "The request asks for something that this server does not offer.",
        502 => "The application server gave an answer that could not be passed on.",
        503 => "No application server can take the request at the moment. Try again in a second.",
        504 => "The application server did not answer in time.",
        505 => "This version of HTTP is not offered; use HTTP/1.1 or HTTP/2.",
        508 => {
            "The request came back to where it had been: a server leads to this balancer itself."
        }
        _ => "The request could not be answered.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(reply: &Reply, accept: &str, page: Option<&Page>) -> String {
        let answer = render(reply, accept.as_bytes(), page, "D");
        String::from_utf8([&answer.head[..], &answer.body].concat()).unwrap()
    }

    fn answer(status: u16, accept: &str) -> String {
        rendered(&Reply::new(status, sentence(status)), accept, None)
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

    #[test]
    fn pages_and_redirects() {
        let page = Page {
            content_type: "application/json",
            body: Bytes::from_static(b"{}\n"),
        };
        assert_eq!(
            rendered(&Reply::new(503, "s"), "text/html", Some(&page)),
            "HTTP/1.1 503 Service Unavailable\r\nDate: D\r\nContent-Type: application/json\r\n\
             Content-Length: 3\r\nCache-Control: no-store\r\nRetry-After: 1\r\n\r\n{}\n"
        );
        let mut moved = Reply::new(308, "s");
        moved.location = Some("https://h/a".to_owned());
        let text = rendered(&moved, "", None);
        assert!(text.contains("\r\nLocation: https://h/a\r\n"), "{text}");
        assert!(!text.contains("no-store"), "{text}");
    }
}
