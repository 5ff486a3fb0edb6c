//! Acts on the gossip as a whole: queries, user events, keys.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{Extensions, HeaderMap};
use serde::Deserialize;

use super::{admitted, bad, carry_out};
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

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EventWish {
    name: String,
    payload: String,
    coalesce: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeysWish {
    act: String,
    key: String,
}

/// `POST /api/v1/cluster:query` with `{"name": ...}` and maybe `payload`, `nodes`, `tags`, `ack`,
/// `relay_factor`, `timeout_seconds`.
pub(crate) async fn query(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    let (wish, who) = match admitted::<QueryWish>(&admin, &headers, &extensions, &body) {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    // Queries between nodes act on them: keys, for one.
    if wish.name.is_empty() || wish.name.starts_with("_serf_") {
        return bad("Send {\"name\": \"NAME\"}; names that begin with _serf_ are between nodes.");
    }
    let timeout = match wish.timeout_seconds {
        Some(seconds) if !(seconds > 0.0 && seconds <= LONGEST) => {
            return bad("timeout_seconds is more than 0 and at most 60.");
        }
        seconds => seconds.map(Duration::from_secs_f64),
    };
    let command = Command::Query(Query {
        name: wish.name,
        payload: wish.payload,
        nodes: wish.nodes,
        tags: wish.tags.into_iter().collect(),
        ack: wish.ack,
        relay_factor: wish.relay_factor,
        timeout,
    });
    carry_out(&admin, command, who).await
}

/// `POST /api/v1/cluster:event` with `{"name": ...}` and maybe `payload`, `coalesce`.
pub(crate) async fn event(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    let (wish, who) = match admitted::<EventWish>(&admin, &headers, &extensions, &body) {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    if wish.name.is_empty() {
        return bad("Send {\"name\": \"NAME\", \"payload\": \"TEXT\"}.");
    }
    let command = Command::UserEvent {
        name: wish.name,
        payload: wish.payload,
        coalesce: wish.coalesce,
    };
    carry_out(&admin, command, who).await
}

/// `POST /api/v1/cluster:keys` with `{"act": "install|use|remove|list", "key": "BASE64"}`.
pub(crate) async fn keys(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    let (wish, who) = match admitted::<KeysWish>(&admin, &headers, &extensions, &body) {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let verb = KeyVerb::ALL.into_iter().find(|v| v.as_str() == wish.act);
    let Some(act) = verb.filter(|v| *v == KeyVerb::List || !wish.key.is_empty()) else {
        return bad("Send {\"act\": \"install\", \"key\": \"BASE64\"}; or use, remove, list.");
    };
    let key = Secret(wish.key);
    carry_out(&admin, Command::Keys { act, key }, who).await
}
