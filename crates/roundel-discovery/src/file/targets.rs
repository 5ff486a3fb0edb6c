//! Files that others write for Prometheus (`file_sd`, as JSON): a list of groups of targets.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config>.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use roundel_model::{Name, Presence, Server, SourceKind, Weight};
use serde::Deserialize;

use crate::line::{parse_address, parse_weight};
use crate::notices::quoted;

/// The label that names the only target of its group.
const NAME: &str = "roundel_name";
/// The label that holds the weight of each target of its group.
const WEIGHT: &str = "roundel_weight";

/// A server, or where its target is and what is wrong with it.
pub(super) type Target = Result<Server, (String, String)>;

/// As strict as Prometheus: no other keys, but each may be absent or null, as Go writes an empty list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// Reads a whole file, target by target.
///
/// Errors: the text is not such a list at all, so nothing of it is known.
pub(super) fn parse(text: &str, default_port: u16) -> Result<Vec<Target>, String> {
    // What serde says may quote the text, which is foreign.
    let groups: Vec<Group> = serde_json::from_str(text).map_err(|error| {
        format!(
            "line {}, column {}: not a list of targets; write \
             [{{\"targets\": [\"10.0.0.1:3000\"], \"labels\": {{}}}}]",
            error.line(),
            // Before the first character it says 0.
            error.column().max(1),
        )
    })?;
    let mut servers = Vec::new();
    for (number, group) in (1..).zip(&groups) {
        for target in group.targets() {
            let server = group.server(target, default_port).map_err(|error| {
                let place = format!("group {number}, target {}", quoted(target));
                (place, error)
            });
            servers.push(server);
        }
    }
    Ok(servers)
}

impl Group {
    fn targets(&self) -> &[String] {
        self.targets.as_deref().unwrap_or_default()
    }

    fn label(&self, name: &str) -> Option<&String> {
        self.labels.as_ref()?.get(name)
    }

    fn server(&self, target: &str, default_port: u16) -> Result<Server, String> {
        let address = parse_address(target, default_port)
            .ok_or("not an address; write ip, ip:port or [ipv6]:port")?;
        let name = match self.label(NAME) {
            Some(_) if self.targets().len() > 1 => {
                return Err(format!("{NAME} names a group of one target only"));
            }
            Some(name) => Name::new(name),
            None => Name::new(&name_of(address)),
        };
        let weight = self.label(WEIGHT).map(|text| parse_weight(text));
        Ok(Server {
            name: name.map_err(|error| error.to_string())?,
            address,
            weight: weight
                .unwrap_or(Ok(Weight::ONE))
                .map_err(|error| error.to_string())?,
            backup: false,
            source: SourceKind::File,
            presence: Presence::Present,
        })
    }
}

/// The address with its port, without the brackets that no name has.
fn name_of(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_name_and_weigh_their_targets() {
        let text = r#"[
            {"targets": ["10.0.0.1:80", "10.0.0.2", "[fd00::2]:80"]},
            {"targets": ["10.0.0.3"], "labels": {"roundel_name": "c", "roundel_weight": "7", "job": "x"}}
        ]"#;
        let servers = parse(text, 3000).unwrap().into_iter();
        let read = servers.map(|server| {
            let s = server.unwrap();
            (s.name.to_string(), s.address.to_string(), s.weight.get())
        });
        let right = [
            ("10.0.0.1:80", "10.0.0.1:80", 1),
            ("10.0.0.2:3000", "10.0.0.2:3000", 1),
            ("fd00::2:80", "[fd00::2]:80", 1),
            ("c", "10.0.0.3:3000", 7),
        ];
        let right = right.map(|(name, address, weight)| (name.into(), address.into(), weight));
        assert_eq!(read.collect::<Vec<_>>(), right);
    }

    #[test]
    fn a_bad_target_is_told_and_the_others_count() {
        for (group, words) in [
            (r#"{"targets": ["web:80"]}"#, "not an address"),
            (
                r#"{"targets": ["10.0.0.1", "10.0.0.2"], "labels": {"roundel_name": "a"}}"#,
                "of one target only",
            ),
            (
                r#"{"targets": ["10.0.0.1"], "labels": {"roundel_name": "<b>"}}"#,
                "not allowed in a name",
            ),
            (
                r#"{"targets": ["10.0.0.1"], "labels": {"roundel_weight": "many"}}"#,
                "not a weight",
            ),
        ] {
            let text = format!(r#"[{group}, {{"targets": ["10.0.0.9"]}}]"#);
            let mut servers = parse(&text, 3000).unwrap();
            assert!(servers.pop().unwrap().is_ok());
            let (place, error) = servers.pop().unwrap().unwrap_err();
            assert!(place.starts_with("group 1, target "), "{place}");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_is_no_list_is_nothing() {
        for text in [
            "",
            "[",
            "{}",
            "[1]",
            "[null]",
            r#"[{"targets": "10.0.0.1"}]"#,
            r#"[{"targets": [], "a\nb": 1}]"#,
        ] {
            let error = parse(text, 3000).unwrap_err();
            assert!(error.contains("not a list of targets"), "{error}");
            assert!(!error.contains("column 0"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        for empty in ["[]", "[{}]", r#"[{"targets": null, "labels": null}]"#] {
            let servers = parse(empty, 3000).unwrap();
            assert!(servers.is_empty(), "empty is a statement: {empty}");
        }
    }

    proptest! {
        #[test]
        fn no_target_panics_or_brings_a_foreign_line(target in any::<String>(), name in any::<String>()) {
            let text = serde_json::json!([{"targets": [target], "labels": {"roundel_name": name}}]);
            for server in parse(&text.to_string(), 3000).unwrap() {
                if let Err((place, error)) = server {
                    prop_assert!(!place.contains('\n') && !error.contains('\n'));
                }
            }
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            let _ = parse(&text, 3000);
        }
    }
}
