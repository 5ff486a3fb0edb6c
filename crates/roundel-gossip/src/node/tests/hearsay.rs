//! What others say of a member: asked back, told to it, contradicted or believed.

use super::*;
use crate::member::Known;

/// `me`, who has heard `a` at port 2 and `b` at port 3.
fn bench() -> Bench {
    let mut bench = Bench::with(&["a", "b"]);
    bench.know(&["a", "b"]);
    bench
}

fn tagged(name: &str, port: u16, incarnation: u32) -> NodeRecord {
    let tags = BTreeMap::from([("role".to_owned(), "none".to_owned())]);
    let meta = tags::encode(&tags).unwrap();
    NodeRecord::new(name.to_owned(), at(port), meta, incarnation, Versions::SERF).unwrap()
}

impl Bench {
    /// Has `b` answer all pings, those of 50 ms later too; gives what came of it.
    fn answered_twice(&mut self, out: &Out) -> Vec<Event> {
        self.answer(out, 3);
        let out = self.pass(Duration::from_millis(55));
        let mut events = self.answer(&out, 3).events;
        events.extend(self.pass(Duration::from_millis(25)).events);
        events
    }

    fn role_of(&self, name: &str) -> Option<&str> {
        let member = self.node.member(name).unwrap();
        member.tags.get("role").map(String::as_str)
    }
}

#[test]
fn a_death_by_hearsay_is_asked_back() {
    let mut bench = bench();
    let dead = Message::Dead(accuse("b", 1, "a"));
    let out = bench.hear(&dead);
    // It is told, so that it contradicts where it matters, and nobody else is.
    let [Message::Ping(ping), Message::Suspect(told)] = out.to(3)[..] else {
        panic!("{:?}", out.messages);
    };
    assert_eq!((&*ping.node, told), ("b", &accuse("b", 1, "me")));
    assert_eq!((out.messages.len(), out.events.len()), (2, 0));
    assert!(bench.hear(&dead).messages.is_empty(), "it is asked once");
    assert!(bench.answer(&out, 3).events.is_empty());
    assert_eq!(bench.status("b"), Some(Status::Alive));
    assert_eq!(bench.node.stats().hearsay_refuted, 1);

    // No answer, no doubt: and others are told.
    bench.hear(&dead);
    assert!(bench.pass(Duration::from_millis(499)).events.is_empty());
    let out = bench.pass(Duration::from_millis(2));
    assert!(matches!(&out.events[..], [Event::Failed(m)] if m.known == Known::Asked));
    assert!(out.to(2).contains(&&dead), "{:?}", out.messages);
}

#[test]
fn one_that_was_asked_in_vain_is_believed_dead_at_once() {
    let mut bench = bench();
    let out = bench.hear(&Message::Suspect(accuse("b", 1, "a")));
    assert!(out.events.is_empty(), "{:?}", out.events);
    let told = Message::Suspect(accuse("b", 1, "a"));
    assert!(out.to(2).contains(&&told), "others share the suspicion");
    assert!(!bench.node.member("b").unwrap().suspect);
    let out = bench.pass(Duration::from_millis(501));
    assert!(
        matches!(&out.events[..], [Event::Suspect { name, from }] if name == "b" && from == "a")
    );
    let out = bench.hear(&Message::Dead(accuse("b", 1, "c")));
    assert!(matches!(&out.events[..], [Event::Failed(m)] if m.name == "b"));
}

#[test]
fn a_suspect_that_answers_outlives_its_suspicion() {
    let mut bench = bench();
    let out = bench.hear(&Message::Suspect(accuse("b", 1, "a")));
    bench.answer(&out, 3);
    // Three known members: 4 seconds. Its refutation never comes.
    for _ in 0..50 {
        let out = bench.pass(Duration::from_millis(100));
        bench.answer(&out, 2);
        let more = bench.answer(&out, 3);
        let events = out.events.iter().chain(&more.events);
        assert!(events.count() == 0, "{:?}", out.events);
    }
    assert_eq!(bench.status("b"), Some(Status::Alive));
    assert!(!bench.node.member("b").unwrap().suspect);
    let swim = bench.node.members.get("b").unwrap().swim;
    assert_eq!(swim, crate::node::record::Swim::Alive);
}

#[test]
fn a_newcomer_is_pinged_and_asked_like_others() {
    let mut bench = bench();
    let out = bench.hear(&Message::Alive(record("c", 4, 1)));
    assert!(
        out.to(4)
            .iter()
            .any(|m| matches!(m, Message::Ping(p) if p.node == "c"))
    );
    // Before its answer as well.
    let out = bench.hear(&Message::Dead(accuse("c", 1, "c")));
    assert!(out.events.is_empty(), "{:?}", out.events);
    let out = bench.pass(Duration::from_millis(501));
    let left = |e: &Event| matches!(e, Event::Leave(m) if m.name == "c");
    assert!(out.events.iter().any(left), "{:?}", out.events);
    // Made-up ones make us ping at a pace.
    let greeted = |i: &u16| {
        let name = format!("n{i}");
        let out = bench.hear(&Message::Alive(record(&name, 100 + i, 1)));
        !out.to(100 + i).is_empty()
    };
    assert!((0..200).filter(greeted).count() < 40);
}

#[test]
fn who_did_not_answer_us_is_believed_dead_by_hearsay() {
    let mut bench = Bench::with(&["a", "b"]);
    let out = bench.hear(&Message::Dead(accuse("b", 1, "a")));
    assert!(matches!(&out.events[..], [Event::Failed(m)] if m.known == Known::Hearsay));
}

#[test]
fn a_leave_is_believed_of_the_member_and_else_asked_back() {
    let left = Message::Dead(accuse("b", 1, "b"));
    let is_left = |events: &[Event]| matches!(events, [Event::Leave(m)] if m.name == "b");
    let mut itself = bench();
    assert!(is_left(&itself.hear_from(3, &left).events));
    assert_eq!(itself.node.member("b").unwrap().known, Known::Itself);

    let mut true_word = bench();
    let out = true_word.hear(&left);
    assert!(out.events.is_empty(), "{:?}", out.events);
    assert!(is_left(&true_word.answered_twice(&out)));

    let mut gone = bench();
    gone.hear(&left);
    assert!(is_left(&gone.pass(Duration::from_millis(501)).events));

    let mut lie = bench();
    let out = lie.hear(&left);
    lie.hear(&Message::Alive(record("b", 3, 2)));
    assert!(lie.answered_twice(&out).is_empty());
    assert_eq!(lie.status("b"), Some(Status::Alive));
}

#[test]
fn an_intent_to_leave_is_believed_of_the_member_and_else_asked_back() {
    let is_leaving = |events: &[Event]| matches!(events, [Event::Leaving(m)] if m.name == "b");
    let mut itself = bench();
    assert!(is_leaving(
        &itself.hear_from(3, &leave_intent("b", 60)).events
    ));
    // Then nobody doubts the end.
    let out = itself.hear(&Message::Dead(accuse("b", 1, "b")));
    assert!(matches!(&out.events[..], [Event::Leave(m)] if m.name == "b"));

    let mut true_word = bench();
    let out = true_word.hear(&leave_intent("b", 60));
    assert!(out.to(3).contains(&&leave_intent("b", 60)), "it is told");
    assert!(out.to(2).contains(&&leave_intent("b", 60)), "passed on");
    assert!(is_leaving(&true_word.answered_twice(&out)));

    let mut lie = bench();
    let out = lie.hear(&leave_intent("b", 60));
    lie.hear(&join_intent("b", 61));
    assert!(lie.answered_twice(&out).is_empty());
    assert!(lie.hear(&leave_intent("b", 60)).messages.is_empty());
    assert_eq!(lie.status("b"), Some(Status::Alive));
}

#[test]
fn tags_are_believed_of_the_member_and_else_asked_back() {
    let changed = Message::Alive(tagged("b", 3, 2));
    let mut itself = bench();
    itself.hear_from(3, &changed);
    assert_eq!(itself.role_of("b"), Some("none"));

    let mut true_word = bench();
    let out = true_word.hear(&changed);
    assert!(out.to(3).contains(&&changed), "it is told");
    assert_eq!(true_word.role_of("b"), None);
    true_word.answered_twice(&out);
    assert_eq!(true_word.role_of("b"), Some("none"));

    // The owner contradicts by a newer word, or by an old one if it comes from itself: agents may
    // have been driven beyond what we believe.
    for (port, incarnation) in [(2, 3), (3, 1)] {
        let mut lie = bench();
        let out = lie.hear(&changed);
        lie.hear_from(port, &Message::Alive(record("b", 3, incarnation)));
        assert!(lie.answered_twice(&out).is_empty());
        assert_eq!(lie.role_of("b"), None);
    }
}

#[test]
fn a_name_whose_address_does_not_answer_goes_to_another() {
    let mut bench = bench();
    bench.hear(&Message::Alive(record("b", 3, 5)));
    // An agent that starts anew, elsewhere, begins at 1.
    let asked = bench.hear(&Message::Alive(record("b", 9, 1)));
    bench.answer(&asked, 9);
    let out = bench.pass(Duration::from_millis(1999));
    bench.answer(&out, 2);
    assert_eq!(bench.node.member("b").unwrap().address, at(3));
    bench.pass(Duration::from_millis(2));
    let moved = bench.node.member("b").unwrap();
    assert_eq!(
        (moved.address, moved.incarnation, moved.status),
        (at(9), 1, Status::Alive)
    );
}

/// Else two old words about one that is gone, each with another address, would bring it back to life
/// by turns without end.
#[test]
fn a_name_goes_by_an_old_word_only_to_where_somebody_answers_to_it() {
    let mut bench = bench();
    bench.hear(&Message::Alive(record("b", 3, 5)));
    bench.node.contacts.lost(&"b".into());
    bench.hear(&Message::Dead(accuse("b", 5, "a")));
    assert_eq!(bench.status("b"), Some(Status::Failed));
    for incarnation in [4, 5] {
        bench.hear(&Message::Alive(record("b", 9, incarnation)));
        let out = bench.pass(Duration::from_secs(3));
        let joined = |e: &Event| matches!(e, Event::Join(_));
        assert!(!out.events.iter().any(joined), "{:?}", out.events);
        let b = bench.node.member("b").unwrap();
        assert_eq!((b.address, b.status), (at(3), Status::Failed));
    }
    // A newer one may come from behind a wall that pings do not pass.
    bench.hear(&Message::Alive(record("b", 9, 6)));
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.node.member("b").unwrap().address, at(9));
}

#[test]
fn incarnations_that_nobody_reaches_are_refused() {
    let mut bench = bench();
    let border = bench.node.time_of_day.border(bench.now);
    let state = |state| NodeState {
        record: record("b", 3, border + 1),
        state,
    };
    for message in [
        Message::Alive(record("b", 3, border + 1)),
        Message::Alive(record("new", 9, border + 1)),
        Message::Suspect(accuse("b", border + 1, "a")),
        Message::Dead(accuse("b", border + 1, "b")),
        Message::Dead(accuse("me", u32::MAX, "a")),
    ] {
        let out = bench.hear(&message);
        assert!(out.messages.is_empty(), "{:?}", out.messages);
    }
    for word in [RecordState::Alive, RecordState::Suspect, RecordState::Left] {
        bench.exchange(vec![state(word)], PushPullState::default());
    }
    assert_eq!(bench.node.stats().dropped[&DropReason::Incarnation], 8);
    assert_eq!(bench.node.member("b").unwrap().incarnation, 1);
    assert_eq!(bench.node.member("me").unwrap().incarnation, 100);
    assert!(bench.node.member("new").is_none());
    // Whoever tells us what is absurd of us is told what is right.
    let out = bench.hear(&Message::Alive(record("me", 1, border + 1)));
    let [Message::Alive(own)] = out.to(2)[..] else {
        panic!("{:?}", out.messages);
    };
    assert_eq!(own.incarnation(), 100);
}

#[test]
fn a_refutation_at_the_border_is_said_again_when_nobody_refuses_it() {
    let mut bench = bench();
    let mut other = Bench::configured(&["me"], |config| config.name = "other".to_owned());
    let border = bench.node.time_of_day.border(bench.now);
    bench.hear(&Message::Suspect(accuse("me", border, "a")));
    let own = || bench.node.member("me").unwrap().incarnation;
    assert_eq!(own(), border + 1);
    bench.pass(Duration::from_secs(2));
    let again = bench.pass(Duration::from_secs(2));
    let alive = |message: &&(SocketAddr, Message)| matches!(&message.1, Message::Alive(own) if own.name() == "me");
    let (_, alive) = again.messages.iter().find(alive).unwrap();
    other.pass(Duration::from_secs(4));
    let out = other.hear_from(1, alive);
    assert!(!matches!(&out.events[..], [Event::Dropped { .. }]));
}

#[test]
fn a_former_life_at_the_border_is_not_gone_on_with() {
    let bench = Bench::configured(&[], |config| config.incarnation = u32::MAX);
    let own = bench.node.member("me").unwrap();
    assert_eq!(own.incarnation, 1_800_000_000);
}

#[test]
fn our_name_is_not_claimed_where_nobody_answers_to_it() {
    let mut bench = bench();
    let out = bench.hear(&Message::Alive(record("me", 9, 500)));
    assert!(
        out.to(9)
            .iter()
            .any(|m| matches!(m, Message::Ping(p) if p.node == "me"))
    );
    // One is asked at a time.
    let out = bench.hear(&Message::Alive(record("me", 10, 500)));
    assert!(out.to(10).is_empty());
    let out = bench.pass(Duration::from_secs(1));
    let conflict = |e: &Event| matches!(e, Event::Conflict { .. });
    assert!(!out.events.iter().any(conflict), "{:?}", out.events);
}

#[test]
fn what_is_said_of_one_that_is_erased_is_forgotten() {
    let mut bench = bench();
    bench.hear(&Message::Dead(accuse("b", 1, "a")));
    bench.hear(&Message::Alive(record("b", 9, 2)));
    let b = bench.node.members.get_key_value("b").unwrap().0.clone();
    bench.node.forget(bench.now, &b);
    let out = bench.pass(Duration::from_millis(100));
    assert!(out.to(3).is_empty(), "{:?}", out.messages);
    // Who comes under its name is not measured by words about the one before.
    bench.hear_from(3, &Message::Alive(record("b", 3, 1)));
    bench.pass(Duration::from_secs(3));
    assert_ne!(bench.status("b"), Some(Status::Failed));
    assert_eq!(bench.node.member("b").unwrap().address, at(3));
}
