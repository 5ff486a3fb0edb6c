//! Which command does what.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::reply::{Reply, Shown};
use super::{Level, MAX_SILENCE, MAX_WAIT, Session, acts, help, info, show};
use crate::Admin;
use crate::answers::{Answer, Wanted};
use crate::csv::{self, Filter, Form};
use crate::json;
use crate::status::Snapshot;

impl Session {
    /// Carries one command out; `None` ends the connection.
    pub(super) async fn dispatch(&mut self, words: &[String]) -> Option<Reply> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some(reply) = self.control(&words).await {
            return reply;
        }
        if let ["show", what, ..] = words[..]
            && is_long(what)
        {
            return Some(self.shared(&words).await);
        }
        if let Some(reply) = read(&self.admin, self.level, &words) {
            return Some(reply);
        }
        Some(match acts::parse(&words, &self.admin.moment().snapshot) {
            None => Reply::info(help::unknown(&words)),
            Some(_) if self.level < Level::Admin => Reply::error("Permission denied\n"),
            Some(Err(text)) => Reply::error(text),
            Some(Ok(act)) => acts::carry_out(&self.admin, act, &self.principal).await,
        })
    }

    /// Commands about the connection itself; the inner `None` ends it.
    async fn control(&mut self, words: &[&str]) -> Option<Option<Reply>> {
        let reply = match *words {
            [] if self.prompt => Reply::plain(""),
            [] => Reply::info(help::unknown(words)),
            ["quit", ..] => return Some(None),
            ["prompt", ..] => {
                self.prompt = !self.prompt;
                Reply::plain("")
            }
            ["user", ..] => self.lower(Level::User),
            ["operator", ..] => self.lower(Level::Operator),
            ["set", "severity-output", ref rest @ ..] => {
                match rest.first().and_then(|word| Shown::from_word(word)) {
                    Some(shown) => {
                        self.shown = shown;
                        Reply::plain("")
                    }
                    None => {
                        Reply::error("one of 'none', 'number', 'string' is a required argument\n")
                    }
                }
            }
            ["set", "timeout", "cli"] => Reply::error("Expects an integer value.\n"),
            ["set", "timeout", "cli", delay, ..] => match duration(delay) {
                Some(silence) if silence <= MAX_SILENCE && !silence.is_zero() => {
                    self.silence = silence;
                    Reply::plain("")
                }
                _ => Reply::error("Invalid timeout value.\n"),
            },
            ["set", "timeout", ..] => Reply::error("'set timeout' only supports 'cli'.\n"),
            ["wait", delay, ..] => match duration(delay) {
                Some(pause) if pause <= MAX_SILENCE => self.wait(pause).await,
                _ => Reply::error("Invalid delay.\n"),
            },
            _ => return None,
        };
        Some(Some(reply))
    }

    /// Who only reads waits shortly: there are few places, and anybody may come.
    async fn wait(&self, pause: Duration) -> Reply {
        let most = match self.level {
            Level::User => MAX_WAIT,
            Level::Operator | Level::Admin => MAX_SILENCE,
        };
        tokio::time::sleep(pause.min(most)).await;
        match pause > most {
            true => Reply::warning("A connection that only reads waits 10 s at most.\n"),
            false => Reply::plain(""),
        }
    }

    /// A reply that everybody gets who asks for the same now.
    async fn shared(&self, words: &[&str]) -> Reply {
        let wanted = Wanted {
            what: words.join(" "),
            gzip: false,
        };
        let (admin, level) = (self.admin.clone(), self.level);
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let render = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let reply = read(&admin, level, &words);
            let reply = reply.unwrap_or_else(|| Reply::info(help::unknown(&words)));
            let (body, is_error) = reply.into_parts();
            Answer {
                status: match is_error {
                    true => StatusCode::BAD_REQUEST,
                    false => StatusCode::OK,
                },
                headers: HeaderMap::new(),
                body,
            }
        };
        match self.admin.share(wanted, render).await {
            Some(answer) => Reply::shared(answer.body, answer.status != StatusCode::OK),
            None => Reply::error("Readers that are slow hold all of stats.memory; ask again.\n"),
        }
    }

    fn lower(&mut self, level: Level) -> Reply {
        self.level = self.level.min(level);
        Reply::plain("")
    }
}

/// Whether `show` of this may be long: it is rendered once for all who ask.
fn is_long(what: &str) -> bool {
    matches!(
        what,
        "stat" | "servers" | "sess" | "snapshot" | "members" | "events"
    )
}

/// Commands that only read.
fn read(admin: &Admin, level: Level, words: &[&str]) -> Option<Reply> {
    let moment = admin.moment();
    let snapshot = &moment.snapshot;
    Some(Reply::plain(match *words {
        ["help", ref rest @ ..] => return Some(Reply::info(help::help(rest))),
        ["show", "version", ..] => {
            return Some(Reply::info(format!("{}\n", info::version(snapshot))));
        }
        ["show", "cli", "level", ..] => match level {
            Level::User => "user\n".into(),
            Level::Operator => "operator\n".into(),
            Level::Admin => "admin\n".into(),
        },
        ["show", "info", ref rest @ ..] => info::render(&moment, admin.is_draining(), rest),
        ["show", "stat", ref rest @ ..] => match filter(snapshot, rest) {
            Ok(filter) => csv::render(&moment, &filter, &admin.cleared()),
            Err(text) => return Some(Reply::error(text)),
        },
        ["show", "servers", what @ ("state" | "conn"), ref rest @ ..] => {
            let only = rest.first().copied();
            if only.is_some_and(|name| snapshot.backend(name).is_none()) {
                return Some(Reply::error("Can't find backend.\n"));
            }
            match what {
                "state" => show::servers_state(snapshot, only),
                _ => show::servers_conn(&moment, only),
            }
        }
        ["show", "sess", id, ..] if id != "all" => "Session not found.\n".into(),
        ["show", "sess", ..] => show::sessions(snapshot),
        ["show", "activity", ..] => show::activity(snapshot),
        ["show", "env", ..] if level < Level::Operator => {
            return Some(Reply::error("Permission denied\n"));
        }
        ["show", "env", ref rest @ ..] => match show::environment(rest.first().copied()) {
            Some(text) => text,
            None => return Some(Reply::error("Variable not found\n")),
        },
        ["show", "backend", ..] => show::backends(snapshot),
        ["show", "snapshot"] => json::text(&**snapshot) + "\n",
        ["show", "members"] => show::members(snapshot),
        ["show", "errors", ..] => show::errors(snapshot),
        ["show", "events"] => show::events(snapshot, 20),
        ["show", "events", n] => match n.parse() {
            Ok(n) => show::events(snapshot, n),
            Err(_) => return Some(Reply::error("Expects a number of events.\n")),
        },
        ["get", "weight", ref rest @ ..] => {
            match acts::find(snapshot, rest.first().copied().unwrap_or_default()) {
                Ok((_, s)) => format!("{} (initial {})\n", s.user_weight, s.initial_weight),
                Err(text) => return Some(Reply::error(text)),
            }
        }
        _ => return None,
    }))
}

/// `show stat`'s proxy, type and server, and its words; other words are passed over.
fn filter(snapshot: &Snapshot, words: &[&str]) -> Result<Filter, String> {
    const WORDS: [&str; 5] = ["up", "no-maint", "desc", "typed", "json"];
    let mut filter = Filter::ALL;
    let mut modifiers = words;
    if let [proxy, kinds, sid, ref rest @ ..] = *words
        && !WORDS.contains(&proxy)
    {
        let number = |text: &str| text.parse::<i64>().unwrap_or(0);
        let backend = snapshot.backend(proxy).map(|b| b.id);
        let frontend = snapshot.frontends.iter().find(|f| f.name == proxy);
        let named = frontend.map(|f| f.id).or(backend).map(i64::from);
        filter.iid = named.unwrap_or_else(|| number(proxy));
        if filter.iid == 0 {
            return Err("No such proxy.\n".into());
        }
        (filter.kinds, filter.sid) = (number(kinds), number(sid));
        modifiers = rest;
    }
    for word in modifiers {
        match *word {
            "up" => filter.up = true,
            "no-maint" => filter.no_maint = true,
            "typed" => filter.form = Form::Typed,
            "json" => filter.form = Form::Json,
            _ => {}
        }
    }
    Ok(filter)
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
