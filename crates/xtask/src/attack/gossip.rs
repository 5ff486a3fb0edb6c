//! Attacks on port 7946.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_gossip::wire::{
    Accusation, JoinIntent, MemberRecord, Message, PushPullState, Query, SerfMessage, UserEvent,
};
use roundel_testkit::poll;

use super::data::{greedy, serve};
use super::member::{Puppet, exchange, exchange_whole, made_up, open, record, say, socket, user};
use super::stage::Ground;
use super::watch::THIEF;
use super::{Row, row};

/// The last number of a kind that is written on the wire and may be read.
const LAST_TIME: u64 = (1 << 62) - 1;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("1", "500 state exchanges whose answer is not read", unread),
        row("2", "96 state exchanges that do not end", endless),
        row("3", "records of the last incarnation", last_incarnation),
        row("4", "messages of the last Lamport time", last_time),
        row("6", "servers said to have died", hearsay),
        row("7", "a server that takes more than its share", thief),
        row("8", "the balancer's name claimed, with voters", impostor).settled(),
        row("9", "10,000 servers and 100,000 members", crowd),
        row("10", "servers at addresses of special ranges", special),
        row("half", "half heads and unread answers on 7946", halves),
        row("names", "events, queries and members without end", names),
    ]
}

/// Has puppets answer until the attack ends, and says something again and again meanwhile.
fn haunt(ground: &Ground<'_>, puppets: &[Puppet], said: &[Message]) -> Result<()> {
    let mut next = Instant::now();
    while !ground.left().is_zero() {
        puppets.iter().for_each(Puppet::answer);
        if next <= Instant::now() {
            say(&puppets[0].socket, ground.stage.at(7946), said)?;
            next += Duration::from_millis(100);
        }
    }
    Ok(())
}

fn unread(ground: &Ground<'_>) -> Result<()> {
    exchange_whole(ground, &made_up(0..10_000, &[]));
    let bytes = exchange(&[], PushPullState::default());
    let held: Vec<_> = (0..500).map(|_| open(ground, &bytes)).collect();
    thread::sleep(ground.left());
    drop(held);
    Ok(())
}

fn endless(ground: &Ground<'_>) -> Result<()> {
    let mut bytes = exchange(&made_up(0..100_000, &[]), PushPullState::default());
    bytes.truncate(bytes.len() - 100);
    thread::scope(|scope| {
        for _ in 0..96 {
            scope.spawn(|| {
                let held = open(ground, &bytes);
                thread::sleep(ground.left());
                drop(held);
            });
        }
    });
    Ok(())
}

fn last_incarnation(ground: &Ground<'_>) -> Result<()> {
    let puppet = Puppet::new(ground, "s1", 7946)?;
    let at = puppet.socket.local_addr()?;
    let tags = [("role", "backend"), ("port", "9000")];
    let said = [
        Message::Alive(record("s1", at, &tags, u32::MAX)),
        Message::Dead(Accusation {
            node: "s2".into(),
            incarnation: u32::MAX - 1,
            from: "s2".into(),
        }),
    ];
    haunt(ground, &[puppet], &said)
}

/// Afterwards everybody still hears everybody's queries, which the drain of a server needs.
fn last_time(ground: &Ground<'_>) -> Result<()> {
    let socket = socket(ground, 7946)?;
    let query = Query {
        ltime: LAST_TIME,
        id: 7,
        from: socket.local_addr()?,
        source_node: "x".into(),
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout: Duration::from_secs(5),
        name: "x".into(),
        payload: None,
    };
    let event = UserEvent {
        ltime: LAST_TIME,
        name: "x".into(),
        ..UserEvent::default()
    };
    let join = JoinIntent {
        ltime: LAST_TIME,
        node: "s1".into(),
    };
    let said = [
        user(&SerfMessage::Query(query)),
        user(&SerfMessage::UserEvent(event)),
        user(&SerfMessage::Join(join)),
    ];
    say(&socket, ground.stage.at(7946), &said)?;
    let clocks = PushPullState {
        ltime: LAST_TIME,
        event_ltime: LAST_TIME,
        query_ltime: LAST_TIME,
        ..PushPullState::default()
    };
    drop(open(ground, &exchange(&[], clocks)));
    thread::sleep(Duration::from_secs(1));
    let token = ground.stage.folder.path().join("token");
    let mut ask = ground.stage.roundel(&["query", "load", "--timeout", "1s"]);
    ask.args(["--stats", "http://127.0.0.1:1936", "--admin-token-file"]);
    let told = ask.arg(token).output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(told.contains("Total Acks: 3"), "no member hears a query");
    Ok(())
}

/// Ten times a second, of both servers, as if they had said it themselves.
fn hearsay(ground: &Ground<'_>) -> Result<()> {
    let socket = socket(ground, 7946)?;
    while !ground.left().is_zero() {
        let snapshot = ground.stage.snapshot()?;
        let members = snapshot["members"].as_array().into_iter().flatten();
        for member in members.filter(|member| member["me"] != true) {
            let name = member["name"].as_str().unwrap_or_default().to_owned();
            let known = member["incarnation"].as_u64().unwrap_or(0);
            let dead = Accusation {
                from: name.clone(),
                node: name,
                incarnation: u32::try_from(known)?,
            };
            say(&socket, ground.stage.at(7946), &[Message::Dead(dead)])?;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A server of the greatest weight, one that is elsewhere, and one that takes another's name.
fn thief(ground: &Ground<'_>) -> Result<()> {
    let attacker = ground.stage.places.attacker;
    let listener = TcpListener::bind((attacker, 9000))?;
    let end = ground.ends;
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener, end, |stream| greedy(stream, THIEF)));
        let puppets = [7946, 7947, 7948].map(|port| Puppet::new(ground, "x", port));
        let puppets: Vec<_> = puppets.into_iter().collect::<Result<_>>()?;
        let at = |index: usize| puppets[index].socket.local_addr();
        let elsewhere = format!("{}:9000", ground.stage.server(2));
        let server = [("role", "backend"), ("port", "9000"), ("weight", "256")];
        let mut stray = server.to_vec();
        stray.push(("addr", &elsewhere));
        let dead = Accusation {
            node: "s1".into(),
            incarnation: incarnation(ground, "s1")?,
            from: "s1".into(),
        };
        let said = [
            Message::Alive(record("rich", at(0)?, &server, 1)),
            Message::Alive(record("stray", at(1)?, &stray, 1)),
            Message::Dead(dead),
            Message::Alive(record(
                "s1",
                at(2)?,
                &server,
                incarnation(ground, "s1")? + 1,
            )),
        ];
        haunt(ground, &puppets, &said)
    })
}

fn incarnation(ground: &Ground<'_>, name: &str) -> Result<u32> {
    let snapshot = ground.stage.snapshot()?;
    let mut members = snapshot["members"].as_array().into_iter().flatten();
    let member = members.find(|member| member["name"] == name);
    let known = member.and_then(|member| member["incarnation"].as_u64());
    Ok(u32::try_from(known.context("a member")?)?)
}

fn impostor(ground: &Ground<'_>) -> Result<()> {
    let mut puppets = Vec::new();
    for (port, n) in (7946..).zip(0..8) {
        puppets.push(Puppet::new(ground, &format!("voter{n}"), port)?);
    }
    let at = puppets[0].socket.local_addr()?;
    let mut said = vec![Message::Alive(record(
        "lb",
        at,
        &[],
        incarnation(ground, "lb")? + 1,
    ))];
    for puppet in &mut puppets {
        let at_own = puppet.socket.local_addr()?;
        said.push(Message::Alive(record(&puppet.name, at_own, &[], 1)));
        puppet.claims = Some(MemberRecord {
            name: "lb".into(),
            address: at,
            tags: BTreeMap::new(),
            status: 1,
            protocol: [1, 5, 2],
            delegate: [2, 5, 5],
        });
    }
    haunt(ground, &puppets, &said)
}

/// Afterwards a real newcomer is let in.
fn crowd(ground: &Ground<'_>) -> Result<()> {
    exchange_whole(ground, &made_up(0..10_000, &[("role", "backend")]));
    for n in 1..=10 {
        exchange_whole(ground, &made_up(n * 10_000..(n + 1) * 10_000, &[]));
    }
    thread::sleep(ground.left());
    let name = "newcomer";
    let newcomer = ground.stage.newcomer(name);
    let is_in = || {
        let snapshot = ground.stage.snapshot().ok()?;
        let servers = snapshot["backends"][0]["servers"].as_array()?.clone();
        let found = servers.iter().find(|server| server["name"] == name)?;
        (found["state"] == "up").then_some(())
    };
    let let_in = poll(Duration::from_secs(15), is_in);
    drop(newcomer);
    let_in.context("a real newcomer waits for longer than 15 s")
}

fn special(ground: &Ground<'_>) -> Result<()> {
    let socket = socket(ground, 7946)?;
    let balancer = ground.stage.places.balancer;
    let [a, b, c, d] = balancer.octets();
    let addresses = [
        "169.254.169.254".to_owned(),
        "100.64.0.1".into(),
        "127.0.0.1".into(),
        "192.0.0.8".into(),
        "240.0.0.1".into(),
        "::1".into(),
        "::ffff:127.0.0.1".into(),
        "::ffff:169.254.169.254".into(),
        "64:ff9b::a9fe:a9fe".into(),
        "2002:a9fe:a9fe::1".into(),
        "fd00:ec2::254".into(),
        "fe80::1".into(),
        balancer.to_string(),
        format!("::ffff:{a}.{b}.{c}.{d}"),
        format!("64:ff9b::{:02x}{:02x}:{:02x}{:02x}", a, b, c, d),
    ];
    let mut said = Vec::new();
    for (n, address) in addresses.iter().enumerate() {
        let ip: IpAddr = address.parse()?;
        for port in ["1936", "8080"] {
            let own = [("role", "backend"), ("port", port)];
            let at = SocketAddr::new(ip, 7946);
            said.push(Message::Alive(record(&format!("p{n}-{port}"), at, &own, 1)));
            let shown = SocketAddr::new(ip, port.parse()?).to_string();
            let tagged = [("role", "backend"), ("addr", shown.as_str())];
            let here = socket.local_addr()?;
            said.push(Message::Alive(record(
                &format!("t{n}-{port}"),
                here,
                &tagged,
                1,
            )));
        }
    }
    while !ground.left().is_zero() {
        say(&socket, ground.stage.at(7946), &said)?;
        thread::sleep(Duration::from_millis(500));
        let taken = ground.stage.strangers()?;
        let attacker = ground.stage.places.attacker.to_string();
        let taken: Vec<_> = taken
            .iter()
            .filter(|at| !at.starts_with(&attacker))
            .collect();
        ensure!(
            taken.is_empty(),
            "{} are taken as servers, {} among them",
            taken.len(),
            taken[0]
        );
    }
    Ok(())
}

/// Streams that say a byte and no more, and those that ask and do not listen.
fn halves(ground: &Ground<'_>) -> Result<()> {
    let bytes = exchange(&made_up(0..1, &[]), PushPullState::default());
    let held: Vec<_> = (0..1_000)
        .map(|n| open(ground, if n % 2 == 0 { &bytes[..1] } else { &bytes }))
        .collect();
    thread::sleep(ground.left());
    drop(held);
    Ok(())
}

/// Names by the thousand, in every table that holds some.
fn names(ground: &Ground<'_>) -> Result<()> {
    let socket = socket(ground, 7946)?;
    let from = socket.local_addr()?;
    let mut n = 0;
    while !ground.left().is_zero() {
        let of_kinds = |n: u32| {
            let name = format!("{n:0>200}");
            let event = UserEvent {
                ltime: u64::from(n),
                name: name.clone(),
                ..UserEvent::default()
            };
            let intent = JoinIntent {
                ltime: u64::from(n),
                node: name.clone(),
            };
            let dead = Accusation {
                node: name.clone(),
                incarnation: n,
                from: name.clone(),
            };
            let member = record(&name, from, &[("role", "other")], 1);
            [
                user(&SerfMessage::UserEvent(event)),
                user(&SerfMessage::Join(intent)),
                Message::Suspect(dead),
                Message::Alive(member),
            ]
        };
        let messages: Vec<_> = (n..n + 10).flat_map(of_kinds).collect();
        say(&socket, ground.stage.at(7946), &messages)?;
        n += 10;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
