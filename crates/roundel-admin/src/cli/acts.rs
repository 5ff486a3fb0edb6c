//! Commands that change something.
//!
//! Texts are HAProxy's, line ends included, since scripts compare them.

use std::net::IpAddr;

use roundel_model::{AdminState, Name, ServerState, WeightOrder, WeightOrderError};

use super::add;
use super::reply::Reply;
use crate::Admin;
use crate::acts::{admin_state, is_address};
use crate::command::{Change, Command, CommandError, FrontendChange, Principal};
use crate::status::{Backend, Server, Snapshot};

/// A command, and what to say when it was carried out.
pub(super) struct Act {
    pub(super) command: Command,
    said: Said,
    /// HAProxy ends the errors of some commands without an empty line.
    terse: bool,
}

/// What a success says.
enum Said {
    /// HAProxy's setters say nothing.
    Nothing,
    /// HAProxy's sentence.
    Sentence(&'static str),
    /// What the outcome says.
    Outcome,
    /// The same, as a warning.
    Remark,
    /// The outcome as JSON.
    Json,
}

impl Act {
    fn silent(command: Command) -> Self {
        Self {
            command,
            said: Said::Nothing,
            terse: false,
        }
    }

    fn told(command: Command) -> Self {
        Self {
            said: Said::Outcome,
            ..Self::silent(command)
        }
    }
}

type Parsed = Result<Act, String>;

/// Reads an act; `None` when the words are no act, an error when they are a wrong one.
pub(super) fn parse(words: &[&str], snapshot: &Snapshot) -> Option<Parsed> {
    Some(match *words {
        ["set", "server", ref rest @ ..] => set_server(snapshot, rest),
        ["set", "weight", ref rest @ ..] => {
            let weight = rest.get(1).copied().unwrap_or_default();
            set_weight(snapshot, first(rest), weight, true)
        }
        ["set", "maxconn", "server", ref rest @ ..] => set_maxconn(snapshot, rest),
        ["set", "maxconn", "frontend", ref rest @ ..] => frontend_maxconn(snapshot, rest),
        ["disable", "server", ref rest @ ..] => {
            set_state(snapshot, first(rest), AdminState::Maint, true)
        }
        ["enable", "server", ref rest @ ..] => {
            set_state(snapshot, first(rest), AdminState::Ready, true)
        }
        [verb @ ("enable" | "disable"), "health", ref rest @ ..] => {
            change(snapshot, first(rest), Change::Checks(verb == "enable"))
        }
        [verb @ ("enable" | "disable"), "frontend", ref rest @ ..] => {
            let open = FrontendChange::Open(verb == "enable");
            frontend(
                snapshot,
                first(rest),
                "A frontend name is expected.\n",
                open,
            )
        }
        ["add", "server", ref rest @ ..] => add::parse(rest, snapshot).map(|command| Act {
            said: Said::Sentence("New server registered.\n"),
            ..Act::silent(command)
        }),
        ["del", "server", ref rest @ ..] => del_server(snapshot, first(rest)),
        ["shutdown", "sessions", "server", ref rest @ ..] => {
            shutdown_sessions(snapshot, first(rest))
        }
        ["clear", "counters", ref rest @ ..] => {
            let all = first(rest) == "all";
            Ok(Act::silent(Command::ClearCounters { all }))
        }
        ["order", target, ref rest @ ..] => order(snapshot, target, rest),
        ["join", ref addresses @ ..] if !addresses.is_empty() => join(addresses),
        ["leave"] => Ok(Act::told(Command::Leave { member: None })),
        ["leave", member] => Ok(Act::told(Command::Leave {
            member: Some(member.into()),
        })),
        ["cluster", verb, json] => {
            let command = crate::acts::cluster::command(verb, json);
            command.map_err(|text| text + "\n").map(|command| Act {
                said: Said::Json,
                ..Act::silent(command)
            })
        }
        ["cluster", ..] => Err("Require join, leave, query, event or keys, and JSON.\n".into()),
        ["reload"] => Ok(Act::told(Command::Reload)),
        _ => return None,
    })
}

/// Carries an act out and words the reply.
pub(super) async fn carry_out(admin: &Admin, act: Act, who: &Principal) -> Reply {
    let clears = match act.command {
        Command::ClearCounters { all } => Some(all),
        _ => None,
    };
    if clears.is_some() {
        admin.clear_maxima();
    }
    let outcome = match admin.order(act.command, who.clone()).await {
        Ok(outcome) => outcome,
        Err(error) if act.terse => return Reply::error(error.to_string()),
        Err(error) => return Reply::error(format!("{error}\n")),
    };
    if let Some(all) = clears {
        // As of the snapshot that was asked for.
        admin.clear_counters(all);
    }
    match act.said {
        Said::Nothing => Reply::plain(""),
        Said::Sentence(text) => Reply::info(text),
        Said::Json => Reply::plain(format!(
            "{}\n",
            crate::json::text(&crate::acts::report(outcome))
        )),
        Said::Outcome | Said::Remark if outcome.text.is_empty() => Reply::plain(""),
        Said::Outcome => Reply::info(outcome.text + "\n"),
        Said::Remark => Reply::warning(outcome.text + "\n"),
    }
}

/// `set server <b>/<s> <what> ...`.
fn set_server(snapshot: &Snapshot, words: &[&str]) -> Parsed {
    let target = first(words);
    let value = words.get(2).copied().unwrap_or_default();
    match words.get(1).copied().unwrap_or_default() {
        "state" => match admin_state(value) {
            Some(state) => set_state(snapshot, target, state, true),
            None => wrong(
                snapshot,
                target,
                "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n",
            ),
        },
        "weight" => set_weight(snapshot, target, value, true),
        "health" => match value {
            "up" => change(snapshot, target, Change::Health(true)),
            "down" => change(snapshot, target, Change::Health(false)),
            // HAProxy's third health takes no new clients, which is a drain.
            "stopping" => set_state(snapshot, target, AdminState::Drain, true),
            _ => wrong(
                snapshot,
                target,
                "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n",
            ),
        },
        "addr" => set_address(snapshot, target, &words[2..]),
        "check-port" => match value.parse() {
            Ok(port) => change(snapshot, target, Change::CheckPort(port)),
            Err(_) if value.is_empty() => wrong(
                snapshot,
                target,
                "set server <b>/<s> check-port requires a port.\n",
            ),
            Err(_) if value.bytes().all(|b| b.is_ascii_digit()) => {
                wrong(snapshot, target, "provided port is invalid")
            }
            Err(_) => wrong(snapshot, target, "provided port is not an integer"),
        },
        "agent" => wrong(
            snapshot,
            target,
            "agent checks are not enabled on this server.\n",
        ),
        "fqdn" => wrong(
            snapshot,
            target,
            "set server <b>/<s> fqdn failed because no resolution is configured.\n",
        ),
        _ => wrong(
            snapshot,
            target,
            "usage: set server <backend>/<server> addr | check-port | health | state | weight\n",
        ),
    }
}

/// What Roundel's own verbs send: like the HTTP API it spares the last server that serves.
fn order(snapshot: &Snapshot, target: &str, words: &[&str]) -> Parsed {
    let (words, force) = match words {
        [words @ .., "force"] => (words, true),
        words => (words, false),
    };
    match words {
        ["weight", weight] => set_weight(snapshot, target, weight, force),
        [verb] if admin_state(verb).is_some() => {
            let state = admin_state(verb).unwrap_or_default();
            set_state(snapshot, target, state, force)
        }
        _ => Err("Require 'backend/server', then ready, drain, maint or weight <w>.\n".into()),
    }
}

fn set_state(snapshot: &Snapshot, target: &str, state: AdminState, force: bool) -> Parsed {
    found(snapshot, target).map(|(backend, server)| {
        Act::silent(Command::SetState {
            backend,
            server,
            state,
            force,
        })
    })
}

fn set_weight(snapshot: &Snapshot, target: &str, text: &str, force: bool) -> Parsed {
    use WeightOrderError::{Garbage, NoNumber};
    let (backend, server) = found(snapshot, target)?;
    let weight: Result<WeightOrder, WeightOrderError> = text.parse();
    let weight = weight.map_err(|error| match error {
        NoNumber | Garbage => error.to_string(),
        _ => format!("{error}\n"),
    })?;
    Ok(Act::silent(Command::SetWeight {
        backend,
        server,
        weight,
        force,
    }))
}

fn set_maxconn(snapshot: &Snapshot, words: &[&str]) -> Parsed {
    let target = first(words);
    match words.get(1) {
        None => wrong(snapshot, target, "Require <maxconn>.\n"),
        Some(text) => match text.parse::<i64>() {
            // Less than zero is no limit for HAProxy either.
            Ok(n) => {
                let most = u32::try_from(n.max(0)).unwrap_or(u32::MAX);
                change(snapshot, target, Change::Maxconn(most))
            }
            Err(_) => wrong(
                snapshot,
                target,
                "maxconn string empty or preceded by garbage",
            ),
        },
    }
}

fn frontend_maxconn(snapshot: &Snapshot, words: &[&str]) -> Parsed {
    let known = snapshot.frontends.iter().any(|f| f.name == first(words));
    let Some(text) = words.get(1).filter(|_| known) else {
        let text = match known {
            true => "Integer value expected.\n",
            false => "No such frontend.\n",
        };
        return Err(text.into());
    };
    let most = text.parse().map_err(|_| "Integer value expected.\n")?;
    let maxconn = FrontendChange::Maxconn(most);
    frontend(
        snapshot,
        first(words),
        "A frontend name is expected.\n",
        maxconn,
    )
}

fn frontend(snapshot: &Snapshot, text: &str, missing: &str, change: FrontendChange) -> Parsed {
    if text.is_empty() {
        return Err(missing.into());
    }
    let known = snapshot.frontends.iter().find(|f| f.name == text);
    let frontend = known.and_then(|f| Name::new(&f.name).ok());
    let frontend = frontend.ok_or("No such frontend.\n")?;
    Ok(Act::silent(Command::Frontend { frontend, change }))
}

fn change(snapshot: &Snapshot, target: &str, change: Change) -> Parsed {
    let (backend, server) = found(snapshot, target)?;
    Ok(Act::silent(Command::Change {
        backend,
        server,
        change,
    }))
}

/// `addr <ip> [port <port>]`.
fn set_address(snapshot: &Snapshot, target: &str, words: &[&str]) -> Parsed {
    let Some(text) = words.first() else {
        let text = "set server <b>/<s> addr requires an address and optionally a port.\n";
        return wrong(snapshot, target, text);
    };
    let Ok(ip) = text.parse::<IpAddr>() else {
        let text = format!("Invalid addr '{text}' by 'stats socket command'\n");
        return wrong(snapshot, target, &text);
    };
    let port = match words.get(1) {
        Some(&"port") => {
            let text = words.get(2).copied().unwrap_or_default();
            let port = text.parse().map_err(|_| {
                format!("problem converting port '{text}' to an int by 'stats socket command'\n")
            })?;
            Some(port)
        }
        _ => None,
    };
    let act = change(snapshot, target, Change::Address(ip, port))?;
    Ok(Act {
        said: Said::Remark,
        ..act
    })
}

fn del_server(snapshot: &Snapshot, target: &str) -> Parsed {
    let (backend, server) = split(target)?;
    let known = snapshot.backend(backend).ok_or("No such backend.")?;
    if !known.takes_orders(server) {
        return Err("No such server.".into());
    }
    let (backend, server) = (name(backend)?, name(server)?);
    Ok(Act {
        said: Said::Sentence("Server deleted."),
        terse: true,
        ..Act::silent(Command::DelServer { backend, server })
    })
}

/// Of a server that has left as well: its tunnels may go on.
fn shutdown_sessions(snapshot: &Snapshot, target: &str) -> Parsed {
    let (backend, server) = split_line(target)?;
    let known = snapshot.backend(backend).ok_or("No such backend.\n")?;
    if known.server(server).is_none() && !known.takes_orders(server) {
        return Err("No such server.\n".into());
    }
    Ok(Act::silent(Command::Change {
        backend: name(backend)?,
        server: name(server)?,
        change: Change::Cut,
    }))
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
    let (backend, server) = split_line(target)?;
    let backend = snapshot.backend(backend).ok_or("No such backend.\n")?;
    let server = backend.server(server);
    let server = server.filter(|s| s.state != ServerState::Left);
    Ok((backend, server.ok_or("No such server.\n")?))
}

/// The names of a server that is there, or away but under orders.
fn found(snapshot: &Snapshot, target: &str) -> Result<(Name, Name), String> {
    let (backend, server) = split_line(target)?;
    let known = snapshot.backend(backend).ok_or("No such backend.\n")?;
    if !known.takes_orders(server) {
        return Err("No such server.\n".into());
    }
    Ok((name(backend)?, name(server)?))
}

/// A complaint, unless there is no such server in the first place.
fn wrong(snapshot: &Snapshot, target: &str, text: &str) -> Parsed {
    found(snapshot, target).and_then(|_| Err(text.into()))
}

pub(super) fn split(target: &str) -> Result<(&str, &str), &'static str> {
    target.split_once('/').ok_or("Require 'backend/server'.")
}

fn split_line(target: &str) -> Result<(&str, &str), &'static str> {
    split(target).map_err(|_| "Require 'backend/server'.\n")
}

fn first<'a>(words: &[&'a str]) -> &'a str {
    words.first().copied().unwrap_or_default()
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|_| CommandError::NoServer.to_string() + "\n")
}
