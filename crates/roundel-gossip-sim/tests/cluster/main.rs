//! Clusters in memory, through the real codec, on a clock of their own.
//!
//! Every scenario runs for a few seeds. A failure names its seed; `ROUNDEL_SIM_SEED=<seed>` then
//! runs that seed only.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests, which begin at some instant"
)]

mod joins;
mod talk;
mod trouble;
mod words;

use std::time::Duration;

use roundel_gossip::{Event, Status, Timings};
use roundel_gossip_sim::{Fate, Link, World};

const SECOND: Duration = Duration::from_secs(1);

/// Panics unless all running nodes agree with the truth, and with nothing left to say.
fn assert_agreement(world: &World, fate: &Fate) {
    assert_eq!(world.disagreements(fate), [""; 0]);
}

/// How often a failure was announced to anybody.
fn failures_seen(world: &World) -> usize {
    let events = world.peers.iter().flat_map(|peer| &peer.events);
    let failed = events.filter(|(_, event)| matches!(event, Event::Failed(_)));
    failed.count()
}

/// Everything that was announced, as one text.
fn digest(world: &World) -> String {
    let mut text = String::new();
    for peer in &world.peers {
        for (at, event) in &peer.events {
            let kind = match event {
                Event::Join(m) => format!("join {}", m.name),
                Event::Failed(m) => format!("failed {}", m.name),
                Event::Suspect { name, from } => format!("suspect {name} {from}"),
                Event::Refuted { name } => format!("refuted {name}"),
                _ => continue,
            };
            text += &format!("{} {at:?} {kind}\n", peer.name);
        }
    }
    text + &format!("{} {}", world.datagrams, world.bytes)
}

/// Runs a scenario for `count` seeds, or for the one in the environment.
fn each_seed(count: u64, scenario: impl Fn(u64)) {
    let given = std::env::var("ROUNDEL_SIM_SEED").ok();
    let given = given.map(|text| text.parse().expect("ROUNDEL_SIM_SEED is a number"));
    let seeds = given.map_or((0..count).collect(), |seed: u64| vec![seed]);
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| scenario(seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("this was ROUNDEL_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A cluster of `count` nodes that know each other.
fn cluster(seed: u64, count: usize, link: Link) -> World {
    let mut world = World::new(seed, Link::good());
    for _ in 0..count {
        let index = world.add(&[("role", "backend")]);
        if index > 0 {
            world.join(index, index - 1);
        }
        world.run(Duration::from_millis(20));
    }
    world.run_until("all meet", SECOND * 10, |w| w.all_see_alive(count));
    world.run(SECOND * 2);
    world.link = link;
    world
}

#[test]
fn everybody_meets_within_a_second() {
    each_seed(2, |seed| {
        let mut world = World::new(seed, Link::good());
        for index in 0..25 {
            world.add(&[("role", "backend"), ("port", "3000")]);
            if index > 0 {
                world.join(index, 0);
            }
            world.run(Duration::from_millis(10));
        }
        let took = world.run_until("all meet", SECOND, |w| w.all_see_alive(25));
        println!("seed {seed}: all of 25 met {took:?} after the last start");
        world.run(SECOND * 5);
        assert_agreement(&world, &Fate::default());
    });
}

#[test]
fn a_crash_is_seen_by_all_and_nobody_else_fails() {
    each_seed(2, |seed| {
        let mut world = cluster(seed, 25, Link::good());
        let crashed = [3, 11, 19];
        for index in crashed {
            world.crash(index);
        }
        world.run_until("all crashes are seen", SECOND * 40, |w| {
            crashed.iter().all(|dead| {
                let name = &w.peers[*dead].name;
                let living = w.running();
                living
                    .iter()
                    .all(|i| w.status_at(*i, name) == Some(Status::Failed))
            })
        });
        world.run(SECOND * 5);
        let fate = Fate {
            failed: crashed.into(),
            ..Fate::default()
        };
        assert_agreement(&world, &fate);
    });
}

#[test]
fn graceful_leaves_are_left_everywhere() {
    each_seed(2, |seed| {
        let mut world = cluster(seed, 25, Link::bad(0.05));
        let leaving = [2, 9, 16, 23];
        for index in leaving {
            world.with(index, |node, now| node.leave(now));
            world.run(Duration::from_millis(100));
        }
        world.run(SECOND * 2);
        for index in leaving {
            world.crash(index);
        }
        world.run(SECOND * 40);
        let fate = Fate {
            left: leaving.into(),
            ..Fate::default()
        };
        assert_agreement(&world, &fate);
        assert_eq!(failures_seen(&world), 0);
    });
}

#[test]
fn a_leave_among_few_is_over_in_a_moment() {
    each_seed(5, |seed| {
        let mut world = cluster(seed, 5, Link::good());
        world.with(1, |node, now| node.leave(now));
        let heard = world.run_until("the intent is heard", SECOND, |w| {
            let name = &w.peers[1].name;
            [0, 2, 3, 4]
                .iter()
                .all(|i| w.status_at(*i, name) != Some(Status::Alive))
        });
        assert!(heard <= Duration::from_millis(20), "{heard:?}");
        let left = world.run_until("it has left", SECOND, |w| {
            let name = &w.peers[1].name;
            (0..5).all(|i| w.status_at(i, name) == Some(Status::Left))
        });
        assert!(left <= Duration::from_millis(300), "{left:?}");
    });
}

#[test]
fn a_fifth_of_all_packets_lost_fails_nobody() {
    each_seed(1, |seed| {
        let mut world = cluster(seed, 25, Link::bad(0.2));
        world.run(SECOND * 60);
        assert_eq!(failures_seen(&world), 0);
        world.with(7, |node, now| {
            node.set_tags(now, [("role".into(), "drained".into())].into())
                .unwrap();
        });
        world.run(SECOND * 35);
        assert_eq!(failures_seen(&world), 0);
        world.link = Link::good();
        world.run(SECOND * 10);
        assert_agreement(&world, &Fate::default());
    });
}

#[test]
fn a_cluster_cut_in_two_grows_together_again() {
    each_seed(1, |seed| {
        let mut world = cluster(seed, 16, Link::good());
        for index in 0..6 {
            world.peers[index].side = 1;
        }
        world.run(SECOND * 60);
        assert_eq!(world.status_at(0, "node-10"), Some(Status::Failed));
        assert_eq!(world.status_at(10, "node-0"), Some(Status::Failed));
        assert_eq!(world.status_at(0, "node-1"), Some(Status::Alive));
        for index in 0..6 {
            world.peers[index].side = 0;
        }
        world.run_until("one cluster again", SECOND * 300, |w| w.all_see_alive(16));
        world.run(SECOND * 40);
        assert_agreement(&world, &Fate::default());
    });
}

#[test]
fn a_restarted_node_is_believed_at_once() {
    each_seed(4, |seed| {
        let mut world = cluster(seed, 10, Link::good());
        world.crash(4);
        world.run(SECOND);
        world.start(4, &[("role", "again")]);
        world.join(4, 0);
        world.run_until("the new tags are seen", SECOND, |w| {
            w.all_see_alive(10)
                && w.running().iter().all(|i| {
                    let node = w.peers[*i].node.as_ref().unwrap();
                    node.member("node-4").unwrap().tags.get("role").unwrap() == "again"
                })
        });
        world.run(SECOND * 30);
        assert_agreement(&world, &Fate::default());
        assert_eq!(failures_seen(&world), 0);
    });
}

#[test]
fn a_restarted_node_without_a_seed_is_told_by_those_that_probe_it() {
    each_seed(3, |seed| {
        let mut world = cluster(seed, 10, Link::good());
        world.crash(4);
        world.run(Duration::from_millis(200));
        world.start(4, &[("role", "again")]);
        let took = world.run_until("it knows all", SECOND * 6, |w| w.all_see_alive(10));
        println!("seed {seed}: found again after {took:?}");
        world.run(SECOND * 30);
        assert_agreement(&world, &Fate::default());
        assert_eq!(failures_seen(&world), 0);
    });
}

#[test]
fn one_that_left_may_come_back() {
    each_seed(4, |seed| {
        let mut world = cluster(seed, 10, Link::good());
        world.with(4, |node, now| node.leave(now));
        world.run(SECOND * 2);
        world.crash(4);
        world.run(SECOND * 3);
        world.start(4, &[("role", "again")]);
        world.join(4, 7);
        world.run_until("it is back", SECOND * 2, |w| w.all_see_alive(10));
        world.run(SECOND * 70);
        assert_agreement(&world, &Fate::default());
        assert_eq!(failures_seen(&world), 0);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = cluster(seed, 8, Link::bad(0.1));
        world.crash(3);
        world.run(SECOND * 20);
        digest(&world)
    };
    let first = run(42);
    assert_eq!(first, run(42));
    assert_ne!(first, run(43));
}

#[test]
fn an_idle_cluster_is_quiet() {
    let mut world = cluster(1, 25, Link::good());
    world.run(SECOND * 10);
    let (datagrams, bytes) = (world.datagrams, world.bytes);
    world.run(SECOND * 60);
    let per_second = |total: u64| total as f64 / 60.0 / 25.0;
    let datagrams = per_second(world.datagrams - datagrams);
    // Each datagram over UDP and IPv4 costs 28 bytes more.
    let bytes = per_second(world.bytes - bytes) + 28.0 * datagrams;
    println!("idle: {datagrams:.2} datagrams/s, {bytes:.0} bytes/s per node");
    assert!(datagrams < 2.2, "{datagrams}");
    assert!(bytes < 250.0, "{bytes}");
}

#[test]
fn whatever_happens_the_living_agree_in_the_end() {
    each_seed(3, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0xfeed);
        let mut world = cluster(seed, 12, Link::bad(0.1));
        let mut fate = Fate::default();
        for _ in 0..15 {
            disturb(&mut world, &mut rng, &mut fate);
            world.run(Duration::from_millis(rng.u64(100..5000)));
        }
        world.link = Link::good();
        for peer in &mut world.peers {
            peer.side = 0;
        }
        world.run(SECOND * 30);
        // Whoever started while cut off knows nobody; drivers try their seeds for ever.
        for index in world.running() {
            world.join(index, 0);
        }
        world.run(SECOND * 200);
        assert_agreement(&world, &fate);
    });
}

#[test]
fn a_hundred_agree_after_crashes_leaves_and_restarts() {
    each_seed(1, |seed| {
        let mut world = World::settled(seed, Link::lossy(0.02), Timings::lan(), 96);
        world.strict = true;
        let fate = world.trouble(8, 3);
        assert_agreement(&world, &fate);
    });
}

/// Does one random thing to the cluster; node 0 is left alone, so that there is always one.
fn disturb(world: &mut World, rng: &mut fastrand::Rng, fate: &mut Fate) {
    let index = rng.usize(1..world.peers.len());
    let runs = world.peers[index].node.is_some();
    match rng.u8(..6) {
        0 if runs => {
            world.crash(index);
            fate.either.insert(index);
        }
        1 if runs => {
            world.with(index, |node, now| node.leave(now));
            world.run(SECOND * 2);
            world.crash(index);
            fate.either.insert(index);
        }
        2 if !runs => {
            world.start(index, &[("role", "again")]);
            world.join(index, 0);
            fate.either.remove(&index);
        }
        3 => {
            let text = rng.u32(..).to_string();
            world.with(index, |node, now| {
                node.set_tags(now, [("n".to_owned(), text)].into()).unwrap();
            });
        }
        4 => world.peers[index].side ^= 1,
        5 => world.link = Link::bad(rng.f64() * 0.3),
        _ => {}
    }
}
