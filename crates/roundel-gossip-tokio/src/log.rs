//! The system log's view of events.

use roundel_gossip::Event;

/// Logs an event: a change of a member is information, what an operator should look into is a
/// warning, the rest is for those who look closer.
pub(crate) fn event(event: &Event) {
    match event {
        Event::Join(member) => {
            tracing::info!(member = member.name, address = %member.address, "member joined");
        }
        Event::Leaving(member) => tracing::info!(member = member.name, "member is leaving"),
        Event::Leave(member) => tracing::info!(member = member.name, "member left"),
        Event::Failed(member) => {
            tracing::warn!(member = member.name, address = %member.address, "member failed");
        }
        Event::Update(member) => tracing::debug!(member = member.name, "member updated"),
        Event::Reap(member) => tracing::debug!(member = member.name, "member forgotten"),
        Event::Suspect { name, from } => {
            tracing::info!(member = name, from, "member is suspected");
        }
        Event::Refuted { name } => tracing::info!(member = name, "member refuted the suspicion"),
        Event::Silent { name } => tracing::debug!(member = name, "member is silent"),
        Event::Heard { name, .. } => tracing::debug!(member = name, "member answers"),
        Event::Joined { address, members } => {
            tracing::debug!(%address, members, "joined by this address");
        }
        Event::JoinFailed { address, reason } => {
            tracing::debug!(%address, reason, "cannot join by this address");
        }
        Event::Conflict {
            name,
            kept,
            refused,
        } => tracing::warn!(member = name, %kept, %refused, "two members claim one name"),
        Event::Dropped { from, reason } => {
            tracing::warn!(%from, %reason, "refused something from a gossip peer");
        }
        Event::User { name, .. } => tracing::debug!(event = ?name, "user event"),
        Event::Query(question) => {
            tracing::debug!(query = ?question.name, from = question.from, "query");
        }
        Event::Restarted => {
            tracing::error!("the gossip's driver panicked: it goes on with its members");
        }
        Event::Answer(_) | Event::QueryEnded { .. } => {}
        Event::KeysChanged { act, by, installed } => {
            tracing::info!(act, by, installed, "the gossip keys were changed");
        }
        Event::Voted {
            kept: true,
            votes,
            answers,
        } => tracing::info!(votes, answers, "the members know us by our name"),
        Event::Voted { votes, answers, .. } => {
            tracing::warn!(votes, answers, "the vote about our name is lost");
        }
        Event::Renamed { from, to } => tracing::warn!(
            taken = from,
            name = to,
            "our name is taken: joining with a suffix"
        ),
        Event::DatagramsLost { name, address } => tracing::warn!(
            member = name,
            %address,
            "UDP does not get through, though TCP does: open the gossip port for both; until then \
             news are slow, and a leave may not be heard"
        ),
        Event::DatagramsBack => tracing::info!("UDP gets through to every member again"),
        Event::Moved { from, to, peer } => {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            tracing::info!(%from, %to, peer, "our address is another one");
        }
        Event::Departed => tracing::info!("left the cluster"),
    }
}
