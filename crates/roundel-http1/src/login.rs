//! Logins that belong to a connection instead of a request: NTLM and Negotiate (RFC 4559, 6).
//!
//! Who else sends a request on such a connection is taken for the one who logged in.

use crate::fields::{Fields, elements};
use crate::known::Known;

/// Says whether a request brings a login for its connection, or a step of one.
#[inline]
pub fn in_request(fields: Fields<'_>) -> bool {
    const WHERE: [Known; 2] = [Known::Authorization, Known::ProxyAuthorization];
    fields.has_any(&WHERE) && WHERE.iter().any(|&known| names_scheme(fields, known))
}

/// Says whether an answer asks for such a login.
#[inline]
pub fn in_answer(status: u16, fields: Fields<'_>) -> bool {
    match status {
        401 => names_scheme(fields, Known::WwwAuthenticate),
        407 => names_scheme(fields, Known::ProxyAuthenticate),
        _ => false,
    }
}

/// Looks for one of the schemes at the head of any element of any field of this kind.
///
/// Quotes are not read: a comma inside of them may make a connection private that need not be,
/// while a quote that nobody closes hides nothing.
fn names_scheme(fields: Fields<'_>, known: Known) -> bool {
    fields
        .all(known)
        .flat_map(|line| elements(line.value))
        .any(|element| {
            let end = element.iter().position(|byte| matches!(byte, b' ' | b'\t'));
            let scheme = &element[..end.unwrap_or(element.len())];
            scheme.eq_ignore_ascii_case(b"NTLM") || scheme.eq_ignore_ascii_case(b"Negotiate")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Method, Progress, RequestHead, ResponseHead};

    fn request(fields: &str) -> bool {
        let mut head = RequestHead::new();
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        head.block.put(text.as_bytes());
        assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
        in_request(head.fields())
    }

    fn answer(status: u16, fields: &str) -> bool {
        let mut head = ResponseHead::new();
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        head.block.put(text.as_bytes());
        let parsed = head.parse(&Limits::default(), Method::Get);
        assert_eq!(parsed, Ok(Progress::Complete));
        in_answer(head.status(), head.fields())
    }

    #[test]
    fn requests_that_log_a_connection_in() {
        for fields in [
            "Authorization: NTLM TlRMTVNTUAAB\r\n",
            "authorization: ntlm TlRMTVNTUAAB\r\n",
            "AUTHORIZATION:Negotiate YII=\r\n",
            "Proxy-Authorization: NEGOTIATE\tYII=\r\n",
            "Authorization: Basic eDp5\r\nAuthorization: NTLM x\r\n",
            "Authorization: Basic eDp5, NTLM x\r\n",
        ] {
            assert!(request(fields), "{fields}");
        }
        for fields in [
            "",
            "Authorization: Basic TlRMTQ==\r\n",
            "Authorization: Bearer NTLM\r\n",
            "Authorization: NTLMv2 x\r\n",
            "X-Authorization: NTLM x\r\n",
            "WWW-Authenticate: NTLM\r\n",
        ] {
            assert!(!request(fields), "{fields}");
        }
    }

    #[test]
    fn answers_that_ask_for_it() {
        for fields in [
            "WWW-Authenticate: NTLM\r\n",
            "www-authenticate: negotiate\r\n",
            "WWW-Authenticate: Basic realm=\"a\", Negotiate, NTLM\r\n",
            "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: NTLM TlRM\r\n",
            "WWW-Authenticate: Basic realm=\"never closed, NTLM\r\n",
            "WWW-Authenticate: ,,NTLM\r\n",
        ] {
            assert!(answer(401, fields), "{fields}");
            assert!(!answer(200, fields) && !answer(407, fields), "{fields}");
        }
        assert!(answer(407, "Proxy-Authenticate: Negotiate\r\n"));
        assert!(!answer(401, "Proxy-Authenticate: Negotiate\r\n"));
        assert!(!answer(401, "WWW-Authenticate: Basic realm=\"NTLM\"\r\n"));
        assert!(!answer(401, ""));
    }
}
