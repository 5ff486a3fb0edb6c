//! `sticky` of a backend.

use std::time::Duration;

use roundel_proxy::HostPattern;

use super::location;
use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Bool, Notation, Text, Time, Word};
use crate::reader::{Item, Section};
use crate::value::Fault;

/// `sticky = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StickyTable {
    pub(crate) cookie: Maybe<String>,
    pub(crate) key: Maybe<String>,
    pub(crate) secure: Maybe<bool>,
    pub(crate) same_site: Maybe<&'static str>,
    pub(crate) domain: Maybe<String>,
    pub(crate) max_age: Maybe<Duration>,
}

impl Table for StickyTable {
    const EXAMPLE: &'static str = "{ cookie = \"SERVERID\" }";

    fn keys() -> Vec<Key<Self>> {
        let cookie = Notation {
            read: cookie_name,
            show: String::clone,
            pattern: "^[A-Za-z0-9!#%&'*+.^_`~-]+$",
        };
        let same_site = Word {
            words: vec![("lax", "Lax"), ("strict", "Strict"), ("none", "None")],
            any_case: true,
        };
        let domain = Notation {
            read: cookie_domain,
            show: String::clone,
            pattern: "^[^/\\s:]+$",
        };
        vec![
            // The cookie of HAProxy's manual.
            key!(cookie, cookie).required().said("\"SERVERID\""),
            key!(key, Text)
                .example("\"some secret\"")
                .secret()
                .words("equal on all balancers; otherwise made of the gossip key"),
            key!(secure, Bool)
                .default("false")
                .words("true: HTTPS only; a cookie named __Host-… or __Secure-… needs it"),
            key!(same_site, same_site)
                .default("\"lax\"")
                .words("lax, strict, none; none needs secure"),
            key!(domain, domain)
                .example("\"example.org\"")
                .words("not for __Host-…"),
            key!(max_age, Time(cookie_age))
                .example("\"1d\"")
                .words("otherwise the cookie ends with the browser's session"),
        ]
    }

    /// Refuses what browsers would drop.
    fn verify(&mut self, section: &Section<'_>) -> bool {
        let is_secure = self.secure.as_ref().is_some_and(|at| at.value);
        let https = "add secure = true; clients then send it over HTTPS only";
        if let Some(site) = self.same_site.as_ref().filter(|at| at.value == "None")
            && !is_secure
        {
            let message = "browsers drop a cookie with SameSite=None and without Secure";
            section.report_at(&site.place, Fault::new(message, https));
        }
        if let Some(name) = &self.cookie
            && let Some(prefix) = cookie_prefix(&name.value)
        {
            if !is_secure {
                let message = format!("browsers drop a cookie named {prefix}… without Secure");
                section.report_at(&name.place, Fault::new(message, https));
            }
            if prefix == "__Host-" && self.domain.is_some() {
                let message = "browsers drop a cookie named __Host-… with a Domain";
                let hint = "leave domain out, or name it \"__Secure-…\"";
                section.report_at(&name.place, Fault::new(message, hint));
            }
        }
        true
    }
}

/// What is wrong with a string that is not `off`.
pub(super) fn not_sticky(text: &str) -> Fault {
    Fault::new(
        format!("`{text}` is not a sticky setting"),
        format!("write sticky = \"off\" or sticky = {{ cookie = \"{text}\" }}"),
    )
}

/// Checks the name of a cookie. Source: RFC 6265 4.1.1, a token.
pub(crate) fn cookie_name(text: &str) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        return Err(Fault::new(
            format!("`{text}` cannot be the name of a cookie"),
            "write \"SERVERID\"",
        ));
    }
    Ok(text.to_owned())
}

/// The prefix by which browsers ask more of a cookie, in any case.
/// Source: RFC 6265bis (draft 22), 4.1.3. Path and HttpOnly are always as they ask.
pub(crate) fn cookie_prefix(name: &str) -> Option<&'static str> {
    let begins = |prefix: &&str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    ["__Host-", "__Secure-", "__Http-"].into_iter().find(begins)
}

fn cookie_domain(text: &str) -> Result<String, Fault> {
    // A dot before it means nothing to browsers (RFC 6265 5.2.3); one behind it matches no host.
    match location::host(text.strip_prefix('.').unwrap_or(text)) {
        Ok(host @ HostPattern::Name(_)) if !text.ends_with('.') => Ok(host.to_string()),
        _ => Err(Fault::new(
            format!("`{text}` cannot be the domain of a cookie"),
            "write \"example.org\"; without a domain it is for the host that was asked for",
        )),
    }
}

/// Checks how long a cookie lives. It is told in whole seconds, and none would delete it.
fn cookie_age(item: &Item<'_>, age: Duration) -> Option<Duration> {
    match age < Duration::from_secs(1) {
        true => item.fail(Fault::new(
            "a cookie of less than a second is deleted at once",
            "write for example \"1d\", or leave max_age out for the browser's session",
        )),
        false => Some(age),
    }
}
