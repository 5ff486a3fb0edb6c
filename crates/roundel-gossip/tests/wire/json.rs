//! Shows decoded messages in the form that the recorded decodings have.

use std::net::IpAddr;

use roundel_gossip::wire::{
    Accusation, Filter, Message, NodeRecord, NodeState, PushPull, PushPullState, Query,
    QueryResponse, RecordState, SerfMessage, Source, StreamMessage,
};
use serde_json::{Map, Value, json};

use crate::vectors::hex;

/// Compares field by field. What an older agent does not send must have its zero value in ours;
/// what was only added to a recording for reading is stepped over.
pub(crate) fn assert_same(ours: &Value, recorded: &Value, path: &str) {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            for (key, value) in recorded.iter().filter(|(key, _)| !is_added(key)) {
                let field = ours.get(key);
                let field = field.unwrap_or_else(|| panic!("{path}: {key} is missing"));
                assert_same(field, value, &format!("{path}.{key}"));
            }
            for (key, value) in ours.iter().filter(|(key, _)| !recorded.contains_key(*key)) {
                assert!(is_zero(value), "{path}: {key} is {value}, but was not sent");
            }
        }
        (Value::Array(ours), Value::Array(recorded)) => {
            assert_eq!(ours.len(), recorded.len(), "{path}: length");
            for (at, (ours, recorded)) in ours.iter().zip(recorded).enumerate() {
                assert_same(ours, recorded, &format!("{path}[{at}]"));
            }
        }
        _ => assert_eq!(ours, recorded, "{path}"),
    }
}

fn is_added(key: &str) -> bool {
    let suffixes = ["_text", "_tags"];
    suffixes.iter().any(|suffix| key.ends_with(suffix)) || key == "Payload_decoded"
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_u64() == Some(0),
        Value::String(value) => value.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The leaves of a recorded message in order, through all its layers.
pub(crate) fn leaves<'a>(recorded: &'a Value, out: &mut Vec<&'a Value>) {
    if let Some(parts) = recorded["parts"].as_array() {
        parts.iter().for_each(|part| leaves(part, out));
    } else if recorded.get("inner").is_some() {
        leaves(&recorded["inner"], out);
    } else {
        out.push(recorded);
    }
}

pub(crate) fn message(message: &Message) -> Value {
    match message {
        Message::Ping(ping) => {
            let mut body = json!({"Node": ping.node, "SeqNo": ping.seq});
            source(&ping.source, &mut body);
            leaf(0, body)
        }
        Message::IndirectPing(ping) => {
            let mut body = json!({
                "Nack": ping.nack, "Node": ping.node, "Port": ping.target.port(),
                "SeqNo": ping.seq, "Target": ip(ping.target.ip()),
            });
            source(&ping.source, &mut body);
            leaf(1, body)
        }
        Message::Ack(ack) => leaf(
            2,
            json!({"Payload": maybe_bytes(&ack.payload), "SeqNo": ack.seq}),
        ),
        Message::Nack(nack) => leaf(11, json!({"SeqNo": nack.seq})),
        Message::Suspect(accusation) => leaf(3, accused(accusation)),
        Message::Dead(accusation) => leaf(5, accused(accusation)),
        Message::Alive(node) => leaf(4, record(node, "Node")),
        Message::User(bytes) => json!({
            "type": 8, "name": "user",
            "serf": serf(&SerfMessage::decode(bytes).unwrap()),
        }),
    }
}

pub(crate) fn stream(message: &StreamMessage) -> Value {
    match message {
        StreamMessage::PushPull(state) => push_pull(state),
        StreamMessage::Ping(ping) => self::message(&Message::Ping(ping.clone())),
        StreamMessage::Ack(ack) => self::message(&Message::Ack(ack.clone())),
        StreamMessage::Error(text) => leaf(13, json!({"Error": text})),
        StreamMessage::User(_) => panic!("no agent sent a user message on a stream"),
    }
}

fn push_pull(state: &PushPull) -> Value {
    json!({
        "type": 6, "name": "push_pull", "trailing": 0,
        "header": {
            "Join": state.join, "Nodes": state.nodes.len(),
            "UserStateLen": state.user_state.len(),
        },
        "nodes": state.nodes.iter().map(node_state).collect::<Vec<_>>(),
        "user_state": serf(&SerfMessage::decode(&state.user_state).unwrap()),
    })
}

fn node_state(node: &NodeState) -> Value {
    let mut body = record(&node.record, "Name");
    body["State"] = match node.state {
        RecordState::Alive => 0,
        RecordState::Suspect => 1,
        RecordState::Dead => 2,
        RecordState::Left => 3,
    }
    .into();
    body
}

fn leaf(kind: u8, body: Value) -> Value {
    let name = match kind {
        0 => "ping",
        1 => "indirect_ping",
        2 => "ack",
        3 => "suspect",
        4 => "alive",
        5 => "dead",
        11 => "nack",
        13 => "err",
        other => panic!("{other} is no leaf"),
    };
    json!({"type": kind, "name": name, "body": body})
}

fn accused(accusation: &Accusation) -> Value {
    json!({
        "From": accusation.from, "Incarnation": accusation.incarnation, "Node": accusation.node,
    })
}

fn record(node: &NodeRecord, name_key: &str) -> Value {
    let mut body = json!({
        "Addr": ip(node.written_address().ip()), "Incarnation": node.incarnation(),
        "Meta": {"hex": hex(node.meta())}, "Port": node.address().port(),
        "Vsn": {"hex": hex(node.versions().as_bytes())},
    });
    body[name_key] = node.name().into();
    body
}

fn source(source: &Source, body: &mut Value) {
    if let Some(address) = source.address {
        body["SourceAddr"] = ip(address.ip());
        body["SourcePort"] = address.port().into();
    }
    if !source.node.is_empty() {
        body["SourceNode"] = source.node.as_str().into();
    }
}

fn serf(message: &SerfMessage) -> Value {
    let (kind, name, body) = match message {
        SerfMessage::Leave(intent) => (
            0,
            "leave",
            json!({"LTime": intent.ltime, "Node": intent.node, "Prune": intent.prune}),
        ),
        SerfMessage::Join(intent) => (
            1,
            "join",
            json!({"LTime": intent.ltime, "Node": intent.node}),
        ),
        SerfMessage::PushPull(state) => (2, "push_pull_state", serf_state(state)),
        SerfMessage::UserEvent(event) => (
            3,
            "user_event",
            json!({
                "CC": event.coalesce, "LTime": event.ltime, "Name": event.name,
                "Payload": maybe_bytes(&event.payload),
            }),
        ),
        SerfMessage::Query(query) => (4, "query", self::query(query)),
        SerfMessage::QueryResponse(answer) => (5, "query_response", response(answer)),
        SerfMessage::Relay(relay) => {
            return json!({
                "serf_type": 9, "serf_name": "relay",
                "header": {
                    "DestAddr": {
                        "IP": ip(relay.to.ip()), "Port": relay.to.port(), "Zone": "",
                    },
                    "DestName": relay.node,
                },
                "inner": serf(&SerfMessage::decode(&relay.message).unwrap()),
            });
        }
        other => payload(other),
    };
    json!({"serf_type": kind, "serf_name": name, "body": body})
}

/// The messages that stand only in payloads of queries and responses.
fn payload(message: &SerfMessage) -> (u8, &'static str, Value) {
    match message {
        SerfMessage::ConflictResponse(None) => (6, "conflict_response", Value::Null),
        SerfMessage::ConflictResponse(Some(member)) => (
            6,
            "conflict_response",
            json!({
                "Addr": ip(member.address.ip()), "Port": member.address.port(),
                "Name": member.name, "Status": member.status, "Tags": member.tags,
                "ProtocolMin": member.protocol[0], "ProtocolMax": member.protocol[1],
                "ProtocolCur": member.protocol[2], "DelegateMin": member.delegate[0],
                "DelegateMax": member.delegate[1], "DelegateCur": member.delegate[2],
            }),
        ),
        SerfMessage::KeyRequest(request) => {
            (7, "key_request", json!({"Key": {"hex": hex(&request.key)}}))
        }
        SerfMessage::KeyResponse(answer) => (
            8,
            "key_response",
            json!({
                "Keys": answer.keys, "Message": answer.message, "Result": answer.result,
                "PrimaryKey": answer.primary_key,
            }),
        ),
        other => panic!("{other:?} is no payload"),
    }
}

/// Shows a payload of a query or a response if it is one of Serf's own messages.
pub(crate) fn payload_of(message: &Message) -> Option<(Vec<u8>, Value)> {
    let Message::User(bytes) = message else {
        return None;
    };
    let payload = match SerfMessage::decode(bytes).unwrap() {
        SerfMessage::Query(query) => query.payload?,
        SerfMessage::QueryResponse(response) => response.payload?,
        _ => return None,
    };
    if !matches!(payload.first(), Some(6..=8)) {
        return None;
    }
    let shown = serf(&SerfMessage::decode(&payload).unwrap());
    Some((payload, shown))
}

fn query(query: &Query) -> Value {
    let filters: Vec<Value> = query.filters.iter().map(|raw| filter(raw)).collect();
    let raw: Vec<Value> = query
        .filters
        .iter()
        .map(|raw| json!({"hex": hex(raw)}))
        .collect();
    let mut body = json!({
        "Addr": ip(query.from.ip()), "Port": query.from.port(), "Flags": query.flags,
        "ID": query.id, "LTime": query.ltime, "Name": query.name,
        "Payload": maybe_bytes(&query.payload), "RelayFactor": query.relay_factor,
        "SourceNode": query.source_node,
        "Timeout": u64::try_from(query.timeout.as_nanos()).unwrap(),
        "Filters": if raw.is_empty() { Value::Null } else { raw.into() },
    });
    if !filters.is_empty() {
        body["Filters_decoded"] = filters.into();
    }
    body
}

fn filter(raw: &[u8]) -> Value {
    match Filter::decode(raw).unwrap() {
        Filter::Nodes(nodes) => json!({"filter_type": 0, "value": nodes}),
        Filter::Tag { tag, expr } => {
            json!({"filter_type": 1, "value": {"Expr": expr, "Tag": tag}})
        }
        Filter::Unknown(kind) => panic!("no agent sent a filter of kind {kind}"),
    }
}

fn response(answer: &QueryResponse) -> Value {
    json!({
        "Flags": answer.flags, "From": answer.from, "ID": answer.id, "LTime": answer.ltime,
        "Payload": maybe_bytes(&answer.payload),
    })
}

fn serf_state(state: &PushPullState) -> Value {
    let times: Map<String, Value> = state
        .status_ltimes
        .iter()
        .map(|(name, time)| (name.clone(), (*time).into()))
        .collect();
    let slots = state.events.as_ref();
    let events: Vec<Value> = slots
        .into_iter()
        .flatten()
        .flatten()
        .map(|group| {
            let events = group
                .events
                .iter()
                .map(|event| json!({"Name": event.name, "Payload": maybe_bytes(&event.payload)}));
            json!({"LTime": group.ltime, "Events": events.collect::<Vec<_>>()})
        })
        .collect();
    json!({
        "LTime": state.ltime, "EventLTime": state.event_ltime,
        "QueryLTime": state.query_ltime, "StatusLTimes": times,
        "LeftMembers": state.left_members, "Events": events,
        "Events_slots": slots.map(Vec::len),
    })
}

fn maybe_bytes(bytes: &Option<Vec<u8>>) -> Value {
    match bytes {
        Some(bytes) => json!({"hex": hex(bytes)}),
        None => Value::Null,
    }
}

pub(crate) fn ip(ip: IpAddr) -> Value {
    match ip {
        IpAddr::V4(v4) => json!({"hex": hex(&v4.octets())}),
        IpAddr::V6(v6) => json!({"hex": hex(&v6.octets())}),
    }
}
