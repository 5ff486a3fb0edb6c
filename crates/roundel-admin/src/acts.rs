//! Operator acts over HTTP, as JSON.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderMap, StatusCode, header};
use roundel_model::{AdminState, Name, WeightOrder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::Admin;
use crate::command::{Command, CommandError, Outcome, Principal};
use crate::guard;
use crate::json::Json;
use crate::problem;
use crate::serve::Peer;

pub(crate) mod cluster;

pub(crate) use cluster::{event, keys, query};

/// What a body may say; every field is optional, and so is the body.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    weight: Option<WeightText>,
    force: bool,
    addresses: Vec<String>,
    member: Option<String>,
}

/// A weight, as a number or as the text that an operator would write.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WeightText {
    Number(u64),
    Text(String),
}

impl WeightText {
    fn order(&self) -> Option<WeightOrder> {
        match self {
            Self::Number(n) => n.to_string().parse().ok(),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

impl Wish {
    fn join(self) -> Result<Command, &'static str> {
        let addresses = self.addresses;
        if addresses.is_empty() || addresses.iter().any(|a| !is_address(a)) {
            return Err("Send {\"addresses\": [\"host:port\"]} with at least one address.");
        }
        Ok(Command::Join { addresses })
    }

    fn leave(self) -> Command {
        Command::Leave {
            member: self.member,
        }
    }
}

/// `POST /api/v1/backends/B/servers/S:drain`, `:ready`, `:maint`, `:weight`.
pub(crate) async fn server(
    State(admin): State<Admin>,
    Path((backend, target)): Path<(String, String)>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    let (wish, who) = match admitted::<Wish>(&admin, &headers, &extensions, &body).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let Some((server, verb)) = target.rsplit_once(':') else {
        return no_verb();
    };
    let (Ok(backend), Ok(server)) = (Name::new(&backend), Name::new(server)) else {
        return refuse(&CommandError::NoServer);
    };
    if let Err(stale) = fresh(&admin, &headers, &backend) {
        return *stale;
    }
    let command = match verb {
        "weight" => match wish.weight.as_ref().and_then(WeightText::order) {
            Some(weight) => Command::SetWeight {
                backend,
                server,
                weight,
                force: wish.force,
            },
            _ => {
                return bad(
                    "Send {\"weight\": N} with N from 0 to 256, or {\"weight\": \"N%\"} of what its source gave.",
                );
            }
        },
        _ => match admin_state(verb) {
            Some(state) => Command::SetState {
                backend,
                server,
                state,
                force: wish.force,
            },
            None => return no_verb(),
        },
    };
    carry_out(&admin, command, who).await
}

/// `POST /api/v1/cluster:join` with `{"addresses": ["host:port"]}`.
pub(crate) async fn join(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    let (wish, who) = match admitted::<Wish>(&admin, &headers, &extensions, &body).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    match wish.join() {
        Ok(command) => carry_out(&admin, command, who).await,
        Err(text) => bad(text),
    }
}

/// `POST /api/v1/cluster:leave`, with `{"member": "NAME"}` to remove a failed one.
pub(crate) async fn leave(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    let (wish, who) = match admitted::<Wish>(&admin, &headers, &extensions, &body).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    carry_out(&admin, wish.leave(), who).await
}

/// `POST /api/v1/config:reload`.
pub(crate) async fn reload(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Response {
    match admitted::<Wish>(&admin, &headers, &extensions, &body).await {
        Ok((_, who)) => carry_out(&admin, Command::Reload, who).await,
        Err(refused) => *refused,
    }
}

/// Guards first, then reads the body: who may not act learns nothing from parsing.
async fn admitted<W: DeserializeOwned + Default>(
    admin: &Admin,
    headers: &HeaderMap,
    extensions: &Extensions,
    body: &[u8],
) -> Result<(W, Principal), Box<Response>> {
    let peer = extensions.get::<Peer>().copied();
    let who = guard::admit(admin, headers, peer, None)
        .await
        .map_err(|refusal| Box::new(refusal.response()))?;
    if body.is_empty() {
        return Ok((W::default(), who));
    }
    serde_json::from_slice(body)
        .map(|wish| (wish, who))
        .map_err(|error| Box::new(bad(&format!("The body is not the JSON expected: {error}."))))
}

async fn carry_out(admin: &Admin, command: Command, who: Principal) -> Response {
    match admin.order(command, who).await {
        Ok(outcome) => Json(report(outcome)).into_response(),
        Err(error) => refuse(&error),
    }
}

/// What came of an act, for programs.
pub(crate) fn report(outcome: Outcome) -> serde_json::Value {
    let text = outcome.text;
    match outcome.data {
        None => json!({"ok": true, "text": text}),
        Some(data) => json!({"ok": true, "text": text, "result": data}),
    }
}

/// Holds an `If-Match` against the version of the backend's set.
fn fresh(admin: &Admin, headers: &HeaderMap, backend: &Name) -> Result<(), Box<Response>> {
    let Some(wanted) = headers.get(header::IF_MATCH).and_then(|v| v.to_str().ok()) else {
        return Ok(());
    };
    let moment = admin.moment();
    let version = moment
        .snapshot
        .backend(backend.as_str())
        .map(|b| b.set_version);
    let wanted = wanted.trim().trim_matches('"');
    if wanted == "*"
        || version.is_none()
        || version.map(|v| v.to_string()).as_deref() == Some(wanted)
    {
        return Ok(());
    }
    let detail = "The backend's set has changed since that version; look again.";
    Err(Box::new(problem::response(
        StatusCode::CONFLICT,
        "Stale version",
        detail,
    )))
}

/// The state that a verb orders.
pub(crate) fn admin_state(verb: &str) -> Option<AdminState> {
    let all = [AdminState::Ready, AdminState::Drain, AdminState::Maint];
    all.into_iter().find(|state| state.as_str() == verb)
}

/// Whether a text can be `host[:port]`; what it means is for the one who joins to find out.
pub(crate) fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b);
    !text.is_empty() && text.len() <= 261 && text.bytes().all(plain)
}

fn refuse(error: &CommandError) -> Response {
    let status = match error {
        CommandError::NoBackend | CommandError::NoServer | CommandError::NoFrontend => {
            StatusCode::NOT_FOUND
        }
        CommandError::ServerExists | CommandError::LastServer(..) | CommandError::Refused(_) => {
            StatusCode::CONFLICT
        }
        CommandError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        CommandError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        CommandError::Unreachable(_) => StatusCode::BAD_GATEWAY,
        CommandError::Closed => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem::response(status, "Nothing was done", &error.to_string())
}

fn bad(detail: &str) -> Response {
    problem::response(StatusCode::BAD_REQUEST, "Bad request", detail)
}

fn no_verb() -> Response {
    let detail = "The acts are :ready, :drain, :maint and :weight after the server's name.";
    problem::response(StatusCode::NOT_FOUND, "No such act", detail)
}
