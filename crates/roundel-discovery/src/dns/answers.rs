//! What DNS has answered so far, and the servers that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use roundel_model::{Name, Presence, Server, SourceKind, Weight};

use crate::line::canonical;
use crate::notices::quoted;

/// So many empty answers in a row are believed where there never was another. One alone may be a
/// name server that has just started.
const GRACE: u32 = 3;

/// One answer to one question. An error is not an answer: the last good one stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer<T> {
    /// Records, at least one.
    Records(Vec<T>),
    /// The name does not exist or has no such records.
    Empty,
    /// No answer.
    Failed,
}

/// The last good answer to one question.
#[derive(Debug)]
struct Held<T> {
    good: Option<Vec<T>>,
    /// Empty answers since the last one with records, and when the first of them came.
    empty: u32,
    empty_since: Option<Instant>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            good: None,
            empty: 0,
            empty_since: None,
        }
    }
}

impl<T> Held<T> {
    /// Emptiness is believed once it was said for the time of `hold`. Checks decide meanwhile.
    fn take(&mut self, answer: Answer<T>, now: Instant, hold: Hold) {
        match answer {
            Answer::Failed => {}
            Answer::Records(records) => {
                *self = Self {
                    good: Some(records),
                    ..Self::default()
                };
            }
            Answer::Empty => {
                self.empty = self.empty.saturating_add(1);
                let since = *self.empty_since.get_or_insert(now);
                let is_over = now.saturating_duration_since(since) >= hold.time;
                let is_enough = match hold.bridged || self.records().next().is_some() {
                    true => is_over,
                    false => is_over || self.empty >= GRACE,
                };
                if is_enough {
                    self.good = Some(Vec::new());
                }
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = &T> {
        self.good.iter().flatten()
    }

    /// Whether the last word was that there is nothing, which is not believed yet.
    fn is_doubted(&self) -> bool {
        self.empty > 0 && self.records().next().is_some()
    }
}

/// How records are held that are gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// For how long.
    pub(super) time: Duration,
    /// Records of a predecessor count until there is an answer that is believed.
    pub(super) bridged: bool,
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// The two families that a host is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

/// Everything answered about one configured name.
#[derive(Debug)]
pub(super) struct Zone {
    name: String,
    default_port: u16,
    hold: Hold,
    hosts: BTreeMap<(String, Family), Held<IpAddr>>,
    services: Option<Held<Service>>,
}

impl Zone {
    pub(super) fn new(name: &str, default_port: u16, hold: Hold) -> Self {
        Self {
            hold,
            name: name.trim_end_matches('.').to_owned(),
            default_port,
            hosts: BTreeMap::new(),
            services: None,
        }
    }

    /// Takes the answer about the addresses of a host.
    pub(super) fn take_host(
        &mut self,
        host: &str,
        family: Family,
        answer: Answer<IpAddr>,
        now: Instant,
    ) {
        let held = self.hosts.entry((host.to_owned(), family)).or_default();
        held.take(answer, now, self.hold);
    }

    /// Takes the answer about a service; returns the hosts to ask for.
    pub(super) fn take_services(
        &mut self,
        answer: Answer<Service>,
        now: Instant,
    ) -> BTreeSet<String> {
        let services = self.services.get_or_insert_default();
        services.take(answer, now, self.hold);
        let targets: BTreeSet<String> = services.records().map(|s| s.target.clone()).collect();
        self.hosts.retain(|(host, _), _| targets.contains(host));
        targets
    }

    /// Whether records are held of which the last answer says that they are gone.
    pub(super) fn is_doubted(&self) -> bool {
        let services = self.services.as_ref();
        services.is_some_and(Held::is_doubted) || self.hosts.values().any(Held::is_doubted)
    }

    /// The servers in natural order of name; `None` while too little is known to say anything.
    pub(super) fn servers(&self, complaints: &mut BTreeMap<String, String>) -> Option<Vec<Server>> {
        let mut found = match &self.services {
            None => self.of_host(&self.name, complaints)?,
            Some(services) => self.of_services(services, complaints)?,
        };
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        Some(found)
    }

    fn of_host(
        &self,
        host: &str,
        complaints: &mut BTreeMap<String, String>,
    ) -> Option<Vec<Server>> {
        let ips = self.addresses(host)?;
        let name = |ip: &IpAddr| format!("{host}-{ip}");
        let server = |ip: &IpAddr| server(&name(ip), SocketAddr::new(*ip, self.default_port));
        Some(keep_good(ips.iter().map(server), complaints))
    }

    fn of_services(
        &self,
        services: &Held<Service>,
        complaints: &mut BTreeMap<String, String>,
    ) -> Option<Vec<Server>> {
        services.good.as_ref()?;
        let first = services.records().map(|s| s.priority).min();
        let heaviest = services.records().map(|s| s.weight).max().unwrap_or(0);
        let mut found = Vec::new();
        let mut is_any_host_known = services.records().next().is_none();
        for service in services.records() {
            let Some(ips) = self.addresses(&service.target) else {
                continue;
            };
            is_any_host_known = true;
            let made = ips.iter().map(|ip| {
                let name = format!("{}-{ip}:{}", service.target, service.port);
                let server = server(&name, SocketAddr::new(*ip, service.port))?;
                Ok(Server {
                    weight: weight(service.weight, heaviest),
                    backup: Some(service.priority) != first,
                    ..server
                })
            });
            found.extend(keep_good(made, complaints));
        }
        is_any_host_known.then_some(found)
    }

    /// The addresses of a host; `None` while neither family has an answer, or the one that has
    /// is empty and the other may follow.
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        let held = |family| self.hosts.get(&(host.to_owned(), family));
        let (v4, v6) = (held(Family::V4)?, held(Family::V6)?);
        let ips: Vec<IpAddr> = v4.records().chain(v6.records()).copied().collect();
        let is_known = !ips.is_empty() || (v4.good.is_some() && v6.good.is_some());
        is_known.then_some(ips)
    }
}

fn keep_good(
    servers: impl Iterator<Item = Result<Server, (String, String)>>,
    complaints: &mut BTreeMap<String, String>,
) -> Vec<Server> {
    let mut good = Vec::new();
    for server in servers {
        match server {
            Ok(server) => good.push(server),
            Err((subject, text)) => {
                complaints.insert(subject, text);
            }
        }
    }
    good
}

fn server(name: &str, address: SocketAddr) -> Result<Server, (String, String)> {
    let refuse = |text: String| (format!("answer {}", quoted(name)), text);
    let address = canonical(address);
    if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
        return Err(refuse(format!("{address} cannot be a server")));
    }
    let name = Name::new(name).map_err(|error| refuse(error.to_string()))?;
    Ok(Server {
        name,
        address,
        weight: Weight::ONE,
        backup: false,
        source: SourceKind::Dns,
        presence: Presence::Present,
    })
}

/// Brings a weight of 0 to 65,535 into ours. Source: RFC 2782; a weight of 0 means "hardly any",
/// which is the least weight here.
fn weight(weight: u16, heaviest: u16) -> Weight {
    let most = u64::from(Weight::MAX);
    let scaled = match u64::from(heaviest) {
        heaviest if heaviest > most => u64::from(weight) * most / heaviest,
        _ => u64::from(weight),
    };
    Weight::new(scaled.max(1)).expect("scaled to at most the greatest weight")
}
