//! State exchanges: what of them is held, and for how long.

use std::sync::Arc;

use super::*;

/// Members whose records are long.
fn many(count: u16) -> Vec<NodeState> {
    let member = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let address = SocketAddr::from(([10, 1, high, low], 7946));
        let meta = vec![b'x'; 500];
        let record = NodeRecord::new(format!("m{n}"), address, meta, 1, Versions::SERF);
        NodeState {
            record: record.unwrap(),
            state: RecordState::Alive,
        }
    };
    (0..count).map(member).collect()
}

fn push_pull(nodes: Vec<NodeState>) -> Vec<u8> {
    let state = PushPull {
        nodes,
        ..PushPull::default()
    };
    StreamMessage::PushPull(state).encode()
}

/// What the node has its owner write, unread.
fn ask(bench: &mut Bench, from: SocketAddr, bytes: &[u8]) -> Vec<Arc<[u8]>> {
    let id = bench.node.accept_stream(bench.now, from).unwrap();
    bench.node.handle_stream_bytes(bench.now, id, bytes);
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    let written = outputs.filter_map(|output| match output {
        Output::Write { bytes, .. } => Some(bytes),
        _ => None,
    });
    written.collect()
}

fn with_room(change: impl FnOnce(&mut Limits)) -> Bench {
    Bench::configured(&["a"], |c| {
        c.limits.streams = 8;
        change(&mut c.limits);
    })
}

#[test]
fn one_encoding_is_sent_to_all_who_ask_until_something_changes() {
    let mut bench = with_room(|_| {});
    let nothing = push_pull(Vec::new());
    ask(&mut bench, at(2), &push_pull(many(50)));
    let first = ask(&mut bench, at(2), &nothing).remove(0);
    assert_eq!(bench.node.stats().states, first.len());
    let second = ask(&mut bench, at(3), &nothing).remove(0);
    assert!(Arc::ptr_eq(&first, &second));
    // Each of what a state tells of changes it.
    let changes = [
        Message::Alive(record("new", 77, 1)),
        Message::Suspect(accuse("a", 1, "b")),
        join_intent("a", 60),
        join_intent("m1", 40),
        Message::User(
            SerfMessage::UserEvent(UserEvent {
                ltime: 30,
                name: "old".to_owned(),
                payload: None,
                coalesce: false,
            })
            .encode(),
        ),
    ];
    let mut before = first;
    for change in changes {
        bench.hear(&change);
        let after = ask(&mut bench, at(2), &nothing).remove(0);
        assert!(*before != *after, "{change:?}");
        before = after;
    }
    drop((before, second));
    assert_eq!(bench.node.stats().states, 0);
}

#[test]
fn states_that_are_not_read_take_only_so_much() {
    let mut bench = with_room(|limits| limits.state_bytes = 100_000);
    let mut held = Vec::new();
    ask(&mut bench, at(2), &push_pull(many(50)));
    for n in 0..20 {
        let news = push_pull(vec![NodeState {
            record: record(&format!("n{n}"), 100 + n, 1),
            state: RecordState::Alive,
        }]);
        held.extend(ask(&mut bench, at(2), &news));
    }
    assert_eq!(held.len(), 20, "everybody is answered");
    let stats = bench.node.stats();
    assert!(stats.states <= 100_000, "{}", stats.states);
    assert_eq!(stats.states_old as usize, 20 - 100_000 / held[0].len());
    drop(held);
    // As soon as those are gone, what is told is what is known.
    let nothing = push_pull(Vec::new());
    let told = ask(&mut bench, at(2), &nothing).remove(0);
    let mut decoder = StreamDecoder::default();
    match decoder.feed(&told, &Envelope::default()) {
        Ok(Progress::Message(StreamMessage::PushPull(state))) => {
            assert_eq!(state.nodes.len(), bench.node.members().count());
        }
        other => panic!("{other:?}"),
    }
}

/// Begins a state exchange that never ends. Says whether there was room for all of it.
fn begin(bench: &mut Bench, from: SocketAddr, records: u16) -> bool {
    let id = bench.node.accept_stream(bench.now, from).unwrap();
    let bytes = push_pull(many(records));
    bench
        .node
        .handle_stream_bytes(bench.now, id, &bytes[..bytes.len() - 1]);
    bench.drain().closed == 0
}

#[test]
fn what_streams_hold_has_a_bound_and_small_exchanges_always_have_room() {
    const MIB: usize = 1 << 20;
    let mut bench = with_room(|limits| limits.incoming_bytes = 12 * MIB);
    let peer = |last| SocketAddr::from(([10, 2, 0, last], 7));
    // One address has half of it at most.
    assert!(begin(&mut bench, peer(1), 1200));
    assert!(!begin(&mut bench, peer(1), 1200));
    assert_eq!(bench.node.stats().incoming_refused, 1);
    assert!(begin(&mut bench, peer(2), 1200));
    assert!(!begin(&mut bench, peer(3), 1200));
    assert!(bench.node.stats().incoming <= 12 * MIB);
    // Nothing is left but what each stream has of its own.
    assert!(begin(&mut bench, peer(3), 20));
    assert_eq!(ask(&mut bench, peer(4), &push_pull(many(20))).len(), 1);
    assert_eq!(bench.node.stats().incoming_refused, 2);
    // All is given back.
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.node.stats().incoming, 0);
    assert!(begin(&mut bench, peer(3), 1200));
}
