//! What the fuzz targets do with their input; the ordinary tests run the corpus through the same.
//!
//! Each function panics if the codec breaks one of its promises: whatever it decodes, it encodes to
//! bytes that decode to the same again and use only markers that old agents know.

#[allow(
    clippy::disallowed_methods,
    reason = "a run begins at some instant, and all instants are alike"
)]
pub mod node;

use roundel_gossip::wire::{
    Envelope, Filter, Key, Keyring, Label, Message, Packet, Progress, SerfMessage, StreamDecoder,
    StreamMessage, decode_packet, msgpack, tags,
};

/// One datagram: under no key, under a label, and sealed with a key.
pub fn packet(data: &[u8]) {
    let mut plain = Packet::default();
    let result = decode_packet(data, &Envelope::default(), &mut plain);
    plain.messages.iter().for_each(check_message);
    let mut other = Packet::default();
    let _ = decode_packet(data, &labelled(), &mut other);
    let _ = decode_packet(data, &keyed(), &mut other);
    // Labels and checksums stand outside of what is sealed.
    if matches!(data.first(), Some(12 | 244)) || data.len() > 60_000 {
        return;
    }
    let sealed = keyed().seal_packet(data, true, &[7; 12]);
    assert_eq!(decode_packet(&sealed, &keyed(), &mut other), result);
    assert_eq!(other, plain);
}

/// One direction of a connection: the first byte says in how large pieces the rest arrives.
pub fn stream(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else {
        return;
    };
    let mut whole = StreamDecoder::new(1 << 20);
    let result = whole.feed(data, &Envelope::default());
    let mut pieces = StreamDecoder::new(1 << 20);
    let fed = data
        .chunks(usize::from(piece) + 1)
        .map(|piece| pieces.feed(piece, &Envelope::default()))
        .find(|fed| fed != &Ok(Progress::NeedMore));
    if let Ok(Progress::Message(message)) = &result {
        assert_eq!(fed.as_ref(), Some(&result));
        check_stream(message);
    }
    let _ = StreamDecoder::new(1 << 20).feed(data, &keyed());
    let _ = StreamDecoder::new(1 << 20).feed(data, &labelled());
}

/// One value: a Serf message, a filter, tags, or any msgpack.
pub fn value(data: &[u8]) {
    if let Ok(message) = SerfMessage::decode(data) {
        check_serf(&message);
    }
    if let Ok(filter) = Filter::decode(data) {
        assert_eq!(Filter::decode(&filter.encode()), Ok(filter));
    }
    if let Ok(map) = tags::decode(data)
        && let Ok(meta) = tags::encode(&map)
    {
        assert_eq!(tags::decode(&meta), Ok(map));
    }
    let mut reader = msgpack::Reader::new(data);
    while reader.skip().is_ok() {}
    msgpack::is_old_spec(data);
}

fn check_message(message: &Message) {
    let encoded = message.encode();
    assert_eq!(Message::decode(&encoded).as_ref(), Ok(message));
    match message {
        Message::User(bytes) => value(bytes),
        _ => assert!(msgpack::is_old_spec(&encoded[1..])),
    }
}

fn check_serf(message: &SerfMessage) {
    let encoded = message.encode();
    assert_eq!(SerfMessage::decode(&encoded).as_ref(), Ok(message));
    assert!(msgpack::is_old_spec(&encoded[1..]));
}

fn check_stream(message: &StreamMessage) {
    let mut sent = message.clone();
    if let StreamMessage::PushPull(state) = &mut sent {
        state.rejected.clear();
        state.rejected_count = 0;
        value(&state.user_state);
    }
    for envelope in [Envelope::default(), keyed()] {
        let sealed = envelope.seal_stream(&sent.encode(), &[9; 12]);
        let again = StreamDecoder::default().feed(&sealed, &envelope);
        assert_eq!(again, Ok(Progress::Message(sent.clone())));
    }
}

fn keyed() -> Envelope {
    let key = Key::new(&[1; 16]).expect("16 bytes are a key");
    Envelope {
        keyring: Keyring::new([key]).expect("one key fits"),
        ..Envelope::default()
    }
}

fn labelled() -> Envelope {
    Envelope {
        label: Label::new("blue").expect("a short label"),
        ..Envelope::default()
    }
}
