//! The header rules of a configuration: fields that are removed, set and added.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use roundel_http1::{Edits, Fields, Known};
use roundel_tls::Presented;

use super::client_address;

/// Rules for the head of a message, carried out in their order.
pub type HeaderRules = Vec<HeaderRule>;

/// One rule about the fields of one name. Names are compared without case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderRule {
    /// Leaves every field of this name out.
    Remove(String),
    /// Leaves exactly one field of this name, with this value.
    ///
    /// Shape: `Host`, on requests only, has a valid host without placeholders as its value.
    Set(String, Template),
    /// Adds a field beside those that are there.
    Add(String, Template),
}

impl HeaderRule {
    /// The name as the configuration spells it.
    pub fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Set(name, _) | Self::Add(name, _) => name,
        }
    }

    /// The value, of rules that have one.
    pub fn value(&self) -> Option<&Template> {
        match self {
            Self::Remove(_) => None,
            Self::Set(_, value) | Self::Add(_, value) => Some(value),
        }
    }

    fn is_about_host(&self) -> bool {
        Known::of(self.name().as_bytes()) == Known::Host
    }
}

/// A text with placeholders such as `%{client_ip}`; a literal `%{` is written `%%{`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The client's address as seen through trusted proxies.
    ClientIp,
    /// The host that was asked for, with its port if it came with one.
    Host,
    /// The path that was asked for, without the query.
    Path,
    /// The identifier of the request, which the log has too.
    RequestId,
    /// The subject of the client's certificate, which was verified; empty without one, as the next two.
    ClientCertSubject,
    /// Its alternative names.
    ClientCertSan,
    /// Its SHA-256 in hexadecimal digits.
    ClientCertSha256,
}

impl Place {
    /// Every placeholder with its word.
    pub const WORDS: [(&str, Self); 7] = [
        ("client_ip", Self::ClientIp),
        ("host", Self::Host),
        ("path", Self::Path),
        ("request_id", Self::RequestId),
        ("client_cert_subject", Self::ClientCertSubject),
        ("client_cert_san", Self::ClientCertSan),
        ("client_cert_sha256", Self::ClientCertSha256),
    ];

    fn word(self) -> &'static str {
        Self::WORDS[self as usize].0
    }
}

impl Template {
    /// Reads a template. Errors: what stands between `%{` and `}` and is no placeholder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("%{") {
            let before = &rest[..at];
            let after = &rest[at + 2..];
            if let Some(before) = before.strip_suffix('%') {
                plain.push_str(before);
                plain.push_str("%{");
                rest = after;
                continue;
            }
            plain.push_str(before);
            let (word, after) = after.split_once('}').ok_or(after)?;
            let place = Place::WORDS.iter().find(|(known, _)| *known == word);
            let (_, place) = place.ok_or(word)?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Place(*place));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The whole text, of a template without placeholders.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(crate) fn has(&self, place: Place) -> bool {
        self.0.contains(&Piece::Place(place))
    }

    fn render(&self, facts: &Facts<'_>) -> Cow<'_, [u8]> {
        if let Some(text) = self.as_text() {
            return Cow::Borrowed(text.as_bytes());
        }
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Place(place) => facts.put(*place, &mut out),
            }
        }
        Cow::Owned(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace("%{", "%%{"))?,
                Piece::Place(place) => write!(f, "%{{{}}}", place.word())?,
            }
        }
        Ok(())
    }
}

/// What placeholders are filled from: one request and the connection it came on.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The fields of the request.
    pub(crate) fields: Fields<'a>,
    pub(crate) peer: IpAddr,
    pub(crate) trusted: &'a [IpNet],
    pub(crate) host: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) request_id: &'a str,
    /// The client's certificate.
    pub(crate) presented: Option<&'a Presented>,
}

impl Facts<'_> {
    fn put(&self, place: Place, out: &mut Vec<u8>) {
        let presented = |part: fn(&Presented) -> &str| self.presented.map_or("", part).as_bytes();
        match place {
            Place::ClientIp => {
                let address = client_address(self.fields, self.peer, self.trusted);
                out.extend_from_slice(address.to_string().as_bytes());
            }
            Place::Host => out.extend_from_slice(self.host),
            Place::Path => out.extend_from_slice(self.path),
            Place::RequestId => out.extend_from_slice(self.request_id.as_bytes()),
            Place::ClientCertSubject => out.extend_from_slice(presented(|p| &p.subject)),
            Place::ClientCertSan => out.extend_from_slice(presented(|p| &p.names)),
            Place::ClientCertSha256 => out.extend_from_slice(presented(|p| &p.fingerprint)),
        }
    }
}

/// Carries rules out on the message that `fields` belong to, over the edits made so far.
///
/// Host has no field to edit: what [`host`] says goes into the request's plan.
pub(crate) fn apply(
    rules: &[HeaderRule],
    fields: Fields<'_>,
    facts: &Facts<'_>,
    edits: &mut Edits,
) {
    for rule in rules.iter().filter(|rule| !rule.is_about_host()) {
        let name = rule.name().as_bytes();
        if !matches!(rule, HeaderRule::Add(..)) {
            edits.remove_named(fields, name);
        }
        if let Some(value) = rule.value() {
            edits.append(name, &value.render(facts));
        }
    }
}

/// The Host that these rules set.
pub(crate) fn host(rules: &[HeaderRule]) -> Option<&str> {
    let set = rules.iter().rfind(|rule| rule.is_about_host())?;
    set.value()?.as_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundel_http1::{Limits, Progress, RequestHead};

    fn parsed(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    /// The fields `X-*` after these rules, in the order written.
    fn ruled(lines: &str, rules: &[HeaderRule], before: impl FnOnce(&mut Edits)) -> Vec<String> {
        let mut head = RequestHead::new();
        let text = format!("GET /p?q HTTP/1.1\r\nHost: h:1\r\n{lines}\r\n");
        head.block.put(text.as_bytes());
        assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
        let facts = Facts {
            fields: head.fields(),
            peer: IpAddr::from([10, 0, 0, 1]),
            trusted: &["10.0.0.0/8".parse().unwrap()],
            host: head.host().unwrap(),
            path: head.path(),
            request_id: "id-1",
            presented: Some(&Presented {
                subject: "CN=ann".to_owned(),
                names: "DNS:a.example".to_owned(),
                fingerprint: "00ff".to_owned(),
            }),
        };
        let mut edits = Edits::new();
        before(&mut edits);
        apply(rules, head.fields(), &facts, &mut edits);
        let text = |(name, value): (&[u8], &[u8])| {
            let (name, value) = (name.escape_ascii(), value.escape_ascii());
            format!("{name}: {value}")
        };
        let written = edits.apply(head.fields()).map(text);
        written
            .filter(|line| line.starts_with(['x', 'X']))
            .collect()
    }

    #[test]
    fn fields_are_removed_set_and_added_in_any_case() {
        use HeaderRule::{Add, Remove, Set};
        let lines = "x-debug: 1\r\nX-Debug: 2\r\nX-Env: dev\r\nX-Kept: k\r\n";
        let rules = [
            Remove("X-DEBUG".into()),
            Set("x-env".into(), parsed("prod")),
            Add("X-Kept".into(), parsed("also")),
            Set("X-New".into(), parsed("n")),
        ];
        let expected = ["X-Kept: k", "x-env: prod", "X-Kept: also", "X-New: n"];
        assert_eq!(ruled(lines, &rules, |_| {}), expected);
    }

    #[test]
    fn what_roundel_wrote_itself_is_overruled() {
        let rules = [HeaderRule::Set("x-forwarded-proto".into(), parsed("https"))];
        let own = |edits: &mut Edits| edits.append_known(Known::XForwardedProto, &[b"http"]);
        assert_eq!(ruled("", &rules, own), ["x-forwarded-proto: https"]);
    }

    #[test]
    fn placeholders_are_filled() {
        let value = "%{client_ip}|%{host}|%{path}|%{request_id}|%%{host}|100%|\
             %{client_cert_subject}|%{client_cert_san}|%{client_cert_sha256}";
        let rules = [HeaderRule::Set("X-All".into(), parsed(value))];
        let expected = ["X-All: 192.0.2.1|h:1|/p|id-1|%{host}|100%|CN=ann|DNS:a.example|00ff"];
        assert_eq!(
            ruled("X-Forwarded-For: 192.0.2.1\r\n", &rules, |_| {})[1..],
            expected
        );
    }

    #[test]
    fn templates_are_shown_as_they_are_written() {
        for text in [
            "",
            "plain 100%",
            "a%{host}b%{path}",
            "%%{host}",
            "%{client_ip}",
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
        let wrong = |text| Template::parse(text).unwrap_err();
        assert_eq!(
            (wrong("%{hst}"), wrong("a%{host")),
            ("hst".into(), "host".into())
        );
    }

    #[test]
    fn the_last_host_wins() {
        let set = |host: &str| HeaderRule::Set("host".into(), parsed(host));
        assert_eq!(host(&[set("a"), set("b.example:81")]), Some("b.example:81"));
        assert_eq!(host(&[HeaderRule::Remove("X-A".into())]), None);
        assert_eq!(ruled("", &[set("a")], |_| {}), [""; 0]);
    }
}
