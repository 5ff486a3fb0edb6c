//! From arguments to an exit code.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory, FromArgMatches};
use roundel_config::flags::Flags;
use roundel_config::{Given, LoadError};
use roundel_model::Shown;

use crate::certificates;
use crate::cli::{AgentArgs, CheckArgs, Cli, Command, DemoArgs, LogArgs, ServeArgs};
use crate::demo::secured::Secured;
use crate::env;
use crate::handover::heir;
use crate::loader::Loader;
use crate::{help, logging, operator, out};

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
    keep_to_ourselves();
    let command = env::forget_strangers(help::dress(Cli::command()));
    let args: Vec<OsString> = args.into_iter().collect();
    let is_healthcheck = args.get(1).is_some_and(|verb| verb == "healthcheck");
    let matches = match command.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            // Docker gives 2 a meaning of its own in health checks.
            let usage = if is_healthcheck { FAILURE } else { USAGE };
            return ExitCode::from(if error.use_stderr() { usage } else { FINE });
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
    let context = Context { given };
    let done = dispatch(verb, &context);
    logging::flush();
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if out::is_reader_gone(&error) => ExitCode::from(FINE),
        Err(error) => {
            logging::last_words(&format!("roundel: {}", Shown(chain(&error))));
            ExitCode::from(FAILURE)
        }
    }
}

/// Keys, tokens and passwords are in this memory: another process of the same user may neither read
/// it nor what the process was started with, and no core is written. What it starts is as it was.
fn keep_to_ourselves() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // Where the system refuses, it is as for any other program.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// An error with its causes, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

/// What a verb may ask about how it was called.
struct Context {
    given: Given,
}

impl Context {
    /// Tells of variables that look like ours and mean nothing.
    fn warn_misspelt(&self, warn: impl Fn(&str)) {
        let variables = variables();
        if let Some(line) = env::passed_over(&variables) {
            warn(&line);
        }
        let present = variables.iter().map(|(name, value)| (&**name, &**value));
        for line in env::misspelt(present, &env::known(&Cli::command())) {
            warn(&line);
        }
    }

    /// Logging for a verb that stays.
    fn start_logging(&self, args: &LogArgs, default: &str) -> anyhow::Result<()> {
        logging::start(args, default)?;
        self.warn_misspelt(|line| tracing::warn!("{line}"));
        Ok(())
    }
}

/// The environment, as far as it is text.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn dispatch(verb: Command, context: &Context) -> anyhow::Result<u8> {
    match verb {
        Command::Serve(args) => serve(args, context),
        Command::Demo(args) => demo(args, context),
        Command::Agent(args) => agent(args, context),
        Command::Check(args) => check(&args, context),
        Command::Toy(args) => {
            context.start_logging(&args.log, logging::EVERYTHING)?;
            crate::toy::run(&args).map(|()| FINE)
        }
        Command::Healthcheck(args) => ask(operator::healthcheck(&args)),
        Command::Members(args) => ask(operator::members(&args)),
        Command::Events(args) => ask(operator::events(&args)),
        Command::Join(args) => ask(operator::join(&args)),
        Command::Leave(args) => ask(operator::leave(&args)),
        Command::Keygen => operator::cluster::keygen().map(|()| FINE),
        Command::Keys(args) => ask(operator::cluster::keys(&args)),
        Command::Query(args) => ask(operator::cluster::query(&args)),
        Command::Event(args) => ask(operator::cluster::event(&args)),
        Command::Stat(args) => ask(operator::stat(&args)),
        Command::Why(args) => ask(operator::why(&args)),
        Command::Report(args) => {
            let configuration = args.config.as_ref().map(|file| effective(file));
            ask(operator::report(&args, configuration))
        }
        Command::Completions(args) => {
            help::completions(help::dress(Cli::command()), args.shell)?;
            Ok(FINE)
        }
        Command::Man(args) => {
            help::man(help::dress(Cli::command()), args.dir.as_deref()).map(|()| FINE)
        }
        Command::Drain(args) => ask(operator::state(&args, "drain")),
        Command::Ready(args) => ask(operator::state(&args, "ready")),
        Command::Maint(args) => ask(operator::state(&args, "maint")),
        Command::Weight(args) => ask(operator::weight(&args)),
    }
}

/// What a file says with the defaults, without secrets; or why it says nothing.
fn effective(file: &Path) -> String {
    let flags = Flags {
        config: Some(file.to_owned()),
        ..Flags::default()
    };
    match roundel_config::load(&flags, &Given::default()) {
        Ok(settings) => settings.to_string(),
        Err(LoadError::Usage(text)) => text,
        // Their lines are those of the file, and could be a secret's.
        Err(error) => format!("it is refused: {}", error.headline()),
    }
}

/// Runs a verb that asks a running balancer.
fn ask(verb: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<u8> {
    if let Some(line) = env::passed_over(&variables()) {
        eprintln!("warning: {line}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(verb).map(|()| FINE)
}

fn serve(args: ServeArgs, context: &Context) -> anyhow::Result<u8> {
    context.start_logging(&args.log, logging::WITH_TIMELINE)?;
    let loader = Loader::new(args, context.given.clone());
    match loader.load() {
        Ok(settings) => crate::serve::run(loader, settings).map(|()| FINE),
        Err(error) => {
            heir::refuse(&error.headline());
            Ok(refuse(&error, REFUSED))
        }
    }
}

fn demo(args: DemoArgs, context: &Context) -> anyhow::Result<u8> {
    context.start_logging(&args.serve.log, logging::WITH_TIMELINE)?;
    let secured = match args.tls {
        true => Some(Secured::new(&args.serve.flags.listen)?),
        false => None,
    };
    let certificate = secured.as_ref().map(Secured::certificate);
    let adjust = move |settings: &mut _| crate::demo::adjust(settings, certificate.as_ref());
    let loader = Loader::new(args.serve, context.given.clone()).adjusted(adjust);
    match loader.load() {
        Ok(settings) => {
            crate::demo::run(args.servers, loader, settings, secured.as_ref()).map(|()| FINE)
        }
        Err(error) => Ok(refuse(&error, REFUSED)),
    }
}

/// Runs the agent; its exit code is that of the command it ran.
fn agent(args: AgentArgs, context: &Context) -> anyhow::Result<u8> {
    context.start_logging(&args.log, logging::EVERYTHING)?;
    let socket = args.cli_socket.clone();
    let config = match crate::agent::config(args) {
        Ok(config) => config,
        Err(fault) => {
            eprintln!("error: {fault}");
            return Ok(USAGE);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(async {
        let socket = socket.map(|path| crate::agent::socket::Socket::open(&path, &config));
        let _socket = socket.transpose()?;
        anyhow::Ok(roundel_agent::run(config).await?)
    })?;
    Ok(u8::try_from(code).unwrap_or(FAILURE))
}

fn check(args: &CheckArgs, context: &Context) -> anyhow::Result<u8> {
    if args.schema {
        out::json(format!("{:#}", roundel_config::schema()))?;
        return Ok(FINE);
    }
    context.warn_misspelt(|line| eprintln!("warning: {line}"));
    match roundel_config::load(&args.serve.flags, &context.given) {
        Ok(settings) => {
            let certificates = certificates::warnings(&settings, SystemTime::now());
            for line in certificates
                .into_iter()
                .chain(roundel_files::loose_secrets())
            {
                eprintln!("warning: {}", Shown(line));
            }
            if args.print {
                out::text(&settings)?;
            } else {
                let file = settings.file.as_deref();
                out::line(format_args!(
                    "{} is fine",
                    file.unwrap_or("the configuration")
                ))?;
            }
            Ok(FINE)
        }
        Err(error) => Ok(refuse(&error, FAILURE)),
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
