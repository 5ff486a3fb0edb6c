//! What the readers print.

use roundel_admin::status::{Event, Member};
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
