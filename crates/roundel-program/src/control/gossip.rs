//! What the gossip node tells: lines for the timeline, doubt about silent servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use roundel_balance::ServerId;
use roundel_config::Discover;
use roundel_gossip_tokio::{DropReason, Event, Member};
use roundel_model::EventKind;
use roundel_model::{Name, SourceKind};
use tokio::sync::broadcast;

use super::Control;
use crate::event_log::EventLog;

/// Events that are taken in at one turn at most.
const EVENTS: usize = 256;

/// The servers that the gossip node pings closely, with the answers counted a second ago.
#[derive(Default)]
pub(super) struct Watched {
    answers: BTreeMap<(Name, ServerId), u64>,
    on: BTreeSet<String>,
}

impl Control {
    /// Takes an event in, and those that came with it.
    pub(super) fn handle_gossip(
        &mut self,
        first: Arc<Event>,
        more: &mut broadcast::Receiver<Arc<Event>>,
    ) {
        // What many say at once is passed on at once: each time costs a look at all servers.
        let mut silence = BTreeMap::new();
        let more = std::iter::from_fn(|| more.try_recv().ok());
        for event in std::iter::once(first).chain(more).take(EVENTS) {
            if let Some(view) = &mut self.parts.gossip {
                view.observe(&event);
            }
            tell(&self.parts.log, &event, |member| self.is_server(member));
            match &*event {
                Event::Silent { name } => drop(silence.insert(name.clone(), true)),
                Event::Heard { name, .. } => drop(silence.insert(name.clone(), false)),
                // What is bound to an address that is gone sends nothing, and is told of nothing.
                Event::Moved { peer: None, .. } => self.parts.proxy.close_idle(),
                _ => {}
            }
        }
        self.doubt(&silence);
    }

    /// Passes the silence of members on to the backends that have them as servers.
    fn doubt(&mut self, silence: &BTreeMap<String, bool>) {
        if silence.is_empty() {
            return;
        }
        for managed in self.backends.values_mut() {
            managed.handle_silence(Instant::now(), silence);
        }
    }

    /// Has gossip ping the servers that answered no request in the last second, and only them.
    /// Who has yet to pass a check, or fails it, gets no requests that its silence could harm.
    pub(super) fn watch_silent_servers(&mut self) {
        let Some(view) = &self.parts.gossip else {
            return;
        };
        let mut answers = BTreeMap::new();
        let mut on = BTreeSet::new();
        for (backend, managed) in &self.backends {
            for (live, state) in managed.director().servers_of(SourceKind::Gossip) {
                let key = (backend.clone(), live.id);
                let count = live.answers();
                let answered = self.watched.answers.get(&key).is_some_and(|n| *n != count);
                answers.insert(key, count);
                let name = live.name.as_str();
                if !answered && (state.takes_sticky() || self.watched.on.contains(name)) {
                    on.insert(name.to_owned());
                }
            }
        }
        self.watched.answers = answers;
        if on == self.watched.on || !view.handle().watch_only(on.clone()) {
            return;
        }
        let before = std::mem::replace(&mut self.watched.on, on);
        let answering = before.difference(&self.watched.on);
        // They answer requests: whatever gossip missed before is no reason for doubt.
        let heard = answering.map(|name| (name.clone(), false)).collect();
        self.doubt(&heard);
    }

    /// Whether some backend takes members of this role as servers.
    fn is_server(&self, member: &Member) -> bool {
        let role = member.tags.get("role");
        let backends = self.parts.settings.backends.iter();
        backends.flat_map(|b| &b.discover).any(|d| match d {
            Discover::Gossip { role: wanted, .. } => role == Some(wanted),
            _ => false,
        })
    }
}

/// Writes a line for what is worth one; what happens to servers is told by the backend that has
/// them.
pub(crate) fn tell(log: &EventLog, event: &Event, is_server: impl Fn(&Member) -> bool) {
    let member = |kind, member: &Member, text: &str| {
        let role = member.tags.get("role").map_or("none", String::as_str);
        // Tags come from the network.
        let text = format!("{text}, {}, role {}", member.address, role.escape_default());
        log.add(kind, member.name.clone(), text, None);
    };
    match event {
        Event::Join(m) if !is_server(m) => member(EventKind::Join, m, "member joined"),
        Event::Leave(m) => member(EventKind::Leave, m, "member left"),
        Event::Failed(m) => member(EventKind::Failed, m, "member failed"),
        Event::Joined { address, members } => log.add(
            EventKind::Join,
            "gossip",
            match members {
                1 => format!("joined through {address}, which knows 1 member"),
                n => format!("joined through {address}, which knows {n} members"),
            },
            None,
        ),
        Event::JoinFailed { address, reason } => {
            tracing::debug!("join through {address} failed: {reason}");
        }
        Event::Conflict {
            name,
            kept,
            refused,
        } => log.add(
            EventKind::Other,
            name.clone(),
            format!("name claimed by {refused}; {kept} keeps it for as long as it answers"),
            None,
        ),
        Event::Dropped { from, reason } => {
            let why = match reason {
                DropReason::Unauthenticated => "not encrypted with a key of this cluster",
                DropReason::Address => {
                    "a member at an address that nobody can reach; give it one with -bind or -advertise"
                }
                DropReason::Incarnation => "an incarnation that no member comes to",
                DropReason::Time => "a time far ahead of this cluster's",
                other => other.as_str(),
            };
            let text = format!("refused what {from} sent: {why}");
            log.add(EventKind::Other, "gossip", text, None);
        }
        Event::KeysChanged { act, by, installed } => {
            // The name comes from the network.
            let by = by.escape_default();
            let text = format!("{act} ordered by {by}: {installed} gossip keys installed");
            log.add(EventKind::Other, "gossip", text, None);
        }
        Event::DatagramsLost { name, address } => {
            let text = format!("{address} answers by TCP and not by UDP: open the port for both");
            log.add(EventKind::Other, name.clone(), text, None);
        }
        Event::DatagramsBack => {
            let text = "UDP gets through to every member again".to_owned();
            log.add(EventKind::Other, "gossip", text, None);
        }
        Event::Moved { from, to, peer } => {
            let by = match peer {
                Some(peer) => format!("where the member at {peer} reaches us"),
                None => format!("since {} is gone", from.ip()),
            };
            let text = format!("address {from} → {to}: {by}");
            log.add(EventKind::Other, "gossip", text, None);
        }
        Event::Restarted => log.add(
            EventKind::Other,
            "gossip",
            "its driver ended by a panic and was started again with its members".to_owned(),
            None,
        ),
        Event::Renamed { from, to } => log.add(
            EventKind::Other,
            "gossip",
            format!("the name {from} belongs to another member: this node goes on as {to}"),
            None,
        ),
        Event::User { name, payload, .. } => {
            let bytes = payload.len();
            let text = format!("user event {}, {bytes} bytes", name.escape_default());
            log.add(EventKind::Other, "gossip", text, None);
        }
        _ => {}
    }
}
