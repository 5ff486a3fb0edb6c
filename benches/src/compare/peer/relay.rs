//! This program as a relay that looks at no byte: what the kernel's work alone costs.

use std::path::Path;

use super::{ORIGINS, Peer, Place, RELAY};

pub(super) fn peer(program: &Path, place: &Place<'_>) -> Peer {
    let (plain, sticky) = (place.plain().to_string(), place.sticky().to_string());
    let [one, two] = ORIGINS;
    let words = ["relay", &plain, &sticky, "--server", one, "--server", two];
    Peer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        more: "the floor: it knows no HTTP and gives each client connection one to a server",
        ..place.peer(RELAY, program, &words)
    }
}
