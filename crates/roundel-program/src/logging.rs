//! The system log on standard error.
//!
//! A thread of its own writes it: a reader that has stopped must not stop a worker, the checks or
//! the gossip. What it cannot take is lost and counted. Panics are told of in the same way.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use roundel_config::value::{Fault, closest};
use roundel_model::Shown;
use roundel_proxy::LineWriter;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::cli::LogArgs;

/// What is logged by default.
pub(crate) const EVERYTHING: &str = "info";
/// What a balancer logs by default: its timeline tells what the gossip node would say again.
pub(crate) const WITH_TIMELINE: &str = "info,roundel_gossip_tokio=warn";

/// Lines that may wait for the writer.
const WAITING: usize = 4_096;

/// How long the end of the program waits for the last lines to be written.
const FLUSH: Duration = Duration::from_millis(200);

static WRITER: OnceLock<LineWriter> = OnceLock::new();

/// Lines of the log that were lost, since nobody took them.
pub(crate) fn dropped() -> u64 {
    WRITER.get().map_or(0, LineWriter::dropped)
}

/// Writes the last line of the program, which is no event of the log. Without a log it goes out at
/// once; nobody else waits for it then.
pub(crate) fn last_words(line: &str) {
    match WRITER.get() {
        Some(writer) => writer.send(format!("{line}\n").into_bytes(), 1),
        None => eprintln!("{line}"),
    }
    flush();
}

/// Waits for a moment until what was logged is written.
pub(crate) fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH);
    }
}

/// The words for how much is told.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Our own targets, by crate.
const CRATES: [&str; 17] = [
    "roundel",
    "roundel_acme",
    "roundel_admin",
    "roundel_agent",
    "roundel_balance",
    "roundel_cluster",
    "roundel_config",
    "roundel_discovery",
    "roundel_files",
    "roundel_gossip",
    "roundel_gossip_tokio",
    "roundel_http1",
    "roundel_model",
    "roundel_program",
    "roundel_proxy",
    "roundel_stats",
    "roundel_tls",
];

/// Starts logging to standard error. The flag wins over `RUST_LOG`, that over `default`.
///
/// `RUST_LOG` is for every Rust program: one that means nothing here is passed over with a line.
/// Errors: the level is not one, or the writer's thread cannot be started.
pub(crate) fn start(args: &LogArgs, default: &str) -> anyhow::Result<()> {
    let variable = std::env::var("RUST_LOG").ok();
    let variable = variable.filter(|v| !v.is_empty()).map(|v| level(&v));
    let flag = args.log_level.clone().filter(|words| !words.is_empty());
    let (words, passed_over) = match (flag, variable) {
        (Some(words), _) | (None, Some(Ok(words))) => (words, None),
        (None, Some(Err(fault))) => (default.to_owned(), Some(fault)),
        (None, None) => (default.to_owned(), None),
    };
    let filter = EnvFilter::try_new(&words)
        .map_err(|e| anyhow::anyhow!("`{words}` is not a log level: {e}"))?;
    // `h2` warns of each answer to no PING, which is a line that any client can have again and again.
    let filter = match words.as_str() {
        "info" | "warn" => filter.add_directive("h2=error".parse()?),
        _ => filter,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    // A second start in one process (tests) keeps the first one.
    let writer = match WRITER.get() {
        Some(writer) => writer.clone(),
        None => {
            let writer = LineWriter::new("log", WAITING, io::stderr())?;
            tell_of_panics(writer.clone());
            WRITER.get_or_init(|| writer).clone()
        }
    };
    let _ = tracing_subscriber::fmt()
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_env_filter(filter)
        .with_ansi(!no_color && std::io::stderr().is_terminal())
        .with_writer(Lines(writer))
        .with_target(false)
        .try_init();
    if let Some(fault) = passed_over {
        tracing::warn!("the variable RUST_LOG is passed over: {fault}");
    }
    Ok(())
}

/// Writes a message or a value of an event. Whatever is logged is one line, and as it was said.
fn field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let value = Shown(format_args!("{value:?}"));
    let name = field.name();
    match (name, to.has_ansi_escapes()) {
        ("message", _) => write!(to, "{value}"),
        (_, false) => write!(to, "{name}={value}"),
        // The name in italics, the sign dimmed.
        (_, true) => write!(to, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
    }
}

/// Has panics written by the thread that writes the log, in the words of the standard library, which
/// would write them at once and wait for the reader: a worker that panics has to be replaced.
fn tell_of_panics(writer: LineWriter) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let mut text = format!("\nthread '{name}' {panic}\n");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text += &format!("stack backtrace:\n{backtrace}");
        }
        writer.send(text.into_bytes(), 1);
        if name == "main" {
            // The process may end with it.
            writer.flush(FLUSH);
        }
    }));
}

/// Gives each event to the writer's thread.
struct Lines(LineWriter);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(&self.0)
    }
}

/// Takes one event, which comes whole.
struct Event<'a>(&'a LineWriter);

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec(), 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a level, or levels by target as in `RUST_LOG`: `info,roundel_proxy=debug`.
///
/// To `tracing` any other word is a target that nothing has, which silences everything. So a word
/// alone is a level or one of our crates, and what begins like those is one of them.
/// Shape: levels in lower case; nothing stays nothing.
pub(crate) fn level(text: &str) -> Result<String, Fault> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let directives: Result<Vec<String>, Fault> = text.split(',').map(directive).collect();
    let text = directives?.join(",");
    match EnvFilter::try_new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Fault::new(error.to_string(), "write for example \"info\"")),
    }
}

fn directive(text: &str) -> Result<String, Fault> {
    let text = text.trim();
    // A span may follow the target: `target[span{field=value}]=level`.
    let (target, word) = match text.rsplit_once('=') {
        Some((target, word)) if !word.contains(['}', ']']) => (Some(target), word),
        _ => (None, text),
    };
    let lower = word.to_ascii_lowercase();
    let is_level = LEVELS.contains(&lower.as_str());
    let is_ours = |target: &str| {
        let end = target.find([':', '[']).unwrap_or(target.len());
        CRATES.contains(&&target[..end])
    };
    match target {
        None if is_level => Ok(lower),
        None if is_ours(word) => Ok(word.to_owned()),
        Some(target) if !is_level => {
            Err(unknown(word, &LEVELS, &format!("a log level for {target}")))
        }
        Some(target) if target.starts_with("roundel") && !is_ours(target) => {
            Err(unknown(target, &CRATES, "a part of Roundel"))
        }
        Some(target) => Ok(format!("{target}={lower}")),
        None => Err(unknown(word, &LEVELS, "a log level")),
    }
}

fn unknown(word: &str, known: &[&str], what: &str) -> Fault {
    let near = closest(&word.to_ascii_lowercase(), known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("did you mean \"{near}\"? "));
    Fault::new(
        format!("`{word}` is not {what}"),
        format!(
            "{near}known: {}; or by part as in \"info,roundel_proxy=debug\"",
            known.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn levels_are_known_words_in_any_case() {
        let check = |text: &str, expected: &str| {
            assert_eq!(level(text).as_deref(), Ok(expected), "{text}");
        };
        check("warn", "warn");
        check("WARN", "warn");
        check("Off", "off");
        check("", "");
        check("info,roundel_proxy=DEBUG", "info,roundel_proxy=debug");
        check("info, hyper=trace", "info,hyper=trace");
        check("roundel_proxy", "roundel_proxy");
        check("roundel_proxy::pool=trace", "roundel_proxy::pool=trace");
        check(
            "roundel_proxy[request{id=1}]=debug",
            "roundel_proxy[request{id=1}]=debug",
        );
    }

    #[test]
    fn other_words_are_refused_with_the_list() {
        let check = |text: &str, parts: [&str; 2]| {
            let told = level(text).expect_err(text).to_string();
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        };
        let list = "off, error, warn, info, debug, trace";
        check("waring", ["did you mean \"warn\"?", list]);
        check("WARNING", ["`WARNING` is not a log level", list]);
        check("loud", ["`loud`", list]);
        check("info,loud", ["`loud`", list]);
        check("info,", ["``", list]);
        check("3", ["`3`", list]);
        check("roundel_proxy=loud", ["`loud`", "for roundel_proxy"]);
        check(
            "roundel_proxi=debug",
            ["roundel_proxi", "did you mean \"roundel_proxy\"?"],
        );
        check("hyper", ["`hyper`", list]);
    }

    #[test]
    fn whatever_is_logged_is_one_line() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(debug_fn(field).delimited(" "))
            .with_ansi(false)
            .with_writer(Mutex::new(log.reopen().unwrap()))
            .finish();
        let forged = "x\nWARN forged\r\u{1b}[2J\u{9b}\u{202e}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(quoted = forged, plain = %forged, debug = ?Some(forged), "a {forged}");
        });
        let text = std::fs::read_to_string(log.path()).unwrap();
        let line = text.strip_suffix('\n').expect("a line");
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
        assert_eq!(
            line.matches("x\\nWARN forged\\r\\u{1b}[2J").count(),
            4,
            "{line}"
        );
    }

    #[test]
    fn every_crate_is_a_target() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let names = std::fs::read_dir(folder).unwrap();
        let names = names.map(|n| n.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.map(|n| n.replace('-', "_")).collect();
        let is_in_program = |name: &str| {
            name.starts_with("roundel")
                && !["roundel_testkit", "roundel_gossip_sim"].contains(&name)
        };
        names.retain(|name| is_in_program(name));
        names.sort();
        assert_eq!(names, CRATES);
    }
}
