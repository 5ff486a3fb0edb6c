//! What strangers can make the process keep, and what was refused for it.

use roundel_admin::status::Bound;
use roundel_gossip_tokio::Handle;
use roundel_proxy::MemoryStatus;

use super::Sight;

/// Those of every part that runs.
pub(super) fn all(sight: &Sight<'_>, admin: &roundel_admin::Bounds) -> Vec<Bound> {
    let mut all = vec![http2(sight.proxy.http2_memory()), servers(sight)];
    if let Some(view) = sight.gossip {
        all.extend(gossip(view.handle()));
    }
    all.extend(admin.shown());
    all
}

fn http2(memory: MemoryStatus) -> Bound {
    Bound {
        name: "http2_memory".to_owned(),
        used: Some(memory.used),
        limit: memory.limit,
        hits_total: memory.refused,
    }
}

/// The bound on servers, of the backend that is nearest to it.
fn servers(sight: &Sight<'_>) -> Bound {
    let backends = sight.settings.backends.iter();
    let crowds = backends.filter_map(|backend| {
        let managed = sight.backends.get(&backend.name)?;
        Some((managed.director().crowd(), u64::from(backend.max_servers)))
    });
    let crowds: Vec<_> = crowds.collect();
    let room =
        |(crowd, most): &&(roundel_balance::Crowd, u64)| most.saturating_sub(crowd.taken as u64);
    let nearest = crowds.iter().min_by_key(room);
    let (used, limit) = nearest.map_or((0, 0), |(crowd, most)| (crowd.taken as u64, *most));
    Bound {
        name: "servers".to_owned(),
        used: Some(used),
        limit,
        hits_total: crowds.iter().map(|(crowd, _)| crowd.refused).sum(),
    }
}

/// The bounds of a gossip node.
fn gossip(node: &Handle) -> Vec<Bound> {
    let (stats, limits) = (node.stats(), node.limits());
    let members = stats.alive + stats.leaving + stats.left + stats.failed;
    let bound = |name: &str, used: usize, limit: usize, hits_total| Bound {
        name: name.to_owned(),
        used: Some(used as u64),
        limit: limit as u64,
        hits_total,
    };
    let incoming = limits.incoming_bytes;
    vec![
        bound(
            "gossip_members",
            members,
            limits.members,
            stats.members_refused,
        ),
        bound(
            "gossip_streams",
            stats.places,
            limits.streams,
            stats.streams_refused,
        ),
        Bound {
            used: None,
            ..bound(
                "gossip_peer_streams",
                0,
                limits.peer_streams,
                stats.peer_streams_refused,
            )
        },
        bound(
            "gossip_incoming",
            stats.incoming,
            incoming,
            stats.incoming_refused,
        ),
        bound(
            "gossip_states",
            stats.states,
            limits.state_bytes,
            stats.states_old,
        ),
    ]
}
