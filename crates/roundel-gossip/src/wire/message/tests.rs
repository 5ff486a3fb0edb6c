use super::*;

/// Builds a message of the given type whose map has `fields`, each a key and an encoded value.
fn body(kind: u8, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![kind];
    Writer::new(&mut out).map(fields.len());
    for (key, value) in fields {
        Writer::new(&mut out).key(key);
        out.extend_from_slice(value);
    }
    out
}

fn reason(bytes: &[u8]) -> Reason {
    Message::decode(bytes).unwrap_err().reason
}

#[test]
fn absent_fields_are_zero() {
    let ping = Message::Ping(Ping::default());
    assert_eq!(Message::decode(&body(PING, &[])), Ok(ping.clone()));
    let nil = body(PING, &[("Node", &[0xc0]), ("SeqNo", &[0xc0])]);
    assert_eq!(Message::decode(&nil), Ok(ping.clone()));
    assert_eq!(Message::decode(&[PING, 0xc0]), Ok(ping));
    let nack = Message::Nack(Nack::default());
    assert_eq!(Message::decode(&body(NACK, &[])), Ok(nack));
    let dead = Message::Dead(Accusation::default());
    assert_eq!(Message::decode(&body(DEAD, &[])), Ok(dead));
}

#[test]
fn unknown_fields_and_trailing_bytes_are_ignored() {
    let nested = b"\x92\x81\xa1a\x01\xc4\x01x";
    let mut bytes = body(NACK, &[("Zzz", nested), ("SeqNo", &[7]), ("", &[0xc0])]);
    bytes.extend_from_slice(&[1, 2, 3]);
    let nack = Message::Nack(Nack { seq: 7 });
    assert_eq!(Message::decode(&bytes), Ok(nack));
}

/// An ack goes to the address in the ping only if all of it is there.
#[test]
fn a_source_needs_its_port() {
    let check = |fields: &[(&str, &[u8])], expected: Option<&str>| {
        let Ok(Message::Ping(ping)) = Message::decode(&body(PING, fields)) else {
            panic!("no ping: {fields:?}");
        };
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(ping.source.address, expected, "{fields:?}");
    };
    let ip: (&str, &[u8]) = ("SourceAddr", &[0xa4, 10, 0, 0, 1]);
    check(&[ip, ("SourcePort", &[9])], Some("10.0.0.1:9"));
    check(&[ip, ("SourcePort", &[0])], None);
    check(&[ip], None);
    check(&[("SourcePort", &[9])], None);
    check(&[("SourceAddr", &[0xa2, 1, 2]), ("SourcePort", &[9])], None);
}

#[test]
fn malformed_messages_are_told_apart() {
    let kind = |expected, found| Reason::Malformed(ReadError::Kind { expected, found });
    assert_eq!(reason(&[]), Reason::Empty);
    assert_eq!(reason(&[PING]), Reason::Malformed(ReadError::Truncated));
    assert_eq!(reason(&[PING, 0x90]), kind("a map", 0x90));
    assert_eq!(reason(&[ENCRYPT, 0x80]), Reason::UnknownType(ENCRYPT));
    assert_eq!(reason(&[HAS_LABEL]), Reason::UnknownType(HAS_LABEL));
    let long = Reason::Malformed(ReadError::TooLong(256));
    let mut name = vec![0xda, 1, 0];
    name.resize(3 + 256, b'n');
    assert_eq!(reason(&body(DEAD, &[("Node", &name)])), long);
    let negative = body(NACK, &[("SeqNo", &[0xff])]);
    assert_eq!(reason(&negative), Reason::Malformed(ReadError::Range));
    let target = body(INDIRECT_PING, &[("Target", &[0xa1, 1])]);
    assert_eq!(reason(&target), BadRecord::AddressLength(1).into());
}

#[test]
fn user_messages_are_opaque() {
    let bytes = [USER, 0xff, 0, 1];
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message, Message::User(vec![0xff, 0, 1]));
    assert_eq!(message.encode(), bytes);
}
