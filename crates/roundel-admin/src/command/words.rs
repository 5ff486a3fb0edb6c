//! Acts in the words of the runtime API, for the log.

use std::fmt;

use roundel_model::Name;
use serde_json::json;

use super::{Change, Command, FrontendChange, Query};

/// The line that does the same on the runtime socket. What others may have written is quoted, keys
/// are left out.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetState {
                backend,
                server,
                state,
                force,
            } => match force {
                true => write!(f, "set server {backend}/{server} state {state}"),
                false => write!(f, "order {backend}/{server} {state}"),
            },
            Self::SetWeight {
                backend,
                server,
                weight,
                force,
            } => match force {
                true => write!(f, "set weight {backend}/{server} {weight}"),
                false => write!(f, "order {backend}/{server} weight {weight}"),
            },
            Self::Change {
                backend,
                server,
                change,
            } => write_change(f, backend, server, *change),
            Self::AddServer {
                backend,
                server,
                address,
                weight,
                backup,
                maxconn,
                disabled,
                passed_over: _,
            } => {
                write!(f, "add server {backend}/{server} {address} weight {weight}")?;
                if let Some(most) = maxconn {
                    write!(f, " maxconn {most}")?;
                }
                f.write_str(if *backup { " backup" } else { "" })?;
                f.write_str(if *disabled { " disabled" } else { "" })
            }
            Self::Frontend { frontend, change } => match change {
                FrontendChange::Maxconn(most) => {
                    write!(f, "set maxconn frontend {frontend} {most}")
                }
                FrontendChange::Open(true) => write!(f, "enable frontend {frontend}"),
                FrontendChange::Open(false) => write!(f, "disable frontend {frontend}"),
            },
            Self::ClearCounters { all: false } => f.write_str("clear counters"),
            Self::ClearCounters { all: true } => f.write_str("clear counters all"),
            Self::DelServer { backend, server } => write!(f, "del server {backend}/{server}"),
            Self::Join { addresses } => write!(f, "join {}", addresses.join(" ")),
            Self::Leave { member: None } => f.write_str("leave"),
            Self::Leave {
                member: Some(member),
            } => match Name::new(member) {
                Ok(name) => write!(f, "leave {name}"),
                Err(_) => write!(f, "leave {member:?}"),
            },
            Self::Query(query) => write!(f, "cluster query {}", query_json(query)),
            Self::UserEvent {
                name,
                payload,
                coalesce,
            } => {
                let event = json!({ "name": name, "payload": payload, "coalesce": coalesce });
                write!(f, "cluster event {event}")
            }
            Self::Keys { act, .. } => {
                write!(f, "cluster keys {}", json!({ "act": act.as_str() }))
            }
            Self::Reload => f.write_str("reload"),
        }
    }
}

fn write_change(
    f: &mut fmt::Formatter<'_>,
    backend: &Name,
    server: &Name,
    change: Change,
) -> fmt::Result {
    match change {
        Change::Maxconn(most) => write!(f, "set maxconn server {backend}/{server} {most}"),
        Change::Health(up) => {
            let word = if up { "up" } else { "down" };
            write!(f, "set server {backend}/{server} health {word}")
        }
        Change::Checks(on) => {
            let verb = if on { "enable" } else { "disable" };
            write!(f, "{verb} health {backend}/{server}")
        }
        Change::CheckPort(port) => write!(f, "set server {backend}/{server} check-port {port}"),
        Change::Address(ip, port) => {
            write!(f, "set server {backend}/{server} addr {ip}")?;
            port.map_or(Ok(()), |port| write!(f, " port {port}"))
        }
        Change::Cut => write!(f, "shutdown sessions server {backend}/{server}"),
    }
}

fn query_json(query: &Query) -> serde_json::Value {
    let mut said = json!({ "name": query.name, "payload": query.payload });
    if !query.nodes.is_empty() {
        said["nodes"] = json!(query.nodes);
    }
    for (key, value) in &query.tags {
        said["tags"][key] = json!(value);
    }
    said
}
