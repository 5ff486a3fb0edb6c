//! A balancer with two servers, on hosts of their own, and the host of whom attacks it.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_testkit::{Host, Lan, Process, get, poll};
use serde_json::Value;

/// Seconds after which a balancer keeps its name.
const NEWCOMER: f64 = 11.0;
const SOON: Duration = Duration::from_secs(20);

/// The token that opens the acts on port 1936.
pub(super) const TOKEN: &str = "a token of thirty-two characters";

/// What a row wants beside the two servers.
#[derive(Default)]
pub(super) struct Scene {
    /// So many servers in a backend that gets no traffic.
    pub(super) crowd: usize,
    /// The balancer is no newcomer any more, who gives way where its name is another's.
    pub(super) settled: bool,
    /// Further lines of the configuration.
    pub(super) more: Option<fn(&Places) -> String>,
}

/// Who is where.
pub(super) struct Places {
    pub(super) balancer: Ipv4Addr,
    pub(super) attacker: Ipv4Addr,
}

/// The hosts, and what runs there.
pub(super) struct Stage {
    pub(super) process: Process,
    pub(super) places: Places,
    pub(super) folder: tempfile::TempDir,
    binary: PathBuf,
    servers: Vec<Process>,
    lan: Lan,
}

impl Stage {
    /// Starts everything and waits until both servers get requests.
    pub(super) fn start(binary: &Path, scene: &Scene) -> Result<Self> {
        let lan = Lan::new(5).context("no network namespaces here")?;
        let folder = tempfile::tempdir()?;
        let places = Places {
            balancer: lan.hosts()[0].ip,
            attacker: lan.hosts()[1].ip,
        };
        let config = folder.path().join("roundel.toml");
        fs::write(&config, configuration(&places, scene, folder.path())?)?;
        let mut balancer = Command::new(binary);
        balancer.args(["serve", "-c"]).arg(&config);
        let mut stage = Self {
            process: Process::spawn(&mut lan.hosts()[0].on(&balancer)),
            places,
            folder,
            binary: binary.to_owned(),
            servers: Vec::new(),
            lan,
        };
        stage.servers = ["s1", "s2"].map(|name| stage.newcomer(name)).into();
        let up = poll(SOON, || stage.trouble().is_none().then_some(()));
        let why = || format!("{:?}\n{}", stage.trouble(), stage.process);
        up.with_context(why)?;
        let is_settled = || {
            let snapshot = stage.snapshot().ok()?;
            (snapshot["uptime_seconds"].as_f64()? > NEWCOMER).then_some(())
        };
        if scene.settled {
            poll(SOON, is_settled).context("a balancer that stays")?;
        }
        Ok(stage)
    }

    /// Starts an honest server, each name on a host of its own.
    pub(super) fn newcomer(&self, name: &str) -> Process {
        let index = ["s1", "s2"].iter().position(|known| *known == name);
        let host = &self.lan.hosts()[2 + index.unwrap_or(2)];
        let seed = self.at(7946).to_string();
        let mut agent = Command::new(&self.binary);
        agent.args([
            "agent",
            "--node-name",
            name,
            "--join",
            &seed,
            "--port",
            "3000",
        ]);
        agent.arg("--").arg(&self.binary);
        agent.args(["toy", "--listen", ":3000", "--node-name", name]);
        Process::spawn(&mut host.on(&agent))
    }

    /// A port of the balancer.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        (self.places.balancer, port).into()
    }

    pub(super) fn balancer(&self) -> &Host {
        &self.lan.hosts()[0]
    }

    pub(super) fn attacker(&self) -> &Host {
        &self.lan.hosts()[1]
    }

    /// The address of an honest server.
    pub(super) fn server(&self, index: usize) -> Ipv4Addr {
        self.lan.hosts()[2 + index].ip
    }

    /// The program under attack with these words, on the balancer's host.
    pub(super) fn roundel(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words);
        self.balancer().on(&command)
    }

    /// What the balancer tells of itself.
    pub(super) fn snapshot(&self) -> Result<Value> {
        let answer = get(self.at(1936), "/api/v1/snapshot")?;
        ensure!(answer.status == 200, "the snapshot is a {}", answer.status);
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// What is not as it was before anybody attacked; `None` when all is well.
    pub(super) fn trouble(&self) -> Option<String> {
        let snapshot = match self.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return Some(format!("no snapshot: {error:#}")),
        };
        let taken = &snapshot["gossip"]["taken_name"];
        if !taken.is_null() {
            return Some(format!("the balancer's name {taken} is taken"));
        }
        for index in 0..self.servers.len() {
            let name = format!("s{}", index + 1);
            let address = SocketAddr::from((self.server(index), 3000)).to_string();
            let found = servers(&snapshot).find(|server| server["name"] == name.as_str());
            match found.map(|server| (&server["state"], &server["address"])) {
                Some((state, at)) if state == "up" && *at == address.as_str() => {}
                Some((state, at)) => return Some(format!("{name} is {state} at {at}")),
                None => return Some(format!("{name} is gone")),
            }
        }
        None
    }

    /// Addresses of the servers that are no honest ones.
    pub(super) fn strangers(&self) -> Result<Vec<String>> {
        let honest: Vec<IpAddr> = (0..3).map(|index| self.server(index).into()).collect();
        let snapshot = self.snapshot()?;
        let addresses = servers(&snapshot).filter_map(|server| server["address"].as_str());
        let is_strange = |address: &&str| {
            let address = address.parse::<SocketAddr>();
            address.is_ok_and(|address| !honest.contains(&address.ip()))
        };
        Ok(addresses.filter(is_strange).map(str::to_owned).collect())
    }
}

/// The servers that get requests.
fn servers(snapshot: &Value) -> impl Iterator<Item = &Value> {
    let backends = snapshot["backends"].as_array().into_iter().flatten();
    let nodes = backends.filter(|backend| backend["name"] == "nodes");
    nodes.flat_map(|backend| backend["servers"].as_array().into_iter().flatten())
}

fn configuration(places: &Places, scene: &Scene, folder: &Path) -> Result<String> {
    let token = folder.join("token");
    fs::write(&token, TOKEN)?;
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let mut text = format!(
        "[global]\ndrain_timeout = \"1s\"\n\
         [stats]\nadmin = \"token\"\nadmin_token_file = {token:?}\n\
         [access_log]\nformat = \"off\"\n\
         [gossip]\nnode_name = \"lb\"\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\ndiscover = [{{ gossip = {{}} }}]\n"
    );
    if scene.crowd > 0 {
        let list = folder.join("crowd");
        let lines = (0..scene.crowd).map(|n| format!("c{n} 10.{}.{}.1\n", n / 250, n % 250));
        fs::write(&list, lines.collect::<String>())?;
        write!(
            text,
            "[[backend]]\nname = \"crowd\"\ncheck = \"off\"\nmax_servers = 10000\ndiscover = [{{ file = {{ path = {list:?} }} }}]\n"
        )?;
    }
    text += "[[frontend]]\nname = \"web\"\nlisten = [\":8080\"]\ndefault_backend = \"nodes\"\n";
    text += &scene.more.map(|more| more(places)).unwrap_or_default();
    Ok(text)
}

/// The stage as an attack sees it.
pub(super) struct Ground<'a> {
    pub(super) stage: &'a Stage,
    /// When the attack is to end.
    pub(super) ends: Instant,
}

impl Ground<'_> {
    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}
