//! Our membership: the running gossip node, under a name that is ours alone.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use roundel_gossip_tokio::{Config, Event, Handle, StartError};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};

/// How long after its start a member gives way when its name is taken: one that has held its
/// name for longer leaves it to the newcomer to give way.
const NEWCOMER: Duration = Duration::from_secs(60);

/// First and longest pause before another try to start the node: the sockets of the one before
/// are free within milliseconds, anything else takes somebody's help.
const RETRY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// A running gossip node.
#[derive(Debug)]
pub(crate) struct Membership {
    config: Config,
    handle: Handle,
    events: broadcast::Receiver<Event>,
    since: Instant,
}

impl Membership {
    /// Starts the node; it joins its seeds on its own, for as long as it takes.
    pub(crate) async fn start(config: Config) -> Result<Self, StartError> {
        let handle = roundel_gossip_tokio::start(config.clone()).await?;
        tracing::info!(
            name = handle.name(),
            gossip = %handle.local_addr(),
            tags = ?config.tags,
            "announced"
        );
        Ok(Self {
            events: handle.events(),
            config,
            handle,
            since: Instant::now(),
        })
    }

    /// The address that others know us by, once the node has settled it.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        let members = self.handle.members();
        let members = members.borrow();
        let ours = members.iter().find(|m| m.name == self.handle.name())?;
        Some(ours.address.ip().to_canonical()).filter(|ip| !ip.is_unspecified())
    }

    /// Keeps the membership alive: takes another name when ours belongs to somebody else.
    ///
    /// Nothing is said about the old name: a leave in that name would be taken for the other's.
    /// Safe to cancel between events.
    pub(crate) async fn keep(&mut self) -> Infallible {
        loop {
            match self.events.recv().await {
                Ok(Event::Conflict { name, .. }) if name == self.handle.name() => {
                    if self.since.elapsed() < NEWCOMER {
                        self.rename().await;
                    } else {
                        tracing::warn!(name, "another member claims our name");
                    }
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => self.restart().await,
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

    async fn rename(&mut self) {
        let taken = self.config.name.clone();
        self.config.name = with_boot_suffix(&taken);
        tracing::warn!(
            taken,
            name = self.config.name,
            "our name is taken: joining with a suffix"
        );
        self.handle.clone().shutdown().await;
        self.restart().await;
    }

    async fn restart(&mut self) {
        let [mut pause, longest] = RETRY;
        loop {
            sleep(pause).await;
            match Self::start(self.config.clone()).await {
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

/// Makes a name of this boot's own; the whole stays within a name's 128 bytes.
fn with_boot_suffix(name: &str) -> String {
    let mut random = [0; 3];
    // Without randomness the process id still tells two machines' first containers apart.
    if getrandom::fill(&mut random).is_err() {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        random = [a, b, c];
    }
    let [a, b, c] = random;
    let kept = &name[..name.floor_char_boundary(128 - 7)];
    format!("{kept}-{a:02x}{b:02x}{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_keeps_a_name_short() {
        let long = with_boot_suffix(&"x".repeat(128));
        assert_eq!(long.len(), 128);
        let short = with_boot_suffix("webapp");
        assert!(short.starts_with("webapp-") && short.len() == 13, "{short}");
    }
}
