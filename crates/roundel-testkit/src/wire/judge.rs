//! Whether a case went as it must.

use std::collections::BTreeSet;

use super::case::{Case, Ends, Level, Outcome, Saw, Want};
use super::client::{Answer, Link};
use super::message::{self, Message};
use super::origin::{Seen, State};
use super::stage::Pairing;

/// What became of a case.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The case's name.
    pub name: String,
    /// The rule's place.
    pub section: &'static str,
    /// What kind of rule it is.
    pub level: Level,
    /// Why it failed.
    pub failure: Option<String>,
    /// Why it was not played: it makes no sense with the protocols of its slot.
    pub skip: Option<String>,
}

/// What happened.
pub(super) struct Played<'a> {
    pub(super) links: &'a [Link],
    pub(super) state: &'a State,
    pub(super) failed: Option<String>,
    /// What was spoken.
    pub(super) pairing: Pairing,
}

pub(super) fn judge(case: &Case, played: &Played<'_>) -> Verdict {
    let failure = failure(case, played).map(|why| format!("{why}\n{}", show(played)));
    Verdict {
        name: case.name.clone(),
        section: case.section,
        level: case.level,
        failure,
        skip: None,
    }
}

fn failure(case: &Case, played: &Played<'_>) -> Option<String> {
    if let Some(fault) = played.state.faults.first() {
        return Some(format!("the origin received what is not HTTP: {fault}"));
    }
    if let Some(why) = &played.failed {
        return Some(why.clone());
    }
    let mut whys = Vec::new();
    for outcome in &case.outcomes {
        match fits(outcome, played) {
            Ok(()) => return None,
            Err(why) => whys.push(why),
        }
    }
    Some(whys.join("; or "))
}

fn fits(outcome: &Outcome, played: &Played<'_>) -> Result<(), String> {
    let answers: Vec<&Answer> = played.links.iter().flat_map(|l| &l.answers).collect();
    let probed = played.links.last().is_some_and(Link::was_probed);
    if let Some(wanted) = &outcome.answers {
        // A stream that is reset takes back what was not sent yet, its head too.
        let unsent = played.pairing.front_is_http2()
            && wanted.last().is_some_and(|want| want.broken)
            && answers.len() + 1 == wanted.len();
        if wanted.len() != answers.len() && !unsent {
            let got: Vec<u16> = answers.iter().map(|a| a.message.status()).collect();
            return Err(format!("{} answers wanted, got {got:?}", wanted.len()));
        }
        for (want, answer) in wanted.iter().zip(&answers) {
            check_answer(want, answer, played.pairing)?;
        }
    }
    let link = played.links.last();
    let kept = link.is_some_and(|l| l.probe_answered());
    match outcome.ends {
        // One stream tells nothing of its connection.
        _ if played.pairing.front_is_http2() => {}
        Ends::Any => {}
        Ends::Closed if link.is_some_and(|l| l.end.is_some()) && !kept => {}
        Ends::Kept if kept => {}
        ends => return Err(format!("the connection should be {ends:?}")),
    }
    if let Some(wanted) = &outcome.saw {
        check_seen(wanted, &seen(played.state, probed), played.pairing)?;
    }
    if let Some(spread) = outcome.spread {
        let all = seen(played.state, probed);
        let servers: BTreeSet<char> = all.iter().map(|s| s.server).collect();
        if (servers.len() > 1) != spread {
            return Err(format!("servers {servers:?}"));
        }
    }
    Ok(())
}

/// The requests seen, without the client's last look whether the connection is kept.
fn seen(state: &State, probed: bool) -> Vec<&Seen> {
    let is_probe = |s: &Seen| probed && s.message.word(1) == "/probe-kept";
    state.seen.iter().filter(|s| !is_probe(s)).collect()
}

fn check_answer(want: &Want, answer: &Answer, pairing: Pairing) -> Result<(), String> {
    let message = &answer.message;
    let status = message.status();
    if answer.broken != want.broken {
        return Err(format!("answer {status} broken: {}", answer.broken));
    }
    if !want.status.is_empty() && !want.status.contains(&status) {
        return Err(format!("status {status}, wanted {:?}", want.status));
    }
    let told = |(name, _): &&(&str, _)| !(pairing.front_is_http2() && *name == "connection");
    let has: Vec<_> = want.has.iter().filter(told).copied().collect();
    check_fields(message, &has, &want.lacks, &want.free_of)?;
    if let Some(word) = want
        .free_of
        .iter()
        .find(|w| message::text(&message.body).contains(**w))
    {
        return Err(format!("the body holds {word:?}"));
    }
    if let Some(interim) = &want.interim {
        let got: Vec<u16> = answer.interim.iter().map(Message::status).collect();
        if got != *interim {
            return Err(format!("interim {got:?}, wanted {interim:?}"));
        }
    }
    check_body(message, want.body.as_deref(), &want.trailers)
}

fn check_seen(wanted: &[Saw], all: &[&Seen], pairing: Pairing) -> Result<(), String> {
    let asks_partial = wanted.iter().any(|w| w.partial);
    let counted: Vec<&&Seen> = all.iter().filter(|s| s.whole || asks_partial).collect();
    if counted.len() != wanted.len() {
        let lines: Vec<&str> = counted.iter().map(|s| s.message.line.as_str()).collect();
        return Err(format!(
            "{} requests wanted, the origin saw {lines:?}",
            wanted.len()
        ));
    }
    for (want, seen) in wanted.iter().zip(counted) {
        let message = &seen.message;
        if want.partial == seen.whole {
            return Err(format!("request {:?} whole: {}", message.line, seen.whole));
        }
        let line = format!("{} {}", message.word(0), message.word(1));
        if !want.line.is_empty() && want.line != line {
            return Err(format!("the origin saw {line:?}, wanted {:?}", want.line));
        }
        if let Some(version) = want.version
            && version != message.word(2)
        {
            return Err(format!("version {:?}, wanted {version:?}", message.word(2)));
        }
        check_fields(message, &want.has, &want.lacks, &want.free_of)?;
        if want.proto {
            let proto = if pairing.is_tls() { "https" } else { "http" };
            check_fields(message, &[("x-forwarded-proto", Some(proto))], &[], &[])?;
        }
        for (name, start) in &want.begins {
            let start = match *name {
                "via" if pairing.front_is_http2() => start.replace("1.1 ", "2.0 "),
                _ => (*start).to_owned(),
            };
            if !message.all(name).any(|value| value.starts_with(&start)) {
                let values: Vec<&str> = message.all(name).collect();
                return Err(format!("field {name}: {values:?}, wanted {start:?}…"));
            }
        }
        check_body(message, want.body.as_deref(), &want.trailers)?;
    }
    Ok(())
}

fn check_fields(
    message: &Message,
    has: &[(&'static str, Option<&'static str>)],
    lacks: &[&'static str],
    free_of: &[&'static str],
) -> Result<(), String> {
    for (name, value) in has {
        let values: Vec<&str> = message.all(name).collect();
        let fits = match value {
            Some(value) => values.contains(value),
            None => !values.is_empty(),
        };
        if !fits {
            return Err(format!("field {name}: {values:?}, wanted {value:?}"));
        }
    }
    for name in lacks {
        if let Some(value) = message.first(name) {
            return Err(format!("unwanted field {name}: {value:?}"));
        }
    }
    for word in free_of {
        if let Some((name, value)) = message.fields.iter().find(|(_, v)| v.contains(word)) {
            return Err(format!("{word:?} in {name}: {value:?}"));
        }
    }
    Ok(())
}

fn check_body(
    message: &Message,
    body: Option<&[u8]>,
    trailers: &[(&'static str, &'static str)],
) -> Result<(), String> {
    if let Some(body) = body
        && body != message.body
    {
        let shown = |b: &[u8]| {
            format!(
                "{} bytes {:?}",
                b.len(),
                message::text(&b[..b.len().min(80)])
            )
        };
        return Err(format!(
            "body {}, wanted {}",
            shown(&message.body),
            shown(body)
        ));
    }
    for (name, value) in trailers {
        let there = message
            .trailers
            .iter()
            .any(|(n, v)| n == name && v == value);
        if !there {
            return Err(format!(
                "trailers {:?}, wanted {name}: {value}",
                message.trailers
            ));
        }
    }
    Ok(())
}

/// Everything that went over the wires, cut to what helps.
fn show(played: &Played<'_>) -> String {
    let cut = |bytes: &[u8]| message::text(&bytes[..bytes.len().min(700)]);
    let mut shown = String::new();
    for link in played.links {
        shown += &format!(
            "    client got {:?} end {:?}\n",
            cut(&link.received),
            link.end
        );
    }
    for (bytes, end) in played.state.bytes.iter().zip(&played.state.ends) {
        shown += &format!("    origin got {:?} end {end:?}\n", cut(bytes));
    }
    shown
}
