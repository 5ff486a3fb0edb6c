//! Every recorded datagram and stream decodes to what was recorded, and encodes to the same bytes.

use roundel_gossip::wire::{
    Envelope, Message, Nonce, Packet, Progress, PushPull, SerfMessage, StreamDecoder,
    StreamMessage, decode_packet, msgpack, tags,
};
use serde_json::Value;

use crate::json;
use crate::vectors::{RECORDED, bytes, envelope, hex, load};

/// Vectors in all files, so that a lost file or line is noticed.
const TOTAL: usize = 714;

#[test]
fn decode_to_what_was_recorded() {
    let mut count = 0;
    for file in RECORDED {
        for vector in load(file) {
            let id = vector["id"].as_str().unwrap();
            let envelope = envelope_of(file, &vector);
            let recorded = &vector["decoded"]["message"];
            if vector["transport"] == "udp" {
                check_packet(id, &bytes(&vector["hex"]), &envelope, recorded);
            } else {
                check_stream(id, &bytes(&vector["hex"]), &envelope, recorded);
            }
            count += 1;
        }
    }
    assert_eq!(count, TOTAL);
}

#[test]
fn encode_to_the_same_bytes() {
    let mut same = 0;
    for file in RECORDED {
        for vector in load(file) {
            let id = vector["id"].as_str().unwrap();
            let wire = bytes(&vector["hex"]);
            let envelope = envelope_of(file, &vector);
            let plain = plain_bytes(&vector);
            let again = if vector["transport"] == "udp" {
                plain_packet(&decode(&wire, &envelope).messages)
            } else {
                feed(&wire, &envelope).encode()
            };
            assert_eq!(hex(&again), hex(&plain), "{id}");
            same += 1;
        }
    }
    assert_eq!(same, TOTAL);
}

/// The layers around a message come out as the agent wrote them, the recorded nonce given.
#[test]
fn seal_to_the_same_bytes() {
    for file in RECORDED {
        for vector in load(file) {
            let id = vector["id"].as_str().unwrap();
            let wire = bytes(&vector["hex"]);
            let recorded = &vector["decoded"];
            let mut envelope = envelope_of(file, &vector);
            envelope.compress = has_layer(&recorded["message"], "compress");
            let plain = plain_bytes(&vector);
            let udp = vector["transport"] == "udp";
            let nonce_at = if udp { 1 } else { 6 };
            let nonce: Nonce = match recorded.get("encrypted") {
                Some(_) => wire[nonce_at..nonce_at + 12].try_into().unwrap(),
                None => [0; 12],
            };
            let again = if udp {
                let crc = has_layer(&recorded["message"], "has_crc");
                envelope.seal_packet(&plain, crc, &nonce)
            } else {
                envelope.seal_stream(&plain, &nonce)
            };
            assert_eq!(hex(&again), hex(&wire), "{id}");
        }
    }
}

#[test]
fn serf_messages_encode_to_the_same_bytes() {
    let (mut same, mut newer) = (0, 0);
    for file in RECORDED {
        for vector in load(file) {
            for raw in serf_bytes(&vector, &envelope_of(file, &vector)) {
                let message = SerfMessage::decode(&raw).unwrap();
                let again = message.encode();
                assert_eq!(SerfMessage::decode(&again).unwrap(), message);
                assert_old_spec(&message, &again);
                if again == raw {
                    same += 1;
                } else {
                    assert!(may_differ(&message, file), "{} {message:?}", vector["id"]);
                    newer += 1;
                }
            }
        }
    }
    assert!(same > 400, "only {same} the same, {newer} in a newer form");
}

/// An agent on its default bind writes its IPv4 address in 16 bytes; so it is written back.
#[test]
fn an_address_of_sixteen_bytes_keeps_its_form() {
    let vector = &load("default-bind-debian-0.9.4.jsonl")[0];
    let answer = feed(&bytes(&vector["reply_hex"]), &Envelope::default());
    let recorded = &vector["reply_decoded"]["message"]["inner"];
    assert_eq!(
        hex(&answer.encode()),
        vector["reply_decoded"]["message"]["inner_hex"]
    );
    let StreamMessage::PushPull(state) = answer else {
        panic!("{answer:?}");
    };
    let record = &state.nodes[0].record;
    assert_eq!(record.address(), "10.99.0.1:7946".parse().unwrap());
    let written = record.written_address().ip();
    assert_eq!(json::ip(written), recorded["nodes"][0]["Addr"]);
}

/// A stream that comes byte by byte yields the same as one that comes at once.
#[test]
fn streams_decode_in_any_pieces() {
    for file in RECORDED {
        let vectors = load(file).into_iter();
        for vector in vectors.filter(|vector| vector["transport"] == "tcp") {
            let wire = bytes(&vector["hex"]);
            let envelope = envelope_of(file, &vector);
            let whole = feed(&wire, &envelope);
            let mut decoder = StreamDecoder::default();
            let (last, first) = wire.split_last().unwrap();
            for byte in first {
                let progress = decoder.feed(&[*byte], &envelope).unwrap();
                assert_eq!(progress, Progress::NeedMore, "{}", vector["id"]);
            }
            let progress = decoder.feed(&[*last], &envelope).unwrap();
            assert_eq!(progress, Progress::Message(whole), "{}", vector["id"]);
        }
    }
}

fn check_packet(id: &str, wire: &[u8], envelope: &Envelope, recorded: &Value) {
    let packet = decode(wire, envelope);
    let mut leaves = Vec::new();
    json::leaves(recorded, &mut leaves);
    assert_eq!(packet.messages.len(), leaves.len(), "{id}");
    for (message, leaf) in packet.messages.iter().zip(leaves) {
        json::assert_same(&json::message(message), leaf, id);
        check_tags(message, leaf, id);
        if let Some((_, shown)) = json::payload_of(message) {
            json::assert_same(&shown, &leaf["serf"]["body"]["Payload_decoded"], id);
        }
    }
}

fn check_stream(id: &str, wire: &[u8], envelope: &Envelope, recorded: &Value) {
    let mut leaves = Vec::new();
    json::leaves(recorded, &mut leaves);
    let ours = feed(wire, envelope);
    json::assert_same(&json::stream(&ours), leaves[0], id);
    if let StreamMessage::PushPull(PushPull { nodes, .. }) = &ours {
        for (node, recorded) in nodes.iter().zip(leaves[0]["nodes"].as_array().unwrap()) {
            let tags = tags::decode(node.record.meta()).unwrap();
            assert_eq!(serde_json::json!(tags), recorded["Meta_tags"], "{id}");
        }
    }
}

fn check_tags(message: &Message, leaf: &Value, id: &str) {
    if let Message::Alive(record) = message {
        let tags = tags::decode(record.meta()).unwrap();
        assert_eq!(serde_json::json!(tags), leaf["body"]["Meta_tags"], "{id}");
    }
}

fn decode(wire: &[u8], envelope: &Envelope) -> Packet {
    let mut packet = Packet::default();
    decode_packet(wire, envelope, &mut packet).unwrap();
    assert_eq!(packet.rejected, []);
    packet
}

fn feed(wire: &[u8], envelope: &Envelope) -> StreamMessage {
    match StreamDecoder::default().feed(wire, envelope).unwrap() {
        Progress::Message(message) => message,
        Progress::NeedMore => panic!("{} is not whole", hex(wire)),
    }
}

fn envelope_of(file: &str, vector: &Value) -> Envelope {
    let index = vector["key_index"].as_u64().unwrap_or(0);
    envelope(file, index as usize)
}

/// The message or compound inside all layers, as the agent wrote it.
fn plain_bytes(vector: &Value) -> Vec<u8> {
    let decoded = &vector["decoded"];
    let mut plain = match &decoded["encrypted"]["plain_hex"] {
        Value::String(text) => crate::vectors::unhex(text),
        _ => bytes(&vector["hex"]),
    };
    let mut layer = &decoded["message"];
    if layer["name"] == "has_crc" {
        plain.drain(..5);
        layer = &layer["inner"];
    }
    if layer["name"] == "compress" {
        plain = bytes(&layer["inner_hex"]);
    }
    plain
}

fn has_layer(recorded: &Value, name: &str) -> bool {
    recorded["name"] == name
        || recorded
            .get("inner")
            .is_some_and(|inner| has_layer(inner, name))
}

/// Frames messages as agents do.
fn plain_packet(messages: &[Message]) -> Vec<u8> {
    if let [message] = messages {
        return message.encode();
    }
    let bodies: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
    let mut out = vec![7, bodies.len() as u8];
    for body in &bodies {
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    }
    out.extend(bodies.concat());
    out
}

/// Every Serf message in a vector: user messages, states, relayed messages and payloads.
fn serf_bytes(vector: &Value, envelope: &Envelope) -> Vec<Vec<u8>> {
    let wire = bytes(&vector["hex"]);
    if vector["transport"] == "tcp" {
        return match feed(&wire, envelope) {
            StreamMessage::PushPull(state) => vec![state.user_state],
            _ => Vec::new(),
        };
    }
    let mut all = Vec::new();
    for message in &decode(&wire, envelope).messages {
        all.extend(json::payload_of(message).map(|(raw, _)| raw));
        if let Message::User(raw) = message {
            all.push(raw.clone());
            if let SerfMessage::Relay(relay) = SerfMessage::decode(raw).unwrap() {
                all.push(relay.message);
            }
        }
    }
    all
}

/// Agents write tags in random order, and 0.8.2 lacks some fields that we always send.
fn may_differ(message: &SerfMessage, file: &str) -> bool {
    match message {
        SerfMessage::ConflictResponse(Some(member)) => member.tags.len() > 1,
        SerfMessage::Leave(_)
        | SerfMessage::Query(_)
        | SerfMessage::Relay(_)
        | SerfMessage::KeyResponse(_) => file.starts_with("tag-0.8.2"),
        _ => false,
    }
}

fn assert_old_spec(message: &SerfMessage, encoded: &[u8]) {
    assert!(msgpack::is_old_spec(&encoded[1..]), "{message:?}");
}
