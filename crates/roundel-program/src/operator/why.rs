//! `roundel why`: from what was heard to what was decided, each fact with its age.

use roundel_admin::status::{Backend, Check, Member, MemberStatus, Server};
use roundel_model::{AdminState, ServerState, Shown};

use super::numbers::{latency, rate, span};
use super::view::View;
use crate::screen::Screen;
use crate::table::Look;

/// Tells of `BACKEND/SERVER`. Errors: there is no such server.
pub(super) fn server(view: &View, name: &str, screen: Screen) -> anyhow::Result<String> {
    let (backend, Some(server)) = view.find(name)? else {
        anyhow::bail!("write BACKEND/SERVER, such as {}/webapp-1", Shown(name));
    };
    let title = format!(
        "{} is {} for {}",
        Shown(name),
        server.state,
        span(server.since_seconds)
    );
    let mut out = format!("{}\n", screen.paint(Look::Strong, &title));
    let steps = [
        ("its own word", word(view, server)),
        ("the source", source(backend, server)),
        ("orders", orders(server)),
        ("the check", check(server, &backend.check)),
        ("its answers", answers(view, backend, server)),
        ("the set", set(backend, server)),
        ("decided", decided(server)),
    ];
    for (step, told) in steps {
        let told = Shown(told).to_string();
        let folded = screen.fold(&told, 15);
        out += &format!("  {step:<13}{}", folded.trim_start());
    }
    let events = view.snapshot.events.iter().filter(|e| e.subject == name);
    let events: Vec<String> = events.map(|e| super::tables::event(e)).collect();
    if !events.is_empty() {
        out += "so far:\n";
    }
    for line in &events[events.len().saturating_sub(10)..] {
        out += &screen.fold(&Shown(line).to_string(), 2);
    }
    Ok(out)
}

/// What the member itself announced, and how sure the cluster is of it.
fn word(view: &View, server: &Server) -> String {
    let member = view
        .snapshot
        .members
        .iter()
        .find(|m| *m.name == *server.name);
    let Some(member) = member.filter(|_| server.source == "gossip") else {
        return match &*server.source {
            "gossip" => "no member has this name any more".into(),
            other => format!("none: {other} named it, not gossip"),
        };
    };
    let doubt = match (member.status, member.suspect) {
        (MemberStatus::Alive, true) => ", suspected: it answers no probe at this moment",
        _ => "",
    };
    let status = member.status.as_str();
    let since = span(member.since_seconds);
    format!("member {status} for {since}{doubt}; {}", announced(member))
}

fn announced(member: &Member) -> String {
    let tags = ["role", "port", "addr", "weight", "check"];
    let said = tags
        .iter()
        .filter_map(|key| Some((key, member.tags.get(*key)?)));
    let said: Vec<String> = said.map(|(key, value)| format!("{key}={value}")).collect();
    let rtt = member.rtt_us.map(|us| us as f64 / 1e6);
    format!("it says {}; round trip {}", said.join(" "), latency(rtt))
}

/// Whoever puts it into the backend, and how fresh that is.
fn source(backend: &Backend, server: &Server) -> String {
    let mut out = format!("{} gives {}", server.source, server.address);
    for source in backend.sources.iter().filter(|s| s.kind == *server.source) {
        match (source.trouble(), source.age_seconds) {
            (Some(trouble), _) => out += &format!("; {trouble}"),
            (None, Some(age)) => out += &format!("; heard {} ago", span(age)),
            (None, None) => {}
        }
    }
    out
}

fn orders(server: &Server) -> String {
    let mut words = Vec::new();
    if server.admin != AdminState::Ready {
        words.push(format!("an operator ordered {}", server.admin));
    }
    if server.user_weight != server.initial_weight {
        words.push(format!(
            "weight {} instead of {}",
            server.user_weight, server.initial_weight
        ));
    }
    match words.is_empty() {
        true => "none".into(),
        false => words.join(", "),
    }
}

fn check(server: &Server, how: &str) -> String {
    let Some(check) = &server.check else {
        return "off: it is believed until its answers say otherwise".into();
    };
    if check.off {
        return "switched off by an operator".into();
    }
    let text = match &*check.text {
        "" => String::new(),
        text => format!(" ({text})"),
    };
    format!(
        "{how}: {}{text}; {}; {} passed and {} failed so far",
        super::stat::check(server),
        health(check),
        check.passed_total,
        check.failed_total
    )
}

/// How far it is from the other side.
fn health(check: &Check) -> String {
    match check.health.checked_sub(check.rise) {
        Some(left) => format!("{} failures in a row would put it down", left + 1),
        None => format!(
            "{} passes in a row would bring it up",
            check.rise - check.health
        ),
    }
}

/// What traffic says.
fn answers(view: &View, backend: &Backend, server: &Server) -> String {
    let Some(last) = server.traffic.last_request_seconds else {
        return "none yet".into();
    };
    let rates = view.server(&backend.name, &server.name);
    format!(
        "the last {} ago; {} req/s; {} of {} were 5xx, {} connects failed; ejected {} times",
        span(last),
        rate(rates.map_or(0.0, |r| r.requests_per_second)),
        server.traffic.responses_total[4],
        server.requests_total,
        server.traffic.connect_errors_total,
        server.ejections_total
    )
}

fn set(backend: &Backend, server: &Server) -> String {
    let place = match server.state {
        ServerState::Left => "it is not in set",
        _ => "it is in set",
    };
    format!(
        "{place} {} of {}, with {} of {} serving, by {}",
        backend.set_version,
        backend.name,
        backend.serving(),
        backend.known(),
        backend.balance
    )
}

/// What follows for requests.
fn decided(server: &Server) -> String {
    let reason = match server.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let takes = match (server.state.takes_new(), server.state.takes_sticky()) {
        (true, _) if server.weight == 0 => "takes sticky clients only, since its weight is 0",
        (true, _) if server.backup => "takes requests while no other server serves",
        (true, _) => "takes requests",
        (false, true) => "takes sticky clients, and no new ones",
        (false, false) => "takes no requests",
    };
    let warming = server.warming_percent;
    let warming = warming.map_or_else(String::new, |p| format!(" (warming, {p} % of its weight)"));
    format!("{}{reason}; {takes}{warming}", server.state)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roundel_admin::status::Snapshot;

    use super::*;

    #[test]
    fn every_step_has_its_word() {
        let server = Server {
            name: "a".into(),
            address: "10.0.0.1:80".into(),
            state: ServerState::Down,
            reason: "HEAD / gave 405".into(),
            source: "gossip".into(),
            check: Some(Check {
                status: "L7STS".into(),
                code: Some(405),
                duration_ms: Some(2),
                rise: 2,
                fall: 3,
                ..Check::default()
            }),
            ..Server::default()
        };
        let backend = Backend {
            name: "nodes".into(),
            check: "HEAD / every 2s".into(),
            servers: vec![Arc::new(server)],
            ..Backend::default()
        };
        let member = Member {
            name: "a".into(),
            tags: [("port".to_owned(), "80".to_owned())].into(),
            since_seconds: 61,
            ..Member::default()
        };
        let view = View {
            snapshot: Snapshot {
                backends: vec![backend],
                members: vec![member],
                ..Snapshot::default()
            },
            ..View::default()
        };
        let screen = Screen {
            width: 80,
            is_terminal: false,
            colour: false,
        };
        let told = super::server(&view, "nodes/a", screen).unwrap();
        for words in [
            "member alive for 1 m 1 s; it says port=80",
            "L7STS/405 in 2ms; 2 passes in a row would bring it up",
            "down: HEAD / gave 405; takes no requests",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(super::server(&view, "nodes", screen).is_err());
    }
}
