//! What an agent is told, and why it may not start.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use roundel_gossip_tokio::{Advertise, Handle};
use tokio::sync::watch;

/// Settings of an agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The gossip node. Its tags are extended with `role`, `port` and `weight`.
    pub gossip: roundel_gossip_tokio::Config,
    /// What the server is for; balancers look for it. Default `backend`.
    pub role: String,
    /// The app's port, announced as tag `port`. Default 3000.
    pub port: u16,
    /// Announced as tag `weight` if given; balancers take 1 otherwise. Default none.
    pub weight: Option<u16>,
    /// Whether to join only once the app's port accepts. Always so with a `command`. Default
    /// false.
    pub wait_port: bool,
    /// How long the app is held while a balancer has requests at it, or, where none can tell,
    /// while connections to it are open. Choose less than the supervisor's patience, which is 10 s in Compose. Default 8 s.
    pub drain_timeout: Duration,
    /// The app and its arguments; none means that somebody else runs it. Default none.
    pub command: Option<Vec<OsString>>,
    /// Is told of the gossip node whenever there is another one: it is made anew with another
    /// name. `None` until the first is there.
    pub node: watch::Sender<Option<Handle>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gossip: roundel_gossip_tokio::Config::default(),
            role: "backend".to_string(),
            port: 3000,
            weight: None,
            wait_port: false,
            drain_timeout: Duration::from_secs(8),
            command: None,
            node: watch::Sender::new(None),
        }
    }
}

impl Config {
    /// The gossip settings with what is announced about the app; named settings win over tags.
    pub(crate) fn announced(&self) -> roundel_gossip_tokio::Config {
        let mut gossip = self.gossip.clone();
        let mut tag = |name: &str, value: String| gossip.tags.insert(name.to_string(), value);
        tag("role", self.role.clone());
        tag("port", self.port.to_string());
        if let Some(weight) = self.weight {
            tag("weight", weight.to_string());
        }
        gossip
    }

    /// The one address that the app is reached by, if the settings name it.
    pub(crate) fn specific_ip(&self) -> Option<IpAddr> {
        let ip = match &self.gossip.advertise {
            Some(Advertise::Address(address)) => address.ip(),
            Some(_) => return None,
            None => self.gossip.listen.ip(),
        };
        Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified())
    }
}

/// Says why an agent could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The gossip address is taken or is not ours; the app was not started.
    #[error("cannot listen for gossip on {address}: {source}; choose another with --gossip-listen")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The gossip node cannot start; without a command nothing else is left to do.
    #[error(transparent)]
    Gossip(#[from] roundel_gossip_tokio::StartError),
    /// The command cannot be started.
    #[error("cannot run {command:?}: {source}")]
    Command {
        /// The program's name.
        command: OsString,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no program's name after `--`.
    #[error("the command is empty: write the program after --")]
    EmptyCommand,
    /// A signal cannot be handled, or the child cannot be waited for.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_settings_win_over_tags() {
        let mut config = Config {
            weight: Some(5),
            ..Config::default()
        };
        config.gossip.tags.insert("port".into(), "1".into());
        config.gossip.tags.insert("zone".into(), "a".into());
        let tags = config.announced().tags;
        let expected = [
            ("port", "3000"),
            ("role", "backend"),
            ("weight", "5"),
            ("zone", "a"),
        ];
        assert!(
            tags.iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .eq(expected)
        );
    }

    #[test]
    fn the_specific_address_is_the_advertised_one() {
        let mut config = Config::default();
        assert_eq!(config.specific_ip(), None);
        config.gossip.listen = "127.0.0.2:0".parse().unwrap();
        assert_eq!(config.specific_ip(), Some([127, 0, 0, 2].into()));
        config.gossip.advertise = Some(Advertise::Address("127.0.0.3:7946".parse().unwrap()));
        assert_eq!(config.specific_ip(), Some([127, 0, 0, 3].into()));
        config.gossip.advertise = Some(Advertise::Interface("eth1".to_owned()));
        assert_eq!(config.specific_ip(), None);
    }
}
