use super::super::Reason;
use super::super::message::{COMPOUND, HAS_LABEL};
use super::super::{BadRecord, Key, Keyring, NodeRecord, RecordState, Versions};
use super::*;

fn feed(bytes: &[u8]) -> Result<Progress, StreamError> {
    StreamDecoder::default().feed(bytes, &Envelope::default())
}

fn keyed() -> Envelope {
    let key = Key::new(&[1; 32]).unwrap();
    Envelope {
        keyring: Keyring::new([key]).unwrap(),
        ..Envelope::default()
    }
}

fn node(name: &str) -> NodeState {
    let address = "10.0.0.1:7946".parse().unwrap();
    let record = NodeRecord::new(name.into(), address, Vec::new(), 1, Versions::SERF);
    NodeState {
        record: record.unwrap(),
        state: RecordState::Alive,
    }
}

fn header(nodes: u64, state_len: u64) -> Vec<u8> {
    let mut out = vec![PUSH_PULL];
    let mut w = Writer::new(&mut out);
    w.map(2);
    w.key("Nodes");
    w.uint(nodes);
    w.key("UserStateLen");
    w.uint(state_len);
    out
}

/// Appends a record in a state that there is not.
fn bad_record(out: &mut Vec<u8>, name: &str) {
    let mut w = Writer::new(out);
    w.map(4);
    w.key("Addr");
    w.raw(&[10, 0, 0, 2]);
    w.key("Name");
    w.raw(name.as_bytes());
    w.key("State");
    w.uint(9);
    w.key("Vsn");
    w.raw(Versions::SERF.as_bytes());
}

#[test]
fn a_bad_record_spoils_only_itself() {
    let mut bytes = header(102, 3);
    node("first").as_ref().write(&mut Writer::new(&mut bytes));
    (0..100).for_each(|_| bad_record(&mut bytes, "bad"));
    node("last").as_ref().write(&mut Writer::new(&mut bytes));
    bytes.extend_from_slice(b"abc");
    let Ok(Progress::Message(StreamMessage::PushPull(state))) = feed(&bytes) else {
        panic!("no push/pull");
    };
    assert_eq!(state.nodes, [node("first"), node("last")]);
    assert_eq!(state.user_state, b"abc");
    assert_eq!(state.rejected_count, 100);
    assert_eq!(state.rejected.len(), limits::REJECTED);
    assert_eq!(state.rejected[0].name, "bad");
    let reason = Reason::Record(BadRecord::UnknownState(9));
    assert_eq!(state.rejected[0].reason, reason);
}

#[test]
fn a_record_that_is_no_map_spoils_only_itself() {
    let mut bytes = header(3, 0);
    bytes.extend_from_slice(&[0x93, 1, 2, 3]);
    node("good").as_ref().write(&mut Writer::new(&mut bytes));
    bytes.push(0xc0);
    let Ok(Progress::Message(StreamMessage::PushPull(state))) = feed(&bytes) else {
        panic!("no push/pull");
    };
    assert_eq!(state.nodes, [node("good")]);
    assert_eq!(state.rejected_count, 2);
}

#[test]
fn announced_sizes_are_bounded() {
    let nodes = limits::PUSH_PULL_NODES as u64;
    let state = limits::USER_STATE as u64;
    assert_eq!(feed(&header(nodes, state)), Ok(Progress::NeedMore));
    assert_eq!(feed(&header(nodes + 1, 0)), Err(StreamError::TooLarge));
    assert_eq!(feed(&header(0, state + 1)), Err(StreamError::TooLarge));
    let user = StreamMessage::User(Vec::new()).encode();
    let mut long = user[..user.len() - 1].to_vec();
    long.extend_from_slice(&[0xce, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(feed(&long), Err(StreamError::TooLarge));
    let frame = [ENCRYPT, 0x01, 0x40, 0, 1];
    let result = StreamDecoder::default().feed(&frame, &keyed());
    assert_eq!(result, Err(StreamError::TooLong));
    let result = StreamDecoder::new(4).feed(&[0x81; 5], &Envelope::default());
    assert_eq!(result, Err(StreamError::TooLong));
}

/// A map that never ends is given up long before the limit of the stream.
#[test]
fn a_small_map_must_be_small() {
    let payload = [&[ACK, 0x82, 0xa7][..], b"Payload", &[0xdb, 0, 0x10, 0, 0]].concat();
    assert_eq!(feed(&payload), Ok(Progress::NeedMore));
    let long = [payload, vec![0; limits::STREAM_MAP]].concat();
    assert_eq!(feed(&long), Err(StreamError::TooLarge));
    let wide = [&[PING, 0xde, 0xff, 0xff][..], &[0; 100]].concat();
    assert_eq!(feed(&wide), Err(ReadError::Count.into()));
}

#[test]
fn layers_have_one_order() {
    let ping = StreamMessage::Ping(Ping::default());
    let compress = Envelope {
        compress: true,
        ..Envelope::default()
    };
    let packed = lzw::pack_message(&ping.encode());
    assert_eq!(compress.seal_stream(&ping.encode(), &[0; 12]), packed);
    assert_eq!(feed(&packed), Ok(Progress::Message(ping.clone())));
    let unknown = |kind| Err(StreamError::UnknownType(kind));
    assert_eq!(feed(&lzw::pack_message(&packed)), unknown(COMPRESS));
    assert_eq!(feed(&[COMPOUND]), unknown(COMPOUND));
    assert_eq!(feed(&[200]), unknown(200));
    let frame = keyed().seal_stream(&ping.encode(), &[0; 12]);
    assert_eq!(feed(&frame), Err(StreamError::Encrypted));
    let nested = keyed().seal_stream(&frame, &[0; 12]);
    let result = StreamDecoder::default().feed(&nested, &keyed());
    assert_eq!(result, unknown(ENCRYPT));
}

#[test]
fn a_message_cut_short_inside_a_layer_is_an_error() {
    let ping = StreamMessage::Ping(Ping::default()).encode();
    let cut = &ping[..ping.len() - 1];
    assert_eq!(feed(cut), Ok(Progress::NeedMore));
    let truncated = Err(StreamError::Malformed(ReadError::Truncated));
    assert_eq!(feed(&lzw::pack_message(cut)), truncated);
    let frame = keyed().seal_stream(cut, &[0; 12]);
    assert_eq!(StreamDecoder::default().feed(&frame, &keyed()), truncated);
}

#[test]
fn plain_text_is_refused_where_there_is_a_key() {
    let ping = StreamMessage::Ping(Ping::default()).encode();
    let result = StreamDecoder::default().feed(&ping, &keyed());
    assert_eq!(result, Err(StreamError::NotEncrypted));
}

#[test]
fn labels_are_waited_for() {
    let labelled = Envelope {
        label: super::super::Label::new("blue").unwrap(),
        ..Envelope::default()
    };
    let ack = StreamMessage::Ack(Ack::default());
    let bytes = labelled.seal_stream(&ack.encode(), &[0; 12]);
    assert_eq!(bytes[..6], [HAS_LABEL, 4, b'b', b'l', b'u', b'e']);
    for cut in 0..bytes.len() {
        let result = StreamDecoder::default().feed(&bytes[..cut], &labelled);
        assert_eq!(result, Ok(Progress::NeedMore), "{cut}");
    }
    let result = StreamDecoder::default().feed(&bytes, &labelled);
    assert_eq!(result, Ok(Progress::Message(ack)));
    assert_eq!(feed(&bytes), Err(StreamError::Label));
    let bare = StreamDecoder::default().feed(&bytes[6..], &labelled);
    assert_eq!(bare, Err(StreamError::Label));
}

#[test]
fn what_comes_after_the_message_is_ignored() {
    let ack = StreamMessage::Ack(Ack::default());
    let mut decoder = StreamDecoder::default();
    assert!(decoder.is_empty());
    let bytes = [ack.encode(), vec![1, 2, 3]].concat();
    let envelope = Envelope::default();
    assert_eq!(decoder.feed(&bytes, &envelope), Ok(Progress::Message(ack)));
    assert_eq!(decoder.feed(&[200; 9], &envelope), Ok(Progress::NeedMore));
    let mut failed = StreamDecoder::default();
    assert!(failed.feed(&[200], &envelope).is_err());
    assert_eq!(failed.feed(&[200], &envelope), Ok(Progress::NeedMore));
}

#[test]
fn long_error_texts_are_cut() {
    let text = "x".repeat(5_000);
    let bytes = StreamMessage::Error(text).encode();
    let cut = "x".repeat(limits::ERROR_TEXT);
    let expected = StreamMessage::Error(cut);
    assert_eq!(feed(&bytes), Ok(Progress::Message(expected)));
}

/// Feeds all in pieces and gives the most that was held on the way, and how it ended.
fn feed_in(room: usize, bytes: &[u8], envelope: &Envelope) -> (usize, Result<(), StreamError>) {
    let mut decoder = StreamDecoder::default();
    decoder.set_room(room);
    let mut most = 0;
    for piece in bytes.chunks(1000) {
        match decoder.feed(piece, envelope) {
            Ok(Progress::NeedMore) => most = most.max(decoder.held()),
            Ok(Progress::Message(_)) => return (most, Ok(())),
            Err(error) => return (most, Err(error)),
        }
    }
    panic!("no end");
}

#[test]
fn a_decoder_keeps_within_its_room() {
    let nodes = |n: usize| (0..n).map(|i| node(&format!("node-{i}"))).collect();
    let message = |user_state: Vec<u8>| PushPull {
        nodes: nodes(1000),
        user_state,
        ..PushPull::default()
    };
    let small = StreamMessage::PushPull(message(Vec::new())).encode();
    let large = StreamMessage::PushPull(message(vec![7; 200_000])).encode();
    let packing = Envelope {
        compress: true,
        ..Envelope::default()
    };
    let plain = Envelope::default();
    for (message, envelope) in [
        (&small, &plain),
        (&large, &plain),
        (&small, &packing),
        (&small, &keyed()),
    ] {
        let wire = envelope.seal_stream(message, &[0; 12]);
        let (most, done) = feed_in(usize::MAX, &wire, envelope);
        assert!(done.is_ok() && most > 0);
        for room in [0, 5_000, 50_000, 150_000] {
            let (most, done) = feed_in(room, &wire, envelope);
            assert_eq!(done, Err(StreamError::NoRoom), "{room}");
            assert!(most <= room, "{most} of {room}");
        }
        assert!(feed_in(1_500_000, &wire, envelope).1.is_ok());
    }
}

/// The bytes of records that were read are not kept beside them.
#[test]
fn what_was_read_is_given_back() {
    let mut bytes = header(20_000, 0);
    for _ in 0..20_000 {
        bad_record(&mut bytes, &"x".repeat(200));
    }
    let mut decoder = StreamDecoder::default();
    for piece in bytes.chunks(16 << 10) {
        let _ = decoder.feed(piece, &Envelope::default()).unwrap();
        assert!(decoder.buffer.capacity() < 80 << 10);
    }
    assert!(matches!(decoder.stage, Stage::Done));
}

/// What is to come as one piece is refused before it comes.
#[test]
fn a_length_that_has_no_room_is_refused_at_once() {
    let check = |start: &[u8], envelope: &Envelope| {
        let mut decoder = StreamDecoder::default();
        decoder.set_room(100_000);
        decoder.feed(start, envelope)
    };
    let no_room = Err(StreamError::NoRoom);
    assert_eq!(check(&[ENCRYPT, 0, 1, 0, 0], &keyed()), no_room);
    assert_eq!(
        check(&[ENCRYPT, 0, 0, 0x80, 0], &keyed()),
        Ok(Progress::NeedMore)
    );
    let plain = Envelope::default();
    assert_eq!(check(&header(0, 60_000), &plain), no_room);
    assert_eq!(check(&header(0, 40_000), &plain), Ok(Progress::NeedMore));
    let bomb = lzw::pack_message(&vec![0; 8 << 20]);
    assert_eq!(check(&bomb, &plain), no_room);
}
