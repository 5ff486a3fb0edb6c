//! What Roundel answers by itself: redirects, limits of rates, error pages.

use std::path::PathBuf;
use std::time::Duration;

use roundel_proxy::{HostPattern, NewPath, RateLimit, Redirect};

use super::duration;
use super::location::{host, new_path};
use crate::reader::{At, Item};
use crate::value::Fault;

/// The files of error pages by status; 4 and 5 stand for a whole class.
pub(crate) type PageFiles = Vec<(u16, At<PathBuf>)>;

/// Reads `{ scheme = "https", … }` of a route with or without a path prefix.
pub(crate) fn redirect(item: &Item<'_>, has_prefix: bool) -> Option<Redirect> {
    let example = "{ scheme = \"https\" }";
    let s = item.section(example)?;
    let scheme = s.get("scheme", |i| {
        i.word(&[("http", "http"), ("https", "https")])
    });
    let new_host = s.get("host", |i| i.parse(plain_host));
    let port = s.get("port", |i| i.integer(1..=65_535));
    let path = s.get("path", |i| i.parse(new_path));
    let prefix = s.get("path_prefix", |i| {
        if !has_prefix {
            return i.fail(Fault::new(
                "this route has no path_prefix that could be replaced",
                "give the route a path_prefix, or the redirect a path",
            ));
        }
        i.parse(new_path)
    });
    let status = s.get("status", |i| match i.integer(0..=u64::MAX)? {
        status @ (301 | 302 | 303 | 307 | 308) => u16::try_from(status).ok(),
        status => i.fail(Fault::new(
            format!("{status} is not the status of a redirect"),
            "use 301 or 308 for good, 302, 303 or 307 for now",
        )),
    });
    let says_something = s.entries().any(|(key, _)| key != "status");
    s.finish(&[]);
    let both = path.is_some() && prefix.is_some();
    if !says_something || both {
        let message = match both {
            true => "a redirect has either a path or a path_prefix",
            false => "this redirect does not say what changes",
        };
        return item.fail(Fault::new(
            message,
            "write scheme, host, port, and path or path_prefix as needed",
        ));
    }
    let whole = path.map(|at| NewPath::Whole(at.value));
    Some(Redirect {
        scheme: scheme.map(|at| at.value),
        host: new_host.map(|at| at.value),
        port: port.and_then(|at| u16::try_from(at.value).ok()),
        path: whole.or(prefix.map(|at| NewPath::Prefix(at.value))),
        status: status.map_or(302, |at| at.value),
    })
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

/// Reads `{ requests = 100, per = "1s", burst = 200 }`.
pub(crate) fn rate_limit(item: &Item<'_>) -> Option<RateLimit> {
    const MOST: u64 = 1_000_000;
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    let s = item.section("{ requests = 100, per = \"1s\" }")?;
    let requests = s.require("requests", |i| i.integer(1..=MOST));
    let per = s.get("per", |i| {
        let per = duration(i)?;
        if (Duration::from_millis(1)..=LONGEST).contains(&per) {
            return Some(per);
        }
        i.fail(Fault::new("this time is out of range", "use 1ms to 1d"))
    });
    let burst = s.get("burst", |i| i.integer(1..=MOST));
    s.finish(&[]);
    let requests = u32::try_from(requests?.value).ok()?;
    Some(RateLimit {
        requests,
        per: per.map_or(Duration::from_secs(1), |at| at.value),
        burst: burst.map_or(Some(requests), |at| u32::try_from(at.value).ok())?,
    })
}

/// Reads `{ 503 = "sorry.html", 5xx = "error.html" }`.
pub(crate) fn error_pages(item: &Item<'_>) -> Option<PageFiles> {
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
            let span = item.span();
            let value = PathBuf::from(path);
            files.push((status, At { value, span }));
        }
    }
    Some(files)
}
