//! Variables that stand for flags: empty ones, misspelt ones, and where a value came from.

use std::collections::BTreeSet;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::value::closest;

const PREFIX: &str = "ROUNDEL_";

/// Lets empty variables count as absent: Compose writes `ROUNDEL_JOIN=` for an unset default.
pub(crate) fn forget_empty(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|v| v.is_empty()) {
            arg.env(None::<&str>)
        } else {
            arg
        }
    });
    command.mut_subcommands(forget_empty)
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
    present: impl IntoIterator<Item = &'a str>,
    known: &BTreeSet<String>,
) -> Vec<String> {
    present
        .into_iter()
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

/// Where the values of one verb's flags came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Vec<(String, String)>);

impl Given {
    /// Notes every argument that was not left to its default.
    pub(crate) fn new(command: &Command, matches: &ArgMatches) -> Self {
        let given = command.get_arguments().filter_map(|arg| {
            let id = arg.get_id().as_str();
            let known = matches.try_contains_id(id).unwrap_or(false);
            let origin = match known.then(|| matches.value_source(id))?? {
                ValueSource::CommandLine => format!("flag --{}", arg.get_long()?),
                ValueSource::EnvVariable => {
                    format!("variable {}", arg.get_env()?.to_string_lossy())
                }
                _ => return None,
            };
            Some((id.to_owned(), origin))
        });
        Self(given.collect())
    }

    /// The origin of a flag's value in words, by the flag's field name.
    pub(crate) fn origin(&self, id: &str) -> Option<&str> {
        let (_, origin) = self.0.iter().find(|(known, _)| known == id)?;
        Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ],
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
