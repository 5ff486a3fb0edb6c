//! The sticky cookie in heads: found, hidden from servers, set for clients.

use roundel_http1::{Edits, Fields, Known, cookie};

use crate::config::Sticky;

/// The longest Cookie value from which pairs are cut without asking the allocator.
const USUAL: usize = 512;

/// The fixed parts of the cookie, rendered once.
pub(crate) struct CookieText {
    name: Vec<u8>,
    /// `NAME=`
    prefix: Vec<u8>,
    /// `; path=/; …`
    suffix: Vec<u8>,
}

impl CookieText {
    pub(crate) fn new(sticky: &Sticky) -> Self {
        let mut suffix = String::from("; path=/");
        if let Some(domain) = &sticky.domain {
            suffix += "; domain=";
            suffix += domain;
        }
        if let Some(age) = sticky.max_age {
            suffix += &format!("; Max-Age={}", age.as_secs());
        }
        suffix += "; HttpOnly";
        if sticky.secure {
            suffix += "; Secure";
        }
        suffix += "; SameSite=";
        suffix += &sticky.same_site;
        Self {
            name: sticky.cookie.clone().into_bytes(),
            prefix: format!("{}=", sticky.cookie).into_bytes(),
            suffix: suffix.into_bytes(),
        }
    }
}

/// Visits the values of every pair with the sticky name, over all Cookie lines, until one is taken.
///
/// Shape: names match exactly, with case; values are as sent, quotes included.
pub(crate) fn find<T>(
    fields: Fields<'_>,
    text: &CookieText,
    mut take: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    fields
        .all(Known::Cookie)
        .flat_map(|line| cookie::pairs(line.value))
        .filter(|(name, _)| *name == text.name)
        .find_map(|(_, value)| take(value))
}

/// Cuts every pair with the sticky name out of a request; a line left empty goes whole.
pub(crate) fn hide(fields: Fields<'_>, text: &CookieText, edits: &mut Edits) {
    for line in fields.all(Known::Cookie) {
        let mut rest = Vec::with_capacity(line.value.len().min(USUAL));
        match cookie::remove(line.value, &text.name, &mut rest) {
            0 => {}
            _ if rest.is_empty() => edits.remove(line.index),
            _ => edits.replace(line.index, &rest),
        }
    }
}

/// Removes a cookie of the sticky name that the server sets itself.
pub(crate) fn remove_set_cookie(fields: Fields<'_>, text: &CookieText, edits: &mut Edits) {
    for line in fields.all(Known::SetCookie) {
        if cookie::set_cookie_name(line.value) == text.name {
            edits.remove(line.index);
        }
    }
}

/// Sets the cookie to `value` and keeps shared caches from storing the answer.
pub(crate) fn set(fields: Fields<'_>, text: &CookieText, value: &str, edits: &mut Edits) {
    edits.append_known(
        Known::SetCookie,
        &[&text.prefix, value.as_bytes(), &text.suffix],
    );
    keep_private(fields, edits);
}

/// Replaces `public` and `s-maxage` by `private`; an answer that says nothing gets `private`.
///
/// One that is already `private`, `no-store` or `no-cache` stays as it is.
fn keep_private(fields: Fields<'_>, edits: &mut Edits) {
    let mut said = false;
    let mut guarded = false;
    for line in fields.all(Known::CacheControl) {
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
        if guarded && !cut {
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
