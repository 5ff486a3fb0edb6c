//! What answers a request: a backend, or a redirect.

use roundel_http1::{RequestHead, path};

use crate::config::{Frontend, Route, Target};
use host::without_port;
use redirect::Sent;

pub(crate) mod host;
pub(crate) mod redirect;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the default backend (0) or that of the `i`-th route that has one (`i`, from 1).
    Backend(usize),
    /// Elsewhere: a status and the value of Location.
    Redirect(u16, String),
    /// Nowhere: its route redirects, and it does not say from which host.
    NoHost,
}

/// Finds the first route that matches, and where it leads; the default backend where none does.
///
/// Shape: rules look at the normal forms of host and path. `scheme` is asked for the scheme that the client used, by redirects only.
pub(crate) fn route<'f>(
    frontend: &'f Frontend,
    head: &RequestHead,
    scheme: impl Fn() -> &'static str,
) -> (Option<&'f Route>, Way) {
    if frontend.routes.is_empty() {
        return (None, Way::Backend(0));
    }
    let host = without_port(head.host().unwrap_or_default());
    let path = path::normal(head.path());
    let mut backend = 0;
    for route in &frontend.routes {
        backend += usize::from(matches!(route.target, Target::Backend(_)));
        if !matches(route, host, &path) {
            continue;
        }
        let way = match &route.target {
            Target::Backend(_) => Way::Backend(backend),
            Target::Redirect(redirect) => {
                let prefix = route.path_prefix.as_deref().unwrap_or_default();
                match redirect.send(head, &path, scheme(), prefix) {
                    Sent::To(location) => Way::Redirect(redirect.status, location),
                    Sent::NoHost => Way::NoHost,
                    Sent::Here => continue,
                }
            }
        };
        return (Some(route), way);
    }
    (None, Way::Backend(0))
}

fn matches(route: &Route, host: &[u8], path: &[u8]) -> bool {
    let path_fits = |prefix: &String| path_matches(prefix.as_bytes(), path);
    route
        .host
        .as_ref()
        .is_none_or(|wanted| wanted.matches(host))
        && route.path_prefix.as_ref().is_none_or(path_fits)
}

fn path_matches(prefix: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || prefix.ends_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_at_segment_borders() {
        let check = |prefix: &str, path: &str, expected| {
            assert_eq!(
                path_matches(prefix.as_bytes(), path.as_bytes()),
                expected,
                "{prefix} {path}"
            );
        };
        check("/v1", "/v1", true);
        check("/v1", "/v1/x", true);
        check("/v1", "/v10", false);
        check("/v1/", "/v1/x", true);
        check("/v1/", "/v1", false);
        check("/", "/anything", true);
        check("/", "*", false);
    }
}
