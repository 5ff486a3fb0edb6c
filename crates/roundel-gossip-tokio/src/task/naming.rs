//! What is done when our name belongs to another member: we go on under a name of our own. Serf
//! agents end themselves then.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roundel_gossip::{Event, Status};

use super::Task;

/// How long after its start a member gives way at once when its name is taken. One that has held
/// its name for longer lets the others vote, and gives way if it loses.
const NEWCOMER: Duration = Duration::from_secs(10);

/// Most members of before by whom we come back.
const COMRADES: usize = 64;

/// Most of them, the one that claims our name too, whom we meet at once.
const FIRST: usize = 3;

impl Task {
    /// Whether this says that our name is not ours.
    pub(super) fn loses_name(&self, event: &Event) -> bool {
        match event {
            // Alone with the other there is nobody to vote, and an agent without a vote ends itself.
            Event::Conflict { name, .. } => {
                let young = self.started.elapsed() < NEWCOMER;
                *name == self.node.name() && (young || self.is_alone())
            }
            // With no answer there is nobody who could see us under the other's name.
            Event::Voted { kept, answers, .. } => !kept && *answers > 0,
            _ => false,
        }
    }

    /// Keeps in mind where our name is claimed: by that address we come back under another name.
    pub(super) fn note_claim(&mut self, event: &Event) {
        if let Event::Conflict { name, refused, .. } = event
            && *name == self.node.name()
        {
            self.claimed_at = Some(*refused);
        }
    }

    /// Takes a name with a suffix and joins again, unless we are leaving. The other is met at once,
    /// so that it knows us before its own vote ends.
    pub(super) fn take_another_name(&mut self, now: Instant) {
        let own = self.node.member(self.node.name());
        if own.is_none_or(|own| own.status != Status::Alive) {
            return;
        }
        let name = with_suffix(&self.asked, self.seeding.rng.u32(..));
        let living = |m: &&roundel_gossip::Member| m.status == Status::Alive;
        let others = self.node.members().filter(living);
        let others = others.filter(|m| m.name != self.node.name());
        let comrades: Vec<SocketAddr> = others.map(|m| m.address).take(COMRADES).collect();
        if let Err(error) = self.node.rename(now, &name) {
            tracing::error!(name, %error, "cannot take another name");
            return;
        }
        self.seeding.cached.extend(&comrades);
        let first = self.claimed_at.take().into_iter();
        let first: Vec<SocketAddr> = first.chain(comrades).take(FIRST).collect();
        self.node.join(now, &first);
    }

    /// Whoever answered did so to the name of before.
    pub(super) fn renamed(&mut self, name: &str) {
        self.publish.name.send_replace(name.into());
        self.seeding.answered.clear();
        self.seeding.next = Some(tokio::time::Instant::now());
    }
}

/// Makes a name of this life's own; the whole stays within a name's 128 bytes.
fn with_suffix(name: &str, random: u32) -> String {
    let kept = &name[..name.floor_char_boundary(128 - 7)];
    format!("{kept}-{:06x}", random & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_keeps_a_name_short() {
        let long = with_suffix(&"x".repeat(128), u32::MAX);
        assert_eq!(long.len(), 128);
        let short = with_suffix("webapp", 0xab);
        assert_eq!(short, "webapp-0000ab");
    }
}
