//! The keys of `[[backend]]` that say how servers are picked, spared and put out.

use std::time::Duration;

use roundel_balance::OutlierSpec;
use roundel_proxy::HashOn;

use super::backend::cookie_name;
use super::{Maybe, duration};
use crate::reader::{Item, Section};
use crate::value::Fault;

/// How servers are picked, spared and put out.
#[derive(Debug, Default)]
pub(crate) struct PolicyTable {
    pub(crate) hash_on: Maybe<HashOn>,
    pub(crate) outlier: Maybe<OutlierSpec>,
    pub(crate) slow_start: Maybe<Duration>,
    pub(crate) maxconn: Maybe<u64>,
    pub(crate) max_queue: Maybe<u64>,
    pub(crate) retry_budget: Maybe<u8>,
}

impl PolicyTable {
    pub(crate) fn read(s: &Section<'_>) -> Self {
        Self {
            hash_on: s.get("hash_on", hash_on),
            outlier: s.get("outlier", outlier),
            slow_start: s.get("slow_start", duration),
            maxconn: s.get("maxconn", maxconn),
            max_queue: s.get("max_queue", |i| i.integer(0..=MANY)),
            retry_budget: s.get("retry_budget", Item::ratio),
        }
    }
}

/// More than any server takes; keeps the numbers within their types.
const MANY: u64 = 1_000_000;

/// The limit of one server; 0 means none.
pub(crate) fn maxconn(item: &Item<'_>) -> Option<u64> {
    item.integer(0..=MANY)
}

fn hash_on(item: &Item<'_>) -> Option<HashOn> {
    if item.is_text() {
        return item.parse(|text| match text {
            "source" => Ok(HashOn::Source),
            "path" => Ok(HashOn::Path),
            _ => Err(Fault::new(
                format!("`{text}` is not a part of a request to pick by"),
                "write \"source\", \"path\", { header = \"x-user\" } or { cookie = \"session\" }",
            )),
        });
    }
    let s = item.section("{ header = \"x-user\" }")?;
    let header = s.get("header", |i| i.parse(field_name));
    let cookie = s.get("cookie", |i| i.parse(cookie_name));
    let asked = s.entries().count();
    s.finish(&[]);
    if asked != 1 {
        return item.fail(Fault::new(
            "requests are picked by one header or one cookie",
            "write { header = \"x-user\" } or { cookie = \"session\" }",
        ));
    }
    let header = header.map(|at| HashOn::Header(at.value));
    header.or(cookie.map(|at| HashOn::Cookie(at.value)))
}

/// Checks the name of a field. Source: RFC 9110 5.6.2, a token.
pub(crate) fn field_name(text: &str) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        return Err(Fault::new(
            format!("`{text}` cannot be the name of a header"),
            "write \"x-user\"",
        ));
    }
    Ok(text.to_owned())
}

fn outlier(item: &Item<'_>) -> Option<OutlierSpec> {
    if item.is_text() {
        return item.parse(|text| match text {
            "off" => Ok(OutlierSpec::OFF),
            _ => Err(Fault::new(
                format!("`{text}` is not a rule for putting servers out"),
                "write \"off\" or { consecutive = 5 }",
            )),
        });
    }
    let s = item.section("{ consecutive = 5 }")?;
    let default = OutlierSpec::default();
    let count = |i: &Item<'_>| i.integer(0..=MANY);
    let positive = |i: &Item<'_>| {
        let time = duration(i)?;
        if time.is_zero() {
            return i.fail(Fault::new("this time cannot be zero", "write \"10s\""));
        }
        Some(time)
    };
    let number = |key, default: u32| {
        let at = s.get(key, count);
        at.map_or(default, |at| u32::try_from(at.value).unwrap_or(u32::MAX))
    };
    let percent = |key, default| s.get(key, Item::ratio).map_or(default, |at| at.value);
    let time = |key, default| s.get(key, positive).map_or(default, |at| at.value);
    let spec = OutlierSpec {
        consecutive: number("consecutive", default.consecutive),
        consecutive_5xx: number("consecutive_5xx", default.consecutive_5xx),
        error_percent: percent("error_ratio", default.error_percent),
        min_requests: s
            .get("min_requests", |i| i.integer(1..=MANY))
            .map_or(default.min_requests, |at| at.value),
        interval: time("interval", default.interval),
        base_ejection: time("base_ejection", default.base_ejection),
        max_ejected_percent: percent("max_ejected", default.max_ejected_percent),
    };
    s.finish(&[]);
    Some(spec)
}
