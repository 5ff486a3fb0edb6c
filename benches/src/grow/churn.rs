//! Members that change all the time: their words as datagrams, at a fixed rate.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use roundel_gossip::wire::{
    Ack, Envelope, Message, NodeRecord, Packet, Versions, decode_packet, tags,
};

use super::onlooker::{Onlooker, get};
use super::{ORIGIN_PORT, Table, failed, load, start};
use crate::compare::Setting;
use crate::compare::peer::Variant;
use crate::compare::rounds::pairs;
use crate::machine::cpu_ns;
use crate::process::{Running, myself};
use crate::stat::Spread;

const PORT: u16 = 18_500;
const MEMBERS: u32 = 25;
const RATE: u32 = 1_000;
/// For how long changes go on without any load.
const ALONE: Duration = Duration::from_secs(3);

/// Plays members until killed; says `ready` when the balancer knows them.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The balancer's gossip.
    gossip: SocketAddr,
    /// The balancer's port for metrics.
    stats: SocketAddr,
    /// What the members say in a second, altogether; 0: they only answer.
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[arg(long, default_value_t = MEMBERS)]
    members: u32,
    /// The first incarnation of all members; later ones beat earlier ones.
    #[arg(long, default_value_t = 1)]
    incarnation: u32,
}

/// One socket that speaks for all members.
struct Players {
    socket: UdpSocket,
    gossip: SocketAddr,
    port: u16,
    packet: Packet,
}

pub(crate) fn play(options: &Options) -> Result<()> {
    let mut players = Players::new(options)?;
    let mut said = 0;
    // A datagram may be lost, so they join until they are known.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        for member in 0..options.members {
            players.say(member, options.incarnation, 0)?;
        }
        players.answer(Duration::from_millis(300))?;
        if known(options.stats)? >= u64::from(options.members) {
            break;
        }
        if Instant::now() > deadline {
            bail!("the balancer does not take the members in");
        }
    }
    println!("ready");
    let begun = Instant::now();
    loop {
        players.answer(Duration::from_millis(1))?;
        let due = begun.elapsed().as_secs_f64() * f64::from(options.rate);
        while said < due as u32 {
            let turn = 1 + said / options.members;
            players.say(said % options.members, options.incarnation + turn, turn)?;
            said += 1;
        }
    }
}

/// How many servers the balancer sees in its first backend.
fn known(stats: SocketAddr) -> Result<u64> {
    let metrics = get(stats, "/metrics")?;
    let up = |line: &&str| line.starts_with("roundel_server_up{backend=\"b_plain\"");
    Ok(metrics.lines().filter(up).count() as u64)
}

impl Players {
    fn new(options: &Options) -> Result<Self> {
        // Always the same port: a member that moves while it lives is not believed.
        let port = options.gossip.port() + 1;
        Ok(Self {
            port,
            socket: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?,
            gossip: options.gossip,
            packet: Packet::default(),
        })
    }

    /// What a member says of itself in one turn: its weight changes, or it drains, or comes back.
    fn say(&self, member: u32, incarnation: u32, turn: u32) -> Result<()> {
        let mut said = BTreeMap::from([
            ("role".to_owned(), "backend".to_owned()),
            ("port".to_owned(), ORIGIN_PORT.to_string()),
        ]);
        // Never all of them drain at a time.
        match (turn + if turn > 0 { member } else { 0 }) % 3 {
            0 => {}
            1 => drop(said.insert("weight".to_owned(), "2".to_owned())),
            _ => drop(said.insert("drain".to_owned(), "1".to_owned())),
        }
        let address = Ipv4Addr::new(127, 2, (member >> 8) as u8, member as u8);
        let record = NodeRecord::new(
            format!("member-{member}"),
            (address, self.port).into(),
            tags::encode(&said)?,
            incarnation,
            Versions::SERF,
        )?;
        let bytes = Message::Alive(record).encode();
        self.socket.send_to(&bytes, self.gossip)?;
        Ok(())
    }

    /// Answers pings for as long; other datagrams are of no interest.
    fn answer(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut buffer = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.socket.set_read_timeout(Some(left))?;
            // Time is over, or an earlier datagram met a closed port.
            let Ok((size, from)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            if decode_packet(&buffer[..size], &Envelope::default(), &mut self.packet).is_err() {
                continue;
            }
            for message in &self.packet.messages {
                if let Message::Ping(ping) = message {
                    let (seq, payload) = (ping.seq, None);
                    let ack = Message::Ack(Ack { seq, payload }).encode();
                    self.socket.send_to(&ack, from)?;
                }
            }
        }
    }
}

/// CPU per request while members change, metrics are scraped and the page is open.
pub(super) fn row(setting: &Setting<'_>, _: &super::Options, table: &mut Table) -> Result<()> {
    let gossip = format!("127.0.0.1:{}", PORT + 6);
    let stats = SocketAddr::from(([127, 0, 0, 1], PORT + 2));
    let how = Variant {
        servers: Vec::new(),
        gossip: Some(gossip.clone()),
        ..Variant::default()
    };
    let one = start(setting, PORT, how)?;
    let mut incarnation = 1;
    let mut play = |rate: u32| -> Result<Running> {
        incarnation += 1_000_000;
        let mut command = myself(&setting.cores.load)?;
        command
            .args(["churn", &gossip, &stats.to_string()])
            .arg(format!("--rate={rate}"))
            .arg(format!("--incarnation={incarnation}"))
            .stdout(Stdio::piped());
        let mut players = Running::start(&mut command)?;
        players.wait_line("ready").context("the members")?;
        Ok(players)
    };
    drop(play(0)?);
    load(setting, &one, setting.warm)?;
    let before = changes(stats)?;
    let mut seconds = 0.0;
    let pairs = pairs(setting.rounds, |with| {
        let _players = play(if with { RATE } else { 0 })?;
        let begun = Instant::now();
        let onlooker = with.then(|| Onlooker::start(stats)).transpose()?;
        let sample = load(setting, &one, setting.sample * 2)?;
        if let Some(onlooker) = onlooker {
            onlooker.end()?;
            seconds += begun.elapsed().as_secs_f64();
        }
        Ok(sample)
    })?;
    let sets = (changes(stats)? - before) / seconds;
    let alone = {
        let _players = play(RATE)?;
        let before = cpu_ns(one.process.pid())?;
        std::thread::sleep(ALONE);
        (cpu_ns(one.process.pid())? - before) as f64 / ALONE.as_nanos() as f64
    };
    let cpu = |s: &crate::compare::sample::Sample| s.cpu_us_per_request;
    let ratio = Spread::of(pairs.iter().map(|(a, b)| cpu(b) / cpu(a)));
    let p99 = Spread::of(
        pairs
            .iter()
            .map(|(a, b)| b.latency_us.p99 / a.latency_us.p99),
    );
    let rate = Spread::of(pairs.iter().map(|(a, _)| a.requests_per_second)).median;
    let all = pairs.iter().map(|(a, b)| a.failed() + b.failed()).sum();
    table.row(
        &format!(
            "CPU per request under {RATE} changes of members a second, scraped, with the page open, to without"
        ),
        "<= 1.05",
        &format!(
            "{:.2} ({:.2}–{:.2}) at {rate:.0} requests/s; p99 {:.2}; {sets:.0} sets a second came of it; the changes alone take {:.1} % of a core; {}",
            ratio.median,
            ratio.low,
            ratio.high,
            p99.median,
            100.0 * alone,
            failed(all)
        ),
    );
    Ok(())
}

/// The number of the newest set of the first backend.
fn changes(stats: SocketAddr) -> Result<f64> {
    let metrics = get(stats, "/metrics")?;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("roundel_backend_set_version{backend=\"b_plain\""));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.context("there is a set version")
}
