//! Our membership: the running gossip node.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use roundel_gossip_tokio::{Config, DRAINS, Event, Handle, Member, StartError};
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;

/// First and longest pause before another try to start the node: the sockets of the one before
/// are free within milliseconds, anything else takes somebody's help.
const RETRY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// A running gossip node.
#[derive(Debug)]
pub(crate) struct Membership {
    config: Config,
    handle: Handle,
    events: broadcast::Receiver<Arc<Event>>,
    told: watch::Sender<Option<Handle>>,
}

impl Membership {
    /// Starts the node; it joins its seeds on its own, for as long as it takes.
    /// `told` learns of the node.
    pub(crate) async fn start(
        config: Config,
        told: watch::Sender<Option<Handle>>,
    ) -> Result<Self, StartError> {
        let handle = roundel_gossip_tokio::start(config.clone()).await?;
        told.send_replace(Some(handle.clone()));
        tracing::info!(
            name = %handle.name(),
            gossip = %handle.local_addr(),
            tags = ?config.tags,
            "announced"
        );
        Ok(Self {
            events: handle.events(),
            config,
            handle,
            told,
        })
    }

    /// The address that others know us by, once the node has settled it.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        let members = self.handle.members();
        let members = members.borrow();
        let ours = members.iter().find(|m| *m.name == *self.handle.name())?;
        Some(ours.address.ip().to_canonical()).filter(|ip| !ip.is_unspecified())
    }

    /// The running node.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// All members as of now.
    pub(crate) fn members(&self) -> Arc<Vec<Member>> {
        self.handle.members().borrow().clone()
    }

    /// Tells all that we take no more requests, and gives our incarnation since; nothing if that
    /// cannot be told.
    pub(crate) async fn announce_drain(&self) -> Option<u32> {
        let (key, value) = DRAINS;
        let mut tags = self.config.tags.clone();
        tags.insert(key.to_owned(), value.to_owned());
        if let Err(error) = self.handle.set_tags(tags).await {
            tracing::warn!(%error, "cannot announce the drain");
            return None;
        }
        let drains = |m: &&Member| *m.name == *self.handle.name() && m.tags.contains_key(key);
        let mut members = self.handle.members();
        let members = members.wait_for(|all| all.iter().any(|m| drains(&m))).await;
        // It fails when the node has ended.
        let incarnation = members.ok()?.iter().find(drains)?.incarnation;
        Some(incarnation)
    }

    /// Keeps the membership alive: a node that ended for whatever reason is started again, as its
    /// end must never be that of the app. Safe to cancel between events.
    pub(crate) async fn keep(&mut self) -> Infallible {
        loop {
            if let Err(broadcast::error::RecvError::Closed) = self.events.recv().await {
                self.restart().await;
            }
        }
    }

    /// Announces the leave and waits until it is spread; the node goes on answering.
    pub(crate) async fn leave(&self) {
        self.handle.leave().await;
    }

    /// Ends the node.
    pub(crate) async fn shutdown(self) {
        self.handle.shutdown().await;
    }

    async fn restart(&mut self) {
        let [mut pause, longest] = RETRY;
        loop {
            sleep(pause).await;
            match Self::start(self.config.clone(), self.told.clone()).await {
                Ok(fresh) => {
                    *self = fresh;
                    return;
                }
                Err(error) => tracing::warn!(%error, "cannot start the gossip node: trying again"),
            }
            pause = longest.min(pause * 2);
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_driver_that_panics_for_the_third_time_is_followed_by_another() {
        let ip = roundel_testkit::loopback();
        let config = Config {
            name: "app".to_owned(),
            listen: (ip, roundel_testkit::free_port(ip)).into(),
            ..Config::default()
        };
        let told = watch::Sender::new(None);
        let mut nodes = told.subscribe();
        let mut member = Membership::start(config, told).await.unwrap();
        let first: Handle = nodes.borrow_and_update().clone().unwrap();
        let other = async {
            for _ in 0..3 {
                first.panic().await;
            }
            nodes.changed().await.unwrap();
        };
        tokio::select! {
            never = member.keep() => match never {},
            () = other => {}
        }
        assert_eq!(&*member.handle().name(), "app");
        assert_eq!(member.handle().stats().restarts, 0, "another one");
        assert!(member.ip().is_some());
    }
}
