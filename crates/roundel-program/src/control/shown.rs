//! Acts are answered when a snapshot shows what they did, so that whoever asks next reads it.

use std::time::{Duration, Instant};

use roundel_admin::command::Outcome;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Control;
use super::cluster::Answer;

/// The shortest time between two snapshots that acts ask for; acts within it share one.
const MERGE: Duration = Duration::from_millis(20);

type Reply = oneshot::Sender<Answer>;

/// Acts that are under way or wait for the snapshot that shows them.
pub(super) struct Acts {
    running: JoinSet<(Reply, Answer)>,
    done: Vec<(Reply, Answer)>,
    published: Option<Instant>,
}

impl Acts {
    pub(super) fn new() -> Self {
        Self {
            running: JoinSet::new(),
            done: Vec::new(),
            published: None,
        }
    }

    /// Waits for an act that goes on beside the control task.
    pub(super) fn begin(&mut self, reply: Reply, answer: oneshot::Receiver<Answer>) {
        self.running.spawn(async move {
            let closed = Err(roundel_admin::command::CommandError::Closed);
            (reply, answer.await.unwrap_or(closed))
        });
    }

    /// The next act that has ended; `None` while none is under way.
    pub(super) async fn next(&mut self) -> Option<(Reply, Answer)> {
        self.running.join_next().await?.ok()
    }

    /// When the snapshot is due that somebody waits for.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.done.is_empty() {
            return None;
        }
        let now = Instant::now();
        Some(self.published.map_or(now, |at| at + MERGE))
    }

    /// Answers all that the snapshot of this number shows.
    pub(super) fn published(&mut self, seq: u64) {
        self.published = Some(Instant::now());
        for (reply, answer) in self.done.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send(answer.map(|outcome| Outcome { seq, ..outcome }));
        }
    }
}

impl Control {
    /// Answers an act: at once when nothing was done or nothing is shown any more, else with the
    /// next snapshot.
    pub(super) fn answer(&mut self, reply: Reply, answer: Answer) {
        if self.frozen || answer.is_err() {
            // Whoever asked may be gone.
            let _ = reply.send(answer);
            return;
        }
        self.acts.done.push((reply, answer));
    }
}
