//! What the readers print.

use roundel_admin::status::{Event, Member, Server, Snapshot};
use roundel_model::Shown;
use serde_json::{Value, json};

use crate::table::Table;

/// One line per member: name, address, status, tags. The form is that of `serf members`.
pub(super) fn members(members: &[Member]) -> String {
    let mut table = Table::default();
    for member in members {
        let tags = member.tags.iter();
        let tags: Vec<String> = tags.map(|(k, v)| format!("{k}={v}")).collect();
        table.row([
            member.name.clone(),
            member.address.clone(),
            member.status.as_str().to_owned(),
            tags.join(","),
        ]);
    }
    table.to_string()
}

/// The same with the keys of `serf members -format=json`, and what more is known.
pub(super) fn members_json(members: &[Member]) -> Value {
    let member = |member: &Member| {
        let port = member.address.rsplit_once(':').map(|(_, port)| port);
        let [min, max, version] = member.delegate;
        json!({
            "name": member.name,
            "addr": member.address,
            "port": port.and_then(|port| port.parse::<u16>().ok()),
            "tags": member.tags,
            "status": member.status,
            "protocol": { "min": min, "max": max, "version": version },
            "suspect": member.suspect,
            "incarnation": member.incarnation,
            "since_seconds": member.since_seconds,
            "rtt_us": member.rtt_us,
            "me": member.me,
        })
    };
    json!({ "members": members.iter().map(member).collect::<Vec<_>>() })
}

/// One line of the timeline.
pub(super) fn event(event: &Event) -> String {
    let folded = match event.repeats {
        0 | 1 => String::new(),
        n => format!(" (×{n})"),
    };
    format!(
        "{}  {} {:<13} {}  {}{folded}",
        event.time,
        event.mark(),
        event.kind.as_str(),
        event.subject,
        event.text,
    )
}

/// The frontends, then the servers of each backend.
pub(super) fn stat(snapshot: &Snapshot) -> String {
    let mut out = format!(
        "{} · Roundel {} · up {} s\n\n",
        Shown(&snapshot.node),
        snapshot.version,
        snapshot.uptime_seconds as u64
    );
    let mut table = Table::default();
    table.row(["FRONTEND", "LISTEN", "CONNECTIONS", "REQUESTS", "ERRORS"]);
    for frontend in &snapshot.frontends {
        table.row([
            frontend.name.clone(),
            frontend.listen.join(" "),
            frontend.connections.to_string(),
            frontend.requests_total.to_string(),
            frontend.request_errors().to_string(),
        ]);
    }
    out.push_str(&table.to_string());
    for backend in &snapshot.backends {
        out.push_str(&format!(
            "\nBACKEND {} · {} · {} of {} serving · set {}\n",
            backend.name,
            backend.balance,
            backend.serving(),
            backend.known(),
            backend.set_version
        ));
        let mut table = Table::default();
        table.row([
            "SERVER",
            "ADDRESS",
            "STATE",
            "WEIGHT",
            "IN FLIGHT",
            "REQUESTS",
            "ERRORS",
            "CHECK",
            "SOURCE",
            "REASON",
        ]);
        for server in &backend.servers {
            table.row(row(server));
        }
        out.push_str(&table.to_string());
        for kept in &backend.kept_orders {
            out.push_str(&format!(
                "{} is away and under orders: {}; `roundel ready {}/{}` ends maint and drain, weight 100% a weight\n",
                kept.server, kept.orders, backend.name, kept.server
            ));
        }
    }
    out
}

fn row(server: &Server) -> [String; 10] {
    let check = server.check.as_ref().map_or_else(
        || "off".to_owned(),
        |check| match (check.code, check.duration_ms) {
            (Some(code), Some(ms)) => format!("{}/{code} in {ms}ms", check.status),
            (None, Some(ms)) => format!("{} in {ms}ms", check.status),
            _ => check.status.to_string(),
        },
    );
    [
        server.name.to_string(),
        server.address.to_string(),
        server.state.to_string(),
        server.weight.to_string(),
        server.in_flight.to_string(),
        server.requests_total.to_string(),
        server.errors_total.to_string(),
        check,
        server.source.to_string(),
        server.reason.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn members_look_like_serfs() {
        let list = [
            Member {
                name: "lb".into(),
                address: "10.0.0.1:7946".into(),
                tags: BTreeMap::from([("role".into(), "balancer".into())]),
                ..Member::default()
            },
            Member {
                name: "webapp-1".into(),
                address: "10.0.0.2:7946".into(),
                tags: BTreeMap::from([
                    ("role".into(), "backend".into()),
                    ("evil".into(), "a\u{1b}[2J\u{202e}\nwebapp-3".into()),
                ]),
                ..Member::default()
            },
        ];
        assert_eq!(
            members(&list),
            "lb        10.0.0.1:7946  alive  role=balancer\n\
             webapp-1  10.0.0.2:7946  alive  evil=a\\u{1b}[2J\\u{202e}\\nwebapp-3,role=backend\n"
        );
    }
}
