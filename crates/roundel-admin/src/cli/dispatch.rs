//! Which command does what.

use std::time::Duration;

use super::{Level, MAX_SILENCE, Session, acts, show};
use crate::csv::{self, Filter, Form};

/// Every command with what it does, in the order of `help`.
const COMMANDS: [(&str, &str); 29] = [
    (
        "add server <b>/<s> <addr> [weight <n>]",
        "add a server by hand; it serves after its first passed check",
    ),
    (
        "cluster <act> <json>",
        "join, leave, query, event, keys, as the HTTP API has them",
    ),
    (
        "del server <b>/<s>",
        "remove a server that was added by hand",
    ),
    ("disable server <b>/<s>", "put a server in maintenance"),
    ("enable server <b>/<s>", "end maintenance or drain"),
    ("get weight <b>/<s>", "report a server's weight"),
    ("help", "this list"),
    ("join <addr>", "join the gossip at this address"),
    ("leave", "announce that this node leaves"),
    ("prompt", "toggle interactive mode"),
    ("quit", "disconnect"),
    ("reload", "read the configuration again"),
    ("set server <b>/<s> state <state>", "ready, drain or maint"),
    (
        "set server <b>/<s> weight <w>",
        "a weight from 0 to 256, or a percentage of the initial one",
    ),
    (
        "set timeout cli <delay>",
        "how long this connection may be silent",
    ),
    ("set weight <b>/<s> <w>", "the same as set server weight"),
    ("show backend", "list the backends"),
    ("show cli level", "what this connection may do"),
    (
        "show errors",
        "requests that never became whole, by frontend and reason",
    ),
    ("show events [<n>]", "the newest events"),
    ("show info", "the process, as key: value"),
    ("show members", "the members of the gossip cluster"),
    ("show servers state [<b>]", "the servers' state, as a table"),
    ("show snapshot", "everything, as one line of JSON"),
    (
        "show stat [<iid> <type> <sid>] [up] [no-maint]",
        "the statistics as CSV",
    ),
    ("show stat desc", "the statistics as CSV"),
    ("show version", "the version"),
    ("user", "give up the right to act on this connection"),
    ("wait <delay>", "wait before the next command"),
];

impl Session {
    /// Carries one command out; `None` ends the connection.
    pub(super) async fn dispatch(&mut self, words: &[String]) -> Option<String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some(reply) = self.control(&words).await {
            return reply;
        }
        if let Some(reply) = self.read(&words) {
            return Some(reply);
        }
        Some(match acts::parse(&words, &self.admin.moment().snapshot) {
            None => unknown(&words),
            Some(_) if self.level < Level::Admin => "Permission denied\n".into(),
            Some(Err(text)) => text,
            Some(Ok(act)) => acts::carry_out(&self.admin, act, &self.principal).await,
        })
    }

    /// Commands about the connection itself; the inner `None` ends it.
    async fn control(&mut self, words: &[&str]) -> Option<Option<String>> {
        let reply = match *words {
            [] if self.prompt => String::new(),
            [] => unknown(words),
            ["quit"] => return Some(None),
            ["prompt"] => {
                self.prompt = !self.prompt;
                String::new()
            }
            ["user"] => {
                self.level = Level::User;
                String::new()
            }
            ["set", "timeout", "cli", delay] => match duration(delay) {
                Some(silence) if silence <= MAX_SILENCE && !silence.is_zero() => {
                    self.silence = silence;
                    String::new()
                }
                _ => "Invalid timeout value.\n".into(),
            },
            ["wait", delay] => match duration(delay) {
                Some(pause) if pause <= MAX_SILENCE => {
                    tokio::time::sleep(pause).await;
                    String::new()
                }
                _ => "Invalid delay.\n".into(),
            },
            _ => return None,
        };
        Some(Some(reply))
    }

    /// Commands that only read.
    fn read(&self, words: &[&str]) -> Option<String> {
        let moment = self.admin.moment();
        let snapshot = &moment.snapshot;
        Some(match *words {
            ["help"] => help("The following commands are valid at this level:", |_| true),
            ["show", "version"] => format!("{}\n", snapshot.version),
            ["show", "cli", "level"] => match self.level {
                Level::User => "user\n".into(),
                Level::Admin => "admin\n".into(),
            },
            ["show", "info", ..] => show::info(&moment, self.admin.is_draining()),
            ["show", "stat", ref rest @ ..] => match filter(rest) {
                Ok(filter) => csv::render(&moment, &filter),
                Err(text) => text,
            },
            ["show", "servers", "state"] => show::servers_state(snapshot, None),
            ["show", "servers", "state", backend] => show::servers_state(snapshot, Some(backend)),
            ["show", "backend"] => show::backends(snapshot),
            ["show", "snapshot"] => serde_json::to_string(&**snapshot).unwrap_or_default() + "\n",
            ["show", "members"] => show::members(snapshot),
            ["show", "errors"] => show::errors(snapshot),
            ["show", "events"] => show::events(snapshot, 20),
            ["show", "events", n] => match n.parse() {
                Ok(n) => show::events(snapshot, n),
                Err(_) => "Expects a number of events.\n".into(),
            },
            ["get", "weight", target] => match acts::find(snapshot, target) {
                Ok((_, s)) => format!("{} (initial {})\n", s.user_weight, s.initial_weight),
                Err(text) => text.into(),
            },
            _ => return None,
        })
    }
}

/// `show stat`'s three numbers and its words.
fn filter(words: &[&str]) -> Result<Filter, String> {
    let (numbers, modifiers) = match *words {
        [iid, kinds, sid, ref rest @ ..] if iid.parse::<i64>().is_ok() => {
            (Some([iid, kinds, sid]), rest)
        }
        _ => (None, words),
    };
    let mut filter = Filter::ALL;
    if let Some(numbers) = numbers {
        let parse = |text: &str| text.parse().map_err(|_| "Invalid id.\n".to_owned());
        let [iid, kinds, sid] = numbers;
        (filter.iid, filter.kinds, filter.sid) = (parse(iid)?, parse(kinds)?, parse(sid)?);
    }
    for word in modifiers {
        match *word {
            "up" => filter.up = true,
            "no-maint" => filter.no_maint = true,
            "desc" => {}
            "typed" => filter.form = Form::Typed,
            "json" => filter.form = Form::Json,
            _ => return Err(format!("Unknown modifier '{word}'.\n")),
        }
    }
    Ok(filter)
}

fn unknown(words: &[&str]) -> String {
    let first = words.first().copied().unwrap_or_default();
    let near = |command: &str| command.split(' ').next() == Some(first);
    if COMMANDS.iter().any(|(command, _)| near(command)) {
        let title = "Unknown command, but maybe one of the following ones is a better match:";
        return help(title, near);
    }
    help(
        "Unknown command. Please enter one of the following commands only:",
        |_| true,
    )
}

fn help(title: &str, shown: impl Fn(&str) -> bool) -> String {
    let mut text = format!("{title}\n");
    for (command, does) in COMMANDS.iter().filter(|(command, _)| shown(command)) {
        text += &format!("  {command:<46} : {does}\n");
    }
    text
}

/// HAProxy's delays: a number with `us`, `ms`, `s`, `m`, `h` or `d`; seconds without.
fn duration(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let n: u64 = text[..digits].parse().ok()?;
    let seconds = |unit: u64| n.checked_mul(unit).map(Duration::from_secs);
    match &text[digits..] {
        "us" => Some(Duration::from_micros(n)),
        "ms" => Some(Duration::from_millis(n)),
        "" | "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => None,
    }
}
