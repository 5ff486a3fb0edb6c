//! A node that goes on as the member that another one was.

use super::*;

/// The node that follows another one, with what that one knew.
fn heir(bench: &Bench) -> Bench {
    let mut heir = Bench::with(&[]);
    heir.now = bench.now;
    heir.node.remember(heir.now, bench.node.acquaintances());
    heir
}

#[test]
fn everybody_is_known_as_before_and_nobody_is_told() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.hear(&leave_intent("b", 60));
    bench.hear(&Message::Dead(accuse("c", 1, "a")));
    bench.hear(&Message::Dead(accuse("d", 1, "d")));
    bench.hear(&Message::Suspect(accuse("a", 1, "b")));
    let mut heir = heir(&bench);
    let out = heir.drain();
    assert!(out.messages.is_empty() && out.events.is_empty());
    for (name, status) in [
        ("a", Status::Alive),
        ("b", Status::Leaving),
        ("c", Status::Failed),
        ("d", Status::Left),
    ] {
        let mut known = bench.node.member(name).unwrap().clone();
        assert_eq!(known.status, status);
        known.suspect = false;
        assert_eq!(heir.node.member(name), Some(&known));
    }
    // An old intent is no news, a living member that comes back to life is.
    heir.hear(&join_intent("b", 60));
    assert_eq!(heir.status("b"), Some(Status::Leaving));
    heir.hear(&Message::Alive(record("c", 4, 2)));
    assert_eq!(heir.status("c"), Some(Status::Alive));
    // The living are probed.
    let probed = heir.pass(Duration::from_secs(10)).messages;
    assert!(probed.iter().any(|(to, _)| *to == at(2)));
}

#[test]
fn who_failed_is_forgotten_when_it_would_have_been() {
    let mut bench = Bench::with(&["a"]);
    bench.hear(&Message::Dead(accuse("a", 1, "b")));
    let day = Timings::lan().tombstone;
    let minutes = Duration::from_secs(600);
    bench.pass(day - minutes);
    let mut heir = heir(&bench);
    assert_eq!(heir.status("a"), Some(Status::Failed));
    heir.pass(2 * minutes);
    assert_eq!(heir.status("a"), None);
}

#[test]
fn what_no_node_could_have_known_is_left_out() {
    let bench = Bench::with(&["a"]);
    let good = bench.node.acquaintances().remove(0);
    let mut heir = Bench::with(&[]);
    let bad = |change: fn(&mut Member)| {
        let mut bad = good.clone();
        change(&mut bad.member);
        bad
    };
    let bad = vec![
        bad(|m| m.name = "me".to_owned()),
        bad(|m| m.name = "<b>".to_owned()),
        bad(|m| m.name = String::new()),
        bad(|m| m.address.set_port(0)),
        bad(|m| m.address.set_ip([224, 0, 0, 1].into())),
        bad(|m| m.versions = [9; 6]),
        bad(|m| m.versions = [5, 1, 1, 1, 1, 1]),
        bad(|m| drop(m.tags.insert("x".repeat(600), String::new()))),
    ];
    heir.node.remember(heir.now, bad);
    assert_eq!(heir.node.members().count(), 1);
    let own = heir.node.member("me").unwrap().clone();
    heir.node.remember(heir.now, vec![good.clone(), good]);
    assert_eq!(heir.node.members().count(), 2);
    assert_eq!(heir.node.member("me"), Some(&own));
}

#[test]
fn a_node_that_begins_anew_is_the_same_member_among_the_same() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.hear(&Message::Dead(accuse("b", 1, "a")));
    bench.node.watch(bench.now, "a", true);
    let tags = BTreeMap::from([("role".to_owned(), "other".to_owned())]);
    bench.node.set_tags(bench.now, tags.clone()).unwrap();
    bench.drain();
    let before = bench.node.member("me").unwrap().incarnation;
    let heard = bench.node.stats().datagrams_in;
    bench.node.restart(bench.now).unwrap();
    let out = bench.drain();
    assert!(matches!(&out.events[..], [Event::Restarted]));
    let own = bench.node.member("me").unwrap();
    assert_eq!((own.incarnation > before, &own.tags), (true, &tags));
    assert_eq!(bench.status("a"), Some(Status::Alive));
    assert_eq!(bench.status("b"), Some(Status::Failed));
    let stats = bench.node.stats();
    assert_eq!((stats.restarts, stats.datagrams_in), (1, heard));
    let out = bench.pass(Duration::from_secs(5));
    let silent = |event: &Event| matches!(event, Event::Silent { name } if name == "a");
    assert!(out.events.iter().any(silent), "it is still watched");
    assert!(out.to(2).iter().any(|m| matches!(m, Message::Alive(_))));
}

#[test]
fn a_node_that_begins_anew_while_it_leaves_leaves() {
    let mut bench = Bench::with(&["a"]);
    bench.node.leave(bench.now);
    bench.drain();
    bench.node.restart(bench.now).unwrap();
    let out = bench.pass(Duration::from_secs(5));
    assert!(out.events.contains(&Event::Departed));
    assert_eq!(bench.status("me"), Some(Status::Left));
}
