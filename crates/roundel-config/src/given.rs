//! Which flags and variables were given.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// Where the values of one verb's flags came from.
#[derive(Debug, Clone, Default)]
pub struct Given(Vec<(String, String)>);

impl Given {
    /// Notes every argument that was not left to its default.
    pub fn new(command: &Command, matches: &ArgMatches) -> Self {
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
    pub fn origin(&self, id: &str) -> Option<&str> {
        let (_, origin) = self.0.iter().find(|(known, _)| known == id)?;
        Some(origin)
    }
}
