//! A connect that stays unanswered may mean a full queue, or a host that is gone. The member behind
//! the server is asked at once: a host that is there answers gossip whatever its app does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use roundel_balance::{Evidence, EvidenceKind};
use roundel_gossip_tokio::{Handle, QueryParams};
use roundel_model::{Name, SourceKind};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Control;

/// Serf's own query of which nothing but the acknowledgement is wanted.
const PING: &str = "_serf_ping";

/// How long a member may take to answer. On one network it takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(80);

/// Pause after which the question is sent once more, for a datagram may be lost.
const AGAIN: Duration = Duration::from_millis(35);

/// The questions under way, at most one to a member.
#[derive(Default)]
pub(super) struct Pings {
    asked: BTreeSet<Name>,
    running: JoinSet<(Name, Evidence, bool)>,
}

impl Pings {
    /// The next member of whom it is known whether it answers.
    pub(super) async fn next(&mut self) -> Option<(Evidence, bool)> {
        // One that panicked says nothing; its member is asked no more, which does no harm.
        let (member, evidence, heard) = self.running.join_next().await?.ok()?;
        self.asked.remove(&member);
        Some((evidence, heard))
    }
}

impl Control {
    /// Asks the member behind a server that has not answered a connect, if gossip named it.
    pub(super) fn ask_unanswered(&mut self, evidence: &Evidence) {
        let (Some(view), Some(managed)) =
            (&self.parts.gossip, self.backends.get(&evidence.backend))
        else {
            return;
        };
        let mut servers = managed.director().servers_of(SourceKind::Gossip);
        let Some((live, _)) = servers.find(|(live, _)| live.id == evidence.server) else {
            return;
        };
        let member = live.name.clone();
        if !self.pings.asked.insert(member.clone()) {
            return;
        }
        let (handle, evidence) = (view.handle().clone(), evidence.clone());
        self.pings.running.spawn(async move {
            let heard = answers(&handle, &member).await;
            (member, evidence, heard)
        });
    }

    /// Two that do not answer, app and agent, are one host that is gone.
    pub(super) fn handle_ping(&mut self, evidence: Evidence, heard: bool) {
        if heard {
            return;
        }
        let evidence = Evidence {
            kind: EvidenceKind::Unheard,
            ..evidence
        };
        if let Some(managed) = self.backends.get_mut(&evidence.backend) {
            managed.handle_evidence(Instant::now(), &evidence);
        }
    }
}

async fn answers(handle: &Handle, member: &Name) -> bool {
    let once = async || {
        let params = QueryParams {
            name: PING.to_owned(),
            nodes: vec![member.to_string()],
            ack: true,
            timeout: Some(PATIENCE),
            direct: true,
            ..QueryParams::default()
        };
        match handle.query(params).await {
            Ok(mut answers) => answers.next().await.is_some(),
            // Nothing was asked, so nothing is known.
            Err(_) => true,
        }
    };
    let again = async {
        sleep(AGAIN).await;
        once().await
    };
    let either = async {
        tokio::pin!(again);
        tokio::select! {
            heard = once() => heard || again.await,
            heard = &mut again => heard,
        }
    };
    timeout(PATIENCE, either).await.unwrap_or(false)
}
