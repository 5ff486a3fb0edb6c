//! What may befall a cluster beyond loss: clocks that run apart, one-way loss, slow members.

use std::time::Duration;

use roundel_gossip::{Event, Status, Timings};
use roundel_gossip_sim::{Clock, Link, World};

use super::{SECOND, each_seed};

fn settled(seed: u64, count: usize) -> World {
    let mut world = World::settled(seed, Link::good(), Timings::lan(), count);
    world.strict = true;
    world
}

/// Names of whom anybody declared failed.
fn failed(world: &World) -> Vec<&str> {
    let events = world.peers.iter().flat_map(|peer| &peer.events);
    let names = events.filter_map(|(_, event)| match event {
        Event::Failed(member) => Some(member.name.as_str()),
        _ => None,
    });
    names.collect()
}

#[test]
fn a_broadcast_reaches_a_hundred_within_moments() {
    each_seed(2, |seed| {
        let mut world = settled(seed, 100);
        world.run(SECOND);
        world.with(7, |node, now| {
            let tags = [("role".to_owned(), "drained".to_owned())].into();
            node.set_tags(now, tags).unwrap();
        });
        let took = world.run_until("all know", SECOND, |w| {
            w.peers.iter().all(|peer| {
                let member = peer.node.as_ref().and_then(|node| node.member("node-7"));
                member.is_some_and(|m| m.tags["role"] == "drained")
            })
        });
        assert!(took <= Duration::from_millis(100), "{took:?}");
    });
}

#[test]
fn clocks_that_run_apart_fail_nobody() {
    each_seed(2, |seed| {
        let mut world = World::new(seed, Link::good());
        let start = world.now;
        for index in 0..12 {
            world.add(&[("role", "backend")]);
            let rate = 0.99 + 0.002 * index as f64;
            world.crash(index);
            world.peers[index].clock = Clock::skewed(start, SECOND * index as u32, rate);
            world.start(index, &[("role", "backend")]);
            world.join(index, index / 2);
            world.run(Duration::from_millis(50));
        }
        world.run(SECOND * 60);
        assert_eq!(failed(&world), [""; 0]);
        let alive = |m: &&roundel_gossip::Member| m.status == Status::Alive;
        for peer in &world.peers {
            let node = peer.node.as_ref().unwrap();
            assert_eq!(node.members().filter(alive).count(), 12, "{}", peer.name);
        }
    });
}

#[test]
fn one_that_is_heard_badly_is_not_failed() {
    each_seed(2, |seed| {
        let mut world = settled(seed, 20);
        world.peers[3].loss_out = 0.3;
        world.peers[4].loss_in = 0.3;
        world.run(SECOND * 60);
        assert_eq!(failed(&world), [""; 0]);
    });
}

#[test]
fn a_slow_member_does_not_accuse_the_others() {
    each_seed(2, |seed| {
        let mut world = settled(seed, 20);
        world.run(SECOND);
        for _ in 0..8 {
            world.slow(5, Duration::from_millis(2500));
            world.run(SECOND * 5);
        }
        assert_eq!(failed(&world), [""; 0]);
        world.run(SECOND * 10);
        let node = world.peers[0].node.as_ref().unwrap();
        assert_eq!(node.member("node-5").unwrap().status, Status::Alive);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = settled(seed, 30);
        world.link = Link::bad(0.1);
        world.crash(3);
        world.run(SECOND * 15);
        (world.datagrams, world.bytes, world.stream_bytes)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
