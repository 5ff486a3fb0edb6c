//! Servers found by asking DNS.

mod answers;
mod ask;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::notices::Notices;
use crate::run::Outlet;
use answers::Zone;
use ask::Asker;

/// A name to ask for, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// A host name, asked for A and AAAA, or a service name (`_http._tcp.…`), asked for SRV.
    pub name: String,
    /// Whether to ask for SRV although the name does not begin with `_`.
    pub srv: bool,
    /// The name server; `None` takes those of the system, in a container Docker's.
    pub resolver: Option<SocketAddr>,
    /// The time between two questions. Default 1 s: a name server on the same machine or network answers
    /// within a millisecond.
    pub every: Duration,
}

impl DnsConfig {
    /// Asks the system's name servers every second.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            srv: name.starts_with('_'),
            name,
            resolver: None,
            every: Duration::from_secs(1),
        }
    }
}

/// Asks until nobody listens.
pub(crate) async fn follow(config: DnsConfig, default_port: u16, outlet: Outlet) {
    let mut asker = Asker::new(&config);
    let mut zone = Zone::new(&config.name, default_port);
    let mut notices = Notices::default();
    let mut ticks = interval(config.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subject = format!("name {}", config.name);
    loop {
        ticks.tick().await;
        let mut complaints = BTreeMap::new();
        let asked = match config.srv || config.name.starts_with('_') {
            true => asker.services(&mut zone).await,
            false => asker.hosts(&mut zone).await,
        };
        if let Err(error) = asked {
            let text = format!("{error}; the last good answer stays in force");
            complaints.insert(subject.clone(), text);
        }
        let servers = zone.servers(&mut complaints);
        notices.renew("dns", complaints);
        if let Some(servers) = servers
            && !outlet.say(servers).await
        {
            return;
        }
    }
}
