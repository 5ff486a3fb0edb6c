//! `request_headers` and `response_headers`.

use roundel_http1::{Known, is_valid_host};
use roundel_proxy::{HeaderRule, HeaderRules, Place, Template};

use serde_json::{Value, json};

use super::policy::field_name;
use crate::key::Style;
use crate::kind::{Kind, List, Text, inline, list, pair, quote};
use crate::reader::{Item, Section};
use crate::value::{Fault, closest};

/// The messages that a table of rules changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Request,
    Response,
}

const EXAMPLE: &str = "{ set = { \"X-Env\" = \"prod\" }, remove = [\"X-Debug\"] }";

/// The rules for one of both.
pub(super) struct Headers(pub(super) Head);

impl Kind for Headers {
    type Value = HeaderRules;

    fn read(&self, item: &Item<'_>) -> Option<HeaderRules> {
        rules(item, self.0)
    }

    fn show(&self, rules: &HeaderRules, _: Style) -> String {
        let removed = rules.iter().filter_map(|rule| match rule {
            HeaderRule::Remove(name) => Some(quote(name)),
            _ => None,
        });
        let set = rules.iter().filter_map(|rule| match rule {
            HeaderRule::Set(name, value) => Some(pair(name, quote(value))),
            _ => None,
        });
        let added = rules.iter().filter_map(|rule| match rule {
            HeaderRule::Add(name, value) => Some(pair(name, quote(value))),
            _ => None,
        });
        let tables = [
            ("remove", list(removed)),
            ("set", inline(set)),
            ("add", inline(added)),
        ];
        let said = tables
            .iter()
            .filter(|(_, text)| !matches!(&text[..], "[]" | "{}"));
        inline(said.map(|(key, text)| format!("{key} = {text}")))
    }

    fn schema(&self) -> Value {
        let values = json!({ "type": "object", "additionalProperties": Text.schema() });
        json!({
            "type": "object",
            "properties": { "remove": List(Text).schema(), "set": values, "add": values },
            "additionalProperties": false,
        })
    }
}

/// Reads `{ remove = […], set = {…}, add = {…} }`, in the order in which it is carried out.
pub(crate) fn rules(item: &Item<'_>, head: Head) -> Option<HeaderRules> {
    let s = item.section(EXAMPLE)?;
    let mut rules = HeaderRules::new();
    if let Some(list) = s.item("remove") {
        let names = list.list_of(|item| item.parse(|name| removable(name, head)));
        rules.extend(names.into_iter().map(|at| HeaderRule::Remove(at.value)));
    }
    for (key, example) in [
        ("set", "{ \"X-Env\" = \"prod\" }"),
        ("add", "{ Via = \"edge\" }"),
    ] {
        let Some(table) = s.item(key).and_then(|item| item.section(example)) else {
            continue;
        };
        for (name, item) in table.entries() {
            rules.extend(valued(&table, key == "set", name, &item, head));
        }
    }
    s.finish(&[]);
    Some(rules)
}

/// Reads one `name = "value"` of `set` or `add`.
fn valued(
    table: &Section<'_>,
    sets: bool,
    name: &str,
    item: &Item<'_>,
    head: Head,
) -> Option<HeaderRule> {
    let is_host = Known::of(name.as_bytes()) == Known::Host;
    let checked = match is_host && sets && head == Head::Request {
        true => Ok(name.to_owned()),
        false => removable(name, head),
    };
    let name = match checked {
        Ok(name) => name,
        Err(fault) => return table.fail_key(name, fault),
    };
    let value = item.parse(if is_host { host_value } else { value })?;
    Some(match sets {
        true => HeaderRule::Set(name, value),
        false => HeaderRule::Add(name, value),
    })
}

/// Checks a name that rules of every kind may change.
fn removable(name: &str, head: Head) -> Result<String, Fault> {
    let name = field_name(name)?;
    match (Known::of(name.as_bytes()), head) {
        (Known::Trailer, _) => Err(framing(&name)),
        (known, _) if known.is_hop_by_hop() => Err(framing(&name)),
        (Known::Host, Head::Request) => Err(Fault::new(
            "a request has exactly one Host",
            "write set = { Host = \"app.example.org\" }",
        )),
        (Known::Host, Head::Response) => Err(Fault::new(
            "Host belongs to requests",
            "put it in request_headers",
        )),
        _ => Ok(name),
    }
}

fn framing(name: &str) -> Fault {
    Fault::new(
        format!("`{name}` is written by Roundel: it says how messages and connections end"),
        "leave it out",
    )
}

fn value(text: &str) -> Result<Template, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new(
            "this header has an empty value",
            "to leave a header out, write remove = [\"…\"]",
        ));
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Fault::new(
            "a header's value cannot have control characters",
            "write it on one line",
        ));
    }
    Template::parse(text).map_err(|word| {
        let words = Place::WORDS.map(|(word, _)| word);
        let hint = match closest(&word, words) {
            Some(near) => format!("did you mean %{{{near}}}?"),
            None => format!("known: {}; a plain %{{ is written %%{{", words.join(", ")),
        };
        Fault::new(format!("`{word}` is not a placeholder"), hint)
    })
}

fn host_value(text: &str) -> Result<Template, Fault> {
    let host = value(text)?;
    match host.as_text() {
        Some(host_text) if is_valid_host(host_text.as_bytes()) => Ok(host),
        _ => Err(Fault::new(
            format!("`{text}` is not a host"),
            "write \"app.example.org\" or \"app.example.org:8080\"",
        )),
    }
}
