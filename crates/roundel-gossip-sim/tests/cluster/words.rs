//! A neighbour who says ten untrue words a second, without a key: nobody is lost by them, and none
//! of them stays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use roundel_gossip::wire::{
    Accusation, JoinIntent, LeaveIntent, Message, NodeRecord, NodeState, PushPull, PushPullState,
    Query, RecordState, SerfMessage, StreamMessage, Versions, tags,
};
use roundel_gossip::{Clocks, Event, QueryParams, Status};
use roundel_gossip_sim::{Fate, Link, World};

use super::{SECOND, cluster, each_seed};

/// How often a word is said.
const PACE: Duration = Duration::from_millis(100);

/// For so many of them: 8 seconds.
const WORDS: u32 = 80;

/// How far an incarnation may be ahead of the time of day.
const AHEAD: u32 = 10 * 365 * 24 * 3600;

/// Where the neighbour is.
fn liar() -> SocketAddr {
    ([10, 0, 255, 254], 7946).into()
}

/// The balancer `node-0`, which watches the others, half of which began as agents do.
fn watched(seed: u64) -> World {
    let mut world = World::new(seed, Link::good());
    for index in 0..10 {
        world.as_agents = index % 2 == 1;
        world.add(&[("role", "backend")]);
        world.join(index, 0);
    }
    world.run_until("all meet", SECOND * 10, |w| w.all_see_alive(10));
    for index in 1..10 {
        let name = world.peers[index].name.clone();
        world.with(0, |node, now| node.watch(now, &name, true));
    }
    world.run(SECOND * 20);
    world
}

fn accusation(world: &World, about: usize, incarnation: u32, by_itself: bool) -> Accusation {
    let node = world.peers[about].name.clone();
    let from = match by_itself {
        true => node.clone(),
        false => "neighbour".to_owned(),
    };
    Accusation {
        node,
        incarnation,
        from,
    }
}

fn record(world: &World, about: usize, incarnation: u32, at: SocketAddr) -> NodeRecord {
    let tags = BTreeMap::from([("role".to_owned(), "stolen".to_owned())]);
    let meta = tags::encode(&tags).expect("short tags");
    let name = world.peers[about].name.clone();
    NodeRecord::new(name, at, meta, incarnation, Versions::SERF).expect("a good record")
}

fn intent(world: &World, about: usize, ltime: u64, leaves: bool) -> Message {
    let node = world.peers[about].name.clone();
    let serf = match leaves {
        true => SerfMessage::Leave(LeaveIntent {
            ltime,
            node,
            prune: true,
        }),
        false => SerfMessage::Join(JoinIntent { ltime, node }),
    };
    Message::User(serf.encode())
}

/// One of all untrue words about a member, in an incarnation and at a Lamport time.
fn word(world: &World, kind: u32, about: usize, incarnation: u32, ltime: u64) -> Message {
    let home = world.peers[about].address;
    match kind % 7 {
        0 => Message::Dead(accusation(world, about, incarnation, false)),
        1 => Message::Dead(accusation(world, about, incarnation, true)),
        2 => Message::Suspect(accusation(world, about, incarnation, false)),
        3 => Message::Alive(record(world, about, incarnation, home)),
        4 => Message::Alive(record(world, about, incarnation, liar())),
        5 => intent(world, about, ltime, true),
        _ => intent(world, about, ltime, false),
    }
}

/// What a node holds of a member's incarnation.
fn incarnation(world: &World, observer: usize, about: usize) -> u32 {
    let node = world.peers[observer].node.as_ref().expect("it runs");
    let member = node.member(&world.peers[about].name);
    member.expect("they know each other").incarnation
}

fn clock(world: &World, index: usize) -> u64 {
    let node = world.peers[index].node.as_ref().expect("it runs");
    node.clocks().member
}

/// The same words as a state exchange.
fn exchange(world: &mut World, index: usize, nodes: Vec<NodeState>, state: PushPullState) {
    let message = StreamMessage::PushPull(PushPull {
        nodes,
        user_state: SerfMessage::PushPull(state).encode(),
        ..PushPull::default()
    });
    world.with(index, |node, now| {
        if let Some(id) = node.accept_stream(now, liar()) {
            node.handle_stream_bytes(now, id, &message.encode());
        }
    });
}

/// What anybody still holds that is not the truth; that something was refused is no lie.
fn lies(world: &World, fate: &Fate) -> Vec<String> {
    let mut found = world.disagreements(fate);
    found.retain(|text| !text.contains(" refused "));
    found
}

/// What the balancer was told of members since `from`, but for what is true of `gone`.
fn told(world: &World, from: Duration, gone: &str) -> Vec<String> {
    let since = world.peers[0].events.iter().filter(|(at, _)| *at >= from);
    let bad = since.filter_map(|(at, event)| match event {
        Event::Failed(m) | Event::Leave(m) | Event::Leaving(m) | Event::Update(m)
            if m.name != gone =>
        {
            Some(format!("{at:?} {event:?}"))
        }
        Event::Suspect { name, .. } | Event::Silent { name } if name != gone => {
            Some(format!("{at:?} {event:?}"))
        }
        _ => None,
    });
    bad.collect()
}

#[test]
fn words_take_no_member_from_the_balancer() {
    each_seed(2, |seed| {
        let mut world = watched(seed);
        let begun = world.elapsed();
        for turn in 0..WORDS {
            let about = 1 + turn as usize % 9;
            let newest = incarnation(&world, 0, about) + turn % 2;
            let ltime = clock(&world, 0) + 1;
            let message = word(&world, turn / 9, about, newest, ltime);
            // Everybody hears it but the one that it is about.
            for index in (0..10).filter(|index| *index != about) {
                world.tell(index, liar(), &message);
            }
            world.run(PACE);
        }
        world.run(SECOND * 10);
        assert_eq!(told(&world, begun, ""), [""; 0]);
        assert_eq!(lies(&world, &Fate::default()), [""; 0]);
    });
}

#[test]
fn words_hide_no_death() {
    each_seed(2, |seed| {
        let mut world = watched(seed);
        let begun = world.elapsed();
        for turn in 0..3 * WORDS {
            if turn == 10 {
                world.crash(5);
            }
            let about = 1 + turn as usize % 9;
            let newest = incarnation(&world, 0, about);
            let message = word(&world, turn % 3, about, newest, 0);
            for index in 0..10 {
                world.tell(index, liar(), &message);
            }
            world.run(PACE);
        }
        let fate = Fate {
            // Who is called a leaver when it is dead cannot contradict.
            either: [5].into(),
            ..Fate::default()
        };
        world.run(SECOND * 40);
        assert_eq!(told(&world, begun, "node-5"), [""; 0]);
        assert_eq!(lies(&world, &fate), [""; 0]);
    });
}

#[test]
fn incarnations_at_the_end_of_what_is_believed_stay_with_nobody() {
    each_seed(2, |seed| {
        let mut world = watched(seed);
        for turn in 0..WORDS {
            let about = turn as usize % 10;
            let border = world.unix_seconds() + AHEAD;
            let newest = [border, border + 1, u32::MAX - 1, u32::MAX][turn as usize % 4];
            let message = word(&world, turn / 4, about, newest, 0);
            let home = world.peers[about].address;
            let states = [RecordState::Alive, RecordState::Dead, RecordState::Left];
            let state = NodeState {
                record: record(&world, about, newest, home),
                state: states[turn as usize % 3],
            };
            for index in 0..10 {
                world.tell(index, liar(), &message);
                exchange(
                    &mut world,
                    index,
                    vec![state.clone()],
                    PushPullState::default(),
                );
            }
            world.run(PACE);
        }
        world.run(SECOND * 70);
        assert_eq!(lies(&world, &Fate::default()), [""; 0]);
        restart_all(&mut world);
        let newest = incarnation(&world, 0, 0);
        assert!(newest <= world.unix_seconds() + 10, "{newest}");
    });
}

/// Stops all and starts them again.
fn restart_all(world: &mut World) {
    for index in 0..10 {
        world.crash(index);
    }
    world.as_agents = false;
    for index in 0..10 {
        world.start(index, &[("role", "backend")]);
        world.join(index, 0);
    }
    world.run(SECOND * 10);
    assert!(world.all_see_alive(10));
    assert_eq!(lies(world, &Fate::default()), [""; 0]);
}

/// Has a node ask all, and gives how many acknowledge.
fn answers(world: &mut World, index: usize, direct: bool) -> usize {
    let before = world.peers[index].events.len();
    let nodes: Vec<String> = match direct {
        true => world.peers.iter().map(|peer| peer.name.clone()).collect(),
        false => Vec::new(),
    };
    let params = QueryParams {
        name: "load".to_owned(),
        ack: true,
        nodes,
        direct,
        ..QueryParams::default()
    };
    world.with(index, |node, now| {
        node.query(now, &params).expect("a short query");
    });
    world.run(SECOND * 4);
    let events = &world.peers[index].events[before..];
    let answers = events.iter().filter(|(_, e)| matches!(e, Event::Answer(_)));
    answers.count()
}

fn times(time: u64) -> PushPullState {
    PushPullState {
        ltime: time,
        event_ltime: time,
        query_ltime: time,
        ..PushPullState::default()
    }
}

#[test]
fn lamport_times_far_ahead_silence_nobody() {
    each_seed(2, |seed| {
        let mut world = watched(seed);
        for turn in 0..WORDS {
            let far = [1 << 20, (1 << 20) + 9, 1 << 40, 1 << 61, u64::MAX / 2][turn as usize % 5];
            let ltime = clock(&world, 0).saturating_add(far);
            let about = turn as usize % 10;
            let message = match turn % 3 {
                0 => intent(&world, about, ltime, false),
                1 => intent(&world, about, ltime, true),
                _ => query(ltime, turn),
            };
            // One of them hears all, the others what it passes on.
            world.tell(0, liar(), &message);
            exchange(&mut world, 0, Vec::new(), times(ltime));
            world.run(PACE);
        }
        world.run(SECOND * 5);
        // Each word may move them by a million, and none by more.
        for peer in &world.peers {
            let clocks = peer.node.as_ref().expect("it runs").clocks();
            let most = clocks.member.max(clocks.event).max(clocks.query);
            assert!(most < u64::from(WORDS) << 20, "{}: {most}", peer.name);
        }
        for index in [0, 3, 6] {
            assert_eq!(
                answers(&mut world, index, false),
                10,
                "asked by node-{index}"
            );
            assert_eq!(
                answers(&mut world, index, true),
                10,
                "asked by node-{index}"
            );
        }
        // Who leaves is believed.
        world.with(7, |node, now| node.leave(now));
        world.run(SECOND * 3);
        assert!((0..10).all(|index| world.status_at(index, "node-7") == Some(Status::Left)));
        world.strict = false;
        restart_all(&mut world);
        assert!(clock(&world, 0) < 1000, "{}", clock(&world, 0));
    });
}

fn query(ltime: u64, id: u32) -> Message {
    let query = Query {
        ltime,
        id,
        from: liar(),
        source_node: "neighbour".to_owned(),
        filters: Vec::new(),
        flags: if id.is_multiple_of(2) {
            0
        } else {
            Query::NO_BROADCAST
        },
        relay_factor: 0,
        timeout: SECOND,
        name: "load".to_owned(),
        payload: None,
    };
    Message::User(SerfMessage::Query(query).encode())
}

#[test]
fn a_cluster_that_has_counted_for_long_is_joined_and_heard() {
    each_seed(2, |seed| {
        let mut world = World::new(seed, Link::good());
        let old = 5_000_000;
        world.clocks = Clocks {
            member: old,
            event: old,
            query: old,
        };
        world.add(&[]);
        world.clocks = Clocks::default();
        for index in 1..10 {
            world.add(&[]);
            world.join(index, index - 1);
            world.run(PACE);
        }
        world.run(SECOND * 2);
        assert_eq!(answers(&mut world, 9, false), 10);
        assert_eq!(answers(&mut world, 0, false), 10);
        // One that starts anew, and that the others come to first.
        world.crash(0);
        world.run(PACE);
        world.start(0, &[]);
        world.join(5, 0);
        world.run(SECOND * 40);
        assert_eq!(answers(&mut world, 0, false), 10);
    });
}

#[test]
fn a_name_stays_while_somebody_answers_there_and_goes_when_nobody_does() {
    each_seed(2, |seed| {
        let mut world = watched(seed);
        let taken = |world: &World, index: usize, at: SocketAddr| {
            let node = world.peers[index].node.as_ref().expect("it runs");
            node.member("node-4")
                .is_some_and(|member| member.address == at)
        };
        for turn in 0..WORDS {
            let newest = incarnation(&world, 0, 4);
            let message = match turn % 2 {
                0 => Message::Dead(accusation(&world, 4, newest, true)),
                _ => Message::Alive(record(&world, 4, newest + 1, liar())),
            };
            (0..10).for_each(|index| world.tell(index, liar(), &message));
            world.run(PACE);
            assert!((0..10).all(|index| !taken(&world, index, liar())));
        }
        world.run(SECOND * 10);
        assert_eq!(lies(&world, &Fate::default()), [""; 0]);

        // It starts anew elsewhere.
        world.crash(4);
        let index = world.add(&[]);
        world.crash(index);
        world.peers[index].name = "node-4".to_owned();
        world.as_agents = true;
        world.start(index, &[("role", "again")]);
        world.join(index, 0);
        let at = world.peers[index].address;
        let took = world.run_until("it is followed", SECOND * 5, |w| {
            (0..10).filter(|i| *i != 4).all(|index| taken(w, index, at))
        });
        println!("seed {seed}: followed after {took:?}");
    });
}

/// A member is killed and comes back elsewhere, where it gives its name up as soon as it meets the
/// former self: two addresses go round for a name that nobody has.
#[test]
fn a_name_that_its_owner_gave_up_elsewhere_fails_everywhere() {
    each_seed(8, |seed| {
        let mut world = cluster(seed, 12, Link::bad(0.05));
        world.crash(4);
        world.run(Duration::from_millis(50 * seed));
        let index = world.add(&[]);
        world.crash(index);
        world.peers[index].name = "node-4".to_owned();
        world.start(index, &[("role", "again")]);
        world.join(index, 0);
        world.run_until("it meets its former self", SECOND * 10, |w| {
            let claimed =
                |event: &Event| matches!(event, Event::Conflict { name, .. } if name == "node-4");
            w.peers[index]
                .events
                .iter()
                .any(|(_, event)| claimed(event))
        });
        world.with(index, |node, now| {
            node.rename(now, "node-4-other").expect("a good name")
        });
        world.peers[index].name = "node-4-other".to_owned();
        for seed in [0, 1, 2] {
            world.join(index, seed);
        }
        world.run(SECOND * 45);
        for observer in world.running() {
            let status = world.status_at(observer, "node-4");
            assert_eq!(status, Some(Status::Failed), "at {observer}");
            let status = world.status_at(observer, "node-4-other");
            assert_eq!(status, Some(Status::Alive), "at {observer}");
        }
    });
}

/// One word, as numbers: its kind, whom it is about, who hears it, its incarnation, its time, and
/// whether it comes by an exchange.
fn any_word() -> impl Strategy<Value = (u32, usize, usize, u32, u64, bool)> {
    let incarnation = prop_oneof![
        3 => 0..4_u32,
        3 => (0..4_u32).prop_map(|n| 1_800_000_000 + n),
        3 => (0..40_u32).prop_map(|n| 1_800_000_000 + AHEAD + n),
        1 => any::<u32>(),
    ];
    let time = prop_oneof![
        3 => 0..40_u64,
        2 => (0..4_u64).prop_map(|n| n << 20),
        1 => any::<u64>(),
    ];
    (
        0..7_u32,
        0..4_usize,
        0..4_usize,
        incarnation,
        time,
        any::<bool>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_said_its_owner_contradicts(
        words in prop::collection::vec(any_word(), 1..60),
        seed in 0..1000_u64,
        known in any::<bool>(),
    ) {
        let mut world = cluster(seed, 4, Link::good());
        // Whom nobody has heard from is believed by hearsay, and contradicts as well.
        world.run(if known { SECOND * 10 } else { Duration::ZERO });
        for (kind, about, hears, incarnation, time, streamed) in words {
            let message = word(&world, kind, about, incarnation, time);
            if streamed {
                let home = world.peers[about].address;
                let states = [RecordState::Alive, RecordState::Suspect, RecordState::Left];
                let state = NodeState {
                    record: record(&world, about, incarnation, home),
                    state: states[kind as usize % 3],
                };
                exchange(&mut world, hears, vec![state], times(time));
            }
            world.tell(hears, liar(), &message);
            world.run(Duration::from_millis(30));
        }
        world.run(SECOND * 100);
        prop_assert_eq!(lies(&world, &Fate::default()), [""; 0]);
    }
}
