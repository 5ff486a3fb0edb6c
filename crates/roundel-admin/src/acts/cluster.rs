//! Acts on the gossip as a whole: queries, user events, keys.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{Extensions, HeaderMap};
use serde::Deserialize;

use super::{Wish, admitted, bad, carry_out};
use crate::Admin;
use crate::command::{Command, KeyVerb, Query, Secret};

/// Longest time that answers may be waited for.
const LONGEST: f64 = 60.0;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct QueryWish {
    name: String,
    payload: String,
    nodes: Vec<String>,
    tags: BTreeMap<String, String>,
    ack: bool,
    relay_factor: u8,
    timeout_seconds: Option<f64>,
}

impl Default for QueryWish {
    fn default() -> Self {
        Self {
            name: String::new(),
            payload: String::new(),
            nodes: Vec::new(),
            tags: BTreeMap::new(),
            ack: true,
            relay_factor: 0,
            timeout_seconds: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EventWish {
    name: String,
    payload: String,
    coalesce: bool,
}

impl Default for EventWish {
    fn default() -> Self {
        Self {
            name: String::new(),
            payload: String::new(),
            coalesce: true,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeysWish {
    act: String,
    key: String,
}

impl QueryWish {
    fn command(self) -> Result<Command, &'static str> {
        // Queries between nodes act on them: keys, for one.
        if self.name.is_empty() || self.name.starts_with("_serf_") {
            return Err(
                "Send {\"name\": \"NAME\"}; names that begin with _serf_ are between nodes.",
            );
        }
        let timeout = match self.timeout_seconds {
            Some(seconds) if !(seconds > 0.0 && seconds <= LONGEST) => {
                return Err("timeout_seconds is more than 0 and at most 60.");
            }
            seconds => seconds.map(Duration::from_secs_f64),
        };
        Ok(Command::Query(Query {
            name: self.name,
            payload: self.payload,
            nodes: self.nodes,
            tags: self.tags.into_iter().collect(),
            ack: self.ack,
            relay_factor: self.relay_factor,
            timeout,
        }))
    }
}

impl EventWish {
    fn command(self) -> Result<Command, &'static str> {
        if self.name.is_empty() {
            return Err("Send {\"name\": \"NAME\", \"payload\": \"TEXT\"}.");
        }
        Ok(Command::UserEvent {
            name: self.name,
            payload: self.payload,
            coalesce: self.coalesce,
        })
    }
}

impl KeysWish {
    fn command(self) -> Result<Command, &'static str> {
        let verb = KeyVerb::ALL.into_iter().find(|v| v.as_str() == self.act);
        let Some(act) = verb.filter(|v| *v == KeyVerb::List || !self.key.is_empty()) else {
            return Err("Send {\"act\": \"install\", \"key\": \"BASE64\"}; or use, remove, list.");
        };
        let key = Secret(self.key);
        Ok(Command::Keys { act, key })
    }
}

/// The command that a verb and its wish ask for, as JSON; for the runtime API.
pub(crate) fn command(verb: &str, json: &str) -> Result<Command, String> {
    fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|error| format!("Not what this act needs: {error}."))
    }
    let command = match verb {
        "query" => read::<QueryWish>(json)?.command(),
        "event" => read::<EventWish>(json)?.command(),
        "keys" => read::<KeysWish>(json)?.command(),
        "join" => read::<Wish>(json)?.join(),
        "leave" => Ok(read::<Wish>(json)?.leave()),
        _ => Err("Expects join, leave, query, event or keys."),
    };
    command.map_err(Into::into)
}

/// `POST /api/v1/cluster:query` with `{"name": ...}` and maybe `payload`, `nodes`, `tags`, `ack`,
/// `relay_factor`, `timeout_seconds`.
pub(crate) async fn query(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    act::<QueryWish>(&admin, &headers, &extensions, &body, QueryWish::command).await
}

/// `POST /api/v1/cluster:event` with `{"name": ...}` and maybe `payload`, `coalesce` (true
/// unless told).
pub(crate) async fn event(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    act::<EventWish>(&admin, &headers, &extensions, &body, EventWish::command).await
}

/// `POST /api/v1/cluster:keys` with `{"act": "install|use|remove|list", "key": "BASE64"}`.
pub(crate) async fn keys(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    act::<KeysWish>(&admin, &headers, &extensions, &body, KeysWish::command).await
}

async fn act<T: serde::de::DeserializeOwned + Default>(
    admin: &Admin,
    headers: &HeaderMap,
    extensions: &Extensions,
    body: &Bytes,
    command: fn(T) -> Result<Command, &'static str>,
) -> Response {
    let (wish, who) = match admitted::<T>(admin, headers, extensions, body).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    match command(wish) {
        Ok(command) => carry_out(admin, command, who).await,
        Err(text) => bad(text),
    }
}
