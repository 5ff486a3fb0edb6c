//! Servers announced by gossip.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use roundel_gossip_tokio::{Member, Status};
use roundel_model::{Name, Presence, Server, SourceKind, Weight};

use crate::claims::Claims;
use crate::line::parse_address;
use crate::notices::{Notices, quoted};
use crate::own::Own;
use crate::run::{Gossip, Outlet, clock};
use crate::source::Heard;
use crate::special::Permitted;

/// Which members are servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipConfig {
    /// The value of the tag `role` that makes a member a server.
    pub role: String,
    /// Where they may be.
    pub permitted: Permitted,
    /// Whom the tag `addr` may name besides the member itself.
    pub addr: AddrTag,
}

/// Which addresses of other hosts a member may name as its server's by the tag `addr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddrTag {
    /// Any: who is in the gossip has its key.
    Any,
    /// Those in these networks; with none, a server is where its member gossips.
    In(Vec<IpNet>),
}

/// Time between two readings of the members, each of which costs a look at all. Half of the time
/// for which the aggregator waits for more, so that a burst is merged as before.
const PACE: Duration = Duration::from_millis(10);
/// The same as a multiple of what the last one took: a hundred thousand made-up members shall not take
/// a thread to themselves.
const REST: u32 = 10;

/// Follows the members until the gossip ends.
pub(crate) async fn follow(
    config: GossipConfig,
    default_port: u16,
    read: Gossip,
    heard: Heard,
    outlet: Outlet,
) {
    let Gossip {
        mut members,
        mut listens,
    } = read;
    let mut notices = Notices::default();
    let mut reading = Reading::new(config, default_port);
    loop {
        let begun = tokio::time::Instant::now();
        let now = Arc::clone(&members.borrow_and_update());
        let mut complaints = BTreeMap::new();
        let own = Own::new(Arc::clone(&listens.borrow_and_update()));
        let servers = reading.servers(&now, &own, &mut complaints);
        let next = begun + PACE.max(begun.elapsed() * REST);
        heard.note(clock(), None);
        heard.remark(summary(&complaints));
        notices.renew("gossip", complaints);
        if !outlet.say(servers).await {
            return;
        }
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            Ok(()) = listens.changed() => {}
        }
        tokio::time::sleep_until(next).await;
    }
}

/// What is wrong, in a line: how much, and the first of it.
fn summary(complaints: &BTreeMap<String, String>) -> Option<String> {
    let (subject, complaint) = complaints.first_key_value()?;
    Some(match complaints.len() {
        1 => format!("{subject}: {complaint}"),
        n => format!("{n} members with faults, such as {subject}: {complaint}"),
    })
}

/// Finds the servers among the members, and remembers what their tags last said that made sense.
struct Reading {
    config: GossipConfig,
    default_port: u16,
    good: BTreeMap<String, Good>,
}

/// What a member's tags said the last time that they could be read.
#[derive(Clone, Copy)]
struct Good {
    /// Where the member was then: another one may bear the name since.
    gossip: SocketAddr,
    address: Option<SocketAddr>,
    weight: Weight,
}

impl Reading {
    fn new(config: GossipConfig, default_port: u16) -> Self {
        Self {
            config,
            default_port,
            good: BTreeMap::new(),
        }
    }

    /// The servers among `members`, in natural order of name.
    ///
    /// Tags come from the network: `port` must be a port, `addr` an address and `weight` a weight.
    /// No address may lead to what is not for servers, or back to this process.
    /// What is none is complained about by the member's name, and the last good value stays in
    /// force; without one, the weight is 1, and a member whose address is unknown is left out.
    /// `drain=1` announces that it leaves.
    fn servers(
        &mut self,
        members: &[Member],
        own: &Own,
        complaints: &mut BTreeMap<String, String>,
    ) -> Vec<Server> {
        let mut found: Vec<Server> = Vec::new();
        let mut good = BTreeMap::new();
        let claims = Claims::of(members);
        for member in members {
            if member.tags.get("role") != Some(&self.config.role) {
                continue;
            }
            let mut faults = Vec::new();
            let read = self.read(member, own, &mut faults);
            good.insert(member.name.clone(), read);
            match server(member, &read) {
                Ok(Some(mut server)) => {
                    if claims.has_another(member) {
                        server.presence = Presence::Claimed;
                    }
                    found.push(server);
                }
                Ok(None) => faults.insert(0, "not taken as a server".to_owned()),
                Err(text) => faults.push(format!("not taken as a server: {text}")),
            }
            if !faults.is_empty() {
                let key = format!("member {}", quoted(&member.name));
                complaints.insert(key, faults.join(": "));
            }
        }
        self.good = good;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        found
    }

    fn read(&self, member: &Member, own: &Own, faults: &mut Vec<String>) -> Good {
        let before = self.good.get(&member.name);
        let before = before.filter(|good| good.gossip == member.address);
        let address = self.address(member, own).map_or_else(
            |fault| {
                let kept = before.and_then(|good| good.address);
                let stays = kept.map_or(String::new(), |kept| format!("; {kept} stays"));
                faults.push(fault + &stays);
                kept
            },
            Some,
        );
        let weight = weight(member).unwrap_or_else(|fault| {
            let kept = before.map_or(Weight::ONE, |good| good.weight);
            faults.push(format!("{fault}; {kept} stays"));
            kept
        });
        Good {
            gossip: member.address,
            address,
            weight,
        }
    }

    fn address(&self, member: &Member, own: &Own) -> Result<SocketAddr, String> {
        let tag = |key: &str| member.tags.get(key).map(String::as_str);
        let port = match tag("port") {
            None => self.default_port,
            Some(text) => text
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("tag port={} is not a port", quoted(text)))?,
        };
        let address = named(member, port)?;
        self.config.permits(member, address.ip())?;
        if own.is_reached_at(address) {
            return Err(format!("{address} is this balancer's own"));
        }
        Ok(address)
    }
}

impl GossipConfig {
    /// Where a member has its metrics: its address, or that of its tag `addr` as far as that is
    /// believed, with the port of its tag `metrics`, or of `port` without that. `None` if it says no port,
    /// or what nobody shall be sent to. `own_member` is this process, which listens where it says.
    pub fn metrics(&self, member: &Member, own: &Own, own_member: bool) -> Option<SocketAddr> {
        let tag = |key: &str| member.tags.get(key);
        let port: u16 = tag("metrics").or(tag("port"))?.parse().ok()?;
        let address = SocketAddr::new(named(member, port).ok()?.ip(), port);
        self.permits(member, address.ip()).ok()?;
        let is_ours = own.is_reached_at(address) && !own_member;
        (port != 0 && !is_ours).then_some(address)
    }

    /// Errors: why a member may not send others to `ip`. Without a key anybody may say that requests
    /// shall go to somebody else.
    fn permits(&self, member: &Member, ip: IpAddr) -> Result<(), String> {
        let at = member.address.ip().to_canonical();
        let is_believed = match &self.addr {
            AddrTag::Any => true,
            AddrTag::In(networks) => ip == at || networks.iter().any(|n| n.contains(&ip)),
        };
        if !is_believed {
            return Err(format!(
                "tag addr={ip} is not where the member gossips, {at}; give the gossip a key, or \
                 name the network in `gossip.allow_addr`"
            ));
        }
        self.permitted.refusal(ip).map_or(Ok(()), Err)
    }
}

/// The address that a member names, or has, with `port` unless it names one.
///
/// A mapped address must be judged, and dialled, as the IPv4 address that it is.
fn named(member: &Member, port: u16) -> Result<SocketAddr, String> {
    let address = match member.tags.get("addr") {
        None => SocketAddr::new(member.address.ip(), port),
        Some(text) => parse_address(text, port)
            .ok_or_else(|| format!("tag addr={} is not an address", quoted(text)))?,
    };
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The server that a member is; nothing if its address is unknown.
fn server(member: &Member, read: &Good) -> Result<Option<Server>, String> {
    let name = Name::new(&member.name).map_err(|error| error.to_string())?;
    Ok(read.address.map(|address| Server {
        name,
        address,
        weight: read.weight,
        backup: false,
        source: SourceKind::Gossip,
        presence: presence(member),
    }))
}

fn weight(member: &Member) -> Result<Weight, String> {
    let Some(text) = member.tags.get("weight") else {
        return Ok(Weight::ONE);
    };
    let weight = text.parse().ok().and_then(|n| Weight::new(n).ok());
    weight.ok_or_else(|| {
        let most = Weight::MAX;
        format!("tag weight={} is not a weight of 0 to {most}", quoted(text))
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
            known: roundel_gossip_tokio::Known::Asked,
        }
    }

    fn config() -> GossipConfig {
        GossipConfig {
            role: "backend".into(),
            permitted: Permitted::default(),
            addr: AddrTag::Any,
        }
    }

    fn read(members: &[Member]) -> (Vec<Server>, BTreeMap<String, String>) {
        read_as(config(), members)
    }

    fn read_as(
        config: GossipConfig,
        members: &[Member],
    ) -> (Vec<Server>, BTreeMap<String, String>) {
        let mut complaints = BTreeMap::new();
        let mut reading = Reading::new(config, 3000);
        let servers = reading.servers(members, &Own::default(), &mut complaints);
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

    /// As `serf members` showed an agent of build 8b3f11c, before and while it drained.
    #[test]
    fn agents_of_earlier_builds_are_servers() {
        let tags = [("port", "14001"), ("role", "backend"), ("weight", "3")];
        let (servers, complaints) = read(&[member("old", &tags)]);
        assert!(complaints.is_empty(), "{complaints:?}");
        let server = &servers[0];
        let read_as = (server.address.port(), server.weight.get(), server.presence);
        assert_eq!(read_as, (14001, 3, Presence::Present));
        let tags = [&[("drain", "1")][..], &tags].concat();
        assert_eq!(
            read(&[member("old", &tags)]).0[0].presence,
            Presence::Leaving
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

    /// Prometheus is sent nowhere where no request would go.
    #[test]
    fn metrics_are_where_a_server_may_be() {
        let config = GossipConfig {
            addr: AddrTag::In(vec!["10.9.0.0/16".parse().unwrap()]),
            ..config()
        };
        let own = Own::with(&["0.0.0.0:1936"], &["10.0.0.5"]);
        let at = |tags: &[(&str, &str)], ours| {
            let address = config.metrics(&member("m", tags), &own, ours);
            address.map(|at| at.to_string())
        };
        let (port, metrics) = (("port", "3000"), ("metrics", "9100"));
        assert_eq!(at(&[port], false).as_deref(), Some("10.0.0.7:3000"));
        assert_eq!(
            at(&[port, metrics], false).as_deref(),
            Some("10.0.0.7:9100")
        );
        for addr in ["10.9.0.1", "10.9.0.1:3000", "::ffff:10.9.0.1"] {
            let found = at(&[metrics, ("addr", addr)], false);
            assert_eq!(found.as_deref(), Some("10.9.0.1:9100"), "{addr}");
        }
        for addr in [
            "10.8.0.1",
            "169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "localhost",
        ] {
            assert_eq!(at(&[metrics, ("addr", addr)], false), None, "{addr}");
        }
        assert_eq!(at(&[], false), None, "no port");
        assert_eq!(at(&[("port", "0")], false), None);
        let mut ours = member("m", &[("metrics", "1936")]);
        ours.address.set_ip([10, 0, 0, 5].into());
        assert_eq!(config.metrics(&ours, &own, false), None);
        let shown = config.metrics(&ours, &own, true);
        assert_eq!(shown, Some(([10, 0, 0, 5], 1936).into()));
    }

    #[test]
    fn a_bad_weight_counts_as_one() {
        let (servers, complaints) = read(&[member("w", &[("role", "backend"), ("weight", "1e9")])]);
        assert_eq!(servers[0].weight, Weight::ONE);
        assert_eq!(complaints.len(), 1);
    }

    #[test]
    fn a_tag_that_cannot_be_read_keeps_its_last_good_value() {
        let mut reading = Reading::new(config(), 3000);
        let mut look = |tags: &[(&str, &str)], port| {
            let mut w = member("w", &[&[("role", "backend")], tags].concat());
            w.address.set_port(port);
            let mut complaints = BTreeMap::new();
            let servers = reading.servers(&[w], &Own::default(), &mut complaints);
            let shown = servers.first().map(|s| (s.address.port(), s.weight.get()));
            let told = complaints.into_values().next().unwrap_or_default();
            (shown, told)
        };
        let good = [("weight", "7"), ("port", "8080")];
        assert_eq!(look(&good, 7946), (Some((8080, 7)), String::new()));
        let (shown, told) = look(&[("weight", "x"), ("port", "8081")], 7946);
        assert_eq!(shown, Some((8081, 7)));
        assert!(
            told.contains("weight") && told.ends_with("; 7 stays"),
            "{told}"
        );
        let (shown, told) = look(&[("weight", "9"), ("port", "x")], 7946);
        assert_eq!(shown, Some((8081, 9)));
        assert!(told.ends_with("; 10.0.0.7:8081 stays"), "{told}");
        let (shown, _) = look(&[("addr", "169.254.169.254")], 7946);
        assert_eq!(shown, Some((8081, 1)), "a refused address is no good value");
        // Another member by the name has no past.
        assert_eq!(look(&[("port", "x")], 7947).0, None);
        assert_eq!(look(&[("weight", "x")], 7947).0, Some((3000, 1)));
    }

    #[test]
    fn loopback_only_where_allowed() {
        let mut local = member("w", &[("role", "backend")]);
        local.address = ([127, 0, 3, 1], 7946).into();
        assert!(read(std::slice::from_ref(&local)).0.is_empty());
        let mut allowing = config();
        allowing.permitted.loopback = true;
        let (servers, _) = read_as(allowing, &[local]);
        assert_eq!(servers[0].address.to_string(), "127.0.3.1:3000");
    }

    #[test]
    fn without_a_key_a_server_is_where_its_member_gossips() {
        let open = |networks: &[&str]| GossipConfig {
            addr: AddrTag::In(networks.iter().map(|n| n.parse().unwrap()).collect()),
            ..config()
        };
        let named = |addr| member("w", &[("role", "backend"), ("addr", addr)]);
        for addr in ["10.0.0.7", "10.0.0.7:80", "::ffff:10.0.0.7"] {
            assert_eq!(read_as(open(&[]), &[named(addr)]).0.len(), 1, "{addr}");
        }
        let (servers, complaints) = read_as(open(&[]), &[named("10.9.9.9")]);
        assert!(servers.is_empty(), "{servers:?}");
        let told = complaints.into_values().next().unwrap();
        assert!(told.contains("`gossip.allow_addr`"), "{told}");
        assert_eq!(
            read_as(open(&["10.9.0.0/16"]), &[named("10.9.9.9")])
                .0
                .len(),
            1
        );
        assert_eq!(read(&[named("10.9.9.9")]).0.len(), 1, "with a key");
    }

    #[test]
    fn nobody_is_a_server_where_this_balancer_listens() {
        let own = Own::with(&["0.0.0.0:80", "10.0.0.1:1936"], &["10.0.0.7", "10.0.0.1"]);
        let told = |port| {
            let mut complaints = BTreeMap::new();
            let w = member("w", &[("role", "backend"), ("port", port)]);
            let servers = Reading::new(config(), 3000).servers(&[w], &own, &mut complaints);
            (servers.len(), complaints.into_values().next())
        };
        let (taken, why) = told("80");
        assert_eq!(taken, 0);
        let why = why.unwrap();
        assert!(why.ends_with("10.0.0.7:80 is this balancer's own"), "{why}");
        assert_eq!(told("81"), (1, None));
        assert_eq!(told("1936"), (1, None), "at another address of ours");
    }

    #[test]
    fn whoever_gossips_at_the_address_of_a_lost_member_claims_it() {
        let presence = |status, suspect, other: &str, port: u16| {
            let mut lost = member("w", &[("role", "backend")]);
            (lost.status, lost.suspect) = (status, suspect);
            // Of whatever role: it may serve something else.
            let mut other = member(other, &[("role", "cache")]);
            other.address.set_port(port);
            read(&[lost, other]).0[0].presence
        };
        assert_eq!(
            presence(Status::Failed, false, "new", 7946),
            Presence::Claimed
        );
        assert_eq!(
            presence(Status::Alive, true, "new", 7946),
            Presence::Claimed
        );
        assert_eq!(
            presence(Status::Alive, false, "new", 7946),
            Presence::Present
        );
        // Beside it on one host, with a gossip port of its own.
        assert_eq!(
            presence(Status::Failed, false, "new", 7947),
            Presence::Failed
        );
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
