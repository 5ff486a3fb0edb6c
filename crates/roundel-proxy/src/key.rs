//! The key of a request, for backends that pick by key.

use std::net::IpAddr;

use roundel_balance::hash_key;
use roundel_http1::{Known, RequestHead, cookie, path};

use crate::config::HashOn;

/// The hash of the key that `on` names; `None` when the request has none. `client` is the
/// address of the client as seen through trusted proxies.
pub(crate) fn hash(
    on: &HashOn,
    head: &RequestHead,
    client: impl FnOnce() -> IpAddr,
) -> Option<u64> {
    let fields = head.fields();
    match on {
        HashOn::Source => Some(match client().to_canonical() {
            IpAddr::V4(ip) => hash_key(&ip.octets()),
            IpAddr::V6(ip) => hash_key(&ip.octets()),
        }),
        HashOn::Path => Some(hash_key(&path::normal(head.path()))),
        HashOn::Header(name) => (0..fields.len())
            .map(|i| fields.line(i))
            .find(|line| line.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| hash_key(line.value)),
        HashOn::Cookie(name) => fields
            .all(Known::Cookie)
            .flat_map(|line| cookie::pairs(line.value))
            .find(|(pair, _)| *pair == name.as_bytes())
            .map(|(_, value)| hash_key(value)),
    }
}
