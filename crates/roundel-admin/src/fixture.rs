//! Fabricated snapshots for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundel_model::{AdminState, EventKind, ServerState};
use roundel_stats::{Histogram, HistogramSnapshot};
use tokio::sync::{broadcast, mpsc, watch};

use crate::command::Order;
use crate::status::{
    Backend, Certificate, Check, Event, Frontend, Gossip, Member, MemberStatus, Orders, Server,
    Sharing, Snapshot, Times, Traffic,
};
use crate::{Admin, Config};

/// Text that does harm wherever it is not escaped.
pub(crate) const HOSTILE: &str =
    "<img src=x onerror=alert(1)>\",'=cmd()\n\r\u{1b}[31m\u{202e}</script>\\";

/// An admin plane with what feeds it.
pub(crate) struct Rig {
    pub(crate) admin: Admin,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
}

/// Starts an admin plane on `first`.
pub(crate) fn rig(config: Config, first: Snapshot) -> Rig {
    let (snapshots, receiver) = watch::channel(Arc::new(first));
    let (commands, orders) = mpsc::channel(8);
    let (events, _) = broadcast::channel(64);
    Rig {
        admin: Admin::start(config, receiver, commands, events.clone()),
        snapshots,
        orders,
        events,
    }
}

impl Rig {
    /// Publishes a snapshot and waits until every view shows it.
    pub(crate) async fn publish(&self, snapshot: Snapshot) {
        let seq = snapshot.seq;
        self.snapshots.send_replace(Arc::new(snapshot));
        let mut moments = self.admin.shared.moments.clone();
        let shown = moments.wait_for(|m| m.snapshot.seq >= seq).await;
        shown.expect("the history task runs");
    }
}

/// A calm cluster of `servers` servers after `second` seconds of traffic.
pub(crate) fn calm(second: u64, servers: u64) -> Snapshot {
    let list: Vec<_> = (1..=servers).map(|i| server(i, second)).collect();
    cluster(second, list)
}

/// One server in each state, after `second` seconds of traffic.
pub(crate) fn every_state(second: u64) -> Snapshot {
    let mut list: Vec<_> = (1..=10).map(|i| server(i, second)).collect();
    let reasons = [
        (ServerState::Joining, "first check under way"),
        (ServerState::Up, ""),
        (ServerState::Warming, "slow start"),
        (ServerState::Ejected, "5 errors in a row, back in 9 s"),
        (ServerState::Draining, "drained by operator, 4 in flight"),
        (ServerState::Leaving, "announced leave, 2 in flight"),
        (ServerState::Maint, "by operator"),
        (ServerState::Down, "Connection refused"),
        (ServerState::Left, "left 3 min ago"),
    ];
    for (server, (state, reason)) in list.iter_mut().zip(reasons) {
        server.state = state;
        server.admin = match state {
            ServerState::Draining => AdminState::Drain,
            ServerState::Maint => AdminState::Maint,
            _ => AdminState::Ready,
        };
        server.reason = reason.into();
    }
    list[2].warming_percent = Some(40);
    // Ordered while it is down.
    list[7].admin = AdminState::Drain;
    if let Some(check) = &mut list[2].check {
        (check.off, check.port) = (true, Some(81));
    }
    list[9].doubt = true;
    list[9].reason = "gossip silent 2.1 s, check passes".into();
    if let Some(check) = &mut list[7].check {
        check.status = "L4CON".into();
        check.code = None;
        check.text = "Connection refused".into();
        check.health = 0;
        check.running = true;
    }
    cluster(second, list)
}

/// Hostile text wherever text can come from the network.
pub(crate) fn hostile() -> Snapshot {
    let mut snapshot = calm(5, 1);
    snapshot.node = HOSTILE.into();
    let server = Arc::make_mut(&mut snapshot.backends[0].servers[0]);
    server.name = HOSTILE.into();
    server.address = HOSTILE.into();
    server.reason = HOSTILE.into();
    server.source = HOSTILE.into();
    server.cookie = HOSTILE.into();
    if let Some(check) = &mut server.check {
        check.text = HOSTILE.into();
        check.status = HOSTILE.into();
    }
    snapshot.members[1].name = HOSTILE.into();
    snapshot.members[1].address = HOSTILE.into();
    snapshot.members[1].tags = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
    snapshot.members[1]
        .tags
        .insert("role".into(), HOSTILE.into());
    snapshot.config.last_error = Some(HOSTILE.into());
    let mut certificate = certificate();
    certificate.names = vec![HOSTILE.into()];
    certificate.frontends = vec![HOSTILE.into()];
    certificate.issuer = HOSTILE.into();
    certificate.file = HOSTILE.into();
    certificate.stage = "ended".into();
    certificate.warning = HOSTILE.into();
    certificate.orders = Some(Orders {
        directory: HOSTILE.into(),
        last_error: Some(HOSTILE.into()),
        failures: 1,
        ..Orders::default()
    });
    snapshot.certificates = vec![certificate];
    snapshot.events.push(Arc::new(Event {
        seq: 99,
        time: HOSTILE.into(),
        subject: HOSTILE.into(),
        text: HOSTILE.into(),
        ..Event::default()
    }));
    snapshot
}

fn cluster(second: u64, servers: Vec<Server>) -> Snapshot {
    let requests = servers.iter().map(|s| s.requests_total).sum();
    let mut traffic = Traffic::default();
    for server in &servers {
        add(&mut traffic, &server.traffic);
    }
    traffic.last_request_seconds = Some(0);
    let members = members(&servers);
    Snapshot {
        seq: second + 1,
        second,
        node: "lab-ha-1".into(),
        version: "0.1.0".into(),
        time_ms: 1_790_000_000_000 + second * 1_000,
        uptime_seconds: second as f64,
        process: crate::status::Process {
            pid: 4242,
            threads: 2,
            start_time_seconds: 1.79e9,
            cpu_seconds_total: second as f64 / 50.0,
            resident_bytes: 12 << 20,
            open_fds: 41,
            max_fds: 1 << 20,
            pipes: crate::status::Pipes {
                most: 256,
                used: 3,
                free: 5,
                bytes_total: 1_000_000 + second,
            },
            ..Default::default()
        },
        bounds: vec![crate::status::Bound {
            name: "gossip_streams".into(),
            used: Some(2),
            limit: 128,
            hits_total: second,
        }],
        frontends: vec![frontend(second, requests, &traffic)],
        backends: vec![backend(servers, requests, traffic)],
        members,
        gossip: Some(Gossip {
            sharing: Some(Sharing {
                balancers: vec!["balancer-2".to_owned()],
                entries: 3,
                refused_total: 0,
            }),
            listen: "10.0.3.2:7946".into(),
            seeds: vec!["webapp".into()],
            probes_total: BTreeMap::from([("ack".into(), second)]),
            asked_back_total: 9,
            hearsay_refuted_total: 7,
            ..Gossip::default()
        }),
        events: events(second),
        ..Snapshot::default()
    }
}

fn frontend(second: u64, requests: u64, traffic: &Traffic) -> Frontend {
    Frontend {
        name: "localnodes".into(),
        id: 2,
        listen: vec!["[::]:80".into()],
        default_backend: "nodes".into(),
        connections: 17,
        connections_total: BTreeMap::from([("h1".into(), second * 3), ("h2".into(), second)]),
        requests_total: requests + 3,
        in_flight: 3,
        bytes_in_total: traffic.bytes_in_total,
        bytes_out_total: traffic.bytes_out_total,
        responses_total: traffic.responses_total,
        request_errors_total: BTreeMap::from([("bad_request".into(), 2)]),
        request_duration: latency(requests),
        ..Frontend::default()
    }
}

fn backend(servers: Vec<Server>, requests: u64, traffic: Traffic) -> Backend {
    Backend {
        name: "nodes".into(),
        id: 3,
        balance: "roundrobin".into(),
        set_version: 7,
        sticky: "SERVERID".into(),
        check: "HEAD / every 2s".into(),
        in_flight: servers.iter().map(|s| s.in_flight).sum(),
        servers: servers.into_iter().map(Arc::new).collect(),
        requests_total: requests,
        errors_total: traffic.connect_errors_total + traffic.response_errors_total,
        traffic,
        since_seconds: 60,
        set_changes_total: BTreeMap::from([("gossip".into(), 6)]),
        sticky_requests_total: BTreeMap::from([("valid".into(), requests / 2)]),
        request_duration: latency(requests),
        connect_duration: latency(requests / 10),
        ..Backend::default()
    }
}

fn server(i: u64, second: u64) -> Server {
    // A slow wave, different for each server, so that plots show something.
    let wave = |t: u64| 60 + (40.0 * ((t as f64 / 17.0) + i as f64).sin()) as u64;
    let requests: u64 = (0..second).map(wave).sum();
    let errors = requests / 400;
    Server {
        name: format!("webapp-{i}").into(),
        id: i as u32,
        address: format!("10.0.3.{}:3000", i + 3).into(),
        state: ServerState::Up,
        source: "gossip".into(),
        cookie: format!("c{i:015x}").into(),
        in_flight: i % 4,
        requests_total: requests,
        errors_total: errors,
        traffic: Traffic {
            lb_total: requests / 2,
            bytes_in_total: requests * 300,
            bytes_out_total: requests * 4_000,
            responses_total: [0, requests - errors * 2, 0, errors, errors, 0],
            response_errors_total: errors,
            retries_total: errors / 2,
            connects_total: requests / 20,
            reuses_total: requests - requests / 20,
            last_request_seconds: Some(0),
            times: Times {
                count: requests,
                connect_us: requests * 200,
                response_us: requests * 3_400,
                total_us: requests * 4_200,
                total_max_us: 180_000,
                ..Times::default()
            },
            ..Traffic::default()
        },
        since_seconds: second + 7_380,
        check: Some(Check {
            status: "L7OK".into(),
            code: Some(200),
            duration_ms: Some(3),
            text: "OK".into(),
            running: false,
            rise: 2,
            fall: 3,
            health: 4,
            passed_total: second / 2,
            ..Check::default()
        }),
        ..Server::default()
    }
}

fn add(to: &mut Traffic, from: &Traffic) {
    to.lb_total += from.lb_total;
    to.bytes_in_total += from.bytes_in_total;
    to.bytes_out_total += from.bytes_out_total;
    for (sum, n) in to.responses_total.iter_mut().zip(from.responses_total) {
        *sum += n;
    }
    to.response_errors_total += from.response_errors_total;
    to.retries_total += from.retries_total;
    to.connects_total += from.connects_total;
    to.reuses_total += from.reuses_total;
    to.times.count += from.times.count;
    to.times.total_us += from.times.total_us;
    to.times.response_us += from.times.response_us;
    to.times.connect_us += from.times.connect_us;
}

fn latency(requests: u64) -> HistogramSnapshot {
    let one = Histogram::default();
    for us in [
        900, 1_800, 3_000, 4_000, 4_500, 6_000, 8_000, 9_000, 18_000, 40_000,
    ] {
        one.record_us(us);
    }
    let mut all = one.snapshot();
    all.buckets = all.buckets.map(|n| n * (requests / 10));
    all.sum_us *= requests / 10;
    all
}

fn members(servers: &[Server]) -> Vec<Member> {
    let me = Member {
        name: "lab-ha-1".into(),
        address: "10.0.3.2:7946".into(),
        tags: BTreeMap::from([("role".into(), "balancer".into())]),
        incarnation: 1,
        since_seconds: 7_400,
        me: true,
        protocol: 5,
        ..Member::default()
    };
    let member = |server: &Server| Member {
        name: server.name.to_string(),
        address: server.address.replace(":3000", ":7946"),
        status: match server.state {
            ServerState::Leaving => MemberStatus::Leaving,
            ServerState::Down => MemberStatus::Failed,
            ServerState::Left => MemberStatus::Left,
            _ => MemberStatus::Alive,
        },
        tags: BTreeMap::from([
            ("port".into(), "3000".into()),
            ("role".into(), "backend".into()),
        ]),
        suspect: server.doubt,
        incarnation: 3,
        since_seconds: 7_380,
        rtt_us: Some(420 + u64::from(server.id) * 30),
        metrics: Some(server.address.to_string()),
        protocol: 5,
        ..Member::default()
    };
    std::iter::once(me)
        .chain(servers.iter().map(member))
        .collect()
}

/// Some servers, a certificate that is well, and one that is ordered.
pub(crate) fn secured(second: u64) -> Snapshot {
    let mut snapshot = calm(second, 3);
    snapshot.certificates = vec![certificate(), ordered()];
    let front = &mut snapshot.frontends[0];
    front.tls_connections = 9;
    front.tls_handshakes_total = vec![
        ("TLSv1.2".into(), false, 5),
        ("TLSv1.3".into(), false, second),
        ("TLSv1.3".into(), true, second * 3),
    ];
    front.tls_failures_total = BTreeMap::from([("alert".into(), 2), ("timeout".into(), 4)]);
    snapshot
}

fn ordered() -> Certificate {
    Certificate {
        names: vec!["shop.example.org".into()],
        source: "acme".into(),
        file: "ACME, /var/lib/roundel/acme/shop.pem".into(),
        fingerprint: "cd".repeat(32),
        orders: Some(Orders {
            directory: "https://ca.example/directory".into(),
            last_success_seconds: Some(1_789_000_000),
            next_try_seconds: Some(1_790_086_400),
            issued_total: 3,
            failed_total: 2,
            ..Orders::default()
        }),
        ..certificate()
    }
}

fn certificate() -> Certificate {
    Certificate {
        names: vec!["www.example.org".into(), "example.org".into()],
        frontends: vec!["localnodes".into()],
        issuer: "R11".into(),
        key: "ECDSA".into(),
        source: "file".into(),
        file: "/etc/roundel/certs/www.pem".into(),
        fingerprint: "ab".repeat(32),
        not_before_seconds: 1_788_000_000,
        not_after_seconds: 1_795_776_000,
        stage: "fresh".into(),
        warning: String::new(),
        orders: None,
    }
}

fn events(second: u64) -> Vec<Arc<Event>> {
    let lines = [
        (EventKind::Reload, "config", "configuration loaded", None),
        (EventKind::Join, "webapp-1", "joined (gossip)", None),
        (
            EventKind::Serving,
            "nodes/webapp-1",
            "first check passed",
            Some(340),
        ),
        (
            EventKind::Suspect,
            "webapp-10",
            "no answer to two direct pings",
            None,
        ),
        (
            EventKind::CheckDown,
            "nodes/webapp-8",
            "connection refused",
            Some(2_100),
        ),
        (
            EventKind::Leave,
            "webapp-9",
            "announced leave; drained, 0 errors",
            Some(3_200),
        ),
        (
            EventKind::Admin,
            "nodes/webapp-5",
            "drain by http 127.0.0.1",
            None,
        ),
    ];
    let event = |(i, (kind, subject, text, ms)): (usize, &(EventKind, &str, &str, Option<u64>))| {
        Arc::new(Event {
            seq: i as u64 + 1,
            time: format!("2026-09-21T14:{:02}:07.120Z", (second / 60 + i as u64) % 60),
            kind: *kind,
            subject: (*subject).into(),
            text: (*text).into(),
            duration_ms: *ms,
            repeats: 0,
        })
    };
    lines.iter().enumerate().map(event).collect()
}
