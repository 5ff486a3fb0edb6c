//! The sticky cookie in heads: found, hidden from servers, set for clients; and the server it names.

use memchr::memmem::Finder;
use roundel_balance::{Current, ServerId};
use roundel_http1::{Edits, Fields, Known, cookie};

use crate::config::Sticky;

/// The fixed parts of the cookie, rendered once.
pub(crate) struct CookieText {
    name: Finder<'static>,
    /// `NAME=`
    prefix: Vec<u8>,
    /// `; path=/; …`, in clear and over TLS.
    suffixes: [Vec<u8>; 2],
}

impl CookieText {
    pub(crate) fn new(sticky: &Sticky) -> Self {
        Self {
            name: Finder::new(sticky.cookie.as_bytes()).into_owned(),
            prefix: format!("{}=", sticky.cookie).into_bytes(),
            suffixes: [false, true].map(|tls| Self::suffix(sticky, tls)),
        }
    }

    fn suffix(sticky: &Sticky, tls: bool) -> Vec<u8> {
        let mut suffix = String::from("; path=/");
        if let Some(domain) = &sticky.domain {
            suffix += "; domain=";
            suffix += domain;
        }
        if let Some(age) = sticky.max_age {
            suffix += &format!("; Max-Age={}", age.as_secs());
        }
        suffix += "; HttpOnly";
        if sticky.secure || tls {
            suffix += "; Secure";
        }
        suffix += "; SameSite=";
        suffix += &sticky.same_site;
        suffix.into_bytes()
    }
}

/// The server a cookie names, and where it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StickyServer {
    pub(crate) id: ServerId,
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

impl StickyServer {
    /// Finds the server in a snapshot if it still takes sticky requests there.
    pub(crate) fn locate(self, current: &Current) -> Option<usize> {
        let servers = current.servers();
        let index = if current.generation() == self.generation {
            self.index
        } else {
            servers.iter().position(|entry| entry.live.id == self.id)?
        };
        servers[index].state.takes_sticky().then_some(index)
    }
}

/// Cuts every pair with the sticky name out of a request, and shows `take` their values, over all
/// Cookie lines, until one is taken. A line left empty goes whole.
///
/// Shape: names match exactly, with case; values are as sent, quotes included.
pub(crate) fn cut<T>(
    fields: Fields<'_>,
    text: &CookieText,
    edits: &mut Edits,
    mut take: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut taken = None;
    for line in fields.all(Known::Cookie) {
        // Most lines of a jar that does not hold it are done with after this.
        if text.name.find(line.value).is_none() {
            continue;
        }
        edits.rewrite(line.index, |out| {
            let seen = |value: &[u8]| {
                if taken.is_none() {
                    taken = take(value);
                }
            };
            cookie::remove(line.value, text.name.needle(), out, seen) > 0
        });
    }
    taken
}

/// Removes a cookie of the sticky name that the server sets itself.
pub(crate) fn remove_set_cookie(fields: Fields<'_>, text: &CookieText, edits: &mut Edits) {
    for line in fields.all(Known::SetCookie) {
        if cookie::set_cookie_name(line.value) == text.name.needle() {
            edits.remove(line.index);
        }
    }
}

/// Sets the cookie to `value` and keeps shared caches from storing the answer. Over TLS the client
/// is to send it over TLS alone.
pub(crate) fn set(
    fields: Fields<'_>,
    text: &CookieText,
    value: &str,
    tls: bool,
    edits: &mut Edits,
) {
    let suffix = &text.suffixes[usize::from(tls)];
    edits.append_known(Known::SetCookie, &[&text.prefix, value.as_bytes(), suffix]);
    keep_private(fields, edits);
}

/// Replaces `public` and `s-maxage` by `private`; an answer that says nothing gets `private`.
///
/// One that is already `private`, `no-store` or `no-cache` stays as it is. Lines that a header
/// rule has replaced say nothing here; `private` beside theirs is what caches obey.
fn keep_private(fields: Fields<'_>, edits: &mut Edits) {
    let mut said = false;
    let mut guarded = false;
    for line in fields.all(Known::CacheControl) {
        if edits.is_touched(line.index) {
            continue;
        }
        said = true;
        for directive in directives(line.value) {
            let name = directive_name(directive);
            guarded |= ["private", "no-store", "no-cache"].iter().any(|word| {
                name.eq_ignore_ascii_case(word.as_bytes()) && name.len() == directive.len()
            });
        }
    }
    if !said {
        edits.append_known(Known::CacheControl, &[b"private"]);
        return;
    }
    for line in fields.all(Known::CacheControl) {
        let kept: Vec<&[u8]> = directives(line.value).filter(|d| !is_shared(d)).collect();
        let cut = kept.len() < directives(line.value).count();
        if edits.is_touched(line.index) || (guarded && !cut) {
            continue;
        }
        let mut value = kept.join(&b", "[..]);
        if !std::mem::replace(&mut guarded, true) {
            let separator: &[u8] = if value.is_empty() { b"" } else { b", " };
            value.splice(..0, [b"private", separator].concat());
        }
        match value.is_empty() {
            true => edits.remove(line.index),
            false => edits.replace(line.index, &value),
        }
    }
}

fn directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|d| !d.is_empty())
}

fn directive_name(directive: &[u8]) -> &[u8] {
    directive.split(|b| *b == b'=').next().unwrap_or_default()
}

/// Whether a directive invites shared caches.
fn is_shared(directive: &&[u8]) -> bool {
    let name = directive_name(directive);
    name.eq_ignore_ascii_case(b"public") || name.eq_ignore_ascii_case(b"s-maxage")
}
