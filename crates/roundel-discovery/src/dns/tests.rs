use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use roundel_model::{BackendSet, Name, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::answers::{Answer, Family, Hold, Service};
use super::*;
use crate::SourceConfig;
use crate::run::{Config, start};

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// What the fake name server answers: records by name and type; otherwise the code.
#[derive(Debug, Default)]
struct Records {
    data: BTreeMap<(String, u16), Vec<Vec<u8>>>,
    /// The response code for everything else: 0 no data, 2 server failure, 3 no such name.
    code: u8,
    /// Whether nothing is answered over UDP.
    silent: bool,
    /// How many questions came over UDP.
    asked: u32,
    /// Whether answers over UDP are cut off, so that the question comes again over TCP.
    cut: bool,
}

/// A name server on loopback that answers one question at a time.
struct FakeDns {
    records: Arc<Mutex<Records>>,
    address: SocketAddr,
}

impl FakeDns {
    async fn start() -> Self {
        let (socket, listener) = bind_both().await;
        let address = socket.local_addr().unwrap();
        let records = Arc::new(Mutex::new(Records {
            code: 3,
            ..Records::default()
        }));
        let answers = Arc::clone(&records);
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((n, from)) = socket.recv_from(&mut packet).await {
                let reply = {
                    let mut records = answers.lock().unwrap();
                    records.asked += 1;
                    if records.silent {
                        continue;
                    }
                    let mut reply = reply(&packet[..n], &records);
                    if records.cut {
                        reply.truncate(n);
                        reply[2] |= 0x02;
                        reply[6..12].fill(0);
                    }
                    reply
                };
                let _ = socket.send_to(&reply, from).await;
            }
        });
        let answers = Arc::clone(&records);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_tcp(stream, Arc::clone(&answers)));
            }
        });
        Self { records, address }
    }

    fn set(&self, name: &str, kind: u16, data: Vec<Vec<u8>>) {
        let mut records = self.records.lock().unwrap();
        records.data.insert((name.to_owned(), kind), data);
    }

    fn fail(&self) {
        self.refuse(2);
    }

    fn refuse(&self, code: u8) {
        let mut records = self.records.lock().unwrap();
        records.data.clear();
        records.code = code;
    }
}

async fn bind_both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        if let Ok(listener) = TcpListener::bind(address).await {
            return (socket, listener);
        }
    }
}

async fn answer_tcp(mut stream: TcpStream, records: Arc<Mutex<Records>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.unwrap();
        let reply = reply(&query, &records.lock().unwrap());
        stream.write_u16(reply.len() as u16).await.unwrap();
        stream.write_all(&reply).await.unwrap();
    }
}

/// Answers a query packet. Source: RFC 1035 4.1.
fn reply(query: &[u8], records: &Records) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let name = labels.join(".");
    let known = records.data.keys().any(|(known, _)| *known == name);
    let data = records.data.get(&(name, kind));
    let code = match (data, known) {
        (Some(_), _) => 0,
        (None, true) if records.code == 3 => 0,
        _ => records.code,
    };
    let data = data.map_or(&[][..], Vec::as_slice);
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, data.len() as u8, 0, 0, 0, 0]);
    out.extend(question);
    for rdata in data {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((rdata.len() as u16).to_be_bytes());
        out.extend(rdata);
    }
    out
}

fn v4(last: u8) -> Vec<u8> {
    vec![172, 18, 0, last]
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let mut data = [priority, weight, port]
        .map(u16::to_be_bytes)
        .concat()
        .to_vec();
    for label in target.split('.') {
        data.push(label.len() as u8);
        data.extend(label.bytes());
    }
    data.push(0);
    data
}

/// Runs a DNS source that asks every 20 ms.
fn follow_fake(fake: &FakeDns, name: &str) -> (crate::Discovery, mpsc::Receiver<BackendSet>) {
    let dns = DnsConfig {
        nameservers: vec![fake.address],
        ..DnsConfig::new(name)
    };
    follow_with(dns)
}

fn follow_with(dns: DnsConfig) -> (crate::Discovery, mpsc::Receiver<BackendSet>) {
    let (tx, rx) = mpsc::channel(16);
    let dns = DnsConfig {
        every: Duration::from_millis(20),
        ..dns
    };
    let config = Config {
        backend: Name::new("nodes").unwrap(),
        sources: vec![SourceConfig::Dns(dns)],
        default_port: 3000,
        inherited: None,
    };
    (start(config, None, tx), rx)
}

/// Waits for the next set and shows it.
async fn next(sets: &mut mpsc::Receiver<BackendSet>) -> Vec<String> {
    let set = tokio::time::timeout(Duration::from_secs(10), sets.recv()).await;
    show(&set.expect("a set in time").unwrap().servers)
}

fn show(servers: &[Server]) -> Vec<String> {
    let line = |s: &Server| {
        let backup = if s.backup { " backup" } else { "" };
        format!("{} {} {}{backup}", s.name, s.address, s.weight)
    };
    servers.iter().map(line).collect()
}

#[tokio::test]
async fn every_address_of_a_name_is_a_server_and_changes_follow() {
    let fake = FakeDns::start().await;
    fake.set("webapp.lab", A, vec![v4(3), v4(2)]);
    let v6: Ipv6Addr = "fd00::2".parse().unwrap();
    fake.set("webapp.lab", AAAA, vec![v6.octets().to_vec()]);
    let (_discovery, mut sets) = follow_fake(&fake, "webapp.lab.");
    assert_eq!(
        next(&mut sets).await,
        [
            "webapp.lab-172.18.0.2 172.18.0.2:3000 1",
            "webapp.lab-172.18.0.3 172.18.0.3:3000 1",
            "webapp.lab-fd00::2 [fd00::2]:3000 1",
        ]
    );
    fake.set("webapp.lab", A, vec![v4(2), v4(3), v4(4)]);
    assert_eq!(next(&mut sets).await.len(), 4);
}

#[tokio::test]
async fn failures_keep_the_last_good_answer_and_emptiness_is_believed_after_hold() {
    let fake = FakeDns::start().await;
    fake.set("webapp", A, vec![v4(2)]);
    let hold = Duration::from_millis(500);
    let (discovery, mut sets) = follow_with(DnsConfig {
        nameservers: vec![fake.address],
        hold,
        ..DnsConfig::new("webapp")
    });
    assert_eq!(next(&mut sets).await.len(), 1);
    fake.fail();
    tokio::time::timeout(2 * hold, sets.recv())
        .await
        .expect_err("a failure says nothing, however long");
    let state = || discovery.states().remove(0);
    assert_eq!(state().name, "webapp");
    let error = state().error.unwrap();
    assert!(error.contains("Server Failure"), "{error}");
    assert!(state().answered.unwrap().elapsed() >= 2 * hold);
    // What was silent for so long is heard again, so it counts from now on.
    fake.set("webapp", A, vec![v4(2), v4(3)]);
    assert_eq!(next(&mut sets).await.len(), 2);
    let error = state().error.unwrap();
    assert!(
        error.contains("AAAA"),
        "the other family still fails: {error}"
    );
    fake.records.lock().unwrap().code = 3;
    let all_well = async {
        while state().error.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(15), all_well).await;
    assert!(heard.is_ok(), "{:?}", state().error);
    fake.refuse(3);
    let gone = Instant::now();
    assert!(next(&mut sets).await.is_empty());
    assert!(gone.elapsed() >= hold, "{:?}", gone.elapsed());
}

#[tokio::test]
async fn an_error_of_one_name_server_is_not_the_end() {
    let [good, bad, silent] = [
        FakeDns::start().await,
        FakeDns::start().await,
        FakeDns::start().await,
    ];
    good.set("webapp", A, vec![v4(2)]);
    silent.records.lock().unwrap().silent = true;
    for code in [2, 5] {
        bad.refuse(code);
        let (_discovery, mut sets) = follow_with(DnsConfig {
            nameservers: vec![bad.address, silent.address, good.address],
            ..DnsConfig::new("webapp")
        });
        assert_eq!(
            next(&mut sets).await,
            ["webapp-172.18.0.2 172.18.0.2:3000 1"]
        );
        // The one that answered is asked first from now on.
        let turns = || bad.records.lock().unwrap().asked;
        let before = turns();
        good.set("webapp", A, vec![v4(2), v4(3)]);
        assert_eq!(next(&mut sets).await.len(), 2);
        assert_eq!(turns(), before);
        good.set("webapp", A, vec![v4(2)]);
    }
}

#[tokio::test]
async fn a_name_that_one_name_server_denies_may_be_known_to_another() {
    let [denies, knows] = [FakeDns::start().await, FakeDns::start().await];
    knows.set("webapp", A, vec![v4(2)]);
    let (discovery, mut sets) = follow_with(DnsConfig {
        nameservers: vec![denies.address, knows.address],
        hold: Duration::ZERO,
        ..DnsConfig::new("webapp")
    });
    assert_eq!(
        next(&mut sets).await,
        ["webapp-172.18.0.2 172.18.0.2:3000 1"]
    );
    // Of the two, the one that knew it is believed: its failure says nothing, its denial does.
    knows.fail();
    let has_failed = async {
        while discovery.states().remove(0).error.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let failed = tokio::time::timeout(Duration::from_secs(10), has_failed).await;
    assert!(failed.is_ok() && sets.try_recv().is_err());
    knows.refuse(3);
    assert!(next(&mut sets).await.is_empty());
}

#[tokio::test]
async fn more_addresses_than_fit_a_packet_come_over_tcp() {
    let fake = FakeDns::start().await;
    fake.set("webapp", A, (1..=200).map(v4).collect());
    fake.records.lock().unwrap().cut = true;
    let (_discovery, mut sets) = follow_fake(&fake, "webapp");
    assert_eq!(next(&mut sets).await.len(), 200);
}

#[tokio::test]
async fn services_carry_ports_weights_and_backups() {
    let fake = FakeDns::start().await;
    let services = vec![
        srv(10, 5, 8080, "a.lab"),
        srv(10, 0, 8081, "b.lab"),
        srv(20, 1, 80, "c.lab"),
    ];
    fake.set("_http._tcp.lab", SRV, services);
    for (host, last) in [("a.lab", 1), ("b.lab", 2), ("c.lab", 3)] {
        fake.set(host, A, vec![v4(last)]);
    }
    let (_discovery, mut sets) = follow_fake(&fake, "_http._tcp.lab");
    assert_eq!(
        next(&mut sets).await,
        [
            "a.lab-172.18.0.1:8080 172.18.0.1:8080 5",
            "b.lab-172.18.0.2:8081 172.18.0.2:8081 1",
            "c.lab-172.18.0.3:80 172.18.0.3:80 1 backup",
        ]
    );
}

const HELD: Hold = Hold {
    time: Duration::from_secs(30),
    bridged: false,
};

#[test]
fn one_family_alone_is_enough_and_keeps_its_own_answer() {
    let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let now = Instant::now();
    let mut zone = Zone::new("w", 80, HELD);
    let mut none = BTreeMap::new();
    assert_eq!(zone.servers(&mut none), None);
    zone.take_host("w", Family::V4, Answer::Empty, now);
    zone.take_host("w", Family::V6, Answer::Empty, now);
    assert_eq!(zone.servers(&mut none), None, "not believed yet");
    zone.take_host("w", Family::V4, Answer::Records(vec![ip(1)]), now);
    zone.take_host("w", Family::V6, Answer::Failed, now);
    assert_eq!(zone.servers(&mut none).unwrap().len(), 1);
    for _ in 0..3 {
        zone.take_host("w", Family::V4, Answer::Failed, now);
        zone.take_host("w", Family::V6, Answer::Empty, now);
    }
    assert_eq!(zone.servers(&mut none).unwrap().len(), 1);
}

#[test]
fn records_that_are_gone_are_held() {
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut none = BTreeMap::new();
    let mut zone = Zone::new("w", 80, HELD);
    let mut count = |zone: &Zone| zone.servers(&mut none).map(|servers| servers.len());
    zone.take_host("w", Family::V4, Answer::Records(vec![ip]), start);
    for second in 1..30 {
        zone.take_host("w", Family::V6, Answer::Empty, at(second));
        zone.take_host("w", Family::V4, Answer::Empty, at(second));
        assert!(zone.is_doubted());
    }
    assert_eq!(count(&zone), Some(1));
    // One answer ends it, and a failure in between is not one.
    zone.take_host("w", Family::V4, Answer::Records(vec![ip]), at(30));
    assert!(!zone.is_doubted());
    zone.take_host("w", Family::V4, Answer::Empty, at(100));
    zone.take_host("w", Family::V4, Answer::Failed, at(120));
    zone.take_host("w", Family::V4, Answer::Empty, at(129));
    assert_eq!(count(&zone), Some(1));
    zone.take_host("w", Family::V4, Answer::Empty, at(130));
    assert_eq!(count(&zone), Some(0));
    // What a predecessor knew is held too; where nobody knew anything, little is enough.
    for (bridged, after, expected) in [(true, 29, None), (true, 30, Some(0)), (false, 2, Some(0))] {
        let mut zone = Zone::new("w", 80, Hold { bridged, ..HELD });
        for family in [Family::V4, Family::V6] {
            for seconds in [0, 1, after] {
                zone.take_host("w", family, Answer::Empty, at(seconds));
            }
        }
        assert_eq!(count(&zone), expected, "{bridged} {after}");
    }
}

#[test]
fn answers_that_cannot_be_servers_are_complained_about() {
    let mut zone = Zone::new("_x", 80, HELD);
    let service = |port, target: &str| Service {
        priority: 0,
        weight: 60_000,
        port,
        target: target.into(),
    };
    let services = vec![service(0, "a"), service(80, "bad/name"), service(80, "c")];
    let targets = zone.take_services(Answer::Records(services), Instant::now());
    assert_eq!(targets.len(), 3);
    for target in targets {
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        zone.take_host(
            &target,
            Family::V4,
            Answer::Records(vec![ip]),
            Instant::now(),
        );
        zone.take_host(&target, Family::V6, Answer::Empty, Instant::now());
    }
    let mut complaints = BTreeMap::new();
    let servers = zone.servers(&mut complaints).unwrap();
    assert_eq!(show(&servers), ["c-10.0.0.1:80 10.0.0.1:80 256"]);
    assert_eq!(complaints.len(), 2);
}
