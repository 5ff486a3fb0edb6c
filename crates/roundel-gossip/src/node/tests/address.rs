//! Where we are: learnt from peers, moved, and what others make of it.

use super::*;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// Ourselves at another address, as [`Bench`] counts them.
fn elsewhere(last: u8) -> SocketAddr {
    (ip(last), 1).into()
}

impl Bench {
    fn learning(peers: &[&str]) -> Self {
        let mut bench = Self::with(peers);
        bench.node.learn_address(true);
        bench
    }

    fn own(&self) -> SocketAddr {
        self.node.member("me").unwrap().address
    }

    /// A peer exchanges states by a stream that ends at `last` here; gives where we say we are.
    fn exchange_at(&mut self, last: u8, nodes: Vec<NodeState>) -> SocketAddr {
        let id = self.node.accept_stream(self.now, at(2)).unwrap();
        self.node.handle_stream_at(id, ip(last));
        let message = StreamMessage::PushPull(PushPull {
            nodes,
            user_state: SerfMessage::PushPull(PushPullState::default()).encode(),
            ..PushPull::default()
        });
        self.node
            .handle_stream_bytes(self.now, id, &message.encode());
        let mut decoder = StreamDecoder::default();
        let written = self.drain().written;
        let answer = decoder.feed(&written, &Envelope::default());
        let Ok(Progress::Message(StreamMessage::PushPull(state))) = answer else {
            panic!("{answer:?}");
        };
        let own = state.nodes.iter().find(|n| n.record.name() == "me");
        own.unwrap().record.address()
    }
}

fn state(record: NodeRecord, state: RecordState) -> NodeState {
    NodeState { record, state }
}

#[test]
fn the_first_peer_is_told_the_address_at_which_it_reaches_us() {
    let mut bench = Bench::learning(&[]);
    assert_eq!(bench.exchange_at(7, Vec::new()), elsewhere(7));
    assert_eq!(bench.own(), elsewhere(7));
    // Others may come by other ways: one address is enough.
    assert_eq!(bench.exchange_at(8, Vec::new()), elsewhere(7));
    // After a try in vain the next one may correct it again.
    bench.node.learn_address(true);
    assert_eq!(bench.exchange_at(8, Vec::new()), elsewhere(8));
}

#[test]
fn what_was_told_stays_and_what_means_nothing_elsewhere_is_not_learnt() {
    let mut fixed = Bench::with(&[]);
    assert_eq!(fixed.exchange_at(7, Vec::new()), at(1));
    let mut bench = Bench::learning(&[]);
    for local in [
        "127.0.0.1",
        "169.254.1.1",
        "fe80::1",
        "::",
        "::ffff:127.0.0.1",
    ] {
        bench.node.reached(bench.now, at(2), local.parse().ok());
        assert_eq!(bench.own(), at(1), "{local}");
    }
    bench.node.reached(bench.now, at(2), "fd00::7".parse().ok());
    assert_eq!(bench.own().to_string(), "[fd00::7]:1");
}

#[test]
fn a_move_ends_the_former_self_before_it_says_where_we_are() {
    let mut bench = Bench::learning(&["a", "b"]);
    assert!(bench.node.move_address(bench.now, elsewhere(9)));
    let mut out = bench.pass(Duration::from_secs(2));
    let about_us = |message: &Message| match message {
        Message::Dead(gone) if gone.node == "me" => Some(false),
        Message::Alive(here) if here.name() == "me" => Some(true),
        _ => None,
    };
    for port in [2, 3] {
        let told: Vec<bool> = out.to(port).into_iter().filter_map(about_us).collect();
        assert_eq!(told[..2], [false, true], "{told:?}");
        assert!(
            told.iter().filter(|alive| !**alive).count() >= 2,
            "said again"
        );
    }
    let moved = Event::Moved {
        from: at(1),
        to: elsewhere(9),
        peer: None,
    };
    out.events.extend(bench.drain().events);
    assert!(out.events.contains(&moved), "{:?}", out.events);
}

#[test]
fn who_still_believes_the_former_self_is_told_again_and_is_no_conflict() {
    let mut bench = Bench::learning(&["a"]);
    bench.node.move_address(bench.now, elsewhere(9));
    bench.pass(Duration::from_secs(10));
    let out = bench.hear(&Message::Alive(record("me", 1, 500)));
    assert!(out.events.is_empty(), "{:?}", out.events);
    let out = bench.pass(Duration::from_secs(1));
    let gone = |m: &&Message| matches!(m, Message::Dead(gone) if gone.incarnation >= 500);
    assert!(out.to(2).iter().any(gone), "{:?}", out.messages);
    assert!(bench.node.member("me").unwrap().incarnation > 500);
    // An address where we never were is somebody else's.
    let out = bench.hear(&Message::Alive(record("me", 8, 500)));
    let out = bench.answer(&out, 8);
    assert!(matches!(&out.events[..], [Event::Conflict { .. }]));
}

#[test]
fn among_others_only_an_address_that_nobody_reaches_is_left() {
    let accused = |bench: &Bench| {
        let own = bench.node.member("me").unwrap();
        let record = record("me", 1, own.incarnation);
        vec![state(record, RecordState::Suspect)]
    };
    let mut bench = Bench::learning(&["a", "b"]);
    // Somebody doubts us, but what peers send arrives.
    let states = accused(&bench);
    bench.hear(&Message::Ping(Ping::default()));
    bench.exchange_at(7, states);
    assert_eq!(bench.own(), at(1));
    // Nothing arrives, but nobody doubts us any more.
    bench.now += Duration::from_secs(70);
    bench.exchange_at(7, Vec::new());
    assert_eq!(bench.own(), at(1));
    // What arrives at another address of ours does not count.
    let ping = Message::Ping(Ping::default()).encode();
    bench
        .node
        .handle_datagram_at(bench.now, at(2), Some(ip(7)), &ping);
    let states = accused(&bench);
    bench.exchange_at(7, states);
    assert_eq!(bench.own(), elsewhere(7));
}

#[test]
fn a_member_that_moves_is_followed_whether_it_is_held_for_alive_or_for_failed() {
    for failed in [false, true] {
        let mut bench = Bench::with(&["a", "b"]);
        if failed {
            bench.hear(&Message::Dead(accuse("b", 1, "a")));
            assert_eq!(bench.status("b"), Some(Status::Failed));
        }
        bench.hear(&Message::Dead(accuse("b", 1, "b")));
        let out = bench.hear(&Message::Alive(record("b", 9, 2)));
        assert!(
            matches!(&out.events[..], [Event::Join(member)] if member.address == at(9)),
            "{:?}",
            out.events
        );
        assert_eq!(bench.status("b"), Some(Status::Alive));
    }
}
