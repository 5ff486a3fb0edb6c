//! `roundel stat`: the answer in the first lines, then who does what.

use roundel_admin::status::{Backend, Frontend, Server};
use roundel_model::{ServerState, Shown};

use super::numbers::{count, latency, percent, rate, span};
use super::view::{View, by_urgency, look};
use crate::screen::Screen;
use crate::table::{Look, Table};

/// The whole, or one backend or server of it. Errors: nothing has this name.
pub(super) fn page(view: &View, only: Option<&str>, screen: Screen) -> anyhow::Result<String> {
    let mut out = head(view, screen);
    let Some(name) = only else {
        out += &frontends(view, screen);
        for backend in &view.snapshot.backends {
            out += &servers(view, backend, screen);
        }
        return Ok(out);
    };
    let (backend, server) = view.find(name)?;
    out += &match server {
        None => servers(view, backend, screen),
        Some(server) => one(view, backend, server, screen),
    };
    Ok(out)
}

/// Who speaks, and how things are in one line.
fn head(view: &View, screen: Screen) -> String {
    let s = &view.snapshot;
    let uptime = span(s.uptime_seconds as u64);
    let mut out = format!("{} · Roundel {} · up {uptime}\n", Shown(&s.node), s.version);
    let serving: usize = s.backends.iter().map(Backend::serving).sum();
    let known: usize = s.backends.iter().map(Backend::known).sum();
    let is_dead = |b: &Backend| b.known() > 0 && b.serving() == 0;
    let look = match () {
        () if s.backends.iter().any(is_dead) || s.alarms.iter().any(|a| a.critical) => Look::Bad,
        () if !s.alarms.is_empty() || known == 0 || serving < known => Look::Odd,
        () => Look::Good,
    };
    let total = &view.rates.total;
    let mut words = vec![
        match s.felt() {
            Some(felt) => format!("{serving} of {known} servers serving, but {}", Shown(felt)),
            None => format!("{serving} of {known} servers serving"),
        },
        format!("{} req/s", rate(total.requests_per_second)),
    ];
    if let Some(ratio) = total.error_ratio {
        words.push(format!("{} errors", percent(ratio)));
    }
    if total.p99_seconds.is_some() {
        words.push(format!("p99 {}", latency(total.p99_seconds)));
    }
    let waiting: u64 = s.backends.iter().map(|b| b.queue_length).sum();
    words.push(format!("{} waiting", count(waiting)));
    if s.draining {
        words.push("this balancer is ending".into());
    }
    for word in screen.fold(&words.join(" · "), 0).lines() {
        out += &format!("{}\n", screen.paint(look, word));
    }
    if let Some(error) = &s.config.last_error {
        let first = error.lines().next().unwrap_or_default();
        out += &screen.fold(&format!("the last reload was refused: {}", Shown(first)), 0);
    }
    out
}

fn frontends(view: &View, screen: Screen) -> String {
    let mut table = Table::of_numbers(&[2, 3, 4, 5, 6], &[6, 1]);
    let head = [
        "FRONTEND", "LISTEN", "CONNS", "REQ/S", "4XX", "5XX", "REQUESTS",
    ];
    table.look_row(Look::Strong, head, "");
    for frontend in &view.snapshot.frontends {
        let rates = view.rates.frontends.get(&frontend.name);
        let row = [
            frontend.name.clone(),
            frontend.listen.join(" "),
            count(frontend.connections),
            rate(rates.map_or(0.0, |r| r.requests_per_second)),
            count(frontend.responses_total[3]),
            count(frontend.errors()),
            count(frontend.requests_total),
        ];
        table.look_row(Look::Plain, row, full(frontend));
    }
    format!("\n{}", table.fit(screen))
}

fn full(frontend: &Frontend) -> &'static str {
    match frontend.is_full {
        true => "takes no more connections: as many are open as may be",
        false => "",
    }
}

/// A backend's servers and their sum.
fn servers(view: &View, backend: &Backend, screen: Screen) -> String {
    let title = format!(
        "BACKEND {} · {} · {} of {} serving",
        Shown(&backend.name),
        Shown(&backend.balance),
        backend.serving(),
        backend.known(),
    );
    let mut out = format!("\n{}\n", screen.paint(Look::Strong, &title));
    for source in &backend.sources {
        if let Some(trouble) = source.trouble() {
            out += &screen.fold(&Shown(trouble).to_string(), 2);
        }
    }
    // What one can do without first: source, weight, in flight, requests, check, address.
    let mut table = Table::of_numbers(&[2, 3, 4, 5, 6, 7, 8], &[10, 8, 6, 7, 9, 1]);
    let head = [
        "SERVER", "ADDRESS", "REQ/S", "5XX", "P99", "QUEUE", "BUSY", "REQUESTS", "WEIGHT", "CHECK",
        "SOURCE", "STATE",
    ];
    table.look_row(Look::Strong, head, "");
    for server in by_urgency(backend) {
        let below = match server.reason.as_str() {
            "" => String::new(),
            reason => format!(
                "{} for {}: {reason}",
                server.state,
                span(server.since_seconds)
            ),
        };
        table.look_row(look(server), row(view, backend, server), &below);
    }
    let rates = view.backend(&backend.name);
    let weight: u64 = backend.here().map(|s| u64::from(s.weight)).sum();
    let total = [
        "TOTAL".to_owned(),
        String::new(),
        rate(rates.map_or(0.0, |r| r.requests_per_second)),
        count(backend.traffic.responses_total[4]),
        latency(rates.and_then(|r| r.p99_seconds)),
        count(backend.queue_length),
        count(backend.in_flight),
        count(backend.requests_total),
        weight.to_string(),
        String::new(),
        String::new(),
        format!("{}/{} up", backend.serving(), backend.known()),
    ];
    table.look_row(Look::Strong, total, "");
    out += &table.fit(screen);
    for kept in &backend.kept_orders {
        let line = format!(
            "{} is away and under orders: {}; `roundel ready {}/{}` ends maint and drain, weight \
             100% a weight",
            kept.server, kept.orders, backend.name, kept.server
        );
        out += &screen.fold(&Shown(line).to_string(), 0);
    }
    out
}

fn row(view: &View, backend: &Backend, server: &Server) -> [String; 12] {
    let rates = view.server(&backend.name, &server.name);
    [
        server.name.to_string(),
        server.address.to_string(),
        rate(rates.map_or(0.0, |r| r.requests_per_second)),
        count(server.traffic.responses_total[4]),
        latency(None),
        count(server.queue_length),
        count(server.in_flight),
        count(server.requests_total),
        server.weight.to_string(),
        check(server),
        server.source.to_string(),
        match server.doubt {
            true => format!("{}?", server.state),
            false => server.state.to_string(),
        },
    ]
}

/// The last check in short.
pub(super) fn check(server: &Server) -> String {
    let Some(check) = &server.check else {
        return "off".to_owned();
    };
    match (check.code, check.duration_ms) {
        (Some(code), Some(ms)) => format!("{}/{code} in {ms}ms", check.status),
        (None, Some(ms)) => format!("{} in {ms}ms", check.status),
        _ => check.status.to_string(),
    }
}

/// All numbers of one server, and what happened to it.
fn one(view: &View, backend: &Backend, server: &Server, screen: Screen) -> String {
    let rates = view.server(&backend.name, &server.name);
    let name = format!("{}/{}", backend.name, server.name);
    let mut out = format!(
        "\n{}\n",
        screen.paint(Look::Strong, &Shown(&name).to_string())
    );
    let mut table = Table::default();
    let answers = &server.traffic.responses_total;
    let means = rates.map(|r| r.means).unwrap_or_default();
    let rows = [
        ("address", server.address.to_string()),
        (
            "state",
            format!("{} for {}", server.state, span(server.since_seconds)),
        ),
        (
            "weight",
            format!(
                "{} (its source says {})",
                server.weight, server.initial_weight
            ),
        ),
        ("check", check(server)),
        ("req/s", rate(rates.map_or(0.0, |r| r.requests_per_second))),
        (
            "share",
            rates.and_then(|r| r.share).map_or("–".into(), percent),
        ),
        ("in flight", count(server.in_flight)),
        (
            "queue",
            format!(
                "{}, {} at most",
                server.queue_length, server.queue_length_max
            ),
        ),
        ("requests", count(server.requests_total)),
        (
            "answers",
            format!(
                "2xx {} · 3xx {} · 4xx {} · 5xx {}",
                count(answers[1]),
                count(answers[2]),
                count(answers[3]),
                count(answers[4])
            ),
        ),
        (
            "errors",
            format!(
                "{} connects failed · {} broken answers · {} retries",
                count(server.traffic.connect_errors_total),
                count(server.traffic.response_errors_total),
                count(server.traffic.retries_total)
            ),
        ),
        (
            "mean time",
            format!(
                "queue {:.1}ms · connect {:.1}ms · answer {:.1}ms · whole {:.1}ms",
                means.queue_ms, means.connect_ms, means.response_ms, means.total_ms
            ),
        ),
        (
            "away",
            format!(
                "{} in all, {} times down, {} times ejected",
                span(server.downtime_seconds),
                server.down_transitions_total,
                server.ejections_total
            ),
        ),
    ];
    for (word, value) in rows {
        table.row([word.to_owned(), value]);
    }
    out += &table.to_string();
    if !server.reason.is_empty() {
        out += &screen.fold(&Shown(&server.reason).to_string(), 0);
    }
    let events = view.snapshot.events.iter().filter(|e| e.subject == name);
    let events: Vec<String> = events.map(|e| super::tables::event(e)).collect();
    for line in &events[events.len().saturating_sub(10)..] {
        out += &screen.fold(&Shown(line).to_string(), 0);
    }
    if matches!(server.state, ServerState::Up | ServerState::Left) {
        return out;
    }
    out + &format!("`roundel why {}` tells how it came to this.\n", Shown(name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roundel_admin::status::Snapshot;

    use super::*;

    fn view() -> View {
        let server = |name: &str, state, reason: &str| {
            Arc::new(Server {
                name: name.into(),
                address: "10.0.0.1:80".into(),
                state,
                reason: reason.into(),
                ..Server::default()
            })
        };
        let servers = vec![
            server("webapp-10", ServerState::Up, ""),
            server("webapp-2", ServerState::Up, ""),
            server("webapp-3", ServerState::Down, "L4CON \u{1b}[2J refused"),
        ];
        let backend = Backend {
            name: "nodes".into(),
            servers,
            ..Backend::default()
        };
        let snapshot = Snapshot {
            backends: vec![backend],
            ..Snapshot::default()
        };
        View {
            snapshot,
            ..View::default()
        }
    }

    const SCREEN: Screen = Screen {
        width: 80,
        is_terminal: true,
        colour: false,
    };

    #[test]
    fn troubled_servers_come_first_and_lines_fit() {
        let text = page(&view(), None, SCREEN).unwrap();
        let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(
            at("webapp-3") < at("webapp-2") && at("webapp-2") < at("webapp-10"),
            "{text}"
        );
        assert!(at("webapp-10") < at("TOTAL"), "{text}");
        assert!(text.contains("2 of 3 servers serving"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn one_is_told_alone() {
        let text = page(&view(), Some("nodes/webapp-3"), SCREEN).unwrap();
        assert!(
            text.contains("L4CON") && !text.contains("webapp-10"),
            "{text}"
        );
        let told = page(&view(), Some("nodes/x"), SCREEN)
            .unwrap_err()
            .to_string();
        assert!(told.contains("webapp-2, webapp-3, webapp-10"), "{told}");
        let told = page(&view(), Some("x"), SCREEN).unwrap_err().to_string();
        assert!(told.contains("there are: nodes"), "{told}");
    }
}
