//! Servers announced by gossip.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use roundel_gossip_tokio::{Member, Status};
use roundel_model::{Name, Presence, Server, SourceKind, Weight};
use tokio::sync::watch;

use crate::line::parse_address;
use crate::notices::{Notices, quoted};
use crate::run::Outlet;

/// Which members are servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipConfig {
    /// The value of the tag `role` that makes a member a server.
    pub role: String,
    /// Whether loopback addresses may be servers: only where the gossip itself stays on this
    /// machine.
    pub allow_loopback: bool,
}

/// Time between two readings of the members, each of which costs a look at all. Half of the time
/// for which the aggregator waits for more, so that a burst is merged as before.
const PACE: Duration = Duration::from_millis(10);

/// Follows the members until the gossip ends.
pub(crate) async fn follow(
    config: GossipConfig,
    default_port: u16,
    mut members: watch::Receiver<Arc<Vec<Member>>>,
    outlet: Outlet,
) {
    let mut notices = Notices::default();
    loop {
        let next = tokio::time::Instant::now() + PACE;
        let now = Arc::clone(&members.borrow_and_update());
        let mut complaints = BTreeMap::new();
        let servers = servers(&now, &config, default_port, &mut complaints);
        notices.renew("gossip", complaints);
        if !outlet.say(servers).await || members.changed().await.is_err() {
            return;
        }
        tokio::time::sleep_until(next).await;
    }
}

/// The servers among `members`, in natural order of name.
///
/// A member that cannot be a server is left out with a complaint by name. Tags come from the
/// network: `port` must be a port and `addr` an address, or the member is left out; a bad
/// `weight` counts as 1. `drain=1` announces that it leaves.
pub fn servers(
    members: &[Member],
    config: &GossipConfig,
    default_port: u16,
    complaints: &mut BTreeMap<String, String>,
) -> Vec<Server> {
    let mut found: Vec<Server> = Vec::new();
    for member in members {
        if member.tags.get("role") != Some(&config.role) {
            continue;
        }
        let mut warn = |text: String| {
            complaints.insert(format!("member {}", quoted(&member.name)), text);
        };
        match server(member, config, default_port, &mut warn) {
            Ok(server) => found.push(server),
            Err(text) => warn(format!("not taken as a server: {text}")),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    found
}

fn server(
    member: &Member,
    config: &GossipConfig,
    default_port: u16,
    warn: &mut impl FnMut(String),
) -> Result<Server, String> {
    let name = Name::new(&member.name).map_err(|error| error.to_string())?;
    let tag = |key: &str| member.tags.get(key).map(String::as_str);
    let port = match tag("port") {
        None => default_port,
        Some(text) => text
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("tag port={} is not a port", quoted(text)))?,
    };
    let address = match tag("addr") {
        None => SocketAddr::new(member.address.ip(), port),
        Some(text) => parse_address(text, port)
            .ok_or_else(|| format!("tag addr={} is not an address", quoted(text)))?,
    };
    // A mapped address must be judged, and dialled, as the IPv4 address that it is.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    if let Some(why) = refusal(address.ip(), config.allow_loopback) {
        return Err(format!("{why} address {}", address.ip()));
    }
    Ok(Server {
        name,
        address,
        weight: tag("weight").map_or(Weight::ONE, |text| weight(text, warn)),
        backup: false,
        source: SourceKind::Gossip,
        presence: presence(member),
    })
}

fn weight(text: &str, warn: &mut impl FnMut(String)) -> Weight {
    let weight = text.parse().ok().and_then(|n| Weight::new(n).ok());
    weight.unwrap_or_else(|| {
        let most = Weight::MAX;
        warn(format!(
            "tag weight={} is not a weight of 1 to {most}; taken as 1",
            quoted(text)
        ));
        Weight::ONE
    })
}

fn presence(member: &Member) -> Presence {
    let drains = member.tags.get("drain").is_some_and(|value| value == "1");
    match member.status {
        Status::Failed => Presence::Failed,
        Status::Leaving | Status::Left => Presence::Leaving,
        Status::Alive if drains => Presence::Leaving,
        Status::Alive if member.suspect => Presence::Suspect,
        Status::Alive => Presence::Present,
    }
}

/// Why an address cannot be a server's: a member could make the balancer speak to what only
/// this machine may reach.
fn refusal(ip: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip {
        _ if is_link_local => Some("link-local"),
        _ if ip.is_loopback() && !allow_loopback => Some("loopback"),
        _ if ip.is_unspecified() => Some("unspecified"),
        _ if ip.is_multicast() => Some("multicast"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("broadcast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn member(name: &str, tags: &[(&str, &str)]) -> Member {
        Member {
            name: name.into(),
            address: ([10, 0, 0, 7], 7946).into(),
            tags: tags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            status: Status::Alive,
            suspect: false,
            incarnation: 1,
            versions: [1, 5, 2, 2, 5, 4],
            since: Instant::now(),
        }
    }

    fn config() -> GossipConfig {
        GossipConfig {
            role: "backend".into(),
            allow_loopback: false,
        }
    }

    fn read(members: &[Member]) -> (Vec<Server>, BTreeMap<String, String>) {
        let mut complaints = BTreeMap::new();
        let servers = servers(members, &config(), 3000, &mut complaints);
        (servers, complaints)
    }

    #[test]
    fn members_of_the_role_are_servers_in_natural_order() {
        let role = ("role", "backend");
        let (servers, complaints) = read(&[
            member("lb", &[("role", "balancer")]),
            member("webapp-10", &[role]),
            member("webapp-2", &[role, ("port", "8080"), ("weight", "5")]),
            member("other", &[]),
        ]);
        assert!(complaints.is_empty(), "{complaints:?}");
        let shown: Vec<_> = servers
            .iter()
            .map(|s| (s.name.as_str(), s.address.to_string(), s.weight.get()))
            .collect();
        assert_eq!(
            shown,
            [
                ("webapp-2", "10.0.0.7:8080".to_owned(), 5),
                ("webapp-10", "10.0.0.7:3000".to_owned(), 1),
            ]
        );
    }

    #[test]
    fn hostile_members_are_left_out_with_one_line_each() {
        let role = ("role", "backend");
        let hostile = [
            member("<script>", &[role]),
            member("p0", &[role, ("port", "0")]),
            member("p1", &[role, ("port", "99999")]),
            member("a1", &[role, ("addr", "169.254.169.254")]),
            member("a2", &[role, ("addr", "127.0.0.1")]),
            member("a3", &[role, ("addr", "::ffff:127.0.0.1")]),
            member("a4", &[role, ("addr", "fe80::1")]),
            member("a5", &[role, ("addr", "localhost")]),
            member("a6", &[role, ("addr", "255.255.255.255")]),
            member("a7", &[role, ("addr", "0.0.0.0")]),
        ];
        let (servers, complaints) = read(&hostile);
        assert!(servers.is_empty(), "{servers:?}");
        assert_eq!(complaints.len(), hostile.len());
    }

    #[test]
    fn a_bad_weight_counts_as_one() {
        let (servers, complaints) = read(&[member("w", &[("role", "backend"), ("weight", "1e9")])]);
        assert_eq!(servers[0].weight, Weight::ONE);
        assert_eq!(complaints.len(), 1);
    }

    #[test]
    fn loopback_only_where_allowed() {
        let mut local = member("w", &[("role", "backend")]);
        local.address = ([127, 0, 3, 1], 7946).into();
        assert!(read(std::slice::from_ref(&local)).0.is_empty());
        let allowing = GossipConfig {
            allow_loopback: true,
            ..config()
        };
        let servers = servers(&[local], &allowing, 3000, &mut BTreeMap::new());
        assert_eq!(servers[0].address.to_string(), "127.0.3.1:3000");
    }

    #[test]
    fn status_becomes_presence() {
        for (status, suspect, drain, presence) in [
            (Status::Alive, false, "0", Presence::Present),
            (Status::Alive, true, "0", Presence::Suspect),
            (Status::Alive, false, "1", Presence::Leaving),
            (Status::Leaving, false, "0", Presence::Leaving),
            (Status::Left, false, "0", Presence::Leaving),
            (Status::Failed, false, "1", Presence::Failed),
        ] {
            let mut member = member("w", &[("role", "backend"), ("drain", drain)]);
            (member.status, member.suspect) = (status, suspect);
            assert_eq!(read(&[member]).0[0].presence, presence);
        }
    }
}
