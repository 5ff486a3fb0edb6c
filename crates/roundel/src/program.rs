//! From arguments to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{CheckArgs, Cli, Command, ServeArgs};
use crate::config::{self, LoadError, Settings};
use crate::env::{self, Given};
use crate::logging;

/// Success, also after a clean drain.
const FINE: u8 = 0;
/// Something failed while running.
const FAILURE: u8 = 1;
/// The command line makes no sense.
const USAGE: u8 = 2;
/// `serve` refused its configuration.
const REFUSED: u8 = 3;

/// Runs the program with these arguments (the first is its own name) and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = env::forget_empty(Cli::command());
    let matches = match command.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { FINE });
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(USAGE);
        }
    };
    let Some(verb) = cli.command else {
        let _ = command.clone().print_help();
        return ExitCode::from(FINE);
    };
    let given = match matches.subcommand() {
        Some((name, sub)) => command
            .find_subcommand(name)
            .map_or_else(Given::default, |c| Given::new(c, sub)),
        None => Given::default(),
    };
    let context = Context { command, given };
    match dispatch(verb, &context) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("roundel: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

/// What a verb may ask about how it was called.
struct Context {
    command: clap::Command,
    given: Given,
}

impl Context {
    /// Tells of variables that look like ours and mean nothing.
    fn warn_misspelt(&self, warn: impl Fn(&str)) {
        let names: Vec<String> = std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .collect();
        let present = names.iter().map(String::as_str);
        for line in env::misspelt(present, &env::known(&Cli::command())) {
            warn(&line);
        }
    }

    /// Logging for a verb that stays.
    fn start_logging(&self, args: &crate::cli::LogArgs) -> anyhow::Result<()> {
        logging::start(args)?;
        self.warn_misspelt(|line| tracing::warn!("{line}"));
        Ok(())
    }
}

fn dispatch(verb: Command, context: &Context) -> anyhow::Result<u8> {
    match verb {
        Command::Check(args) => Ok(check(&args, context)),
        Command::Toy(args) => {
            context.start_logging(&args.log)?;
            crate::toy::run(&args).map(|()| FINE)
        }
        _ => anyhow::bail!("not wired"),
    }
}

fn check(args: &CheckArgs, context: &Context) -> u8 {
    context.warn_misspelt(|line| eprintln!("warning: {line}"));
    match config::load(&args.serve, &context.given) {
        Ok(settings) if args.print => {
            print!("{settings}");
            FINE
        }
        Ok(settings) => {
            println!("{} is fine", described(&settings, &args.serve));
            FINE
        }
        Err(error) => refuse(&error, FAILURE),
    }
}

fn described(settings: &Settings, args: &ServeArgs) -> String {
    match (&settings.file, &args.config) {
        (Some(file), _) => file.clone(),
        _ => "the configuration".to_owned(),
    }
}

/// Prints why there are no settings; `code` is for a configuration with mistakes.
fn refuse(error: &LoadError, code: u8) -> u8 {
    match error {
        LoadError::Usage(text) => {
            eprintln!("error: {text}");
            USAGE
        }
        LoadError::Problems(problems) => {
            eprint!("{problems}");
            code
        }
    }
}
