//! Hostile input of the largest sizes must not take memory beyond what `wire::limits` says.
//!
//! A test program of its own, so that no other test's memory is measured.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use roundel_gossip::wire::{
    Envelope, Packet, SerfMessage, StreamDecoder, decode_packet, limits, tags,
};

/// The most memory this process has ever held, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes: usize = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .unwrap();
    kilobytes << 10
}

fn datagram(bytes: &[u8]) {
    let mut packet = Packet::default();
    let _ = decode_packet(bytes, &Envelope::default(), &mut packet);
}

fn connection(bytes: &[u8]) {
    let mut decoder = StreamDecoder::default();
    for piece in bytes.chunks(64 << 10) {
        let _ = decoder.feed(piece, &Envelope::default());
    }
}

#[test]
fn memory_stays_in_proportion() {
    let compress = Envelope {
        compress: true,
        ..Envelope::default()
    };
    let zeros = vec![0; limits::STREAM_UNPACKED + (1 << 20)];
    let bomb = compress.seal_packet(&zeros, false, &[0; 12]);
    drop(zeros);
    assert!(
        bomb.len() < limits::DATAGRAM,
        "fits both kinds of transport"
    );
    // A push/pull of as many empty records as fit, then one of as many slots.
    let mut records = b"\x06\x82\xa5Nodes\xce\x00\x02\x00\x00\xacUserStateLen\x00".to_vec();
    records.resize(limits::STREAM_WIRE, 0x80);
    let mut slots = b"\x02\x81\xa6Events\xdd\x00\xff\xff\xff".to_vec();
    slots.resize(limits::USER_STATE, 0xc0);
    let mut events = b"\x02\x81\xa6Events\x91\x81\xa6Events\xdd\x00\xff\xff\xff".to_vec();
    events.resize(limits::USER_STATE, 0x80);
    let mut names = b"\x02\x81\xabLeftMembers\xdd\x00\xff\xff\xff".to_vec();
    names.resize(limits::USER_STATE, 0xa0);
    let mut filters = b"\x04\x81\xa7Filters\xdd\x00\xff\xff\xff".to_vec();
    filters.resize(limits::USER_STATE, 0xa0);

    let before = peak();
    datagram(&bomb);
    datagram(b"\x04\xdf\xff\xff\xff\xff");
    datagram(b"\x04\x81\xa4Meta\xdb\xff\xff\xff\xff");
    datagram(&[vec![8], vec![0x91; limits::DATAGRAM - 1]].concat());
    connection(&records);
    let grown = peak() - before;
    assert!(grown < 4 * limits::STREAM_WIRE, "{grown} bytes for records");

    let before = peak();
    for hostile in [&slots, &events, &names, &filters] {
        let _ = SerfMessage::decode(hostile);
    }
    let _ = tags::decode(&slots);
    let grown = peak() - before;
    assert!(grown < 2 * limits::USER_STATE, "{grown} bytes for states");

    let before = peak();
    connection(&bomb);
    let grown = peak() - before;
    assert!(
        grown < 2 * limits::STREAM_UNPACKED,
        "{grown} bytes for a bomb"
    );
}
