//! Requests while servers come and go, the configuration is read again and processes take over: does
//! every one get its answer, and is every one in the log and in the counters?

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_testkit::{
    Dice, Load, Process, Reuse, Signal, free_address, free_port, get, loopback, poll, send_signal,
};
use serde_json::Value;

use super::{SOON, resident};

/// Agents at a time, each with its server.
const AGENTS: usize = 150;
/// Of them so many start at once.
const TOGETHER: usize = 10;
/// Clients that keep their connection, and clients that do not.
const KEEPING: usize = 2;
const OPENING: usize = 1;
const RELOADS: u32 = 30;
const RENEWALS: u32 = 4;
/// Agents that go, one after the other, in the whole time, each followed by a new one.
const CHANGES: u32 = 150;
/// Time for the last process of before to end and the last counts to arrive.
const REST: Duration = Duration::from_secs(15);

/// One balancer, whichever process is it now.
struct Balancer {
    first: std::process::Child,
    front: SocketAddr,
    stats: SocketAddr,
    gossip: SocketAddr,
    folder: tempfile::TempDir,
}

/// Does it for so long and prints what came of it. Errors: a request failed, or log, counters and
/// requests disagree.
pub(super) fn run(program: &Path, time: Duration) -> Result<()> {
    let balancer = Balancer::start(program)?;
    let mut agents: VecDeque<Process> = VecDeque::new();
    for number in 1..=AGENTS {
        agents.push_back(balancer.agent(program, number)?);
        if number % TOGETHER == 0 {
            let up = || (balancer.up().ok()? == number as u64).then_some(());
            poll(SOON, up).with_context(|| format!("of {number} there are {:?}", balancer.up()))?;
        }
    }
    let loads = [
        Load::start(balancer.front, KEEPING, Reuse::KeepAlive),
        Load::start(balancer.front, OPENING, Reuse::PerRequest),
    ];
    let seen = balancer.through(program, time, &mut agents)?;
    let reports = loads.map(Load::stop);
    let asked: u64 = reports.iter().map(|report| report.ok + report.failed).sum();
    let failed: u64 = reports.iter().map(|report| report.failed).sum();
    // The request of before the load was counted, too.
    let asked = asked + 1;
    thread::sleep(REST);
    let (counted, logged) = (balancer.counted()?, balancer.logged()?);
    println!("| requests | failed | counted | log lines | resident MiB: least, most |");
    println!("|---:|---:|---:|---:|---:|");
    let [least, most] = seen.map(|kib| kib / 1024);
    println!("| {asked} | {failed} | {counted} | {logged} | {least}, {most} |");
    for why in reports.iter().flat_map(|report| &report.failures) {
        println!("{why}");
    }
    ensure!(failed == 0, "{failed} requests failed");
    ensure!(asked == counted, "{asked} requests, {counted} counted");
    ensure!(
        asked == logged,
        "{asked} requests, {logged} lines in the log"
    );
    Ok(())
}

impl Balancer {
    fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (front, stats, gossip) = (free_address(), free_address(), free_address());
        let log = File::create(folder.path().join("access.log"))?;
        let own = File::create(folder.path().join("own.log"))?;
        let config = folder.path().join("roundel.toml");
        fs::write(
            &config,
            format!(
                "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[gossip]\nlisten = \"{gossip}\"\n\
                 [access_log]\nformat = \"haproxy\"\n[[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
                 default_backend = \"nodes\"\n[[backend]]\nname = \"nodes\"\n"
            ),
        )?;
        let first = Command::new(program)
            .args(["serve", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(own)
            .spawn()?;
        let balancer = Self {
            first,
            front,
            stats,
            gossip,
            folder,
        };
        // Nobody is there yet: a request that fails, and is counted.
        poll(SOON, || get(front, "/").ok())
            .with_context(|| format!("it does not serve: {}", balancer.told()))?;
        Ok(balancer)
    }

    /// Starts an agent with a server of its own.
    fn agent(&self, program: &Path, number: usize) -> Result<Process> {
        let ip = loopback();
        let (app, gossip) = (free_port(ip), free_port(ip));
        let mut command = Command::new(program);
        command
            .args(["agent", "--node-name", &format!("s{number}")])
            .args(["--gossip-listen", &format!("{ip}:{gossip}")])
            .args(["--join", &self.gossip.to_string()])
            .args(["--port", &app.to_string(), "--"])
            .arg(program)
            .args(["toy", "--listen", &format!("{ip}:{app}")]);
        Ok(Process::spawn(&mut command))
    }

    /// Lets the time pass with all that happens in it; gives the least and most memory, in KiB.
    fn through(
        &self,
        program: &Path,
        time: Duration,
        agents: &mut VecDeque<Process>,
    ) -> Result<[u64; 2]> {
        let begun = Instant::now();
        let mut dice = Dice::new(1);
        let mut due = [(CHANGES, 0), (RELOADS, 0), (RENEWALS, 0)];
        let mut seen = [u64::MAX, 0];
        while begun.elapsed() < time {
            let part = begun.elapsed().as_secs_f64() / time.as_secs_f64();
            for (kind, (count, done)) in due.iter_mut().enumerate() {
                // In the middle of its part of the time, so that none falls on the end.
                if part * f64::from(*count) < f64::from(*done) + 0.5 {
                    continue;
                }
                *done += 1;
                match kind {
                    0 => {
                        self.change(program, agents, &mut dice, AGENTS + *done as usize)?;
                    }
                    1 => self.reload(*done)?,
                    _ => self.renew()?,
                }
            }
            let now = resident(self.pid()?)?;
            seen = [seen[0].min(now), seen[1].max(now)];
            thread::sleep(Duration::from_millis(200));
        }
        println!(
            "{} agents gone, {} reloads, {} renewals",
            due[0].1, due[1].1, due[2].1
        );
        Ok(seen)
    }

    /// One agent leaves or dies with its server, another comes.
    fn change(
        &self,
        program: &Path,
        agents: &mut VecDeque<Process>,
        dice: &mut Dice,
        number: usize,
    ) -> Result<()> {
        if let Some(mut one) = agents.remove(dice.roll(agents.len())) {
            match dice.percent(50) {
                true => one.kill(),
                false => {
                    one.signal(Signal::TERM);
                    // It ends while the next things happen.
                    thread::spawn(move || one.wait_exit(SOON));
                }
            }
        }
        agents.push_back(self.agent(program, number)?);
        Ok(())
    }

    fn reload(&self, number: u32) -> Result<()> {
        let config = self.folder.path().join("roundel.toml");
        let text = fs::read_to_string(&config)?;
        fs::write(&config, format!("{text}# {number}\n"))?;
        send_signal(self.pid()?, Signal::HUP);
        Ok(())
    }

    /// Has the next process take over.
    fn renew(&self) -> Result<()> {
        let before = self.pid()?;
        send_signal(before, Signal::USR2);
        poll(SOON, || self.pid().ok().filter(|pid| *pid != before))
            .with_context(|| format!("no process took over: {}", self.told()))?;
        Ok(())
    }

    fn snapshot(&self) -> Result<Value> {
        Ok(serde_json::from_slice(
            &get(self.stats, "/api/v1/snapshot")?.body,
        )?)
    }

    fn pid(&self) -> Result<u32> {
        let pid = self.snapshot()?["process"]["pid"].as_u64();
        Ok(u32::try_from(pid.context("no pid")?)?)
    }

    /// Servers that get requests.
    fn up(&self) -> Result<u64> {
        let text = get(self.stats, "/;csv")?.text();
        let up = |line: &&str| line.starts_with("nodes,") && line.contains(",UP,");
        let all = text.lines().filter(up).count() as u64;
        // The line of the backend itself.
        Ok(all.saturating_sub(1))
    }

    /// Requests that the frontend has counted.
    fn counted(&self) -> Result<u64> {
        let text = get(self.stats, "/;csv")?.text();
        let titles = text.lines().next().context("no titles")?;
        let column = titles.split(',').position(|title| title == "req_tot");
        let line = text
            .lines()
            .find(|line| line.starts_with("front,FRONTEND,"));
        let cell = line
            .context("no frontend")?
            .split(',')
            .nth(column.context("no req_tot")?);
        Ok(cell.context("no cell")?.parse()?)
    }

    /// Lines of the access log.
    fn logged(&self) -> Result<u64> {
        let file = BufReader::new(File::open(self.folder.path().join("access.log"))?);
        Ok(file.lines().map_while(Result::ok).count() as u64)
    }

    fn told(&self) -> String {
        let path: PathBuf = self.folder.path().join("own.log");
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            send_signal(pid, Signal::KILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}
