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
use crate::run::{Outlet, clock};
use crate::source::Heard;
use answers::{Hold, Zone};
use ask::Asker;

/// Source: `hold nx`, HAProxy configuration manual, 5.3.2.
const HOLD: Duration = Duration::from_secs(30);

/// A name to ask for, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// A host name, asked for A and AAAA, or a service name (`_http._tcp.…`), asked for SRV.
    pub name: String,
    /// Whether to ask for SRV although the name does not begin with `_`.
    pub srv: bool,
    /// The name servers: while one of them says SERVFAIL, REFUSED or NXDOMAIN, or nothing, the next
    /// one is asked. None takes those of the system, in a container Docker's.
    pub nameservers: Vec<SocketAddr>,
    /// How long the answer must be that there are no records (NXDOMAIN, or none), before the last
    /// ones count no more; zero: at once. Default 30 s, as HAProxy's `hold nx`. An error or silence
    /// of all name servers says nothing about them.
    pub hold: Duration,
    /// The time between two questions. Default 1 s: a name server on the same machine or network answers
    /// within a millisecond.
    pub every: Duration,
}

impl DnsConfig {
    /// Asks the system's name servers every second and holds records for 30 s.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            srv: name.starts_with('_'),
            name,
            nameservers: Vec::new(),
            hold: HOLD,
            every: Duration::from_secs(1),
        }
    }
}

/// Asks until nobody listens. `bridged` says that servers of a predecessor count until something
/// is known.
pub(crate) async fn follow(
    config: DnsConfig,
    default_port: u16,
    bridged: bool,
    heard: Heard,
    outlet: Outlet,
) {
    let hold = Hold {
        time: config.hold,
        bridged,
    };
    let mut asker = Asker::new(&config);
    let mut zone = Zone::new(&config.name, default_port, hold);
    let mut notices = Notices::default();
    let mut ticks = interval(config.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subject = format!("name {}", config.name);
    loop {
        ticks.tick().await;
        let mut complaints = BTreeMap::new();
        let now = clock();
        let asked = match config.srv || config.name.starts_with('_') {
            true => asker.services(&mut zone, now).await,
            false => asker.hosts(&mut zone, now).await,
        };
        heard.note(clock(), asked.as_ref().err().cloned());
        if let Err(error) = asked {
            let text = format!("{error}; the last good answer stays in force, checks decide");
            complaints.insert(subject.clone(), text);
        } else if zone.is_doubted() {
            let text = format!(
                "its records are gone; if they do not come back within {:?}, their servers go; \
                 until then checks decide",
                config.hold
            );
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
