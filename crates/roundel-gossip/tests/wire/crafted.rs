//! Messages made by hand: the codec's verdict beside what real agents made of them.

use roundel_gossip::wire::{
    BadRecord, Envelope, Message, OpenError, Packet, PacketError, Progress, Reason, SerfMessage,
    StreamDecoder, StreamError, StreamMessage, UnpackError, decode_packet,
};
use serde_json::Value;

use crate::vectors::{bytes, envelope, load};

/// What the codec makes of one crafted message.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// All of it is handed on.
    Taken,
    /// One part or record is dropped, the rest is handed on.
    Rejected(Reason),
    /// The packet is dropped.
    Dropped(PacketError),
    /// The connection is given up.
    Refused(StreamError),
}

const FILES: [&str; 2] = ["crafted-debian-0.9.4.jsonl", "crafted-tag-0.8.2.jsonl"];

#[test]
fn verdicts_on_plain_messages() {
    for file in FILES {
        let cases = load(file);
        assert_eq!(cases.len(), 34, "{file}");
        for case in &cases {
            let name = case["case"].as_str().unwrap();
            assert_eq!(
                verdict(case, &Envelope::default()),
                expected(name),
                "{name}"
            );
        }
    }
}

/// Agents act on every message here but those that the codec turns down.
fn expected(case: &str) -> Verdict {
    let record = |bad: BadRecord| Verdict::Rejected(Reason::Record(bad));
    match case {
        "alive inc 8 in a bad CRC wrapper" => Verdict::Dropped(PacketError::Checksum),
        "packet with a label header (244)" => Verdict::Dropped(PacketError::Label),
        "compress with unknown Algo 7 (err reply)" => {
            Verdict::Refused(StreamError::Compression(UnpackError::Algorithm(7)))
        }
        "push/pull: delegate current version 6 outside [2,5]" => {
            record(BadRecord::Incompatible([1, 5, 2, 2, 6, 6]))
        }
        _ => Verdict::Taken,
    }
}

#[test]
fn verdicts_on_encrypted_messages() {
    let expected = [
        Verdict::Taken,
        Verdict::Taken,
        Verdict::Dropped(PacketError::Encryption(OpenError::TooShort)),
        Verdict::Dropped(PacketError::Encryption(OpenError::NoKey)),
        Verdict::Dropped(PacketError::Encryption(OpenError::Version(2))),
        Verdict::Taken,
        Verdict::Taken,
        Verdict::Refused(StreamError::Encryption(OpenError::NoKey)),
        Verdict::Refused(StreamError::NotEncrypted),
    ];
    let keys = envelope("debian-0.9.4-encrypt.jsonl", 0);
    for file in [
        "crafted-encrypt-debian-0.9.4.jsonl",
        "crafted-encrypt-tag-0.8.2.jsonl",
    ] {
        let cases = load(file);
        assert_eq!(cases.len(), expected.len(), "{file}");
        for (case, expected) in cases.iter().zip(&expected) {
            assert_eq!(&verdict(case, &keys), expected, "{}", case["case"]);
        }
    }
}

#[test]
fn every_reply_of_an_agent_decodes() {
    let keys = envelope("debian-0.9.4-encrypt.jsonl", 0);
    let mut replies = 0;
    for file in FILES {
        for case in load(file) {
            replies += usize::from(check_reply(&case, &Envelope::default()));
        }
    }
    for file in [
        "crafted-encrypt-debian-0.9.4.jsonl",
        "crafted-encrypt-tag-0.8.2.jsonl",
    ] {
        for case in load(file) {
            replies += usize::from(check_reply(&case, &keys));
        }
    }
    assert!(replies > 30, "{replies}");
}

#[test]
fn the_leave_race_decodes() {
    for file in [
        "crafted-leave-race-debian-0.9.4.jsonl",
        "crafted-leave-race-tag-0.8.2.jsonl",
    ] {
        let cases = load(file);
        assert_eq!(cases.len(), 8);
        for case in &cases {
            assert_eq!(verdict(case, &Envelope::default()), Verdict::Taken);
        }
        let race = serf_state(&cases[1]);
        let cure = serf_state(&cases[5]);
        assert_eq!(race, (vec![("rd1".to_owned(), 80)], Vec::new()));
        let left = vec!["rd1".to_owned()];
        assert_eq!(cure, (vec![("rd1".to_owned(), 79)], left));
    }
}

fn serf_state(case: &Value) -> (Vec<(String, u64)>, Vec<String>) {
    let Progress::Message(StreamMessage::PushPull(state)) = feed(case) else {
        panic!("no push/pull: {case}");
    };
    let SerfMessage::PushPull(state) = SerfMessage::decode(&state.user_state).unwrap() else {
        panic!("no state: {case}");
    };
    (state.status_ltimes, state.left_members)
}

fn feed(case: &Value) -> Progress {
    let wire = bytes(&case["sent_hex"]);
    let fed = StreamDecoder::default().feed(&wire, &Envelope::default());
    fed.unwrap()
}

fn verdict(case: &Value, envelope: &Envelope) -> Verdict {
    let wire = bytes(&case["sent_hex"]);
    if case["transport"] == "udp" {
        let mut packet = Packet::default();
        return match decode_packet(&wire, envelope, &mut packet) {
            Err(error) => Verdict::Dropped(error),
            Ok(()) => packet_verdict(&packet),
        };
    }
    match StreamDecoder::default().feed(&wire, envelope) {
        Err(error) => Verdict::Refused(error),
        Ok(Progress::NeedMore) => panic!("not whole: {case}"),
        Ok(Progress::Message(StreamMessage::PushPull(state))) if state.rejected_count > 0 => {
            assert_eq!(state.rejected.len(), state.rejected_count);
            Verdict::Rejected(state.rejected[0].reason)
        }
        Ok(Progress::Message(_)) => Verdict::Taken,
    }
}

fn packet_verdict(packet: &Packet) -> Verdict {
    if let Some(rejected) = packet.rejected.first() {
        return Verdict::Rejected(rejected.reason);
    }
    for message in &packet.messages {
        if let Message::User(bytes) = message {
            SerfMessage::decode(bytes).unwrap();
        }
    }
    assert!(!packet.messages.is_empty());
    Verdict::Taken
}

fn check_reply(case: &Value, envelope: &Envelope) -> bool {
    let wire = bytes(&case["reply_hex"]);
    if wire.is_empty() {
        return false;
    }
    if case["transport"] == "udp" {
        let mut packet = Packet::default();
        decode_packet(&wire, envelope, &mut packet).unwrap();
        assert_eq!(packet_verdict(&packet), Verdict::Taken);
    } else {
        let progress = StreamDecoder::default().feed(&wire, envelope).unwrap();
        assert_ne!(progress, Progress::NeedMore, "{case}");
    }
    true
}
