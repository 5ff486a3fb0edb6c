//! Lamport times: what is far ahead, who is followed.

use super::*;

const FAR: u64 = 1 << 30;

fn clocks(time: u64) -> PushPullState {
    PushPullState {
        ltime: time,
        event_ltime: time,
        query_ltime: time,
        ..PushPullState::default()
    }
}

impl Bench {
    /// Goes to the peer at `port`, told to join by it or not, and hears its clocks.
    fn fetch(&mut self, port: u16, joins: bool, time: u64) {
        let role = match joins {
            true => streams::Role::Join(at(port)),
            false => streams::Role::Sync { join: false },
        };
        let id = self.node.open_stream(self.now, at(port), role).unwrap();
        let message = StreamMessage::PushPull(PushPull {
            user_state: SerfMessage::PushPull(clocks(time)).encode(),
            ..PushPull::default()
        });
        let bytes = message.encode();
        self.node.handle_stream_bytes(self.now, id, &bytes);
        self.drain();
    }

    fn times(&self) -> [u64; 3] {
        let Clocks {
            member,
            event,
            query,
        } = self.node.clocks();
        [member, event, query]
    }

    /// What we say ourselves when we join counts on by one.
    fn is_at(&self, time: u64) -> bool {
        self.times()
            .iter()
            .all(|now| (time..=time + 1).contains(now))
    }
}

#[test]
fn words_far_ahead_are_refused_and_move_no_clock() {
    let mut bench = Bench::with(&["a", "b"]);
    let before = bench.times();
    let event = UserEvent {
        ltime: FAR,
        name: "deploy".to_owned(),
        payload: None,
        coalesce: false,
    };
    for message in [
        leave_intent("b", FAR),
        join_intent("b", FAR),
        Message::User(SerfMessage::UserEvent(event).encode()),
        queries::query("load", 1, |q| (q.ltime, q.flags) = (FAR, 0)),
    ] {
        let out = bench.hear(&message);
        assert!(out.messages.is_empty(), "{:?}", out.messages);
    }
    let status = PushPullState {
        status_ltimes: vec![("b".to_owned(), FAR)],
        ..clocks(1)
    };
    bench.exchange(Vec::new(), status);
    bench.exchange(Vec::new(), clocks(FAR));
    assert_eq!(bench.node.stats().dropped[&DropReason::Time], 6);
    assert_eq!(bench.times(), before);
}

#[test]
fn whoever_comes_to_us_moves_no_clock_but_by_what_is_passed_on() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.exchange(Vec::new(), clocks(1));
    let before = bench.times();
    for round in 1..100 {
        bench.exchange(Vec::new(), clocks(round << 19));
    }
    assert_eq!(bench.times(), before);
    // The time of an intent that others have not heard is told to them.
    let status = PushPullState {
        status_ltimes: vec![("b".to_owned(), 1 << 19)],
        ..clocks(1)
    };
    let (out, _) = bench.exchange(Vec::new(), status);
    let told = |serf: &SerfMessage| matches!(serf, SerfMessage::Join(i) if i.ltime > 1 << 19);
    assert!(out.serf().iter().any(told), "{:?}", out.messages);
}

#[test]
fn the_clocks_of_an_old_cluster_are_learnt_by_going_there() {
    for joins in [true, false] {
        let mut bench = Bench::with(&[]);
        bench.fetch(2, joins, FAR);
        assert!(bench.is_at(FAR - 1), "joins: {joins}: {:?}", bench.times());
        // From there on it is not the word of one.
        bench.fetch(2, joins, FAR << 8);
        bench.fetch(2, joins, FAR << 8);
        assert!(bench.is_at(FAR - 1), "{:?}", bench.times());
    }
}

#[test]
fn one_that_missed_much_believes_two() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.exchange(Vec::new(), clocks(1));
    bench.fetch(2, false, FAR);
    assert!(bench.times()[0] < FAR);
    let id = bench
        .node
        .open_stream(
            bench.now,
            ([10, 0, 0, 9], 2).into(),
            streams::Role::Sync { join: false },
        )
        .unwrap();
    let message = StreamMessage::PushPull(PushPull {
        user_state: SerfMessage::PushPull(clocks(FAR)).encode(),
        ..PushPull::default()
    });
    let bytes = message.encode();
    bench.node.handle_stream_bytes(bench.now, id, &bytes);
    assert!(bench.is_at(FAR - 1), "{:?}", bench.times());
}

#[test]
fn times_of_a_former_life_that_nobody_has_are_forgotten_when_we_join() {
    let former = Clocks {
        member: FAR,
        event: FAR,
        query: FAR,
    };
    let mut bench = Bench::configured(&[], |config| config.clocks = former);
    bench.fetch(2, true, 40);
    assert!(bench.times().iter().all(|time| *time < 50));
    // What the cluster says from here on is heard.
    let out = bench.hear(&queries::query("load", 1, |q| (q.ltime, q.flags) = (60, 0)));
    let asked = |e: &Event| matches!(e, Event::Query(_));
    assert!(out.events.iter().any(asked), "{:?}", out.events);
}

#[test]
fn a_query_to_us_alone_is_answered_whatever_its_time_and_once() {
    let mut bench = Bench::with(&["a"]);
    bench.node.query_clock.witness(5000);
    for time in [1, 5000, FAR] {
        let direct = queries::query("load", 7, |query| {
            query.ltime = time;
            query.flags = Query::NO_BROADCAST;
        });
        let asked = |out: &Out| out.events.iter().any(|e| matches!(e, Event::Query(_)));
        assert!(asked(&bench.hear(&direct)), "{time}");
        assert!(!asked(&bench.hear(&direct)), "{time}");
    }
    assert_eq!(bench.node.clocks().query, 5000);
}
