//! What a process leaves to its successor beside sockets: orders, verdicts and totals, as JSON in a
//! file in memory.
//!
//! The two may be different versions of the program, so everything is by name and may be absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use roundel_admin::status::Traffic;
use roundel_balance::{Heritage, ServerOrders};
use roundel_gossip_tokio::{Acquaintance, Clocks, Estate, Known, Member, OwnAddress, Status};
use roundel_model::{AdminState, Name, Presence, Server, SourceKind, Weight, WeightOrder};
use roundel_stats::Totals;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// Everything, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Legacy {
    pub(crate) frontends: BTreeMap<String, Totals>,
    pub(crate) backends: BTreeMap<String, BackendLegacy>,
    /// Reloads that were taken over, and that were refused.
    pub(crate) reloads: (u64, u64),
    /// The member of the gossip that it was.
    pub(crate) member: MemberLegacy,
    /// The keys of the tickets of TLS.
    pub(crate) tickets: Secret,
}

/// What nobody else may read.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Secret(pub(crate) Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How the cluster knows the member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MemberLegacy {
    /// The name of the configuration, and the one that it has.
    pub(crate) names: [String; 2],
    pub(crate) incarnation: u32,
    /// Where it is, and how that was found out.
    pub(crate) address: Option<(SocketAddr, String)>,
    /// Lamport times of intents, events and queries.
    pub(crate) clocks: [u64; 3],
    /// The other members.
    pub(crate) others: Vec<OtherLegacy>,
}

/// How another member was known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OtherLegacy {
    pub(crate) name: String,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) mapped: bool,
    pub(crate) tags: BTreeMap<String, String>,
    /// Serf's word.
    pub(crate) status: String,
    /// The seconds that it had been so.
    pub(crate) age: f64,
    pub(crate) incarnation: u32,
    pub(crate) versions: [u8; 6],
    pub(crate) intent_time: u64,
    /// Whether it never answered itself; what older builds wrote does not say so.
    pub(crate) unheard: bool,
}

impl OtherLegacy {
    fn new(now: Instant, acquaintance: &Acquaintance) -> Self {
        let member = &acquaintance.member;
        Self {
            name: member.name.clone(),
            address: Some(member.address),
            mapped: acquaintance.mapped,
            tags: member.tags.clone(),
            status: member.status.to_string(),
            age: now.saturating_duration_since(member.since).as_secs_f64(),
            incarnation: member.incarnation,
            versions: member.versions,
            intent_time: acquaintance.intent_time,
            unheard: !acquaintance.heard,
        }
    }

    /// Nothing for one of which too much is unknown: it is met anew.
    fn read(&self, now: Instant) -> Option<Acquaintance> {
        let words = [Status::Alive, Status::Leaving, Status::Left, Status::Failed];
        let status = words.into_iter().find(|s| s.as_str() == self.status)?;
        let member = Member {
            name: self.name.clone(),
            address: self.address?,
            tags: self.tags.clone(),
            status,
            suspect: false,
            incarnation: self.incarnation,
            versions: self.versions,
            since: now.checked_sub(seconds(self.age)).unwrap_or(now),
            known: Known::Hearsay,
        };
        Some(Acquaintance {
            member,
            mapped: self.mapped,
            intent_time: self.intent_time,
            heard: !self.unheard,
        })
    }
}

impl MemberLegacy {
    pub(crate) fn of(estate: &Estate) -> Self {
        let Clocks {
            member,
            event,
            query,
        } = estate.clocks;
        let now = Instant::now();
        let others = estate.acquaintances.iter();
        let others = others.map(|other| OtherLegacy::new(now, other));
        Self {
            names: estate.names.clone(),
            incarnation: estate.incarnation,
            address: estate.address.clone().map(|own| (own.address, own.why)),
            clocks: [member, event, query],
            others: others.collect(),
        }
    }

    /// Everything but sockets and addresses, which pass by another way.
    pub(super) fn estate(&self) -> Estate {
        let [member, event, query] = self.clocks;
        let now = Instant::now();
        let others = self.others.iter();
        Estate {
            names: self.names.clone(),
            incarnation: self.incarnation,
            address: self
                .address
                .clone()
                .map(|(address, why)| OwnAddress { address, why }),
            clocks: Clocks {
                member,
                event,
                query,
            },
            acquaintances: others.filter_map(|other| other.read(now)).collect(),
            ..Estate::default()
        }
    }
}

/// What belongs to one backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BackendLegacy {
    pub(crate) totals: Totals,
    pub(crate) servers: BTreeMap<String, ServerLegacy>,
    /// Servers that an operator added: name, address, weight.
    pub(crate) by_hand: Vec<(String, SocketAddr, u16)>,
    /// Those of them that are backups.
    pub(crate) backups: BTreeSet<String>,
    /// Servers that an operator moved, and where to.
    pub(crate) moved: BTreeMap<String, SocketAddr>,
    /// Orders for servers that are not there, oldest first.
    pub(crate) orders: Vec<OrdersLegacy>,
    /// What servers counted that are no longer there, and their requests.
    pub(crate) retired: (Traffic, u64),
    /// Changes of the set by the word of the source.
    pub(crate) set_changes: BTreeMap<String, u64>,
    /// Times it went from usable to unusable, and the seconds that it was.
    pub(crate) downs: (u64, f64),
    /// For how many seconds no server has taken connections; `None` if none ever did.
    pub(crate) lost_seconds: Option<f64>,
}

/// What belongs to one server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ServerLegacy {
    pub(crate) totals: Totals,
    pub(crate) address: Option<SocketAddr>,
    /// What an operator ordered: `drain` or `maint`, else empty.
    pub(crate) admin: String,
    /// The weight that an operator ordered, such as `100` or `50%`, else empty.
    pub(crate) weight: String,
    /// The limit of requests in flight that an operator ordered.
    pub(crate) maxconn: Option<u32>,
    /// An operator switched its checks off.
    pub(crate) unchecked: bool,
    /// The port for its checks that an operator ordered.
    pub(crate) check_port: Option<u16>,
    /// The seconds that gossip has held it for failed.
    pub(crate) failed_seconds: f64,
    pub(crate) up: Option<bool>,
    pub(crate) never_up: bool,
    /// The weight with which it has served for a minute, 0 if it has not.
    pub(crate) proven: Option<u16>,
    pub(crate) down_seconds: f64,
    pub(crate) check_failures: u64,
    pub(crate) check_downs: u64,
    pub(crate) ejections: [u64; 3],
    /// Probes that passed and that failed.
    pub(crate) probes: (u64, u64),
    /// Changes of its state by the word of the state they led to.
    pub(crate) changes: BTreeMap<String, u64>,
}

impl Legacy {
    /// Writes it down where the other process can read it.
    pub(super) fn to_file(&self) -> io::Result<OwnedFd> {
        let fd = memfd_create("roundel-legacy", MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(fd);
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(file.into())
    }

    /// Reads it. What cannot be read is nothing to inherit, and told.
    pub(super) fn from_file(fd: OwnedFd) -> Self {
        let mut file = std::fs::File::from(fd);
        let mut text = Vec::new();
        let read = file.rewind().and_then(|()| file.read_to_end(&mut text));
        let read = read.and_then(|_| Ok(serde_json::from_slice(&text)?));
        read.unwrap_or_else(|error| {
            tracing::warn!("what the old process counted cannot be read: {error}");
            Self::default()
        })
    }
}

/// What an operator ordered for one server, in the words of [`ServerLegacy`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OrdersLegacy {
    pub(crate) server: String,
    pub(crate) admin: String,
    pub(crate) weight: String,
    pub(crate) maxconn: Option<u32>,
    pub(crate) unchecked: bool,
    pub(crate) check_port: Option<u16>,
}

impl OrdersLegacy {
    pub(crate) fn new(server: &Name, orders: &ServerOrders) -> Self {
        Self {
            server: server.to_string(),
            admin: match orders.state {
                AdminState::Ready => String::new(),
                admin => admin.as_str().to_owned(),
            },
            weight: orders.weight.map_or_else(String::new, |w| w.to_string()),
            maxconn: orders.maxconn,
            unchecked: orders.unchecked,
            check_port: orders.check_port,
        }
    }

    pub(crate) fn read(&self) -> Option<(Name, ServerOrders)> {
        let name = Name::new(self.server.as_str()).ok()?;
        Some((name, self.orders()))
    }

    /// A word that this version does not know is no order.
    fn orders(&self) -> ServerOrders {
        ServerOrders {
            state: match self.admin.as_str() {
                "drain" => AdminState::Drain,
                "maint" => AdminState::Maint,
                _ => AdminState::Ready,
            },
            weight: self.weight.parse::<WeightOrder>().ok(),
            maxconn: self.maxconn,
            unchecked: self.unchecked,
            check_port: self.check_port,
        }
    }
}

impl From<&Heritage> for ServerLegacy {
    fn from(heritage: &Heritage) -> Self {
        let OrdersLegacy {
            admin,
            weight,
            maxconn,
            unchecked,
            check_port,
            server: _,
        } = OrdersLegacy::new(&heritage.name, &heritage.orders);
        Self {
            address: Some(heritage.address),
            admin,
            weight,
            maxconn,
            unchecked,
            check_port,
            failed_seconds: heritage.failed_for.as_secs_f64(),
            up: heritage.up,
            never_up: heritage.never_up,
            proven: Some(heritage.proven.map_or(0, Weight::get)),
            down_seconds: heritage.downtime.as_secs_f64(),
            check_failures: heritage.check_failures,
            check_downs: heritage.check_downs,
            ejections: heritage.ejections,
            ..Self::default()
        }
    }
}

impl ServerLegacy {
    /// What a director makes of it.
    pub(crate) fn heritage(&self, name: &str) -> Option<Heritage> {
        Some(Heritage {
            name: Name::new(name).ok()?,
            address: self.address?,
            orders: self.orders(name).orders(),
            failed_for: seconds(self.failed_seconds),
            up: self.up,
            never_up: self.never_up,
            proven: self.proven(),
            downtime: seconds(self.down_seconds),
            check_failures: self.check_failures,
            check_downs: self.check_downs,
            ejections: self.ejections,
        })
    }

    /// A process that does not tell took every weight that was announced.
    fn proven(&self) -> Option<Weight> {
        let whole = self.up.filter(|up| *up).map_or(0, |_| Weight::MAX);
        let weight = self.proven.unwrap_or(whole);
        Weight::new(weight.into()).ok().filter(|w| w.get() > 0)
    }

    fn orders(&self, name: &str) -> OrdersLegacy {
        OrdersLegacy {
            server: name.to_owned(),
            admin: self.admin.clone(),
            weight: self.weight.clone(),
            maxconn: self.maxconn,
            unchecked: self.unchecked,
            check_port: self.check_port,
        }
    }
}

impl BackendLegacy {
    /// The servers that an operator added.
    pub(crate) fn servers_by_hand(&self) -> Vec<Server> {
        let server = |(name, address, weight): &(String, SocketAddr, u16)| {
            Some(Server {
                name: Name::new(name.as_str()).ok()?,
                address: *address,
                weight: Weight::new(u64::from(*weight)).ok()?,
                backup: self.backups.contains(name),
                source: SourceKind::Operator,
                presence: Presence::Present,
            })
        };
        self.by_hand.iter().filter_map(server).collect()
    }
}

/// A number that is no length of time counts as none.
pub(crate) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let server = ServerLegacy {
            admin: "drain".to_owned(),
            address: Some(([10, 0, 0, 1], 80).into()),
            up: Some(true),
            probes: (3, 1),
            ..ServerLegacy::default()
        };
        let backend = BackendLegacy {
            servers: BTreeMap::from([("a".to_owned(), server)]),
            totals: Totals::from([("requests".to_owned(), 7)]),
            ..BackendLegacy::default()
        };
        let legacy = Legacy {
            backends: BTreeMap::from([("nodes".to_owned(), backend)]),
            ..Legacy::default()
        };
        let read = Legacy::from_file(legacy.to_file().unwrap());
        assert_eq!(read, legacy);
    }

    #[test]
    fn what_a_later_build_adds_is_left_out_and_what_an_earlier_one_lacks_is_nothing() {
        let later = r#"{"frontends":{"f":{"x":1}},"later":[1],"member":{"later":[1],"names":["a","a"],
            "others":[{"name":"b","later":[1]}]},"backends":{"b":{"later":[1],"moved":{},
            "retired":[{"later":[1],"lb_total":2},3],"orders":[{"server":"s","later":[1]}],
            "servers":{"s":{"later":[1],"admin":"of a later build","weight":"later"}}}}}"#;
        let legacy: Legacy = serde_json::from_str(later).unwrap();
        assert_eq!(legacy.frontends["f"]["x"], 1);
        assert!(legacy.member.estate().acquaintances.is_empty());
        let backend = &legacy.backends["b"];
        assert_eq!((backend.retired.0.lb_total, backend.retired.1), (2, 3));
        let orders = backend.servers["s"].orders("s").orders();
        assert!(orders.is_none(), "{orders}");
        let earlier: Legacy = serde_json::from_str("{}").unwrap();
        assert_eq!(earlier, Legacy::default());
    }

    /// For those who go back to an earlier build.
    #[test]
    fn every_word_that_an_earlier_build_wrote_is_still_written() {
        for recorded in [
            include_str!("../../tests/handover/8b3f11c.json"),
            include_str!("../../tests/handover/ebf56b6.json"),
        ] {
            let legacy: Legacy = serde_json::from_str(recorded).unwrap();
            let written = serde_json::to_value(&legacy).unwrap();
            let recorded: Value = serde_json::from_str(recorded).unwrap();
            let mut lost = Vec::new();
            missing("", &recorded, &written, &mut lost);
            // Nobody ever counted it.
            lost.retain(|path| !path.ends_with(".internal_errors_total"));
            assert!(lost.is_empty(), "{lost:?}");
        }
    }

    /// Collects what stands in `old` and not in `new`.
    fn missing(path: &str, old: &Value, new: &Value, lost: &mut Vec<String>) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for (key, value) in old {
                    let at = format!("{path}.{key}");
                    missing(&at, value, new.get(key).unwrap_or(&Value::Null), lost);
                }
            }
            (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                for (i, pair) in old.iter().zip(new).enumerate() {
                    missing(&format!("{path}.{i}"), pair.0, pair.1, lost);
                }
            }
            _ if old == new => {}
            _ => lost.push(path.to_owned()),
        }
    }
}
