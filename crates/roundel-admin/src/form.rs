//! `/` itself: the page, and the forms on it.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use roundel_model::{AdminState, Name, WeightOrder};

use crate::Admin;
use crate::acts::admin_state;
use crate::admin::Acts;
use crate::answers::{self, Answer, Wanted};
use crate::command::{Command, Principal};
use crate::door;
use crate::guard::{self, same_bytes};
use crate::page::{self, PageQuery};
use crate::serve::Peer;

/// `GET /`.
pub(crate) async fn show(
    State(admin): State<Admin>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let query = PageQuery::parse(&query);
    let said = query.outcome();
    page(&admin, &query, StatusCode::OK, said).into_response()
}

/// `GET /;st=DONE` and the like: where HAProxy's forms lead.
pub(crate) fn show_classic(admin: &Admin, path: &str) -> Response {
    let st = path.split(';').find_map(|word| word.strip_prefix("st="));
    let given = st.map(|st| ("st".to_owned(), st.to_owned()));
    let query = PageQuery::parse(&given.into_iter().collect());
    page(admin, &query, StatusCode::OK, query.outcome()).into_response()
}

/// HAProxy's view.
pub(crate) fn show_haproxy(admin: &Admin) -> Response {
    let given = [("view".to_owned(), "haproxy".to_owned())];
    let query = PageQuery::parse(&given.into_iter().collect());
    page(admin, &query, StatusCode::OK, None).into_response()
}

fn page(admin: &Admin, query: &PageQuery, status: StatusCode, said: Option<&str>) -> Answer {
    let moment = admin.moment();
    let parts = page::parts(admin, &moment, &query.key);
    let fixed = |value| HeaderValue::from_static(value);
    let headers = [
        (header::CONTENT_TYPE, fixed("text/html; charset=utf-8")),
        (
            header::CONTENT_SECURITY_POLICY,
            fixed(page::content_security_policy()),
        ),
        (header::X_FRAME_OPTIONS, fixed("DENY")),
    ];
    Answer {
        status,
        headers: HeaderMap::from_iter(headers),
        body: page::document(&moment, query, &parts, said, door::is_shut(admin)).into(),
    }
}

/// Fields that may occur more than once come as a list.
type Fields = Vec<(String, String)>;

/// `POST /`: a button of the page, or HAProxy's form (`s`, `action`, `b`).
pub(crate) async fn act(
    State(admin): State<Admin>,
    headers: HeaderMap,
    extensions: Extensions,
    Form(fields): Form<Fields>,
) -> Response {
    let peer = extensions.get::<Peer>().copied();
    let token = field(&fields, "token");
    let principal = match guard::admit(&admin, &headers, peer, token).await {
        Ok(principal) => principal,
        Err(refusal) => return answer(&admin, refusal.status(), refusal.detail()).await,
    };
    if !is_ours(&admin, &fields) {
        let text = "This form is not of this process's page; load the page again.";
        return answer(&admin, StatusCode::FORBIDDEN, text).await;
    }
    let Some((backend, servers, verb)) = wish(&admin, &fields) else {
        let text = "The form does not say what to do.";
        return answer(&admin, StatusCode::BAD_REQUEST, text).await;
    };
    if let Err(text) = precondition(&admin, &fields, &backend, &servers, verb) {
        return answer(&admin, StatusCode::CONFLICT, text).await;
    }
    let st = carry_out(&admin, &fields, &principal, (backend, servers, verb)).await;
    Redirect::to(&format!("/;st={st}")).into_response()
}

/// A token is proof enough; a form let through by address must know this process's key.
fn is_ours(admin: &Admin, fields: &Fields) -> bool {
    let given = field(fields, "key").unwrap_or_default();
    let by_token = matches!(admin.shared.config.acts, Acts::Token(_));
    by_token || same_bytes(admin.shared.form_key.as_bytes(), given.as_bytes())
}

/// The backend, the servers and the verb; HAProxy names a backend by name or `#iid`.
fn wish<'a>(admin: &Admin, fields: &'a Fields) -> Option<(Name, Vec<Name>, &'a str)> {
    let given = field(fields, "b")?;
    let moment = admin.moment();
    let by_id = given
        .strip_prefix('#')
        .and_then(|id| id.parse::<u32>().ok());
    let backend = match by_id {
        Some(id) => &moment.snapshot.backends.iter().find(|b| b.id == id)?.name,
        None => given,
    };
    let backend = Name::new(backend).ok()?;
    if let Some((verb, server)) = field(fields, "do").and_then(|d| d.split_once(' ')) {
        return Some((backend, vec![Name::new(server).ok()?], verb));
    }
    let named = fields.iter().filter(|(name, _)| name == "s");
    let servers: Result<Vec<Name>, _> = named.map(|(_, value)| Name::new(value)).collect();
    let servers = servers.ok().filter(|servers| !servers.is_empty())?;
    Some((backend, servers, field(fields, "action")?))
}

/// Refuses what the reader of the page could not have meant.
fn precondition(
    admin: &Admin,
    fields: &Fields,
    backend: &Name,
    servers: &[Name],
    verb: &str,
) -> Result<(), &'static str> {
    let moment = admin.moment();
    let Some(current) = moment.snapshot.backend(backend.as_str()) else {
        return Ok(());
    };
    let seen = field(fields, "version");
    if seen.is_some_and(|seen| seen != current.set_version.to_string()) {
        return Err("The set has changed since that page was shown; this is how it is. Ask again.");
    }
    let takes_out = matches!(
        admin_state(verb),
        Some(AdminState::Drain | AdminState::Maint)
    );
    let stays = |name: &str| !servers.iter().any(|s| *s == *name);
    let rest = current
        .servers
        .iter()
        .filter(|s| s.state.takes_new() && stays(&s.name));
    let forced = field(fields, "override").is_some() || field(fields, "key").is_none();
    if takes_out && current.serving() > 0 && rest.count() == 0 && !forced {
        return Err("That would leave no server that serves. Tick the box to do it all the same.");
    }
    Ok(())
}

/// HAProxy's word for how it ended.
async fn carry_out(
    admin: &Admin,
    fields: &Fields,
    principal: &Principal,
    (backend, servers, verb): (Name, Vec<Name>, &str),
) -> &'static str {
    let (mut done, asked) = (0, servers.len());
    for server in servers {
        let backend = backend.clone();
        let weight = field(fields, "weight").and_then(|w| w.parse::<WeightOrder>().ok());
        let command = match (admin_state(verb), weight) {
            (Some(state), _) => Command::SetState {
                backend,
                server,
                state,
                force: true,
            },
            (None, Some(weight)) if verb == "weight" => Command::SetWeight {
                backend,
                server,
                weight,
                force: true,
            },
            _ => return "UNKN",
        };
        done += usize::from(admin.order(command, principal.clone()).await.is_ok());
    }
    match done {
        0 => "ERRP",
        n if n < asked => "PART",
        _ => "DONE",
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// The page as it is, with a sentence on top.
async fn answer(admin: &Admin, status: StatusCode, text: &'static str) -> Response {
    let wanted = Wanted {
        what: format!("{status} {text}"),
        gzip: false,
    };
    let of = admin.clone();
    let render = move || page(&of, &PageQuery::default(), status, Some(text));
    let answer = admin.share(wanted, render).await;
    answer.map_or_else(answers::busy, Answer::into_response)
}
