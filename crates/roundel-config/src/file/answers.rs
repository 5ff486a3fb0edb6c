//! What Roundel answers by itself: redirects, limits of rates, error pages.

use std::path::PathBuf;
use std::time::Duration;

use roundel_proxy::HostPattern;
use serde_json::{Value, json};

use super::location::{host, new_path};
use crate::key::{Key, Maybe, Style, Table, key};
use crate::kind::{Kind, Notation, Text, Time, Whole, inline, quote, word};
use crate::reader::{At, Item, Section};
use crate::value::Fault;

/// `redirect = { … }` of a route.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RedirectTable {
    pub(crate) scheme: Maybe<&'static str>,
    pub(crate) host: Maybe<String>,
    pub(crate) port: Maybe<u64>,
    pub(crate) path: Maybe<String>,
    pub(crate) path_prefix: Maybe<String>,
    pub(crate) status: Maybe<u64>,
}

impl Table for RedirectTable {
    const EXAMPLE: &'static str = "{ scheme = \"https\" }";

    fn keys() -> Vec<Key<Self>> {
        let host = Notation {
            read: plain_host,
            show: String::clone,
            pattern: "^[^/\\s]+$",
        };
        let path = || Notation {
            read: new_path,
            show: String::clone,
            pattern: "^/",
        };
        vec![
            key!(scheme, word(&[("http", "http"), ("https", "https")])).example("\"https\""),
            key!(host, host).example("\"www.example.org\""),
            key!(port, Whole(1..=65_535)).example("8443"),
            key!(path, path()).example("\"/new\""),
            key!(path_prefix, path())
                .example("\"/new\"")
                .words("instead of the route's"),
            key!(status, Status)
                .default("302")
                .words("301 or 308 for good, 302, 303 or 307 for now"),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let says_something = section.entries().any(|(key, _)| key != "status");
        let both = self.path.is_some() && self.path_prefix.is_some();
        if says_something && !both {
            return true;
        }
        let message = match both {
            true => "a redirect has either a path or a path_prefix",
            false => "this redirect does not say what changes",
        };
        section.fail(Fault::new(
            message,
            "write scheme, host, port, and path or path_prefix as needed",
        ));
        false
    }
}

/// The status of a redirect.
struct Status;

impl Kind for Status {
    type Value = u64;

    fn read(&self, item: &Item<'_>) -> Option<u64> {
        match item.integer(0..=u64::MAX)? {
            status @ (301 | 302 | 303 | 307 | 308) => Some(status),
            status => item.fail(Fault::new(
                format!("{status} is not the status of a redirect"),
                "use 301 or 308 for good, 302, 303 or 307 for now",
            )),
        }
    }

    fn show(&self, value: &u64, _: Style) -> String {
        value.to_string()
    }

    fn schema(&self) -> Value {
        let variable = json!({ "type": "string", "pattern": "\\$" });
        json!({ "anyOf": [{ "enum": [301, 302, 303, 307, 308] }, variable] })
    }
}

/// Reads the host of a redirect.
fn plain_host(text: &str) -> Result<String, Fault> {
    let hint = match host(text) {
        Ok(HostPattern::Below(_)) => Some("write one host, such as \"www.example.org\"".to_owned()),
        Ok(host) => return Ok(host.to_string()),
        Err(_) if text.contains(':') => {
            Some("write \"www.example.org\", and the port as port = 8443".to_owned())
        }
        Err(fault) => fault.hint,
    };
    Err(Fault {
        message: format!("`{text}` is not a host to send clients to"),
        hint,
    })
}

/// `rate_limit = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RateTable {
    pub(crate) requests: Maybe<u64>,
    pub(crate) per: Maybe<Duration>,
    pub(crate) burst: Maybe<u64>,
}

impl Table for RateTable {
    const EXAMPLE: &'static str = "{ requests = 100, per = \"1s\" }";

    fn keys() -> Vec<Key<Self>> {
        const MOST: u64 = 1_000_000;
        vec![
            key!(requests, Whole(1..=MOST))
                .example("100")
                .required()
                .words("that a client may send in this time, again and again"),
            key!(per, Time(of_a_day))
                .default("\"1s\"")
                .words("the time"),
            key!(burst, Whole(1..=MOST))
                .example("200")
                .words("that it may send at once; as many as `requests` by default"),
        ]
    }

    fn complete(&mut self) {
        let requests = self.requests.as_ref().map(|at| At::default(at.value));
        self.burst = self.burst.take().or(requests);
    }
}

fn of_a_day(item: &Item<'_>, per: Duration) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    if (Duration::from_millis(1)..=LONGEST).contains(&per) {
        return Some(per);
    }
    item.fail(Fault::new("this time is out of range", "use 1ms to 1d"))
}

/// The files of error pages by status; 4 and 5 stand for a whole class.
pub(crate) type PageFiles = Vec<(u16, At<PathBuf>)>;

/// `{ 503 = "sorry.html", 5xx = "error.html" }`.
pub(super) struct Pages;

impl Kind for Pages {
    type Value = PageFiles;

    fn read(&self, item: &Item<'_>) -> Option<PageFiles> {
        let s = item.section("{ 503 = \"sorry.html\", 5xx = \"error.html\" }")?;
        let mut files = PageFiles::new();
        for (key, item) in s.entries() {
            let status = match key {
                "4xx" => Some(4),
                "5xx" => Some(5),
                _ => key.parse().ok().filter(|n| (400..=599).contains(n)),
            };
            let Some(status) = status else {
                s.fail_key::<()>(
                    key,
                    Fault::new(
                        format!("`{key}` is not the status of an error"),
                        "write 400 to 599, 4xx or 5xx",
                    ),
                );
                continue;
            };
            if let Some(path) = item.text() {
                let place = item.place();
                let value = PathBuf::from(path);
                files.push((status, At { value, place }));
            }
        }
        Some(files)
    }

    fn show(&self, value: &PageFiles, _: Style) -> String {
        let pair = |(status, file): &(u16, At<PathBuf>)| {
            let class = if *status < 10 { "xx" } else { "" };
            format!("{status}{class} = {}", quote(file.value.display()))
        };
        inline(value.iter().map(pair))
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "patternProperties": { "^([45]xx|[45][0-9]{2})$": Text.schema() },
            "additionalProperties": false,
        })
    }
}
