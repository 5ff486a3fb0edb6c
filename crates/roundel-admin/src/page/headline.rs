//! The sentence that every view begins with: how many serve, what clients feel, and why.

use roundel_model::ServerState;

use super::format::{plural, span};
use super::look::{BY_URGENCY, Look};
use crate::status::{Backend, Server, Snapshot};

/// How many troubled servers it names.
const NAMED: usize = 3;

/// The whole of it.
pub(crate) fn sentence(snapshot: &Snapshot) -> String {
    match (counts(snapshot), causes(snapshot)) {
        (counts, causes) if causes.is_empty() => counts,
        (counts, causes) => format!("{counts} — {causes}"),
    }
}

/// `5 of 5 servers serving`, and what clients have of it.
pub(super) fn counts(snapshot: &Snapshot) -> String {
    let known: usize = snapshot.backends.iter().map(Backend::known).sum();
    let serving: usize = snapshot.backends.iter().map(Backend::serving).sum();
    if known == 0 {
        return "No server yet: waiting for the first to announce itself".into();
    }
    let counts = format!("{serving} of {known} {} serving", plural(known, "server"));
    match snapshot.felt() {
        Some(felt) => format!("{counts}, but {felt}"),
        None => counts,
    }
}

/// Why it is fewer: the worst and newest first.
pub(super) fn causes(snapshot: &Snapshot) -> String {
    let servers = snapshot.backends.iter().flat_map(Backend::rows);
    let not_serving = |s: &&Server| !s.state.takes_new() && s.state != ServerState::Left;
    let mut troubled: Vec<&Server> = servers.filter(not_serving).collect();
    let urgency = |s: &Server| {
        let class = Look::of_server(s).class;
        BY_URGENCY.iter().position(|c| *c == class)
    };
    troubled.sort_by_key(|s| (urgency(s), s.since_seconds));
    let mut text = String::new();
    for (i, server) in troubled.iter().take(NAMED).enumerate() {
        text += if i == 0 { "" } else { ", " };
        text += &trouble(server);
    }
    if troubled.len() > NAMED {
        text += &format!(" and {} more", troubled.len() - NAMED);
    }
    text
}

fn trouble(server: &Server) -> String {
    let word = match server.state {
        ServerState::Maint => "in maintenance",
        other => other.as_str(),
    };
    let mut text = format!("{} {word}", server.name);
    let reason = if server.state == ServerState::Draining || server.state == ServerState::Leaving {
        format!("{} in flight", server.in_flight)
    } else {
        text += &format!(" for {}", span(server.since_seconds));
        server.reason.clone()
    };
    if !reason.is_empty() {
        text += &format!(" ({reason})");
    }
    text
}
