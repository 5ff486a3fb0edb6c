//! The keys of `[[backend]]` that say how servers are picked, spared and put out.

use std::time::Duration;

use super::sticky::cookie_name;
use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Notation, Ratio, Short, Time, Whole, quote, words_schema};
use crate::reader::{Item, Section};
use crate::value::Fault;

/// More than any server takes; keeps the numbers within their types.
pub(super) const MANY: u64 = 1_000_000;

/// The limit of connections or requests; 0 means none.
pub(super) fn maxconn() -> Whole {
    Whole(0..=MANY)
}

/// `hash_on = …`: one word, one header or one cookie.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HashTable {
    pub(crate) word: Option<HashWord>,
    pub(crate) header: Maybe<String>,
    pub(crate) cookie: Maybe<String>,
}

/// A part of a request that has no name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashWord {
    Source,
    Path,
}

impl Table for HashTable {
    const EXAMPLE: &'static str = "{ header = \"x-user\" }";

    fn keys() -> Vec<Key<Self>> {
        let header = Notation {
            read: field_name,
            show: String::clone,
            pattern: TOKEN,
        };
        let cookie = Notation {
            read: cookie_name,
            show: String::clone,
            pattern: TOKEN,
        };
        vec![
            key!(header, header).example("\"x-user\""),
            key!(cookie, cookie).example("\"session\""),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        if section.entries().count() != 1 {
            section.fail(Fault::new(
                "requests are picked by one header or one cookie",
                "write { header = \"x-user\" } or { cookie = \"session\" }",
            ));
            return false;
        }
        self.header.is_some() || self.cookie.is_some()
    }
}

impl HashTable {
    pub(super) fn kind() -> Short<Self> {
        Short {
            is_short: |item| item.is_text(),
            read: |item| {
                let word = Some(item.parse(hash_word)?);
                Some(Self {
                    word,
                    ..Self::default()
                })
            },
            show: |table| {
                table.word.map(|word| match word {
                    HashWord::Source => quote("source"),
                    HashWord::Path => quote("path"),
                })
            },
            schema: || words_schema(["source", "path"]),
        }
    }
}

fn hash_word(text: &str) -> Result<HashWord, Fault> {
    match text {
        "source" => Ok(HashWord::Source),
        "path" => Ok(HashWord::Path),
        _ => Err(Fault::new(
            format!("`{text}` is not a part of a request to pick by"),
            "write \"source\", \"path\", { header = \"x-user\" } or { cookie = \"session\" }",
        )),
    }
}

/// What names of headers and cookies look like.
const TOKEN: &str = "^[A-Za-z0-9!#%&'*+.^_`|~-]+$";

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

/// `outlier = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OutlierTable {
    pub(crate) consecutive: Maybe<u64>,
    pub(crate) consecutive_5xx: Maybe<u64>,
    pub(crate) error_ratio: Maybe<u8>,
    pub(crate) min_requests: Maybe<u64>,
    pub(crate) interval: Maybe<Duration>,
    pub(crate) base_ejection: Maybe<Duration>,
    pub(crate) max_ejected: Maybe<u8>,
}

impl Table for OutlierTable {
    const EXAMPLE: &'static str = "{ consecutive = 5 }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(consecutive, Whole(0..=MANY)).default("5").words(
                "attempts in a row without an answer that put a server out; 0: never, nor is it \
                 noticed that a server answers nothing at all",
            ),
            key!(consecutive_5xx, Whole(0..=MANY))
                .default("0")
                .words("answers in a row with 5xx; 0: never"),
            key!(error_ratio, Ratio)
                .default("0.0")
                .words("share of failures and 5xx, if the others do better; 0: never"),
            key!(min_requests, Whole(1..=MANY))
                .default("20")
                .words("before that share counts"),
            key!(interval, Time(positive))
                .default("\"10s\"")
                .words("for which it is counted"),
            key!(base_ejection, Time(positive))
                .default("\"10s\"")
                .words("the first time; longer with each, at most 300 s"),
            key!(max_ejected, Ratio)
                .default("0.5")
                .words("of the servers; the last usable one always stays"),
        ]
    }
}

/// What is wrong with a string that is not `off`.
pub(super) fn not_outlier(text: &str) -> Fault {
    Fault::new(
        format!("`{text}` is not a rule for putting servers out"),
        "write \"off\" or { consecutive = 5 }",
    )
}

pub(super) fn positive(item: &Item<'_>, time: Duration) -> Option<Duration> {
    if time.is_zero() {
        return item.fail(Fault::new("this time cannot be zero", "write \"10s\""));
    }
    Some(time)
}
