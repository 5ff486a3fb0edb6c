//! Commands that change something.

use std::net::SocketAddr;

use roundel_model::{AdminState, Name, Weight};

use crate::Admin;
use crate::acts::{admin_state, is_address};
use crate::command::{Command, CommandError, Principal};
use crate::status::{Backend, Server, Snapshot};

/// A command, and what to say when it was carried out.
pub(super) struct Act {
    command: Command,
    /// HAProxy's sentence; setters say nothing.
    success: &'static str,
    /// Whether the outcome's own sentence is of interest.
    tell: bool,
    /// Whether the outcome is told as JSON.
    json: bool,
}

impl Act {
    fn silent(command: Command) -> Self {
        Self {
            command,
            success: "",
            tell: false,
            json: false,
        }
    }

    fn told(command: Command) -> Self {
        Self {
            tell: true,
            ..Self::silent(command)
        }
    }
}

type Parsed = Result<Act, String>;

/// Reads an act; `None` when the words are no act, an error when they are a wrong one.
pub(super) fn parse(words: &[&str], snapshot: &Snapshot) -> Option<Parsed> {
    Some(match *words {
        ["set", "server", target, "state", word] => match admin_state(word) {
            Some(state) => set_state(snapshot, target, state),
            None => {
                let text = "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n";
                found(snapshot, target).and_then(|_| Err(text.into()))
            }
        },
        ["set", "server", target, "weight", weight] | ["set", "weight", target, weight] => {
            set_weight(snapshot, target, weight)
        }
        ["set", "server", target, ..] => found(snapshot, target).and_then(|_| {
            let text = "'set server <srv>' only supports 'state' and 'weight'.\n";
            Err(text.into())
        }),
        ["set", "weight", ..] => Err("Require 'backend/server' and a weight.\n".into()),
        ["disable", "server", target] => set_state(snapshot, target, AdminState::Maint),
        ["enable", "server", target] => set_state(snapshot, target, AdminState::Ready),
        ["add", "server", target, address, ref rest @ ..] => add(snapshot, target, address, rest),
        ["del", "server", target] => found(snapshot, target).map(|(backend, server)| Act {
            success: "Server deleted.\n",
            ..Act::silent(Command::DelServer { backend, server })
        }),
        ["join", ref addresses @ ..] if !addresses.is_empty() => join(addresses),
        ["leave"] => Ok(Act::told(Command::Leave { member: None })),
        ["leave", member] => Ok(Act::told(Command::Leave {
            member: Some(member.into()),
        })),
        ["cluster", verb, json] => {
            let command = crate::acts::cluster::command(verb, json);
            command.map_err(|text| text + "\n").map(|command| Act {
                json: true,
                ..Act::silent(command)
            })
        }
        ["cluster", ..] => Err("Require join, leave, query, event or keys, and JSON.\n".into()),
        ["reload"] => Ok(Act::told(Command::Reload)),
        _ => return None,
    })
}

/// Carries an act out and words the reply.
pub(super) async fn carry_out(admin: &Admin, act: Act, who: &Principal) -> String {
    match admin.order(act.command, who.clone()).await {
        Ok(outcome) if act.json => format!("{}\n", crate::acts::report(outcome)),
        Ok(outcome) if act.tell && !outcome.text.is_empty() => format!("{}\n", outcome.text),
        Ok(_) => act.success.into(),
        Err(error) => format!("{error}\n"),
    }
}

fn set_state(snapshot: &Snapshot, target: &str, state: AdminState) -> Parsed {
    found(snapshot, target).map(|(backend, server)| {
        Act::silent(Command::SetState {
            backend,
            server,
            state,
        })
    })
}

/// Weight 0 has no place in the model: it means "no new clients", which is a drain. A
/// percentage above zero never becomes zero.
fn set_weight(snapshot: &Snapshot, target: &str, text: &str) -> Parsed {
    let (_, current) = find(snapshot, target)?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| "Require <weight> or <weight%>.\n")
    };
    let weight = match text.strip_suffix('%') {
        Some(percent) => match number(percent)? {
            0 => 0,
            percent if percent <= 100 => {
                (u64::from(current.initial_weight) * percent).div_ceil(100)
            }
            _ => return Err("Relative weight can only be between 0 and 100% inclusive.\n".into()),
        },
        None => number(text)?,
    };
    if weight == 0 {
        return set_state(snapshot, target, AdminState::Drain);
    }
    let Ok(weight) = Weight::new(weight) else {
        return Err("Absolute weight can only be between 0 and 256 inclusive.\n".into());
    };
    found(snapshot, target).map(|(backend, server)| {
        Act::silent(Command::SetWeight {
            backend,
            server,
            weight,
        })
    })
}

fn add(snapshot: &Snapshot, target: &str, address: &str, rest: &[&str]) -> Parsed {
    let (backend, server) = split(target)?;
    let known = snapshot
        .backend(backend)
        .ok_or(CommandError::NoBackend.to_string() + "\n")?;
    if known.server(server).is_some() {
        return Err(CommandError::ServerExists.to_string() + "\n");
    }
    let Ok(server) = Name::new(server) else {
        return Err("Invalid server name.\n".into());
    };
    let Ok(address) = address.parse::<SocketAddr>() else {
        return Err("An address and a port are expected, such as 10.0.0.1:3000.\n".into());
    };
    let weight = match *rest {
        [] => Weight::ONE,
        ["weight", n] => match n.parse().ok().map(Weight::new) {
            Some(Ok(weight)) => weight,
            _ => return Err("Weight must be from 1 to 256.\n".into()),
        },
        [word, ..] => {
            return Err(format!(
                "'{word}' is not supported for a server added by hand.\n"
            ));
        }
    };
    let command = Command::AddServer {
        backend: name(backend)?,
        server,
        address,
        weight,
    };
    Ok(Act {
        success: "New server registered.\n",
        ..Act::silent(command)
    })
}

fn join(addresses: &[&str]) -> Parsed {
    if addresses.iter().any(|a| !is_address(a)) {
        return Err("An address is host[:port].\n".into());
    }
    let addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
    Ok(Act::told(Command::Join { addresses }))
}

/// The server that `backend/server` names, as it is now.
pub(super) fn find<'a>(
    snapshot: &'a Snapshot,
    target: &str,
) -> Result<(&'a Backend, &'a Server), &'static str> {
    let (backend, server) = split(target)?;
    let backend = snapshot.backend(backend).ok_or("No such backend.\n")?;
    let server = backend.server(server).ok_or("No such server.\n")?;
    Ok((backend, server))
}

fn found(snapshot: &Snapshot, target: &str) -> Result<(Name, Name), String> {
    let (backend, server) = find(snapshot, target)?;
    Ok((name(&backend.name)?, name(&server.name)?))
}

fn split(target: &str) -> Result<(&str, &str), &'static str> {
    target.split_once('/').ok_or("Require 'backend/server'.\n")
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|_| "No such server.\n".into())
}
