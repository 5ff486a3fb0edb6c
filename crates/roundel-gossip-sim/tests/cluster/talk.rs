//! Queries and user events in clusters.

use std::collections::BTreeSet;
use std::time::Duration;

use roundel_gossip::{Event, QueryParams};

use super::{SECOND, cluster, each_seed};
use roundel_gossip_sim::{Link, World};

/// Who heard the event `name`, each counted as often as told.
fn told(world: &World, name: &str) -> Vec<usize> {
    let is_it = |event: &Event| matches!(event, Event::User { name: n, .. } if n == name);
    let count = |events: &[(Duration, Event)]| events.iter().filter(|(_, e)| is_it(e)).count();
    world.peers.iter().map(|peer| count(&peer.events)).collect()
}

/// Answers at every node what was asked since the last call.
fn answer_all(world: &mut World, seen: &mut BTreeSet<(usize, roundel_gossip::QueryId)>) {
    for index in 0..world.peers.len() {
        let asked: Vec<_> = world.peers[index]
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Query(question) => Some(question.id),
                _ => None,
            })
            .collect();
        for id in asked {
            if seen.insert((index, id)) {
                let name = world.peers[index].name.clone();
                world.with(index, |node, now| {
                    node.respond(now, id, name.as_bytes()).unwrap();
                });
            }
        }
    }
}

/// Asks all from node 3 and gives who acknowledged and who answered.
fn ask(world: &mut World, relay_factor: u8) -> (BTreeSet<String>, BTreeSet<String>) {
    let params = QueryParams {
        name: "who".to_owned(),
        ack: true,
        relay_factor,
        ..QueryParams::default()
    };
    let mut id = None;
    world.with(3, |node, now| id = Some(node.query(now, &params).unwrap()));
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        world.run(Duration::from_millis(100));
        answer_all(world, &mut seen);
    }
    let (mut acks, mut answers) = (BTreeSet::new(), BTreeSet::new());
    let mut ended = false;
    for (_, event) in &world.peers[3].events {
        match event {
            Event::Answer(answer) if Some(answer.query) == id => {
                assert!(!ended, "an answer after the end");
                let new = match &answer.payload {
                    None => acks.insert(answer.from.clone()),
                    Some(payload) => {
                        assert_eq!(payload, answer.from.as_bytes());
                        answers.insert(answer.from.clone())
                    }
                };
                assert!(new, "twice from {}", answer.from);
            }
            Event::QueryEnded { query } if Some(*query) == id => ended = true,
            _ => {}
        }
    }
    assert!(ended, "the query ends");
    (acks, answers)
}

#[test]
fn a_query_is_answered_by_everybody() {
    each_seed(2, |seed| {
        let mut world = cluster(seed, 25, Link::good());
        let (acks, answers) = ask(&mut world, 0);
        assert_eq!((acks.len(), answers.len()), (25, 25));
    });
}

#[test]
fn relays_bring_answers_through_a_bad_network() {
    each_seed(3, |seed| {
        let mut world = cluster(seed, 25, Link::bad(0.2));
        let (_, answers) = ask(&mut world, 3);
        // Straight only, one in five would be missing.
        assert!(answers.len() >= 24, "{} answered", answers.len());
    });
}

#[test]
fn a_user_event_is_told_to_everybody_once() {
    each_seed(3, |seed| {
        let mut world = cluster(seed, 25, Link::bad(0.05));
        world.with(7, |node, now| {
            node.user_event(now, "deploy", b"v2", false).unwrap()
        });
        world.run(SECOND * 3);
        assert_eq!(told(&world, "deploy"), vec![1; 25]);
    });
}

#[test]
fn an_event_missed_behind_a_partition_comes_with_a_state_exchange() {
    each_seed(2, |seed| {
        let mut world = cluster(seed, 10, Link::good());
        world.peers[9].side = 1;
        world.with(0, |node, now| {
            node.user_event(now, "deploy", b"v3", false).unwrap()
        });
        world.run(SECOND * 4);
        assert_eq!(told(&world, "deploy")[9], 0);
        world.peers[9].side = 0;
        world.run(SECOND * 65);
        assert_eq!(told(&world, "deploy"), vec![1; 10]);
        // A newcomer is not told of what was before its time.
        let newcomer = world.add(&[]);
        world.join(newcomer, 0);
        world.run(SECOND * 65);
        assert_eq!(told(&world, "deploy")[newcomer], 0);
    });
}
