//! Variables that stand for flags: empty ones and misspelt ones.

use std::collections::BTreeSet;

use clap::Command;
use roundel_config::value::closest;

const PREFIX: &str = "ROUNDEL_";

/// Lets variables count as absent that are not meant for us: empty ones, since Compose writes
/// `ROUNDEL_JOIN=` for an unset default, and those that Kubernetes sets for a Service.
pub(crate) fn forget_strangers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let name = arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned());
        let value = name.as_ref().and_then(std::env::var_os);
        let is_strange = value.is_some_and(|value| {
            value.is_empty() || is_service(&name.unwrap_or_default(), &value.to_string_lossy())
        });
        if is_strange {
            arg.env(None::<&str>)
        } else {
            arg
        }
    });
    command.mut_subcommands(forget_strangers)
}

/// Whether Kubernetes has set a variable for a Service whose name begins with `roundel`, in the
/// form of Docker's old links: `ROUNDEL_PORT=tcp://10.96.0.5:80`, `ROUNDEL_PORT_80_TCP_ADDR`,
/// `ROUNDEL_SERVICE_HOST`, `ROUNDEL_SERVICE_PORT_HTTP`.
fn is_service(name: &str, value: &str) -> bool {
    let protocols = ["tcp", "udp", "sctp"];
    let is_url = || {
        let protocol = value.split_once("://").map(|(protocol, _)| protocol);
        protocol.is_some_and(|protocol| protocols.contains(&protocol))
    };
    let is_link = |rest: &str| {
        let mut words = rest.split('_');
        let port = words.next().and_then(|port| port.parse::<u16>().ok());
        let protocol = words.next().map(str::to_ascii_lowercase);
        let end = words
            .next()
            .is_none_or(|end| matches!(end, "PROTO" | "PORT" | "ADDR"));
        port.is_some() && end && protocol.is_some_and(|p| protocols.contains(&&*p))
    };
    let named = |word: &str| {
        let after = |(_, rest): (&str, &str)| rest.is_empty() || rest.starts_with('_');
        name.split_once(word).is_some_and(after)
    };
    if !name.starts_with(PREFIX) {
        return false;
    }
    let link = name
        .split_once("_PORT_")
        .is_some_and(|(_, rest)| is_link(rest));
    let host = name.ends_with("_SERVICE_HOST") && value.parse::<std::net::IpAddr>().is_ok();
    let port = named("_SERVICE_PORT") && value.parse::<u16>().is_ok();
    link || host || port || (name.ends_with("_PORT") && is_url())
}

/// Says in one sentence which variables were passed over because Kubernetes has set them.
pub(crate) fn passed_over(variables: &[(String, String)]) -> Option<String> {
    let names = variables
        .iter()
        .filter(|(name, value)| is_service(name, value));
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    let (first, rest) = names.split_first()?;
    let (subject, verb) = match rest.len() {
        0 => (format!("variable {first}"), "is"),
        n => (format!("variables {first} and {n} more"), "are"),
    };
    Some(format!(
        "the {subject} {verb} set by Kubernetes for a Service of that name, and {verb} passed \
         over; `enableServiceLinks: false` in the pod keeps them away"
    ))
}

/// Every variable that some flag reads.
pub(crate) fn known(command: &Command) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    for sub in command.get_subcommands() {
        names.append(&mut known(sub));
    }
    names
}

/// Says which of `present` look like ours but are read by nothing, each with the likely
/// meaning.
///
/// `ROUNDEL_REQUIRE_…` belongs to the test suite.
pub(crate) fn misspelt<'a>(
    present: impl IntoIterator<Item = (&'a str, &'a str)>,
    known: &BTreeSet<String>,
) -> Vec<String> {
    present
        .into_iter()
        .filter(|(name, value)| !is_service(name, value))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(PREFIX) && !name.starts_with("ROUNDEL_REQUIRE_"))
        .filter(|name| !known.contains(*name) && *name != crate::handover::VARIABLE)
        .map(|name| {
            // The prefix that all share must not make strangers look alike.
            let word = name.trim_start_matches(PREFIX);
            let words = known.iter().filter_map(|k| k.strip_prefix(PREFIX));
            match closest(word, words) {
                Some(near) => {
                    format!("the variable {name} means nothing; did you mean {PREFIX}{near}?")
                }
                None => format!("the variable {name} means nothing to Roundel"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_is_known_for_what_it_is() {
        let set = [
            ("ROUNDEL_SERVICE_HOST", "10.96.0.5"),
            ("ROUNDEL_SERVICE_PORT", "80"),
            ("ROUNDEL_SERVICE_PORT_HTTP", "80"),
            ("ROUNDEL_PORT", "tcp://10.96.0.5:80"),
            ("ROUNDEL_PORT_80_TCP", "tcp://10.96.0.5:80"),
            ("ROUNDEL_PORT_80_TCP_PROTO", "tcp"),
            ("ROUNDEL_PORT_80_TCP_PORT", "80"),
            ("ROUNDEL_PORT_80_TCP_ADDR", "10.96.0.5"),
            // A Service named `roundel-server`.
            ("ROUNDEL_SERVER_PORT", "udp://[fd00::5]:53"),
            ("ROUNDEL_SERVER_PORT_53_UDP_ADDR", "fd00::5"),
        ];
        for (name, value) in set {
            assert!(is_service(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("ROUNDEL_PORT", "3000"),
            ("ROUNDEL_SERVER_PORT", "3000"),
            ("ROUNDEL_PORT", "http://10.96.0.5:80"),
            ("ROUNDEL_LISTEN", "tcp://10.96.0.5:80"),
            ("ROUNDEL_SERVICE_HOST", "here"),
            ("ROUNDEL_PORT_X_TCP", "1"),
            ("OTHER_PORT", "tcp://10.96.0.5:80"),
        ] {
            assert!(!is_service(name, value), "{name}={value}");
        }
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let told = passed_over(&set).unwrap();
        assert!(told.contains("ROUNDEL_SERVICE_HOST and 9 more"), "{told}");
        assert_eq!(passed_over(&[]), None);
    }

    #[test]
    fn names_the_likely_meaning_of_a_misspelt_variable() {
        let known = ["ROUNDEL_JOIN", "ROUNDEL_LISTEN"].map(str::to_owned).into();
        let told = misspelt(
            [
                "ROUNDEL_JION",
                "ROUNDEL_JOIN",
                "PATH",
                "ROUNDEL_X",
                "ROUNDEL_REQUIRE_X",
            ]
            .map(|name| (name, "1")),
            &known,
        );
        assert_eq!(told.len(), 2);
        assert!(
            told[0].ends_with("did you mean ROUNDEL_JOIN?"),
            "{}",
            told[0]
        );
        assert!(told[1].contains("ROUNDEL_X means nothing"), "{}", told[1]);
    }
}
