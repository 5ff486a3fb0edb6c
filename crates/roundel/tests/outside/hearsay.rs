//! A neighbour of an open gossip who says what is not true, ten times a second.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roundel_gossip::wire::{
    Accusation, LeaveIntent, Message, NodeRecord, SerfMessage, Versions, tags,
};
use roundel_testkit::{Load, Reuse};

use crate::balancer::{Balancer, SOON};
use crate::servers::Agent;
use crate::turns::alone;

/// Between two words.
const PACE: Duration = Duration::from_millis(100);

/// For 8 seconds.
const WORDS: u32 = 80;

/// A server as the balancer knows it.
struct Known {
    name: String,
    gossip: SocketAddr,
    incarnation: u32,
}

fn servers(balancer: &Balancer) -> Vec<Known> {
    let snapshot = balancer.snapshot();
    let members = snapshot["members"].as_array().cloned().unwrap_or_default();
    let servers = members.iter().filter(|m| m["tags"]["role"] == "backend");
    let known = servers.map(|m| Known {
        name: m["name"].as_str().unwrap().to_owned(),
        gossip: m["address"].as_str().unwrap().parse().unwrap(),
        incarnation: u32::try_from(m["incarnation"].as_u64().unwrap()).unwrap(),
    });
    known.collect()
}

/// One of all untrue words about a server.
fn word(kind: u32, about: &Known, incarnation: u32, time: u64) -> Message {
    let accusation = |from: &str| Accusation {
        node: about.name.clone(),
        incarnation,
        from: from.to_owned(),
    };
    let record = |at| {
        let tags = BTreeMap::from([("role".to_owned(), "none".to_owned())]);
        let meta = tags::encode(&tags).unwrap();
        let name = about.name.clone();
        NodeRecord::new(name, at, meta, incarnation, Versions::SERF).unwrap()
    };
    match kind % 6 {
        0 => Message::Dead(accusation(&about.name)),
        1 => Message::Dead(accusation("neighbour")),
        2 => Message::Suspect(accusation("neighbour")),
        3 => Message::Alive(record(about.gossip)),
        4 => Message::Alive(record(([127, 9, 9, 9], 7946).into())),
        _ => {
            let intent = LeaveIntent {
                ltime: time,
                node: about.name.clone(),
                prune: true,
            };
            Message::User(SerfMessage::Leave(intent).encode())
        }
    }
}

/// Three servers under load while a neighbour speaks; gives the share of requests that failed.
fn attacked(say: impl Fn(u32, &Known) -> Message) -> f64 {
    let _turn = alone();
    let balancer = Balancer::serve(&[]);
    let _agents = ["s1", "s2", "s3"].map(|name| Agent::start(name, balancer.gossip));
    balancer.wait_up(3, SOON);
    let neighbour = UdpSocket::bind("127.0.0.1:0").unwrap();
    let load = Load::start(balancer.front, 2, Reuse::KeepAlive);
    let (begun, mut known) = (Instant::now(), servers(&balancer));
    for turn in 0..WORDS {
        thread::sleep((PACE * turn).saturating_sub(begun.elapsed()));
        if turn % 10 == 0 {
            known = servers(&balancer);
            assert_eq!(known.len(), 3, "turn {turn}");
        }
        let message = say(turn, &known[turn as usize % 3]);
        neighbour
            .send_to(&message.encode(), balancer.gossip)
            .unwrap();
    }
    let report = load.stop();
    balancer.wait_up(3, SOON);
    let events = balancer.page("/api/v1/events");
    for gone in ["left", "no longer in source", "down"] {
        assert!(!events.contains(gone), "{gone}: {events}");
    }
    assert!(report.ok > 1000, "{report:?}");
    println!("{} answered, {} failed", report.ok, report.failed);
    report.failed as f64 / (report.ok + report.failed) as f64
}

#[test]
fn untrue_words_about_servers_take_none_out() {
    let failed = attacked(|turn, about| {
        let newer = about.incarnation + turn % 2;
        word(turn / 3, about, newer, 1000 + u64::from(turn))
    });
    assert!(failed < 0.005, "{failed}");
}

#[test]
fn words_that_no_member_could_contradict_are_not_heard() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u32::try_from(now.as_secs()).unwrap();
    let border = now + 10 * 365 * 24 * 3600;
    let failed = attacked(|turn, about| {
        let newest = [border + turn / 10, border + 20, u32::MAX - 1, u32::MAX];
        word(turn / 3, about, newest[turn as usize % 4], u64::MAX / 2)
    });
    assert!(failed < 0.005, "{failed}");
}
