//! Who we are: settings, name, address.

use std::net::Ipv4Addr;

use super::*;

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = Bench::with(&[]).node.config;
    let try_with = |change: fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        Node::new(config, Instant::now()).map(drop)
    };
    assert_eq!(
        try_with(|c| c.name = "a b".to_owned()),
        Err(ConfigError::Name("a b".to_owned()))
    );
    let nowhere: SocketAddr = "0.0.0.0:7946".parse().unwrap();
    assert_eq!(
        try_with(|c| c.advertise = "0.0.0.0:7946".parse().unwrap()),
        Err(ConfigError::Advertise(nowhere))
    );
    assert_eq!(
        try_with(|c| c.keys = vec![vec![0; 15]]),
        Err(ConfigError::Key(15))
    );
    assert!(matches!(
        try_with(|c| drop(c.tags.insert("x".to_owned(), "y".repeat(600)))),
        Err(ConfigError::Tags(_))
    ));
}

#[test]
fn a_name_stays_where_it_is_known() {
    let mut bench = Bench::with(&["a", "b"]);
    let thief = Message::Alive(record("b", 9, 50));
    let out = bench.hear(&thief);
    assert!(matches!(out.to(3)[..], [Message::Ping(_)]), "not passed on");
    let out = bench.answer(&out, 3);
    let conflict = Event::Conflict {
        name: "b".to_owned(),
        kept: at(3),
        refused: at(9),
    };
    assert_eq!(out.events, [conflict]);
    let out = bench.hear(&thief);
    assert!(bench.answer(&out, 3).events.is_empty(), "told once");
    assert_eq!(bench.node.member("b").unwrap().address, at(3));
    // One that has left may come back from elsewhere.
    bench.hear_from(3, &Message::Dead(accuse("b", 1, "b")));
    bench.hear(&thief);
    assert_eq!(bench.node.member("b").unwrap().address, at(9));
}

/// An agent on its default bind writes its IPv4 address in 16 bytes and takes the form of 4 for
/// another address.
#[test]
fn an_address_is_passed_on_in_the_form_in_which_its_owner_writes_it() {
    let mapped = |name: &str, port, incarnation| {
        let (name, _, meta, _, versions) = record(name, port, 1).into_parts();
        let address = (Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped(), port).into();
        NodeRecord::new(name, address, meta, incarnation, versions).unwrap()
    };
    let mut bench = Bench::with(&["a", "b"]);
    // By gossip.
    let alive = Message::Alive(mapped("c", 4, 1));
    let out = bench.hear(&alive);
    assert!(out.messages.iter().any(|(_, message)| *message == alive));
    assert_eq!(bench.node.member("c").unwrap().address, at(4));
    // By a state exchange, both ways.
    let state = |record| NodeState {
        record,
        state: RecordState::Alive,
    };
    let (_, said) = bench.exchange(vec![state(mapped("d", 5, 1))], PushPullState::default());
    assert!(said.nodes.contains(&state(mapped("c", 4, 1))), "{said:?}");
    let (_, said) = bench.exchange(Vec::new(), PushPullState::default());
    assert!(said.nodes.contains(&state(mapped("d", 5, 1))), "{said:?}");
    // In a vote.
    let ask = queries::query("_serf_conflict", 1, |q| q.payload = Some(b"d".to_vec()));
    let answers = queries::responses(&bench.hear(&ask), 2);
    let answer = SerfMessage::decode(answers[0].payload.as_deref().unwrap());
    let Ok(SerfMessage::ConflictResponse(Some(known))) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(known.address, mapped("d", 5, 1).written_address());
    // Both forms are one address, also of ourselves; the newest record gives the form.
    let renewed = Message::Alive(record("c", 4, 2));
    let out = bench.hear(&renewed);
    assert!(out.events.is_empty(), "{:?}", out.events);
    let out = bench.pass(Duration::from_millis(400));
    assert!(out.messages.iter().any(|(_, message)| *message == renewed));
    let out = bench.hear(&Message::Alive(mapped("me", 1, 1)));
    assert!(out.events.is_empty(), "{:?}", out.events);
    // Another address is another address in either form.
    let out = bench.hear(&Message::Alive(mapped("d", 9, 7)));
    let out = bench.answer(&out, 5);
    assert!(matches!(&out.events[..], [Event::Conflict { name, .. }] if name == "d"));
}

#[test]
fn our_address_can_be_corrected_until_somebody_knows_it() {
    let mut bench = Bench::with(&[]);
    assert!(bench.node.set_address(bench.now, at(9)));
    assert_eq!(bench.node.member("me").unwrap().address, at(9));
    let nowhere: SocketAddr = "0.0.0.0:9".parse().unwrap();
    assert!(!bench.node.set_address(bench.now, nowhere));
    bench.hear(&Message::Alive(record("a", 2, 1)));
    assert!(!bench.node.set_address(bench.now, at(10)));
    assert_eq!(bench.node.member("me").unwrap().address, at(9));
}

#[test]
fn a_node_that_takes_another_name_keeps_all_else() {
    let mut bench = Bench::with(&["a", "b"]);
    let key = vec![vec![7; 16]];
    let mut encrypted = Bench::configured(&[], |config| config.keys = key.clone());
    let refused = bench.node.rename(bench.now, "no name");
    assert!(matches!(refused, Err(ConfigError::Name(_))), "{refused:?}");
    assert_eq!(bench.drain().events, []);

    bench.node.watch(bench.now, "a", true);
    bench.node.join(bench.now, &[at(9)]);
    let asked = bench
        .node
        .query(bench.now, &QueryParams::default())
        .unwrap();
    bench.drain();
    let (before, clocks) = (bench.node.stats(), bench.node.clocks());
    bench.node.rename(bench.now, "me-2").unwrap();
    let out = bench.drain();
    let told = |event: &Event| out.events.contains(event);
    let (from, to) = ("me".to_owned(), "me-2".to_owned());
    assert!(told(&Event::Renamed { from, to }), "{:?}", out.events);
    assert!(told(&Event::QueryEnded { query: asked }));
    let failed = |e: &Event| matches!(e, Event::JoinFailed { address, .. } if *address == at(9));
    assert!(out.events.iter().any(failed) && out.closed == 1);
    let names: Vec<_> = bench.node.members().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "me-2"]);
    let own = bench.node.member("me-2").unwrap();
    assert_eq!((own.address, own.incarnation), (at(1), 101));
    assert_eq!(own.tags["role"], "balancer");
    assert_eq!(bench.node.clocks(), clocks);
    assert!(bench.node.stats().datagrams_in >= before.datagrams_in);
    // Nobody heard our question, so the next one of others has the same time.
    let next = queries::query("load", 9, |query| query.ltime = clocks.query);
    let out = bench.hear(&next);
    let asked = |e: &Event| matches!(e, Event::Query(question) if question.name == "load");
    assert!(out.events.iter().any(asked), "{:?}", out.events);
    // Whom we watched is watched.
    let out = bench.pass(Duration::from_millis(300));
    let watches = |m: &&Message| matches!(m, Message::Ping(ping) if ping.node == "a");
    assert!(out.to(2).iter().any(watches), "{:?}", out.messages);

    // What it says is sealed as before: nothing is said in plain.
    encrypted.node.rename(encrypted.now, "me-2").unwrap();
    encrypted.node.join(encrypted.now, &[at(9)]);
    let mut sealed = false;
    while let Some(output) = encrypted.node.poll_output() {
        if let Output::Open { id, .. } = output {
            encrypted.node.handle_stream_opened(encrypted.now, id);
        }
        if let Output::Write { bytes, .. } = output {
            sealed = bytes.first() == Some(&10);
        }
    }
    assert!(sealed, "an exchange that is encrypted");
}

/// The agent of our name asks once, perhaps with the answer to the ping that looks for it, and ends
/// itself if nobody votes.
#[test]
fn who_is_left_our_name_gets_our_vote_whenever_it_asked() {
    for is_before in [true, false] {
        let mut bench = Bench::with(&[]);
        let ask = queries::query("_serf_conflict", 1, |q| q.payload = Some(b"me".to_vec()));
        if is_before {
            let out = bench.hear(&ask);
            assert!(queries::responses(&out, 2).is_empty(), "it is our name");
        }
        bench.node.rename(bench.now, "me-2").unwrap();
        bench.drain();
        if !is_before {
            let out = bench.hear(&ask);
            assert!(queries::responses(&out, 2).is_empty(), "not known yet");
        }
        let out = bench.hear(&Message::Alive(record("me", 2, 1)));
        let answers = queries::responses(&out, 2);
        assert_eq!(answers.len(), 1, "{:?}", out.messages);
        let answer = SerfMessage::decode(answers[0].payload.as_deref().unwrap());
        let Ok(SerfMessage::ConflictResponse(Some(known))) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!((known.name.as_str(), known.address), ("me", at(2)));
    }
}
