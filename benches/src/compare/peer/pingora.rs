//! The balancer of `benches/peers`, written against Pingora's published crate.

use std::path::Path;

use super::{ORIGINS, Peer, Place, version};

pub(super) fn peer(binary: &Path, place: &Place<'_>) -> Peer {
    let (plain, sticky) = (place.plain().to_string(), place.sticky().to_string());
    let [one, two] = ORIGINS;
    Peer {
        version: version(binary, &["--version"]),
        more: "its sticky cookie is only set, never followed",
        ..place.peer("pingora", binary, &[&plain, &sticky, one, two])
    }
}
