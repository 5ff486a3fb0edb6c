use super::super::{Envelope, Label, Nack};
use super::*;

fn nack(seq: u32) -> Message {
    Message::Nack(Nack { seq })
}

fn decode(bytes: &[u8]) -> (Result<(), PacketError>, Packet) {
    let mut packet = Packet {
        messages: vec![nack(99)],
        rejected: Vec::new(),
    };
    let result = decode_packet(bytes, &Envelope::default(), &mut packet);
    (result, packet)
}

fn compound(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![COMPOUND, parts.len() as u8];
    for part in parts {
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
    }
    out.extend(parts.concat());
    out
}

fn checked(bytes: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(bytes).to_be_bytes();
    [&[HAS_CRC][..], &sum, bytes].concat()
}

#[test]
fn one_bad_part_spoils_only_itself() {
    let good = nack(7).encode();
    let bytes = compound(&[&good, &[], &[99, 1], &[5, 0x81], &good]);
    let (result, packet) = decode(&bytes);
    assert_eq!(result, Ok(()));
    assert_eq!(packet.messages, [nack(7), nack(7)]);
    let reasons: Vec<Reason> = packet.rejected.iter().map(|bad| bad.reason).collect();
    let expected = [
        Reason::Empty,
        Reason::UnknownType(99),
        Reason::Malformed(ReadError::Truncated),
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_compound_cut_short_keeps_its_whole_parts() {
    let good = nack(7).encode();
    let mut bytes = compound(&[&good, &good]);
    bytes.pop();
    let (result, packet) = decode(&bytes);
    assert_eq!(result, Ok(()));
    assert_eq!(packet.messages, [nack(7)]);
    assert_eq!(packet.rejected.len(), 1);
    for cut in 1..6 {
        assert_eq!(
            decode(&bytes[..cut]).0,
            Err(PacketError::Truncated),
            "{cut}"
        );
    }
}

/// Each layer stands at one place only; a deeper or repeated one is no message.
#[test]
fn layers_do_not_nest() {
    let good = nack(7).encode();
    let packed = lzw::pack_message(&good);
    let twice = lzw::pack_message(&packed);
    let inner = compound(&[&good]);
    let check = |bytes: &[u8], kind: u8| {
        let (result, packet) = decode(bytes);
        assert_eq!(result, Ok(()));
        assert_eq!(packet.messages, []);
        assert_eq!(packet.rejected[0].reason, Reason::UnknownType(kind));
    };
    check(&twice, COMPRESS);
    check(&compound(&[&inner]), COMPOUND);
    check(&compound(&[&packed]), COMPRESS);
    check(&checked(&checked(&good)), HAS_CRC);
    check(&lzw::pack_message(&checked(&good)), HAS_CRC);
    check(&compound(&[&[6, 0x80]]), 6);
    let allowed = checked(&lzw::pack_message(&compound(&[&good, &good])));
    assert_eq!(decode(&allowed).1.messages, [nack(7), nack(7)]);
}

#[test]
fn what_is_no_packet_leaves_nothing_behind() {
    let long = vec![USER_BYTE; limits::DATAGRAM + 1];
    let cases: [(&[u8], PacketError); 6] = [
        (&[], PacketError::Truncated),
        (&[HAS_CRC, 0, 0, 0], PacketError::Truncated),
        (&[HAS_CRC, 0, 0, 0, 1, 2], PacketError::Checksum),
        (&[244, 3, b'a'], PacketError::Truncated),
        (&[244, 1, b'a', 0], PacketError::Label),
        (&long, PacketError::TooLong),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(bytes), (Err(expected), Packet::default()));
    }
    assert!(decode(&long[1..]).0.is_ok());
    let bomb = lzw::pack_message(&vec![0; limits::PACKET_UNPACKED + 1]);
    let error = PacketError::Compression(UnpackError::TooLarge);
    assert_eq!(decode(&bomb).0, Err(error));
}

const USER_BYTE: u8 = 8;

#[test]
fn the_room_is_used_to_the_last_byte() {
    let labelled = Envelope {
        label: Label::new("blue").expect("short"),
        ..Envelope::default()
    };
    for (envelope, crc, overhead) in [
        (Envelope::default(), false, 0),
        (Envelope::default(), true, 5),
        (labelled.clone(), false, 6),
        (labelled, true, 11),
    ] {
        let mut writer = PacketWriter::new(&envelope, 100, crc);
        assert_eq!(writer.remaining(), 100 - overhead);
        assert!(!writer.push(&vec![8; 101 - overhead]));
        assert!(writer.push(&[8; 10]));
        assert_eq!(writer.remaining(), 100 - overhead - 10 - 2 - 4);
        let rest = writer.remaining();
        assert!(!writer.push(&vec![8; rest + 1]));
        assert!(writer.push(&vec![8; rest]));
        assert_eq!(writer.remaining(), 0);
        let bytes = writer.finish(&[0; 12]).expect("two messages");
        assert_eq!(bytes.len(), 100);
    }
}

#[test]
fn a_compound_holds_255_messages() {
    let envelope = Envelope::default();
    let mut writer = PacketWriter::new(&envelope, 60_000, false);
    let mut taken = 0;
    while writer.push(&nack(taken).encode()) {
        taken += 1;
    }
    assert_eq!(taken, 255);
    assert_eq!(writer.len(), 255);
    let bytes = writer.finish(&[0; 12]).expect("messages");
    let (_, packet) = decode(&bytes);
    assert_eq!(packet.messages, (0..255).map(nack).collect::<Vec<_>>());
}

#[test]
fn nothing_makes_no_packet() {
    let envelope = Envelope::default();
    let writer = PacketWriter::new(&envelope, 1_200, false);
    assert!(writer.is_empty());
    assert_eq!(writer.finish(&[0; 12]), None);
    let tiny = PacketWriter::new(&envelope, 0, true);
    assert_eq!(tiny.remaining(), 0);
}

#[test]
fn compression_is_used_only_when_it_helps() {
    let envelope = Envelope {
        compress: true,
        ..Envelope::default()
    };
    let short = nack(1).encode();
    assert_eq!(envelope.seal_packet(&short, false, &[0; 12]), short);
    let long = vec![8; 300];
    let sealed = envelope.seal_packet(&long, false, &[0; 12]);
    assert_eq!(sealed[0], COMPRESS);
    assert!(sealed.len() < long.len());
    assert_eq!(decode(&sealed).1.messages, [Message::User(vec![8; 299])]);
}
