//! Rules that hold for all messages, all layers and any bytes.

mod values;

use proptest::collection::vec;
use proptest::prelude::*;
use roundel_gossip::wire::{
    EncryptionVersion, Envelope, Key, Keyring, Label, Message, Packet, PacketError, PacketWriter,
    Progress, PushPull, SerfMessage, StreamDecoder, StreamMessage, decode_packet, limits, msgpack,
};

use crate::corpus::fuzz;
use values::{node, ping, serf_message, short_name};

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        vec(any::<u8>(), 16),
        vec(any::<u8>(), 24),
        vec(any::<u8>(), 32)
    ]
    .prop_map(|bytes| Key::new(&bytes).unwrap())
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let label = prop_oneof![Just(String::new()), "[a-z]{1,20}", "[a-z]{255}"];
    (vec(key(), 0..3), label, any::<bool>()).prop_map(|(keys, label, compress)| Envelope {
        keyring: Keyring::new(keys).unwrap(),
        label: Label::new(label).unwrap(),
        compress,
    })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        ping().prop_map(Message::Ping),
        values::indirect_ping().prop_map(Message::IndirectPing),
        values::ack().prop_map(Message::Ack),
        any::<u32>().prop_map(|seq| Message::Nack(roundel_gossip::wire::Nack { seq })),
        values::accusation().prop_map(Message::Suspect),
        values::accusation().prop_map(Message::Dead),
        node().prop_map(Message::Alive),
        serf_message().prop_map(|message| Message::User(message.encode())),
        vec(any::<u8>(), 0..200).prop_map(Message::User),
    ]
}

fn push_pull() -> impl Strategy<Value = PushPull> {
    let nodes = vec(values::node_state(), 0..40);
    (any::<bool>(), nodes, vec(any::<u8>(), 0..500)).prop_map(|(join, nodes, user_state)| {
        PushPull {
            join,
            nodes,
            user_state,
            ..PushPull::default()
        }
    })
}

fn stream_message() -> impl Strategy<Value = StreamMessage> {
    prop_oneof![
        push_pull().prop_map(StreamMessage::PushPull),
        ping().prop_map(StreamMessage::Ping),
        values::ack().prop_map(StreamMessage::Ack),
        vec(any::<u8>(), 0..500).prop_map(StreamMessage::User),
        "\\PC{0,100}".prop_map(StreamMessage::Error),
    ]
}

proptest! {
    #[test]
    fn packets_come_back_and_keep_their_budget(
        messages in vec(message(), 1..12),
        envelope in envelope(),
        crc in any::<bool>(),
        budget in 300_usize..1_500,
        nonce in any::<[u8; 12]>(),
    ) {
        let mut writer = PacketWriter::new(&envelope, budget, crc);
        let mut taken = Vec::new();
        for message in &messages {
            let encoded = message.encode();
            let fits = encoded.len() <= writer.remaining();
            prop_assert_eq!(writer.push(&encoded), fits);
            taken.extend(fits.then(|| message.clone()));
        }
        prop_assert_eq!(writer.len(), taken.len());
        let mut packet = Packet::default();
        match writer.finish(&nonce) {
            None => prop_assert!(taken.is_empty()),
            Some(bytes) => {
                prop_assert!(bytes.len() <= budget);
                decode_packet(&bytes, &envelope, &mut packet).unwrap();
            }
        }
        prop_assert_eq!(&packet.messages, &taken);
        prop_assert!(packet.rejected.is_empty());
    }

    #[test]
    fn streams_come_back_in_any_pieces(
        message in stream_message(),
        envelope in envelope(),
        nonce in any::<[u8; 12]>(),
        piece in 1_usize..300,
    ) {
        let bytes = envelope.seal_stream(&message.encode(), &nonce);
        let mut decoder = StreamDecoder::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(piece) {
            match decoder.feed(piece, &envelope).unwrap() {
                Progress::NeedMore => {}
                Progress::Message(message) => got.push(message),
            }
        }
        prop_assert_eq!(got, vec![message]);
    }

    /// Nothing short of the last byte makes a message.
    #[test]
    fn a_stream_cut_short_yields_nothing(
        message in push_pull().prop_map(StreamMessage::PushPull),
        envelope in envelope(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = envelope.seal_stream(&message.encode(), &[3; 12]);
        let bytes = &bytes[..cut.index(bytes.len())];
        let progress = StreamDecoder::default().feed(bytes, &envelope).unwrap();
        prop_assert_eq!(progress, Progress::NeedMore);
    }

    #[test]
    fn serf_messages_come_back(message in serf_message()) {
        let bytes = message.encode();
        prop_assert!(msgpack::is_old_spec(&bytes[1..]));
        prop_assert_eq!(SerfMessage::decode(&bytes).unwrap(), message);
    }

    /// What the oldest agents cannot read, or what harms any of them, is never written.
    #[test]
    fn messages_are_fit_for_old_agents(message in message()) {
        let bytes = message.encode();
        match &message {
            Message::User(inner) => prop_assert_eq!(&bytes[1..], inner.as_slice()),
            _ => prop_assert!(msgpack::is_old_spec(&bytes[1..])),
        }
        if let Message::Alive(_) = &message {
            assert_harmless(&bytes[1..])?;
        }
    }

    #[test]
    fn push_pulls_are_fit_for_old_agents(state in push_pull()) {
        let bytes = StreamMessage::PushPull(state.clone()).encode();
        let mut reader = msgpack::Reader::new(&bytes[1..]);
        prop_assert!(msgpack::is_old_spec(reader.rest()));
        reader.skip().unwrap();
        for _ in &state.nodes {
            prop_assert!(msgpack::is_old_spec(reader.rest()));
            assert_harmless(reader.value().unwrap())?;
        }
        prop_assert_eq!(reader.rest(), state.user_state.as_slice());
    }

    #[test]
    fn sealed_bytes_open_and_damage_is_noticed(
        keys in vec(key(), 1..4),
        primary in any::<prop::sample::Index>(),
        plain in vec(any::<u8>(), 0..200),
        aad in vec(any::<u8>(), 0..20),
        nonce in any::<[u8; 12]>(),
        padded in any::<bool>(),
        damage in any::<prop::sample::Index>(),
    ) {
        let version = match padded {
            true => EncryptionVersion::Padded,
            false => EncryptionVersion::Plain,
        };
        let ring = Keyring::new(keys.clone()).unwrap();
        let mut other = ring.clone();
        other.use_key(&keys[primary.index(keys.len())]).unwrap();
        let mut sealed = Vec::new();
        other.seal(version, &nonce, &aad, &plain, &mut sealed);
        prop_assert_eq!(sealed.len(), plain.len() + version.overhead(plain.len()));
        prop_assert_eq!(ring.open(&aad, &sealed).unwrap(), plain);
        let at = damage.index(sealed.len());
        sealed[at] ^= 0x40;
        prop_assert!(ring.open(&aad, &sealed).is_err());
    }

    #[test]
    fn any_bytes_are_digested(data in vec(any::<u8>(), 0..600)) {
        fuzz::packet(&data);
        fuzz::stream(&data);
        fuzz::value(&data);
    }

    /// Damage to valid traffic reaches deeper than random bytes do.
    #[test]
    fn damaged_messages_are_digested(
        messages in vec(message(), 1..4),
        compress in any::<bool>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let envelope = Envelope { compress, ..Envelope::default() };
        let mut writer = PacketWriter::new(&envelope, limits::PACKET_BUDGET, false);
        for message in &messages {
            writer.push(&message.encode());
        }
        let mut packet = writer.finish(&[0; 12]).unwrap_or_else(|| vec![0]);
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        fuzz::packet(&packet);
        fuzz::value(&packet[1..]);
    }

    #[test]
    fn damaged_streams_are_digested(
        message in stream_message(),
        compress in any::<bool>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        piece in any::<u8>(),
    ) {
        let envelope = Envelope { compress, ..Envelope::default() };
        let mut bytes = vec![piece];
        bytes.extend(envelope.seal_stream(&message.encode(), &[0; 12]));
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz::stream(&bytes);
    }

    /// Version bytes of any kind: what is taken can be passed on, the rest is refused.
    #[test]
    fn any_version_bytes(record in node(), versions in vec(0_u8..8, 0..8)) {
        let valid = Message::Alive(record).encode();
        let (kept, _) = valid.split_at(valid.len() - 7);
        let mut bytes = kept.to_vec();
        bytes.push(0xa0 | versions.len() as u8);
        bytes.extend(&versions);
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(versions.len(), 6);
            assert_harmless(&message.encode()[1..])?;
        }
    }

    #[test]
    fn names_survive_as_they_are(name in short_name(), seq in any::<u32>()) {
        let ping = Message::Ping(roundel_gossip::wire::Ping {
            node: name,
            seq,
            ..Default::default()
        });
        prop_assert_eq!(Message::decode(&ping.encode()).unwrap(), ping);
    }
}

/// Reads a record without the codec's own checks and demands what every agent relies on.
fn assert_harmless(record: &[u8]) -> Result<(), TestCaseError> {
    let mut reader = msgpack::Reader::new(record);
    let mut seen = Vec::new();
    for _ in 0..reader.map().unwrap() {
        let key = reader.raw().unwrap().unwrap();
        seen.push(key);
        match key {
            b"Vsn" => {
                let versions = reader.raw().unwrap().unwrap();
                prop_assert_eq!(versions.len(), 6);
                let [pmin, pmax, pcur, dmin, dmax, dcur] = versions.try_into().unwrap();
                prop_assert!((1..=2).contains(&pmin) && 2 <= pmax && (1..=5).contains(&pcur));
                prop_assert!(dmin <= 5 && 5 <= dmax && (2..=5).contains(&dcur));
            }
            b"Addr" => {
                let len = reader.raw().unwrap().unwrap().len();
                prop_assert!(len == 4 || len == 16);
            }
            b"Node" | b"Name" => prop_assert!(!reader.text(255).unwrap().is_empty()),
            b"Meta" => prop_assert!(reader.raw().unwrap().unwrap().len() <= 512),
            _ => reader.skip().unwrap(),
        }
    }
    prop_assert!(seen.is_sorted());
    prop_assert!(seen.contains(&b"Vsn".as_slice()));
    Ok(())
}

#[test]
fn other_clusters_are_kept_out() {
    let ours = Envelope {
        label: Label::new("blue").unwrap(),
        ..Envelope::default()
    };
    let ping = Message::Ping(Default::default()).encode();
    let mut packet = Packet::default();
    for label in ["", "green", "blu", "blue2"] {
        let theirs = Envelope {
            label: Label::new(label).unwrap(),
            ..Envelope::default()
        };
        let bytes = theirs.seal_packet(&ping, false, &[0; 12]);
        let result = decode_packet(&bytes, &ours, &mut packet);
        assert_eq!(result, Err(PacketError::Label), "{label}");
    }
    let bytes = ours.seal_packet(&ping, false, &[0; 12]);
    assert_eq!(decode_packet(&bytes, &ours, &mut packet), Ok(()));
}
