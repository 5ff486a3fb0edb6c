//! Words for people who ask what there is: verbs by group, examples, completions, man pages.

use std::io;
use std::path::Path;

use anyhow::Context;
use clap::Command;

use crate::cli::Shell;
use crate::out;

/// The verbs by what they are for; every verb is in one group.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["serve", "agent", "demo", "toy"]),
    (
        "See",
        &["stat", "why", "events", "members", "report", "healthcheck"],
    ),
    (
        "Act",
        &["drain", "ready", "maint", "weight", "join", "leave"],
    ),
    ("Cluster", &["query", "event", "keys", "keygen"]),
    ("Files and shells", &["check", "completions", "man", "help"]),
];

/// Two examples of each verb: what to write, and what that does.
const EXAMPLES: [(&str, [(&str, &str); 2]); 23] = [
    (
        "serve",
        [
            ("serve --listen :8080", "servers are found by gossip"),
            ("serve -c roundel.toml", "as a file says"),
        ],
    ),
    (
        "agent",
        [
            (
                "agent --join lb --port 3000",
                "announces an app that runs already",
            ),
            (
                "agent --join lb --node-name web-1 -- node app.js",
                "runs it, too",
            ),
        ],
    ),
    (
        "demo",
        [
            ("demo", "a balancer on :8080, its page on :1936"),
            ("demo --servers 10 --tls", "ten servers, over HTTPS"),
        ],
    ),
    (
        "toy",
        [
            ("toy --listen :3000", "the sample app"),
            ("agent --join lb -- roundel toy", "announced by gossip"),
        ],
    ),
    (
        "stat",
        [
            ("stat -w", "everything, once a second"),
            ("stat nodes/webapp-1", "all numbers of one server"),
        ],
    ),
    (
        "why",
        [
            ("why nodes/webapp-1", "how it came to its state"),
            (
                "why nodes/webapp-1 --cli-socket /run/roundel.sock",
                "through a socket",
            ),
        ],
    ),
    (
        "events",
        [
            ("events -f", "what happens from here on, too"),
            ("events --json", "one object a line"),
        ],
    ),
    (
        "members",
        [
            ("members --status failed", "those that are held for failed"),
            ("members --tag role=backend", "those with this tag"),
        ],
    ),
    (
        "report",
        [
            ("report -o report.md", "one file for whoever helps"),
            (
                "report -c roundel.toml -o report.md",
                "with what the file says",
            ),
        ],
    ),
    (
        "healthcheck",
        [
            ("healthcheck", "0 if the balancer on this machine is ready"),
            ("healthcheck http://127.0.0.1:3000/healthz", "any app"),
        ],
    ),
    (
        "drain",
        [
            ("drain nodes/webapp-1", "no new clients"),
            (
                "drain nodes/webapp-1 nodes/webapp-2 --force",
                "even if no other serves",
            ),
        ],
    ),
    (
        "ready",
        [
            ("ready nodes/webapp-1", "ends drain and maint"),
            ("ready nodes/webapp-1 nodes/webapp-2", "both"),
        ],
    ),
    (
        "maint",
        [
            ("maint nodes/webapp-1", "takes no requests"),
            ("maint nodes/webapp-1 --force", "even if no other serves"),
        ],
    ),
    (
        "weight",
        [
            (
                "weight nodes/webapp-1 3",
                "three times the share of weight 1",
            ),
            ("weight nodes/webapp-1 100%", "as its source says"),
        ],
    ),
    (
        "join",
        [
            ("join 10.0.0.7", "any member of the cluster"),
            ("join 10.0.0.7:7946 10.0.0.8:7946", "several"),
        ],
    ),
    (
        "leave",
        [
            ("leave", "the balancer of this machine"),
            ("leave --cli-socket /run/agent.sock", "an agent"),
        ],
    ),
    (
        "query",
        [
            ("query uptime", "asks all members"),
            ("query uptime --node web-1 --timeout 1s", "asks one"),
        ],
    ),
    (
        "event",
        [
            ("event deploy v2", "tells all members"),
            ("event deploy v2 --coalesce=false", "each one counts"),
        ],
    ),
    (
        "keys",
        [
            ("keys list", "who has which"),
            ("keys install 5Wq0rxjLbdhBKYFAmHhb1g==", "adds one"),
        ],
    ),
    (
        "keygen",
        [
            ("keygen", "prints a key"),
            ("keygen --help", "what it is for"),
        ],
    ),
    (
        "check",
        [
            ("check -c roundel.toml", "every mistake, with its place"),
            ("check -c roundel.toml --print", "what holds, and why"),
        ],
    ),
    (
        "completions",
        [
            (
                "completions bash",
                "for ~/.local/share/bash-completion/completions/roundel",
            ),
            (
                "completions fish",
                "for ~/.config/fish/completions/roundel.fish",
            ),
        ],
    ),
    (
        "man",
        [
            ("man", "the page of roundel itself"),
            ("man --dir man1", "all pages into a folder"),
        ],
    ),
];

/// Adds the groups and the examples to the texts that `--help` prints.
pub(crate) fn dress(mut command: Command) -> Command {
    let mut verbs = String::new();
    for (group, names) in GROUPS {
        verbs += &format!("\n{group}:\n");
        for name in names {
            let sub = command.find_subcommand(name);
            let about = match sub.and_then(Command::get_about) {
                Some(about) => about.to_string(),
                // Clap makes it at the end.
                None => "Tell of a command".to_owned(),
            };
            verbs += &format!("  {name:<13} {about}\n");
        }
    }
    let more = "\n`roundel help COMMAND` tells of one, with examples.\n";
    command = command
        .help_template("{about}\n\n{usage-heading} {usage}\n{after-help}\n\nOptions:\n{options}\n")
        .after_help(format!("{}{more}", verbs.trim_start_matches('\n')));
    for (name, examples) in EXAMPLES {
        let width = examples.iter().map(|(words, _)| words.len()).max();
        let width = width.unwrap_or(0);
        let line = |(words, does)| format!("\n  roundel {words:<width$}  # {does}");
        let text: String = examples.into_iter().map(line).collect();
        command = command.mut_subcommand(name, |sub| sub.after_help(format!("Examples:{text}")));
    }
    command.mut_subcommand("demo", own_defaults)
}

/// `demo` shares the flags of `serve`, with other defaults.
fn own_defaults(demo: Command) -> Command {
    let own = [
        (
            "listen",
            "Where to take requests; port 0 takes a free one [default: :8080, with --tls :8443]",
        ),
        (
            "gossip_listen",
            "Gossip over UDP and TCP [default: a free port of 127.0.0.1]",
        ),
        ("cli_listen", "Runtime API, read-only [default: off]"),
        ("node_name", "Name of this node [default: lb]"),
        (
            "access_log",
            "Form of the access log on standard output [default: off]",
        ),
        (
            "state_dir",
            "Folder that keeps the known members over restarts [default: none]",
        ),
    ];
    own.into_iter().fold(demo, |demo, (id, help)| {
        demo.mut_arg(id, |arg| arg.help(help))
    })
}

/// Prints what a shell reads to complete our words.
pub(crate) fn completions(mut command: Command, shell: Shell) -> io::Result<()> {
    use clap_complete::Shell as Known;
    let shell = match shell {
        Shell::Bash => Known::Bash,
        Shell::Zsh => Known::Zsh,
        Shell::Fish => Known::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "roundel", &mut script);
    out::text(String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes all pages into a folder. Errors: it cannot be written.
pub(crate) fn man(command: Command, folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(out::text(String::from_utf8_lossy(&page))?);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("cannot write to {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_verb_has_a_group_and_examples_that_parse() {
        let mut command = Cli::command();
        command.build();
        let names: BTreeSet<&str> = command.get_subcommands().map(Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, n)| n.iter().copied()).collect();
        assert_eq!(grouped.len(), names.len());
        assert_eq!(names, grouped.into_iter().collect());
        let shown: BTreeSet<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        assert!(
            names
                .iter()
                .all(|name| *name == "help" || shown.contains(name)),
            "{shown:?}"
        );
        for (name, examples) in EXAMPLES {
            for (words, _) in examples {
                assert!(words.contains(name), "{words}");
                if words.ends_with("--help") {
                    continue;
                }
                let parsed = Cli::try_parse_from(format!("roundel {words}").split(' '));
                assert!(parsed.is_ok(), "{words}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn help_shows_them() {
        let told = dress(Cli::command()).render_help().to_string();
        assert!(told.contains("\nSee:\n  stat "), "{told}");
        let mut command = dress(Cli::command());
        let demo = command.find_subcommand_mut("demo").unwrap();
        let told = demo.render_help().to_string();
        assert!(
            told.contains("roundel demo --servers 10 --tls  # ten"),
            "{told}"
        );
        assert!(
            told.contains("default: :8080") && !told.contains(":7946"),
            "{told}"
        );
    }
}
