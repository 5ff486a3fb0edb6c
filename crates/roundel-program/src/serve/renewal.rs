//! SIGUSR2: the program starts anew and this process hands over to it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use roundel_gossip_tokio::Estate;
use roundel_model::EventKind;

use tokio::sync::oneshot;

use super::Serving;
use crate::control::{Ask, Wish};
use crate::handover::Known;
use crate::handover::legacy::{Legacy, MemberLegacy};
use crate::handover::successor::Successor;

/// How long a successor looks for the servers that its parent had. First checks take a second
/// at most, and gossip less.
const FIND_SERVERS: Duration = Duration::from_secs(10);

impl Serving {
    /// Starts the program anew and gives it every listening socket.
    ///
    /// Returns whether it has taken over. If not, the reason is logged and this process serves
    /// on.
    pub(super) async fn hand_over(&mut self) -> bool {
        let handed = self.try_hand_over().await;
        if let Err(error) = &handed {
            let _ = self.asks.send(Ask::Resume).await;
            if let Some(cluster) = &self.cluster {
                cluster.hold(false);
            }
            if let Some(gossip) = &self.gossip {
                gossip.resume().await;
            }
            let text = format!("the new process did not take over: {error}; this one serves on");
            tracing::error!("{text}");
            self.log.add(EventKind::Listener, "roundel", text, None);
            return false;
        }
        self.successor = handed.ok();
        // What is asked of the admin side goes to the new process from here on.
        self.closing.send_replace(true);
        self.door_sockets.clear();
        self.socket = None;
        true
    }

    /// Whether another process serves by now.
    pub(super) fn handed_over(&self) -> bool {
        self.door_sockets.is_empty()
    }

    async fn try_hand_over(&self) -> io::Result<Successor> {
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
        let (mut known, mut legacy) = self.legacy().await?;
        let estate = match &self.gossip {
            Some(gossip) => gossip.pause().await.unwrap_or_default(),
            None => Estate::default(),
        };
        // The successor has its name.
        if let Some(cluster) = &self.cluster {
            cluster.hold(true);
        }
        legacy.member = MemberLegacy::of(&estate);
        known.members = estate.members;
        let sockets = estate.sockets.map(Vec::from).unwrap_or_default();
        successor.leave_to_it(&known, &legacy, &sockets)?;
        successor.ready().await?;
        if let Some(gossip) = self.gossip.clone() {
            gossip.shutdown().await;
        }
        Ok(successor)
    }

    /// What the control task leaves to a successor, and what that one is to find.
    async fn legacy(&self) -> io::Result<(Known, Legacy)> {
        let (reply, legacy) = oneshot::channel();
        let _ = self.asks.send(Ask::Bequeath(reply)).await;
        let ended = |_| io::Error::other("the control task ended");
        legacy.await.map_err(ended)
    }

    /// Tells the process that took over what was counted here since.
    pub(super) async fn leave_the_rest(&self) {
        let Some(successor) = &self.successor else {
            return;
        };
        if let Ok((_, legacy)) = self.legacy().await
            && let Err(error) = successor.leave_the_rest(&legacy)
        {
            tracing::warn!("the last counts could not be passed on: {error}");
        }
    }

    /// Waits until as many servers are usable as the old process had.
    ///
    /// Errors: one of its backends has none here. With fewer than it had, we go on.
    pub(super) async fn find_servers(&self, known: &Known) -> anyhow::Result<()> {
        if self.finds(known.usable.clone(), FIND_SERVERS).await {
            return Ok(());
        }
        let one_each = known.usable.iter().map(|(b, n)| (b.clone(), (*n).min(1)));
        anyhow::ensure!(
            self.finds(one_each.collect(), Duration::from_secs(1)).await,
            "a backend has no usable server, but has in the old process"
        );
        tracing::warn!("not all servers of the old process are usable; taking over in any case");
        Ok(())
    }
}

impl Serving {
    async fn finds(&self, usable: BTreeMap<String, usize>, limit: Duration) -> bool {
        let (done, found) = oneshot::channel();
        let _ = self.asks.send(Ask::Tell(Wish::Usable(usable), done)).await;
        tokio::time::timeout(limit, found).await.is_ok()
    }
}
