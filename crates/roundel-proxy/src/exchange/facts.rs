//! What is known of a request beside its head.

use std::net::IpAddr;

use roundel_http1::RequestHead;

use crate::headers::rules::Facts;
use crate::headers::{self, identity};
use crate::scene::Scene;
use crate::story::Story;

/// The client's address as seen through trusted proxies.
pub(super) fn client_address(scene: Scene<'_>, head: &RequestHead) -> IpAddr {
    let (peer, trusted) = (
        scene.peer.address.ip(),
        &scene.rules.frontend.trusted_proxies,
    );
    headers::client_address(head.fields(), peer, trusted)
}

/// What header rules may write of a request.
pub(super) fn facts<'a>(scene: Scene<'a>, head: &'a RequestHead, story: &'a Story) -> Facts<'a> {
    Facts {
        fields: head.fields(),
        peer: scene.peer.address.ip(),
        trusted: &scene.rules.frontend.trusted_proxies,
        host: head.host().unwrap_or_default(),
        path: head.path(),
        request_id: story.request_id.as_deref().unwrap_or_default(),
        presented: scene
            .peer
            .secured
            .as_ref()
            .and_then(|s| s.presented.as_ref()),
    }
}

/// What X-Request-ID says on both sides, where it is switched on.
pub(super) fn marked_id<'a>(scene: Scene<'_>, story: &'a Story) -> Option<&'a str> {
    let is_on = scene.rules.frontend.marks.request_id;
    story.request_id.as_deref().filter(|_| is_on)
}

pub(super) fn is_trusted(scene: Scene<'_>) -> bool {
    let trusted = &scene.rules.frontend.trusted_proxies;
    headers::is_trusted(scene.peer.address.ip(), trusted)
}

#[cold]
pub(super) fn request_id(scene: Scene<'_>, head: &RequestHead, story: &Story) -> Box<str> {
    let unix = scene.worker.unix(story.started);
    let mut rng = scene.worker.rng.borrow_mut();
    identity::request_id(head.fields(), is_trusted(scene), unix, &mut rng)
}
