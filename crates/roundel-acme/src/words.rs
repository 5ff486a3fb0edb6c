//! What a CA says, as one line with what to do about it.

use std::time::SystemTime;

use instant_acme::{Error, Problem};
use roundel_model::Shown;

use crate::config::Challenge;

/// Where the kinds of problems that people know begin. Source: RFC 8555, section 6.7.
const KINDS: &str = "urn:ietf:params:acme:error:";
/// How much of a CA's own words is shown, in characters.
const LONGEST: usize = 500;

/// Why a try did not bring a certificate.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One line that may be shown.
    pub(crate) line: String,
    pub(crate) verdict: Verdict,
    /// When the CA said to come again.
    pub(crate) retry_after: Option<SystemTime>,
}

/// What a failure leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The order goes on at the next try, if there is one.
    Kept,
    /// The order is over; the next try makes another.
    OrderOver,
    /// The CA does not know the account.
    NoAccount,
}

impl Failure {
    /// Of our own words; what is quoted in them is made harmless here.
    pub(crate) fn own(line: impl std::fmt::Display) -> Self {
        Self {
            line: Shown(line).to_string(),
            verdict: Verdict::Kept,
            retry_after: None,
        }
    }

    /// Of what the CA answered to a request about `subject`.
    pub(crate) fn of(error: &Error, subject: &str, challenge: Challenge) -> Self {
        match error {
            Error::Api(problem) => Self::problem(problem, subject, challenge),
            other => Self::own(format_args!("{subject}: {}", short(&other.to_string()))),
        }
    }

    /// Of a problem that the CA has with `subject`: a name, or what it was asked.
    pub(crate) fn problem(problem: &Problem, subject: &str, challenge: Challenge) -> Self {
        let kind = kind(problem);
        let mut text = format!("{subject}: the CA says {}", quoted(problem));
        let mut names = Vec::new();
        for part in &problem.subproblems {
            names.push(short(&part.to_string()));
        }
        if !names.is_empty() {
            text.push_str(&format!("; {}", short(&names.join("; "))));
        }
        if let Some(cure) = cure(kind, subject, challenge) {
            text.push_str("; ");
            text.push_str(&cure);
        }
        let verdict = match kind {
            "accountDoesNotExist" => Verdict::NoAccount,
            _ => Verdict::Kept,
        };
        Self {
            verdict,
            ..Self::own(text)
        }
    }

    pub(crate) fn over(self) -> Self {
        Self {
            verdict: Verdict::OrderOver,
            ..self
        }
    }
}

/// Whether nothing was wrong but the nonce: the same request with another is answered.
pub(crate) fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "badNonce")
}

/// Whether the CA refused, for good: not for its load, nor for the nonce.
pub(crate) fn is_refusal(error: &Error) -> bool {
    let Error::Api(problem) = error else {
        return false;
    };
    let passing = matches!(kind(problem), "badNonce" | "rateLimited" | "serverInternal");
    !passing && problem.status.is_none_or(|status| status < 500)
}

fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix(KINDS).unwrap_or(kind)
}

fn quoted(problem: &Problem) -> String {
    let detail = short(problem.detail.as_deref().unwrap_or_default());
    match (detail.is_empty(), kind(problem)) {
        (false, "") => format!("\"{detail}\""),
        (true, "") => "nothing of why it refuses".to_owned(),
        (true, kind) => short(kind),
        (false, kind) => format!("\"{detail}\" ({})", short(kind)),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What helps against a kind of problem, in most cases.
fn cure(kind: &str, subject: &str, challenge: Challenge) -> Option<String> {
    let port = match challenge {
        Challenge::Http01 => 80,
        Challenge::TlsAlpn01 => 443,
    };
    Some(match kind {
        "connection" | "tls" => format!(
            "is port {port} of this balancer reachable from outside, and does {subject} point here?"
        ),
        "dns" => format!("does {subject} have an address, and is it this balancer's?"),
        "unauthorized" | "incorrectResponse" => format!(
            "does {subject} point here, and is nobody before this balancer that answers on port {port}?"
        ),
        "caa" => format!("the CAA records of {subject} let another CA issue only"),
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            format!("this CA issues nothing for {subject}")
        }
        "rateLimited" => "it is tried again when the CA lets us".to_owned(),
        "externalAccountRequired" => "give eab, with what the CA gave for it".to_owned(),
        "invalidContact" | "unsupportedContact" => "mend email".to_owned(),
        "userActionRequired" => "it has terms of service that are to be accepted there".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    fn line(json: &str, challenge: Challenge) -> String {
        Failure::problem(&problem(json), "a.example", challenge).line
    }

    #[test]
    fn a_ca_s_words_come_with_the_cure() {
        let json = r#"{"type": "urn:ietf:params:acme:error:connection", "detail": "refused"}"#;
        let expected = "a.example: the CA says \"refused\" (connection); is port 80 of this balancer \
                        reachable from outside, and does a.example point here?";
        assert_eq!(line(json, Challenge::Http01), expected);
        assert!(line(json, Challenge::TlsAlpn01).contains("port 443"));
        assert_eq!(
            line("{}", Challenge::Http01),
            "a.example: the CA says nothing of why it refuses"
        );
        let json = r#"{"type": "urn:x:own", "detail": ""}"#;
        assert_eq!(
            line(json, Challenge::Http01),
            "a.example: the CA says urn:x:own"
        );
    }

    #[test]
    fn a_ca_s_words_steer_no_terminal_and_have_an_end() {
        let json = r#"{"type": "\u001b[2J", "detail": "one\ntwo\u202e",
            "subproblems": [{"detail": "three\r\nfour"}]}"#;
        let shown = line(json, Challenge::Http01);
        assert!(!shown.contains(roundel_model::is_hidden), "{shown:?}");
        assert!(shown.contains("three"), "{shown}");
        let json = format!(r#"{{"detail": "{}"}}"#, "é".repeat(10_000));
        assert!(line(&json, Challenge::Http01).chars().count() < LONGEST + 100);
    }

    #[test]
    fn only_what_a_ca_will_say_again_is_a_refusal() {
        let check = |kind: &str, status: u16, expected: bool| {
            let json = format!(r#"{{"type": "{KINDS}{kind}", "status": {status}}}"#);
            assert_eq!(is_refusal(&Error::Api(problem(&json))), expected, "{kind}");
        };
        check("malformed", 404, true);
        check("unauthorized", 403, true);
        check("badNonce", 400, false);
        check("rateLimited", 429, false);
        check("serverInternal", 500, false);
        check("malformed", 503, false);
        assert!(!is_refusal(&Error::Crypto));
    }
}
