//! Durations and results as people read them.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::{CheckKind, CheckReport, CheckSpec, CheckStatus};

/// Writes a duration with two or three figures: `850 µs`, `12 ms`, `4.2 s`, `3 min 5 s`, `2 h 1 min`.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (us, s) = (self.0.as_micros(), self.0.as_secs());
        match () {
            () if us < 1_000 => write!(f, "{us} µs"),
            () if us < 1_000_000 => write!(f, "{} ms", us / 1_000),
            () if s < 60 => write!(f, "{s}.{} s", us / 100_000 % 10),
            () if s < 3_600 => write!(f, "{} min {} s", s / 60, s % 60),
            () => write!(f, "{} h {} min", s / 3_600, s / 60 % 60),
        }
    }
}

/// Writes a check's result: `L7OK 200 in 2 ms`, `L4CON Connection refused`.
pub(super) fn result(report: &CheckReport) -> String {
    let mut text = report.status.to_string();
    if let Some(code) = report.http_code {
        write!(text, " {code}").expect("writing to a String cannot fail");
    }
    if report.status.passed() {
        write!(text, " in {}", Span(report.duration)).expect("writing to a String cannot fail");
    } else if !report.description.is_empty() {
        write!(text, " {}", report.description).expect("writing to a String cannot fail");
    }
    text
}

/// Writes what a check found and what would mend it:
/// `HEAD / gave 405; 2xx and 3xx pass; set check = "GET /healthz" or "tcp"`.
pub(super) fn diagnosis(spec: &CheckSpec, report: &CheckReport) -> String {
    let (kind, result) = (&spec.kind, result(report));
    let is_call = matches!(kind, CheckKind::Grpc { .. });
    match (report.status, report.http_code) {
        // The words of the result say what would mend it.
        (CheckStatus::L7Sts, None) if is_call => format!("{kind} gave {result}"),
        (CheckStatus::L7Sts | CheckStatus::L7Rsp, _) if is_call => format!(
            "{kind} gave {result}; does it serve gRPC at that port? If not, set check = \"HEAD /\" or \"tcp\""
        ),
        (CheckStatus::L7Sts, Some(508)) => {
            format!("{kind} gave 508; it leads back to this balancer, or round in a circle")
        }
        (CheckStatus::L7Sts, Some(code)) => {
            format!("{kind} gave {code}; 2xx and 3xx pass; set check = \"GET /healthz\" or \"tcp\"")
        }
        (CheckStatus::L7Rsp, _) => {
            format!("{kind} gave {result}; if it speaks no HTTP/1.1, set check = \"tcp\"")
        }
        (CheckStatus::L7Tout, _) => {
            let limit = Span(spec.timeout);
            format!("{kind} gave no answer in {limit}; set check.timeout, or check = \"tcp\"")
        }
        (CheckStatus::L4Tout, _) => {
            format!("{result}; is the address right, and does no firewall drop it?")
        }
        (CheckStatus::L6Rsp | CheckStatus::L6Tout, _) => format!(
            "{result}; does it speak TLS, and are tls.server_name, ca_file and certificate right?"
        ),
        _ => format!("{result}; does the app listen at that address and port?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_names_the_cure() {
        let spec = CheckSpec::default();
        for (status, code, text) in [
            (
                CheckStatus::L7Sts,
                Some(405),
                "HEAD / gave 405; 2xx and 3xx pass; set check = \"GET /healthz\" or \"tcp\"",
            ),
            (
                CheckStatus::L7Tout,
                None,
                "HEAD / gave no answer in 2.0 s; set check.timeout, or check = \"tcp\"",
            ),
            (
                CheckStatus::L4Con,
                None,
                "L4CON refused; does the app listen at that address and port?",
            ),
            (
                CheckStatus::L6Rsp,
                None,
                "L6RSP refused; does it speak TLS, and are tls.server_name, ca_file and \
                 certificate right?",
            ),
        ] {
            let report = CheckReport {
                status,
                http_code: code,
                duration: Duration::ZERO,
                description: "refused".into(),
            };
            assert_eq!(diagnosis(&spec, &report), text);
        }
    }

    #[test]
    fn a_diagnosis_of_a_call_names_the_cure() {
        let kind = CheckKind::Grpc {
            service: String::new(),
            host: None,
        };
        let spec = CheckSpec {
            kind,
            ..CheckSpec::default()
        };
        for (status, http_code, text) in [
            (CheckStatus::L7Sts, None, "grpc gave L7STS register it"),
            (
                CheckStatus::L7Sts,
                Some(404),
                "grpc gave L7STS 404 register it; does it serve gRPC at that port? If not, set check = \
                 \"HEAD /\" or \"tcp\"",
            ),
        ] {
            let report = CheckReport {
                status,
                http_code,
                duration: Duration::ZERO,
                description: "register it".into(),
            };
            assert_eq!(diagnosis(&spec, &report), text);
        }
    }

    #[test]
    fn spans() {
        for (us, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (12_345, "12 ms"),
            (4_250_000, "4.2 s"),
            (185_000_000, "3 min 5 s"),
            (7_270_000_000, "2 h 1 min"),
        ] {
            assert_eq!(Span(Duration::from_micros(us)).to_string(), text);
        }
    }
}
