//! What a process leaves to its successor beside sockets: orders, verdicts and totals, as JSON in a
//! file in memory.
//!
//! The two may be different versions of the program, so everything is by name and may be absent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use roundel_admin::status::Traffic;
use roundel_balance::{Heritage, ServerOrders};
use roundel_gossip_tokio::{Clocks, Estate, OwnAddress};
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
}

impl MemberLegacy {
    pub(crate) fn of(estate: &Estate) -> Self {
        let Clocks {
            member,
            event,
            query,
        } = estate.clocks;
        Self {
            names: estate.names.clone(),
            incarnation: estate.incarnation,
            address: estate.address.clone().map(|own| (own.address, own.why)),
            clocks: [member, event, query],
        }
    }

    /// Everything but sockets and addresses, which pass by another way.
    pub(super) fn estate(&self) -> Estate {
        let [member, event, query] = self.clocks;
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
    pub(crate) up: Option<bool>,
    pub(crate) never_up: bool,
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
        }
    }

    pub(crate) fn read(&self) -> Option<(Name, ServerOrders)> {
        let name = Name::new(self.server.as_str()).ok()?;
        Some((name, orders(&self.admin, &self.weight, self.maxconn)))
    }
}

/// A word that this version does not know is no order.
fn orders(admin: &str, weight: &str, maxconn: Option<u32>) -> ServerOrders {
    ServerOrders {
        state: match admin {
            "drain" => AdminState::Drain,
            "maint" => AdminState::Maint,
            _ => AdminState::Ready,
        },
        weight: weight.parse::<WeightOrder>().ok(),
        maxconn,
    }
}

impl From<&Heritage> for ServerLegacy {
    fn from(heritage: &Heritage) -> Self {
        let OrdersLegacy {
            admin,
            weight,
            maxconn,
            ..
        } = OrdersLegacy::new(&heritage.name, &heritage.orders);
        Self {
            address: Some(heritage.address),
            admin,
            weight,
            maxconn,
            up: heritage.up,
            never_up: heritage.never_up,
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
            orders: orders(&self.admin, &self.weight, self.maxconn),
            up: self.up,
            never_up: self.never_up,
            downtime: seconds(self.down_seconds),
            check_failures: self.check_failures,
            check_downs: self.check_downs,
            ejections: self.ejections,
        })
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
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_unknown_parts_are_left_out() {
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
        let text = r#"{"frontends":{"f":{"x":1}},"of_a_later_version":[1]}"#;
        let other: Legacy = serde_json::from_str(text).unwrap();
        assert_eq!(other.frontends["f"]["x"], 1);
    }
}
