//! A cluster on hosts of its own: five stock Serf agents and five of ours, each with an app, and
//! two balancers, encrypted, with traffic through both balancers while the network and the hosts
//! misbehave.
//!
//! `ROUNDEL_PARTITION_SECONDS=60` cuts the network for a minute, and then once more for every
//! packet; without it only the gossip is cut, until both sides hold the other for failed.

mod stage;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use roundel_gossip_tokio::{Handle, Status};
use roundel_testkit::{Host, Load, Process, Reuse, Signal, wait_for};

use self::stage::{Cast, Stage, Stock, name};
use crate::balancer::{Balancer, SOON, roundel};
use crate::cluster::{new_key, wait_told};
use crate::turns::alone;

/// The gossip's port, and that of every app.
const GOSSIP: u16 = 7946;
const APP: u16 = 3000;

/// Bound for views to agree after trouble: Serf tries a failed member again each 30 s, and we our
/// seeds and ours each few seconds.
const AGREE: Duration = Duration::from_secs(45);

/// Bound for a verdict among 12: probe, suspicion of up to 26 s without confirmation.
const VERDICT: Duration = Duration::from_secs(45);

/// The hosts by number: five stock, five ours, two balancers.
const STOCK: [usize; 5] = [0, 1, 2, 3, 4];
const OURS: [usize; 5] = [5, 6, 7, 8, 9];
const BALANCERS: [usize; 2] = [10, 11];
const ALL: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/// Where the network is cut: a balancer, stock agents and ours on each side.
const LEFT: [usize; 6] = [0, 1, 5, 6, 7, BALANCERS[0]];
const RIGHT: [usize; 6] = [2, 3, 4, 8, 9, BALANCERS[1]];

fn start_loads(balancers: &[Balancer]) -> Vec<Load> {
    let ways = [Reuse::KeepAlive, Reuse::PerRequest];
    let both = balancers
        .iter()
        .flat_map(|b| ways.map(|way| (b.front, way)));
    both.map(|(front, way)| Load::start(front, 2, way))
        .collect()
}

/// Each of them is the only seed of a newcomer, which meets everybody.
fn check_every_member_as_seed(stage: &Stage) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let here = stage.lan.here();
    let seeds: Vec<Ipv4Addr> = stage.lan.hosts().iter().map(|host| host.ip).collect();
    let all = 2 * seeds.len();
    runtime.block_on(async {
        let mut visitors: Vec<Handle> = Vec::new();
        for (number, seed) in seeds.iter().enumerate() {
            let config = roundel_gossip_tokio::Config {
                name: format!("visitor-{number}"),
                listen: (here, 0).into(),
                join: vec![seed.to_string()],
                keys: vec![roundel_gossip_tokio::parse_key(&stage.key).unwrap()],
                ..roundel_gossip_tokio::Config::default()
            };
            visitors.push(roundel_gossip_tokio::start(config).await.unwrap());
        }
        for visitor in &visitors {
            let mut members = visitor.members();
            let met = members.wait_for(|members| {
                let alive = members.iter().filter(|m| m.status == Status::Alive);
                alive.count() == all
            });
            let met = tokio::time::timeout(AGREE, met).await.is_ok();
            assert!(met, "{} did not meet all", visitor.name());
        }
        let leaves = visitors.into_iter().map(|visitor| {
            tokio::spawn(async move {
                visitor.leave().await;
                visitor.shutdown().await;
            })
        });
        for leave in leaves.collect::<Vec<_>>() {
            leave.await.unwrap();
        }
    });
}

/// Whoever has another key never appears, and the page says why.
fn check_stranger(stage: &Stage, cast: &Cast) {
    let balancers = &cast.balancers;
    let wrong = new_key();
    let before = ALL.map(|index| cast.view(index));
    let here = stage.lan.here();
    let mut stranger = roundel(&["agent", "--node-name", "stranger", "--gossip-key", &wrong]);
    stranger
        .args(["--gossip-listen", &format!("{here}:{GOSSIP}")])
        .args(["--join", &balancers[0].gossip.ip().to_string()]);
    let stranger = Process::spawn(&mut stranger);
    wait_told(&balancers[0], "not encrypted with a key of this cluster");
    for index in ALL {
        assert_eq!(
            cast.view(index),
            before[index],
            "{}: {stranger}",
            name(index)
        );
    }
}

/// Serf's own tools take ours for full members.
fn check_tools(stage: &Stage, balancers: &[Balancer], stocks: &[Stock]) {
    let text = stocks[0].run(&["reachability"]);
    assert!(
        text.contains("Successfully contacted all live nodes"),
        "{text}"
    );
    let text = stocks[1].run(&["query", "-timeout=2s", "load"]);
    assert!(text.contains("Total Acks: 12"), "{text}");
    let monitor = Process::spawn(&mut stocks[2].command(&["monitor"]));
    // The monitor tells of nothing that was before it, and not when it begins.
    wait_for("our event at serf monitor", SOON, || {
        stage.verb(&balancers[1], &["event", "deploy", "v2"]);
        monitor.stdout().contains("Name: \"deploy\"").then_some(())
    });
    stocks[3].run(&["event", "rollback", "v1"]);
    for balancer in balancers {
        wait_told(balancer, "user event rollback, 2 bytes");
    }
}

/// Keys are rotated by Serf's tool, and back by ours.
fn check_rotation(stage: &Stage, balancers: &[Balancer], stocks: &[Stock]) {
    let (key, next) = (stage.key.as_str(), new_key());
    stocks[0].run(&["keys", &format!("-install={next}")]);
    stocks[0].run(&["keys", &format!("-use={next}")]);
    stocks[0].run(&["keys", &format!("-remove={key}")]);
    let text = stage.verb(&balancers[0], &["keys", "list"]);
    assert!(text.contains(&next) && text.contains("[12/12]"), "{text}");
    stage.verb(&balancers[1], &["keys", "install", key]);
    stage.verb(&balancers[1], &["keys", "use", key]);
    stage.verb(&balancers[1], &["keys", "remove", &next]);
    let text = stocks[4].run(&["keys", "-list"]);
    assert!(text.contains(key) && text.contains("[12/12]"), "{text}");
    assert!(!text.contains(&next), "{text}");
}

/// The hosts of one side.
fn side(stage: &Stage, of: [usize; 6]) -> Vec<Host> {
    of.map(|index| stage.host(index).clone()).to_vec()
}

/// The gossip is cut in two halves: each holds the other for failed, and no request notices.
fn check_cut_gossip(stage: &Stage, cast: &Cast, lasts: Duration) {
    let balancers = &cast.balancers;
    let loads = start_loads(balancers);
    let (left, right) = (side(stage, LEFT), side(stage, RIGHT));
    let begun = Instant::now();
    left.iter().for_each(|h| h.cut_off(&right, Some(GOSSIP)));
    cast.wait_agreed(&LEFT, VERDICT);
    cast.wait_agreed(&RIGHT, VERDICT);
    while begun.elapsed() < lasts {
        loads.iter().for_each(|load| load.wait_more(50, SOON));
    }
    for balancer in balancers {
        balancer.wait_up(10, SOON);
        let snapshot = balancer.snapshot();
        let text = snapshot["backends"][0]["servers"].to_string();
        assert!(
            text.contains("failed by gossip") || text.contains("check passes"),
            "{text}"
        );
    }
    left.iter().for_each(Host::heal);
    cast.wait_agreed(&ALL, AGREE);
    loads
        .into_iter()
        .for_each(|load| load.stop().assert_clean());
}

/// Every packet between the halves is lost: each balancer goes on with the servers on its side.
fn check_cut_network(stage: &Stage, cast: &Cast, lasts: Duration) {
    let balancers = &cast.balancers;
    let (left, right) = (side(stage, LEFT), side(stage, RIGHT));
    left.iter().for_each(|h| h.cut_off(&right, None));
    let begun = Instant::now();
    for balancer in balancers {
        balancer.wait_up(5, VERDICT);
    }
    // What was on the wire to the other side is lost; from here on nothing is.
    let loads = start_loads(balancers);
    while begun.elapsed() < lasts {
        loads.iter().for_each(|load| load.wait_more(50, SOON));
    }
    left.iter().for_each(Host::heal);
    cast.wait_agreed(&ALL, AGREE);
    for balancer in balancers {
        balancer.wait_up(10, VERDICT);
    }
    loads
        .into_iter()
        .for_each(|load| load.stop().assert_clean());
}

/// One host falls silent for both balancers: both notice by the traffic, long before any verdict
/// of the gossip, and no request that can go elsewhere is lost.
fn check_silence(stage: &Stage, balancers: &[Balancer]) {
    let loads = start_loads(balancers);
    let silent = stage.host(STOCK[0]);
    loads.iter().for_each(|load| load.wait_more(100, SOON));
    silent.cut_off(&BALANCERS.map(|index| stage.host(index).clone()), None);
    for balancer in balancers {
        wait_for("the server to be down", SOON, || {
            let snapshot = balancer.snapshot();
            let servers = snapshot["backends"][0]["servers"].as_array()?;
            let server = servers
                .iter()
                .find(|s| s["name"] == name(STOCK[0]).as_str())?;
            (server["state"] == "down").then_some(())
        });
    }
    loads.iter().for_each(|load| load.wait_more(100, SOON));
    silent.heal();
    balancers.iter().for_each(|b| b.wait_up(10, SOON));
    loads
        .into_iter()
        .for_each(|load| load.stop().assert_clean());
}

/// A stock agent and one of ours leave, and come back under their names from other addresses.
fn check_moves(stage: &mut Stage, cast: &mut Cast) {
    let balancers = &cast.balancers;
    let (stocks, ours) = (&mut cast.stocks, &mut cast.ours);
    let loads = start_loads(balancers);
    let (s, o) = (STOCK[3], OURS[3]);
    stocks[3].agent.signal(Signal::INT);
    stocks[3].agent.wait_exit(SOON);
    for balancer in balancers {
        balancer.wait_member(&name(s), "left", SOON);
    }
    balancers.iter().for_each(|b| b.wait_up(9, SOON));
    stocks[3].app.kill();
    // Its drain is agreed upon although datagrams get lost.
    let lossy = BALANCERS.map(|index| stage.host(index).clone());
    lossy.iter().for_each(|host| host.lose(0.3));
    ours[3].process.signal(Signal::TERM);
    ours[3].process.wait_line("drained took", SOON);
    ours[3].process.wait_exit(SOON);
    lossy.iter().for_each(Host::heal);
    balancers.iter().for_each(|b| b.wait_up(8, SOON));
    for index in [s, o] {
        stage.lan.move_host(index);
    }
    stocks[3] = stage.stock(s, stage.ip(BALANCERS[0]));
    ours[3] = stage.ours(o, stage.ip(STOCK[0]));
    let members = cast.wait_agreed(&ALL, AGREE);
    let balancers = &cast.balancers;
    for index in [s, o] {
        let line = format!("{} {}:{GOSSIP}", name(index), stage.ip(index));
        assert!(members.contains(&line), "{line}: {members:?}");
    }
    balancers.iter().for_each(|b| b.wait_up(10, SOON));
    loads.iter().for_each(|load| load.wait_more(50, SOON));
    loads
        .into_iter()
        .for_each(|load| load.stop().assert_clean());
}

/// A stock agent and one of ours are killed with their apps, and come back: the first where it
/// was, the other at another address, where its name is taken by what is held for failed.
fn check_kills(stage: &mut Stage, cast: &mut Cast) {
    let (s, o) = (STOCK[4], OURS[4]);
    cast.stocks[4].kill();
    cast.ours[4].process.kill();
    let others: Vec<usize> = ALL.into_iter().filter(|i| ![s, o].contains(i)).collect();
    cast.wait_agreed(&others, VERDICT);
    cast.balancers.iter().for_each(|b| b.wait_up(8, SOON));
    let loads = start_loads(&cast.balancers);
    stage.lan.move_host(o);
    cast.ours[4] = stage.ours(o, stage.ip(BALANCERS[1]));
    cast.stocks[4] = stage.stock(s, stage.ip(OURS[0]));
    let members = cast.wait_agreed(&ALL, AGREE);
    let balancers = &cast.balancers;
    let moved = format!(" {}:{GOSSIP}", stage.ip(o));
    let found = members.iter().find(|m| m.ends_with(&moved));
    assert!(
        found.is_some_and(|m| m.starts_with(&format!("{}-", name(o)))),
        "{moved}: {members:?}"
    );
    balancers.iter().for_each(|b| b.wait_up(10, SOON));
    loads.iter().for_each(|load| load.wait_more(50, SOON));
    loads
        .into_iter()
        .for_each(|load| load.stop().assert_clean());
}

/// A balancer is killed and comes back at another address, where it takes another name at once.
fn check_killed_balancer(stage: &mut Stage, cast: &mut Cast) {
    let b = BALANCERS[1];
    cast.balancers[1].process.kill();
    stage.lan.move_host(b);
    let seed = stage.ip(OURS[1]);
    cast.balancers[1] = stage.balancer(b, seed).ready();
    let members = cast.wait_agreed(&ALL, AGREE);
    let moved = format!(" {}:{GOSSIP}", stage.ip(b));
    let found = members.iter().find(|m| m.ends_with(&moved));
    assert!(
        found.is_some_and(|m| m.starts_with(&format!("{}-", name(b)))),
        "{moved}: {members:?}"
    );
    wait_told(&cast.balancers[1], "belongs to another member");
    cast.balancers.iter().for_each(|b| b.wait_up(10, SOON));
    let loads = start_loads(&cast.balancers);
    loads.iter().for_each(|load| load.wait_more(50, SOON));
    loads
        .into_iter()
        .for_each(|load| load.stop().assert_clean());
}

#[test]
fn a_cluster_on_hosts_of_its_own() {
    let _turn = alone();
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let begun = Instant::now();
    let done = |what: &str| println!("{what} done after {:?}", begun.elapsed());
    // Each begins with one seed, and no two share one; the first one's comes last of all.
    let mut ours = vec![stage.ours(OURS[0], stage.ip(BALANCERS[1]))];
    let mut stocks: Vec<Stock> = Vec::new();
    for i in 0..5 {
        stocks.push(stage.stock(STOCK[i], stage.ip(OURS[i])));
        if i < 4 {
            ours.push(stage.ours(OURS[i + 1], stage.ip(STOCK[i])));
        }
    }
    let one = stage.balancer(BALANCERS[0], stage.ip(STOCK[4]));
    let two = stage.balancer(BALANCERS[1], stage.ip(BALANCERS[0]));
    let mut cast = Cast {
        balancers: [one.ready(), two.ready()],
        stocks,
        ours,
    };
    cast.wait_agreed(&ALL, AGREE);
    cast.balancers.iter().for_each(|b| b.wait_up(10, SOON));
    done("start");

    let lasts = std::env::var("ROUNDEL_PARTITION_SECONDS").ok();
    let lasts: Option<u64> = lasts.map(|s| s.parse().expect("a number of seconds"));
    check_every_member_as_seed(&stage);
    cast.wait_agreed(&ALL, AGREE);
    check_stranger(&stage, &cast);
    done("seeds and stranger");
    check_tools(&stage, &cast.balancers, &cast.stocks);
    check_rotation(&stage, &cast.balancers, &cast.stocks);
    done("tools and keys");
    let seconds = Duration::from_secs(lasts.unwrap_or(0));
    check_cut_gossip(&stage, &cast, seconds);
    done("gossip cut");
    if lasts.is_some() {
        check_cut_network(&stage, &cast, seconds);
        done("network cut");
    }
    check_silence(&stage, &cast.balancers);
    done("silence");
    check_moves(&mut stage, &mut cast);
    done("moves");
    check_kills(&mut stage, &mut cast);
    done("kills");
    check_killed_balancer(&mut stage, &mut cast);
    done("killed balancer");
    let text = cast.stocks[1].run(&["query", "-timeout=2s", "load"]);
    assert!(text.contains("Total Acks: 12"), "{text}");
}
