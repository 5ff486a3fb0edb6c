//! The programs of a live run, each on a loopback address of its own, ended with their owner.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::leaves::Reports;

/// A child that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(command: &mut Command) -> Result<Running> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = quiet.stderr(Stdio::null()).spawn();
    let what = || format!("cannot start {}", command.get_program().display());
    Ok(Running(child.with_context(what)?))
}

/// Gives out addresses and starts programs.
pub(super) struct Stage {
    roundel: PathBuf,
    serf: PathBuf,
    folder: tempfile::TempDir,
    next: Cell<u16>,
}

/// One server: an app and the agent that speaks for it.
pub(super) struct Player {
    pub(super) name: String,
    pub(super) ip: Ipv4Addr,
    pub(super) agent_started: SystemTime,
    agent: Running,
    app: Option<Running>,
}

impl Stage {
    pub(super) fn new(roundel: &Path, serf: &Path) -> Result<Self> {
        for (program, word) in [(roundel, "--version"), (serf, "version")] {
            let output = Command::new(program).arg(word).output();
            output.with_context(|| format!("cannot run {}", program.display()))?;
        }
        Ok(Self {
            roundel: roundel.to_owned(),
            serf: serf.to_owned(),
            folder: tempfile::tempdir()?,
            next: Cell::new(0),
        })
    }

    /// An address that nothing else of this run has.
    pub(super) fn ip(&self) -> Result<Ipv4Addr> {
        let next = self.next.get();
        self.next
            .set(next.checked_add(1).context("no address is left")?);
        // 250 to a block, so that none ends in 0 or 255.
        let [block, last] = [next / 250, next % 250 + 1].map(|n| n as u8);
        Ok(Ipv4Addr::new(127, 88, block, last))
    }

    pub(super) fn balancer(&self) -> Result<Balancer> {
        let ip = self.ip()?;
        let at = |port: u16| SocketAddr::from((ip, port));
        let [front, stats, gossip] = [at(8080), at(1936), at(7946)];
        let mut command = Command::new(&self.roundel);
        command
            .args([
                "serve",
                "--node-name",
                "live-balancer",
                "--cli-listen",
                "off",
            ])
            .args(["--access-log", "off"])
            .args(["--listen", &front.to_string()])
            .args(["--stats-listen", &stats.to_string()])
            .args(["--gossip-listen", &gossip.to_string()]);
        let process = spawn(&mut command)?;
        let balancer = Balancer {
            process,
            front,
            stats,
            gossip,
        };
        for port in [stats, gossip] {
            wait_port(port)?;
        }
        Ok(balancer)
    }

    fn toy(&self, name: &str, address: SocketAddr) -> Result<Running> {
        let listen = address.to_string();
        let mut command = Command::new(&self.roundel);
        command.args(["toy", "--listen", &listen, "--node-name", name]);
        let app = spawn(&mut command)?;
        wait_port(address)?;
        Ok(app)
    }

    /// A balancer of one server that never changes and is not checked; in the gossip or not.
    pub(super) fn idle_balancer(&self, seed: Option<&Balancer>) -> Result<Balancer> {
        let ip = self.ip()?;
        let at = |port: u16| SocketAddr::from((ip, port));
        let [front, stats, gossip] = [at(8080), at(1936), at(7946)];
        let (name, path) = (
            format!("idle-{ip}"),
            self.folder.path().join(ip.to_string()),
        );
        let table = match seed {
            Some(seed) => format!(
                "[gossip]\nlisten = \"{gossip}\"\njoin = [\"{}\"]\nnode_name = \"{name}\"\n",
                seed.gossip
            ),
            None => String::new(),
        };
        let file = format!(
            "{table}[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [access_log]\nformat = \"off\"\n\
             [[frontend]]\nname = \"web\"\nlisten = [\"{front}\"]\ndefault_backend = \"app\"\n\
             [[backend]]\nname = \"app\"\ncheck = \"off\"\n\
             server = [{{ name = \"s1\", address = \"127.0.0.1:9\" }}]\n"
        );
        std::fs::write(&path, file)?;
        let mut command = Command::new(&self.roundel);
        command.args(["serve", "-c"]).arg(&path);
        let balancer = Balancer {
            process: spawn(&mut command)?,
            front,
            stats,
            gossip,
        };
        wait_port(stats)?;
        Ok(balancer)
    }

    /// The toy and a stock agent that joins the balancer.
    pub(super) fn serf_server(&self, name: &str, balancer: &Balancer) -> Result<Player> {
        let ip = self.ip()?;
        let app = self.toy(name, (ip, 3000).into())?;
        let tags = ["role=backend", "port=3000"];
        let mut player = self.stock_agent(name, ip, balancer, &tags)?;
        player.app = Some(app);
        Ok(player)
    }

    /// A stock agent that is no server.
    pub(super) fn bare_agent(
        &self,
        name: &str,
        ip: Ipv4Addr,
        balancer: &Balancer,
    ) -> Result<Player> {
        self.stock_agent(name, ip, balancer, &["role=bystander"])
    }

    fn stock_agent(
        &self,
        name: &str,
        ip: Ipv4Addr,
        balancer: &Balancer,
        tags: &[&str],
    ) -> Result<Player> {
        let at = |port: u16| SocketAddr::from((ip, port)).to_string();
        let mut command = Command::new(&self.serf);
        command
            .arg("agent")
            .arg(format!("-node={name}"))
            .arg(format!("-bind={}", at(7946)))
            .arg(format!("-rpc-addr={}", at(7373)))
            .arg(format!("-join={}", balancer.gossip));
        for tag in tags {
            command.args(["-tag", tag]);
        }
        let agent_started = SystemTime::now();
        Ok(Player {
            name: name.to_owned(),
            ip,
            agent_started,
            agent: spawn(&mut command)?,
            app: None,
        })
    }

    /// The toy and Roundel's agent beside it.
    pub(super) fn roundel_server(&self, name: &str, balancer: &Balancer) -> Result<Player> {
        let ip = self.ip()?;
        let app = self.toy(name, (ip, 3000).into())?;
        let mut command = Command::new(&self.roundel);
        let gossip = SocketAddr::from((ip, 7946)).to_string();
        command
            .args(["agent", "--node-name", name, "--port", "3000"])
            .args(["--gossip-listen", &gossip])
            .args(["--join", &balancer.gossip.to_string()]);
        let agent_started = SystemTime::now();
        Ok(Player {
            name: name.to_owned(),
            ip,
            agent_started,
            agent: spawn(&mut command)?,
            app: Some(app),
        })
    }
}

impl Player {
    pub(super) fn agent_pid(&self) -> u32 {
        self.agent.0.id()
    }

    /// Sends a signal to the agent; gives when.
    pub(super) fn signal_agent(&mut self, signal: &str) -> Result<SystemTime> {
        let at = SystemTime::now();
        let pid = self.agent.0.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status()?;
        anyhow::ensure!(status.success(), "cannot signal the agent");
        Ok(at)
    }

    pub(super) fn wait_agent(&mut self) {
        let end = Instant::now() + Duration::from_secs(15);
        while Instant::now() < end && matches!(self.agent.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills app and agent without a word; gives when.
    pub(super) fn kill(&mut self) -> Result<SystemTime> {
        let at = SystemTime::now();
        self.agent.0.kill()?;
        self.app = None;
        Ok(at)
    }
}

/// `roundel serve` under measurement.
pub(super) struct Balancer {
    process: Running,
    front: SocketAddr,
    stats: SocketAddr,
    gossip: SocketAddr,
}

impl Balancer {
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(super) fn gossip(&self) -> SocketAddr {
        self.gossip
    }

    /// Waits until so many members are known for alive.
    pub(super) fn wait_members(&self, count: usize) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let snapshot: Value = serde_json::from_str(&get(self.stats, "/api/v1/snapshot")?)?;
            let members = snapshot["members"].as_array();
            let alive = members
                .into_iter()
                .flatten()
                .filter(|m| m["status"] == "alive");
            if alive.count() >= count {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < end, "not {count} members");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the timeline says of these members, once it has told of each; it is a second old.
    pub(super) fn reports(&self, names: &[String]) -> Result<Reports> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let reports = self.reports_so_far(names)?;
            if reports.left.len() == names.len() || Instant::now() >= end {
                return Ok(reports);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn reports_so_far(&self, names: &[String]) -> Result<Reports> {
        let events: Vec<Value> = serde_json::from_str(&get(self.stats, "/api/v1/events")?)?;
        let mut reports = Reports::default();
        for event in &events {
            let subject = event["subject"].as_str().unwrap_or_default();
            let Some(name) = names.iter().find(|name| *name == subject) else {
                continue;
            };
            match event["kind"].as_str() {
                Some("leave") => reports.left.insert(name.clone()),
                Some("failed") => reports.failed.insert(name.clone()),
                _ => false,
            };
        }
        Ok(reports)
    }

    /// Milliseconds from `since` to the first event of this kind about a server.
    pub(super) fn wait(
        &self,
        name: &str,
        kind: &str,
        since: SystemTime,
        patience: Duration,
    ) -> Result<f64> {
        self.wait_for(name, |found| found == kind, since, patience)
    }

    /// Milliseconds from `since` until a server is taken out, for whatever reason.
    pub(super) fn wait_out(
        &self,
        name: &str,
        since: SystemTime,
        patience: Duration,
    ) -> Result<f64> {
        self.wait_for(
            name,
            |kind| matches!(kind, "check_down" | "leave" | "ejected"),
            since,
            patience,
        )
    }

    fn wait_for(
        &self,
        name: &str,
        wanted: impl Fn(&str) -> bool,
        since: SystemTime,
        patience: Duration,
    ) -> Result<f64> {
        let subject = format!("nodes/{name}");
        let since_ms = since.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() * 1e3;
        let end = Instant::now() + patience;
        loop {
            let answer = get(self.stats, "/api/v1/events")?;
            let events: Vec<Value> = serde_json::from_str(&answer)?;
            for event in &events {
                let text = |key: &str| event[key].as_str().unwrap_or_default();
                if text("subject") != subject || !wanted(text("kind")) {
                    continue;
                }
                let at = unix_ms(text("time")).context("events have times")?;
                // The stamp is cut to milliseconds.
                if at + 1.0 >= since_ms {
                    return Ok((at + 0.5 - since_ms).max(0.0));
                }
            }
            if Instant::now() >= end {
                bail!("no such event about {name} within {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends requests, each on a connection of its own, until it is ended. Clients that wait for
    /// an answer do not hold up the others.
    pub(super) fn load(&self, rate: f64) -> Load {
        let front = self.front;
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs_f64(CLIENTS as f64 / rate);
        let threads = (0..CLIENTS).map(|number| {
            let stop = stop.clone();
            let mut next = Instant::now() + pause.mul_f64(number as f64 / CLIENTS as f64);
            std::thread::spawn(move || {
                let mut failed = 0;
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    failed += usize::from(get(front, "/").is_err());
                    // One that was held up does not make up for it.
                    next = (next + pause).max(Instant::now());
                }
                failed
            })
        });
        Load {
            threads: threads.collect(),
            stop,
        }
    }
}

/// Clients of a load.
const CLIENTS: usize = 16;

/// A running load.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<usize>>,
}

impl Load {
    /// Ends it and gives how many requests were not answered with 200.
    pub(super) fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let ends = self.threads.into_iter().map(|t| t.join().unwrap_or(1));
        ends.sum()
    }
}

/// The body of a 200 answer.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: live\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    anyhow::ensure!(head.split(' ').nth(1) == Some("200"), "not 200: {head}");
    Ok(body.to_owned())
}

fn wait_port(address: SocketAddr) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        anyhow::ensure!(Instant::now() < end, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Milliseconds since 1970 of a time such as `2026-01-31T23:59:59.123Z`.
fn unix_ms(text: &str) -> Option<f64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days from a date: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = year - era * 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60;
    let rest: f64 = text.get(17..)?.strip_suffix('Z')?.parse().ok()?;
    Some((seconds as f64 + rest) * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_events_are_understood() {
        assert_eq!(unix_ms("1970-01-01T00:00:00.000Z"), Some(0.0));
        assert_eq!(
            unix_ms("2026-11-22T16:27:37.789Z"),
            Some(1_795_364_857_789.0)
        );
        assert_eq!(unix_ms("2024-02-29T00:00:01.5Z"), Some(1_709_164_801_500.0));
        assert_eq!(unix_ms("yesterday"), None);
    }
}
