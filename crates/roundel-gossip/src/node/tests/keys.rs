//! Keys changed by queries.

use super::queries::{query, responses};
use super::*;
use crate::wire::{Key, KeyRequest, KeyResponse, Keyring};
use crate::{KeyAct, KeyAnswer};

const OLD: [u8; 16] = [1; 16];
const NEW: [u8; 32] = [2; 32];

/// Hears a message that is encrypted with `key` and gives the answers to key queries.
fn hear_sealed(bench: &mut Bench, key: &[u8], message: &Message) -> (Vec<KeyAnswer>, Out) {
    let seal = |key: &[u8]| Envelope {
        keyring: Keyring::new([Key::new(key).unwrap()]).unwrap(),
        ..Envelope::default()
    };
    let bytes = seal(key).seal_packet(&message.encode(), false, &[7; 12]);
    bench.node.handle_datagram(bench.now, at(2), &bytes);
    let mut out = Out::default();
    let mut answers = Vec::new();
    while let Some(output) = bench.node.poll_output() {
        match output {
            Output::SaveKeys { query, keys } => out.saved.push((query, keys)),
            Output::Event(event) => out.events.push(event),
            Output::Datagram { bytes, .. } => {
                let mut packet = Packet::default();
                let opened = [&OLD[..], &NEW[..]]
                    .iter()
                    .any(|key| decode_packet(&bytes, &seal(key), &mut packet).is_ok());
                assert!(opened, "nothing leaves unencrypted");
                for message in &packet.messages {
                    if let Message::User(bytes) = message
                        && let Ok(SerfMessage::QueryResponse(r)) = SerfMessage::decode(bytes)
                    {
                        answers.extend(r.payload.as_deref().and_then(KeyAnswer::read));
                    }
                }
            }
            _ => {}
        }
    }
    (answers, out)
}

fn key_query(id: u32, act: &KeyAct) -> Message {
    let params = act.query();
    query(&params.name, id, |q| q.payload = Some(params.payload))
}

#[test]
fn keys_are_rotated_by_queries() {
    let mut bench = Bench::configured(&[], |c| c.keys = vec![OLD.to_vec()]);
    let ask = |bench: &mut Bench, id, key: &[u8], act: &KeyAct| {
        let (mut answers, out) = hear_sealed(bench, key, &key_query(id, act));
        assert_eq!(answers.len(), 1, "{act:?}");
        (answers.remove(0), out)
    };
    let (answer, out) = ask(&mut bench, 1, &OLD, &KeyAct::Install(NEW.to_vec()));
    assert!(answer.done, "{answer:?}");
    assert!(matches!(&out.events[..],
        [Event::KeysChanged { act, by, installed: 2 }] if act == "install-key" && by == "a"));
    let (answer, _) = ask(&mut bench, 2, &NEW, &KeyAct::List);
    assert_eq!(answer.primary, "AQEBAQEBAQEBAQEBAQEBAQ==");
    assert_eq!(answer.keys.len(), 2);
    assert!(
        !ask(&mut bench, 3, &OLD, &KeyAct::Remove(OLD.to_vec()))
            .0
            .done
    );
    assert!(!ask(&mut bench, 4, &OLD, &KeyAct::Use(vec![9; 16])).0.done);
    assert!(
        !ask(&mut bench, 5, &OLD, &KeyAct::Install(vec![9; 5]))
            .0
            .done
    );
    assert!(ask(&mut bench, 6, &OLD, &KeyAct::Use(NEW.to_vec())).0.done);
    assert!(
        ask(&mut bench, 7, &OLD, &KeyAct::Remove(OLD.to_vec()))
            .0
            .done
    );
    let (answers, out) = hear_sealed(&mut bench, &OLD, &key_query(8, &KeyAct::List));
    assert!(answers.is_empty());
    assert!(matches!(
        &out.events[..],
        [Event::Dropped {
            reason: DropReason::Unauthenticated,
            ..
        }]
    ));
}

fn saving() -> Bench {
    Bench::configured(&[], |c| {
        c.keys = vec![OLD.to_vec()];
        c.keys_are_saved = true;
    })
}

fn ring(bench: &Bench) -> Vec<Vec<u8>> {
    let keys = bench.node.seal.envelope.keyring.keys().iter();
    keys.map(|key| key.as_bytes().to_vec()).collect()
}

#[test]
fn keys_hold_once_they_are_saved() {
    let mut bench = saving();
    let install = key_query(1, &KeyAct::Install(NEW.to_vec()));
    let (answers, out) = hear_sealed(&mut bench, &OLD, &install);
    assert!(answers.is_empty() && out.events.is_empty());
    assert_eq!(ring(&bench), [OLD.to_vec()], "not yet");
    let (id, keys) = &out.saved[0];
    bench.node.handle_keys_saved(bench.now, *id, None);
    let (answers, out) = hear_sealed(&mut bench, &OLD, &Message::Nack(Nack { seq: 0 }));
    assert!(answers[0].done);
    assert!(matches!(out.events[..], [Event::KeysChanged { .. }]));
    assert_eq!(ring(&bench), *keys);
    assert_eq!(ring(&bench), [OLD.to_vec(), NEW.to_vec()]);
}

#[test]
fn keys_that_cannot_be_saved_never_hold() {
    let mut bench = saving();
    let install = key_query(1, &KeyAct::Install(NEW.to_vec()));
    let (_, out) = hear_sealed(&mut bench, &OLD, &install);
    let [(id, _)] = &out.saved[..] else {
        panic!("nothing to save");
    };
    bench
        .node
        .handle_keys_saved(bench.now, *id, Some("disk full"));
    bench.node.handle_keys_saved(bench.now, *id, None);
    let (answers, out) = hear_sealed(&mut bench, &OLD, &Message::Nack(Nack { seq: 0 }));
    assert_eq!(answers.len(), 1);
    let answer = &answers[0];
    assert!(
        !answer.done && answer.message.ends_with("disk full"),
        "{answer:?}"
    );
    assert!(out.events.is_empty(), "{:?}", out.events);
    assert_eq!(ring(&bench), [OLD.to_vec()]);
}

/// A change builds on what the one before came to, not on what it was to come to.
#[test]
fn changes_of_keys_wait_for_each_other() {
    let mut bench = saving();
    let third = [3; 16];
    let (_, first) = hear_sealed(
        &mut bench,
        &OLD,
        &key_query(1, &KeyAct::Install(NEW.to_vec())),
    );
    for (id, act) in [
        (2, KeyAct::Install(third.to_vec())),
        (3, KeyAct::Use(NEW.to_vec())),
    ] {
        let (answers, out) = hear_sealed(&mut bench, &OLD, &key_query(id, &act));
        assert!(answers.is_empty() && out.saved.is_empty(), "{id}");
    }
    let nothing = Message::Nack(Nack { seq: 0 });
    let id = first.saved[0].0;
    bench
        .node
        .handle_keys_saved(bench.now, id, Some("disk full"));
    let (answers, second) = hear_sealed(&mut bench, &OLD, &nothing);
    assert!(answers.len() == 1 && !answers[0].done);
    let (id, keys) = &second.saved[0];
    assert_eq!(*keys, [OLD.to_vec(), third.to_vec()]);
    bench.node.handle_keys_saved(bench.now, *id, None);
    let (answers, out) = hear_sealed(&mut bench, &OLD, &nothing);
    let done: Vec<bool> = answers.iter().map(|answer| answer.done).collect();
    assert_eq!(done, [true, false], "the other key is not there");
    assert!(out.saved.is_empty());
    assert_eq!(ring(&bench), [OLD.to_vec(), third.to_vec()]);
}

#[test]
fn a_list_of_keys_is_cut_to_fit() {
    let keys: Vec<Vec<u8>> = (0..16).map(|i| vec![i + 1; 32]).collect();
    let name = "n".repeat(128);
    let mut bench = Bench::configured(&[], |c| {
        c.keys = keys.clone();
        c.name = name;
    });
    let list = key_query(1, &KeyAct::List);
    bench.node.handle_datagram(bench.now, at(2), &{
        let keyring = Keyring::new([Key::new(&keys[3]).unwrap()]).unwrap();
        let envelope = Envelope {
            keyring,
            ..Envelope::default()
        };
        envelope.seal_packet(&list.encode(), false, &[7; 12])
    });
    let sent = std::iter::from_fn(|| bench.node.poll_output())
        .filter(|output| matches!(output, Output::Datagram { .. }));
    assert_eq!(sent.count(), 1);
}

#[test]
fn without_encryption_there_are_no_keys() {
    let mut bench = Bench::with(&["a"]);
    let out = bench.hear(&key_query(1, &KeyAct::List));
    let answer = KeyAnswer::read(responses(&out, 2)[0].payload.as_deref().unwrap()).unwrap();
    assert!(
        !answer.done && answer.message.contains("not enabled"),
        "{answer:?}"
    );
    assert_eq!(KeyAnswer::read(b"\x04"), None);
    let shown = format!("{:?}", KeyRequest { key: NEW.to_vec() });
    assert!(!shown.contains("2, 2"), "{shown}");
    assert!(KeyResponse::default().keys.is_none());
}
