//! Orders that are carried out by all members of the gossip.

use std::collections::BTreeMap;

use roundel_admin::command::{Command, CommandError, KeyVerb, Outcome, Query, Secret};
use roundel_gossip_tokio::{Handle, KeyAct, KeyReport, QueryParams, SayError, parse_key};
use roundel_model::EventKind;
use serde_json::json;
use tokio::sync::oneshot;

use crate::event_log::EventLog;

pub(crate) type Answer = Result<Outcome, CommandError>;

/// Carries an order out beside the control task, as answers take seconds.
pub(crate) fn carry_out(
    handle: &Handle,
    log: EventLog,
    command: Command,
    who: String,
    reply: oneshot::Sender<Answer>,
) {
    let handle = handle.clone();
    tokio::spawn(async move {
        let answer = match command {
            Command::Join { addresses } => {
                let text = format!("join {} ordered by {who}", addresses.join(", "));
                log.add(EventKind::Admin, handle.name().to_string(), text, None);
                match handle.join(addresses).await {
                    Ok(n) => Ok(outcome(
                        format!("joined through {n} of the addresses"),
                        None,
                    )),
                    Err(error) => Err(CommandError::Unreachable(error.to_string())),
                }
            }
            Command::Leave { member: None } => {
                let text = format!("leave ordered by {who}");
                log.add(EventKind::Admin, handle.name().to_string(), text, None);
                handle.leave().await;
                let text = "left the gossip; traffic is still served".to_owned();
                Ok(outcome(text, None))
            }
            Command::Leave { member: Some(_) } => Err(CommandError::Refused(
                "This version cannot remove a failed member; it is forgotten by itself.".to_owned(),
            )),
            Command::Query(query) => {
                // Names are whatever an operator writes.
                let text = format!("query {} ordered by {who}", query.name.escape_default());
                log.add(EventKind::Admin, handle.name().to_string(), text, None);
                ask(&handle, query).await
            }
            Command::UserEvent {
                name,
                payload,
                coalesce,
            } => {
                let text = format!("event {} ordered by {who}", name.escape_default());
                log.add(EventKind::Admin, handle.name().to_string(), text, None);
                let said = handle.user_event(&name, payload.into_bytes(), coalesce);
                let text = format!("event {name} announced");
                said.await.map(|()| outcome(text, None)).map_err(refused)
            }
            Command::Keys { act, key } => {
                let text = format!("{} key ordered by {who}", act.as_str());
                log.add(EventKind::Admin, handle.name().to_string(), text, None);
                keys(&handle, act, &key).await
            }
            _ => Err(CommandError::Refused(
                "Not an act on the cluster.".to_owned(),
            )),
        };
        // Whoever asked may be gone.
        let _ = reply.send(answer);
    });
}

async fn ask(handle: &Handle, query: Query) -> Answer {
    let params = QueryParams {
        name: query.name,
        payload: query.payload.into_bytes(),
        nodes: query.nodes,
        tags: query.tags,
        ack: query.ack,
        relay_factor: query.relay_factor,
        timeout: query.timeout,
        direct: false,
    };
    let mut answers = handle.query(params).await.map_err(refused)?;
    let (mut acks, mut said) = (Vec::new(), BTreeMap::new());
    while let Some(answer) = answers.next().await {
        match answer.payload {
            None => acks.push(answer.from),
            Some(payload) => {
                let text = String::from_utf8_lossy(&payload).into_owned();
                said.insert(answer.from, text);
            }
        }
    }
    let text = format!("{} acknowledged, {} answered", acks.len(), said.len());
    let data = json!({ "acks": acks, "responses": said });
    Ok(outcome(text, Some(data)))
}

async fn keys(handle: &Handle, verb: KeyVerb, key: &Secret) -> Answer {
    let key = match verb {
        KeyVerb::List => Vec::new(),
        _ => parse_key(&key.0).ok_or_else(|| {
            CommandError::Refused("A key is base64 of 16, 24 or 32 bytes.".to_owned())
        })?,
    };
    let act = match verb {
        KeyVerb::Install => KeyAct::Install(key),
        KeyVerb::Use => KeyAct::Use(key),
        KeyVerb::Remove => KeyAct::Remove(key),
        KeyVerb::List => KeyAct::List,
    };
    let report = handle.keys(&act).await.map_err(refused)?;
    let data = json!({
        "members": report.asked,
        "answered": report.answered,
        "refused": report.refused,
        "notes": report.notes,
        "silent": report.silent,
        "keys": report.keys,
        "primary": report.primary,
    });
    if report.is_complete() {
        let text = format!("{} of {} members did it", report.answered, report.asked);
        return Ok(outcome(text, Some(data)));
    }
    Err(CommandError::Refused(complaint(&report)))
}

/// Which members did not do it, and why.
fn complaint(report: &KeyReport) -> String {
    let refused = report.refused.iter();
    let refused = refused.map(|(name, why)| format!("{name}: {}", why.escape_default()));
    let silent = report
        .silent
        .iter()
        .map(|name| format!("{name}: no answer"));
    let each: Vec<String> = refused.chain(silent).take(20).collect();
    let failed = report.refused.len() + report.silent.len();
    format!(
        "{failed} of {} members did not: {}",
        report.asked,
        each.join("; ")
    )
}

fn refused(error: SayError) -> CommandError {
    CommandError::Refused(format!("The gossip refuses: {error}."))
}

fn outcome(text: String, data: Option<serde_json::Value>) -> Outcome {
    Outcome {
        text,
        data,
        ..Outcome::default()
    }
}
