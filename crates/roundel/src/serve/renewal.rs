//! SIGUSR2: the program starts anew and this process hands over to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use roundel_admin::status::{EventKind, Snapshot};

use super::Serving;
use crate::handover::Known;
use crate::handover::successor::Successor;

/// How long a successor looks for the servers that its parent had. First checks take a second
/// at most, and gossip less.
const FIND_SERVERS: Duration = Duration::from_secs(10);

impl Serving {
    /// Starts the program anew and gives it every listening socket.
    ///
    /// Returns whether it has taken over. If not, the reason is logged and this process serves
    /// on; only its gossip may have ended, which is logged too.
    pub(super) async fn hand_over(&mut self) -> bool {
        if let Err(error) = self.try_hand_over().await {
            let text = format!("the new process did not take over: {error}; this one serves on");
            tracing::error!("{text}");
            self.log.add(EventKind::Listener, "roundel", text, None);
            return false;
        }
        // What is asked of the admin side goes to the new process from here on.
        self.doors.abort_all();
        self.door_sockets.clear();
        self.socket = None;
        true
    }

    /// Whether another process serves by now.
    pub(super) fn handed_over(&self) -> bool {
        self.door_sockets.is_empty()
    }

    async fn try_hand_over(&self) -> io::Result<()> {
        let refused = |why| Err(io::Error::other(why));
        let Some(program) = &self.program else {
            return refused(
                "neither a demo nor a process that read its configuration from standard input can be replaced",
            );
        };
        if std::process::id() == 1 {
            return refused("process 1 cannot be replaced: with it the container would end");
        }
        let frontends = self.proxy.sockets();
        let frontends = frontends.iter().map(AsFd::as_fd);
        let doors = self.door_sockets.iter().map(AsFd::as_fd);
        let sockets: Vec<BorrowedFd<'_>> = frontends.chain(doors).collect();
        let mut successor = Successor::start(program, &sockets)?;
        tracing::info!("process {} is to take over", successor.id());
        successor.bound().await?;
        let known = self.known();
        if let Some(gossip) = self.gossip.clone() {
            gossip.shutdown().await;
        }
        let taken = match successor.leave_to_it(&known) {
            Ok(()) => successor.ready().await,
            Err(error) => Err(error),
        };
        if taken.is_err() && self.gossip.is_some() {
            tracing::error!(
                "gossip had ended for the new process: servers are no longer found by it; \
                 send SIGUSR2 again when the cause is mended"
            );
        }
        taken
    }

    fn known(&self) -> Known {
        let own = self
            .gossip
            .as_ref()
            .map(|g| (g.name().to_owned(), g.members()));
        let members = own.map_or_else(Vec::new, |(own, members)| {
            let members = members.borrow();
            let others = members.iter().filter(|m| m.name != own);
            others.map(|m| m.address.to_string()).take(64).collect()
        });
        Known {
            usable: usable(&self.newest.borrow()),
            members,
        }
    }

    /// Waits until as many servers are usable as the old process had.
    ///
    /// Errors: one of its backends has none here. With fewer than it had, we go on.
    pub(super) async fn find_servers(&self, known: &Known) -> anyhow::Result<()> {
        let mut newest = self.newest.clone();
        let has = |snapshot: &Snapshot, enough: fn(usize) -> usize| {
            let found = usable(snapshot);
            let mut wanted = known.usable.iter();
            // A backend that the configuration does not have any more is not waited for.
            wanted.all(|(name, n)| found.get(name).is_none_or(|found| *found >= enough(*n)))
        };
        let all = newest.wait_for(|snapshot| has(snapshot, |n| n));
        if tokio::time::timeout(FIND_SERVERS, all).await.is_ok() {
            return Ok(());
        }
        let some = has(&self.newest.borrow(), |n| n.min(1));
        anyhow::ensure!(
            some,
            "a backend has no usable server, but has in the old process"
        );
        tracing::warn!("not all servers of the old process are usable; taking over in any case");
        Ok(())
    }
}

fn usable(snapshot: &Snapshot) -> std::collections::BTreeMap<String, usize> {
    let backends = snapshot.backends.iter();
    let count = |b: &roundel_admin::status::Backend| {
        let servers = b.servers.iter();
        servers.filter(|s| s.state.takes_new()).count()
    };
    backends.map(|b| (b.name.clone(), count(b))).collect()
}
