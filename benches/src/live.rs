//! The live figures of the gossip: a balancer and stock Serf agents on loopback addresses.
//!
//! Times run from what is done here (a start, a signal) to the balancer's own event, which it
//! stamps with milliseconds; both read the same clock.

mod alone;
mod cast;
mod drops;
mod leaves;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

use self::cast::{Balancer, Stage};
use self::drops::Drops;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The Roundel binary to measure.
    #[arg(long, default_value = "target/dist/roundel")]
    roundel: PathBuf,
    /// The Serf agent to measure beside it.
    #[arg(long, default_value = "serf")]
    serf: PathBuf,
    /// Stock agents in the cluster, at most 60.
    #[arg(long, default_value_t = 25)]
    agents: usize,
    /// Repetitions of each row; 100 or more give percentiles of 99.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Stock agents that leave before Roundel's nodes, in batches; 1000 for the figure.
    #[arg(long, default_value_t = 40)]
    leaves: usize,
    /// Seconds for which the idle processes are measured.
    #[arg(long, default_value_t = 20)]
    idle: u64,
    /// Only these rows; all if none is named.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Rows>,
}

/// Groups of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    /// Processor and memory of gossip alone, beside a Serf agent's.
    Idle,
    /// A stock agent comes and leaves.
    Stock,
    /// Roundel's agent comes and leaves.
    Agent,
    /// Agent and app are killed, without traffic and under traffic.
    Kill,
    /// A server's address falls silent under traffic; needs root and iptables.
    Silent,
    /// Many stock agents leave, and nobody reports one as failed.
    Leaves,
}

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests a second for each server: so many that every server is asked all the time.
const RATE: f64 = 60.0;

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.agents <= 60, "at most 60 agents");
    let wanted = |rows| options.rows.is_empty() || options.rows.contains(&rows);
    let stage = Stage::new(&options.roundel, &options.serf)?;
    let balancer = stage.balancer()?;
    let crowd = (0..options.agents)
        .map(|i| stage.serf_server(&format!("crowd-{i}"), &balancer))
        .collect::<Result<Vec<_>>>()?;
    for player in &crowd {
        balancer.wait(&player.name, "serving", SystemTime::UNIX_EPOCH, PATIENCE)?;
    }
    std::thread::sleep(Duration::from_secs(3));
    println!(
        "| figure | demand | reached, {} stock agents |",
        options.agents
    );
    println!("|---|---|---|");
    let rounds = options.rounds;
    let rate = RATE * (options.agents + 1) as f64;
    if wanted(Rows::Idle) {
        alone::rows(&stage, &balancer, &crowd, options.idle)?;
    }
    if wanted(Rows::Stock) {
        stock_rows(&stage, &balancer, rounds)?;
    }
    if wanted(Rows::Agent) {
        agent_rows(&stage, &balancer, rounds)?;
    }
    if wanted(Rows::Kill) {
        kill_row(&stage, &balancer, rounds, None)?;
        kill_row(&stage, &balancer, rounds, Some(rate))?;
    }
    if wanted(Rows::Silent) {
        silent_row(&stage, &balancer, rounds, rate)?;
    }
    if wanted(Rows::Leaves) {
        leaves::rows(&stage, &balancer, options.leaves)?;
    }
    Ok(())
}

/// Milliseconds, sorted.
struct Times(Vec<f64>);

impl Times {
    fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        Self(ms)
    }

    fn show(&self) -> String {
        let at = |q: f64| {
            let rank = (q * self.0.len() as f64).ceil() as usize;
            self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
        };
        let n = self.0.len();
        let (median, most) = (at(0.5), at(1.0));
        match n {
            0..100 => format!("median {median:.0} ms, most {most:.0} ms of {n}"),
            _ => {
                let p99 = at(0.99);
                format!("median {median:.0} ms, p99 {p99:.0} ms, most {most:.0} ms of {n}")
            }
        }
    }
}

fn row(figure: &str, demand: &str, reached: &str) {
    println!("| {figure} | {demand} | {reached} |");
}

/// A stock agent comes and leaves.
fn stock_rows(stage: &Stage, balancer: &Balancer, rounds: usize) -> Result<()> {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut player = stage.serf_server(&format!("stock-{round}"), balancer)?;
        let begun = player.agent_started;
        joined.push(balancer.wait(&player.name, "serving", begun, PATIENCE)?);
        std::thread::sleep(Duration::from_millis(700 + 37 * (round as u64 % 20)));
        let begun = player.signal_agent("INT")?;
        left.push(balancer.wait(&player.name, "leave", begun, PATIENCE)?);
        player.wait_agent();
    }
    row(
        "stock agent: start of its process to in rotation, its own start included",
        "median <= 15 ms, p99 <= 60 ms",
        &Times::of(joined).show(),
    );
    row(
        "stock agent: SIGINT to no new requests",
        "median <= 200 ms, p99 <= 700 ms",
        &Times::of(left).show(),
    );
    Ok(())
}

/// Roundel's own agent comes and leaves.
fn agent_rows(stage: &Stage, balancer: &Balancer, rounds: usize) -> Result<()> {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut player = stage.roundel_server(&format!("own-{round}"), balancer)?;
        let begun = player.agent_started;
        joined.push(balancer.wait(&player.name, "serving", begun, PATIENCE)?);
        std::thread::sleep(Duration::from_millis(700 + 37 * (round as u64 % 20)));
        let begun = player.signal_agent("TERM")?;
        left.push(balancer.wait(&player.name, "leave", begun, PATIENCE)?);
        player.wait_agent();
    }
    row(
        "Roundel's agent: start of its process to in rotation",
        "median <= 15 ms, p99 <= 60 ms",
        &Times::of(joined).show(),
    );
    row(
        "Roundel's agent: SIGTERM to no new requests",
        "p99 <= 20 ms",
        &Times::of(left).show(),
    );
    Ok(())
}

/// Agent and app of one server are killed; with `rate` under so many requests a second.
fn kill_row(stage: &Stage, balancer: &Balancer, rounds: usize, rate: Option<f64>) -> Result<()> {
    let mut out = Vec::new();
    let mut failed = 0;
    for round in 0..rounds {
        let kind = if rate.is_some() { "busy" } else { "still" };
        let mut player = stage.serf_server(&format!("{kind}-{round}"), balancer)?;
        let begun = player.agent_started;
        balancer.wait(&player.name, "serving", begun, PATIENCE)?;
        std::thread::sleep(Duration::from_millis(1200 + 53 * (round as u64 % 20)));
        let load = rate.map(|rate| balancer.load(rate));
        if load.is_some() {
            std::thread::sleep(Duration::from_millis(300));
        }
        let begun = player.kill()?;
        out.push(balancer.wait_out(&player.name, begun, PATIENCE)?);
        failed += load.map_or(0, cast::Load::end);
    }
    let times = Times::of(out).show();
    match rate {
        None => row(
            "SIGKILL of agent and app to out of rotation, idle",
            "p99 <= 800 ms",
            &times,
        ),
        Some(rate) => row(
            &format!("the same under {rate:.0} GET/s"),
            "<= 50 ms, no request lost",
            &format!("{times}; {failed} requests failed"),
        ),
    }
    Ok(())
}

/// Every packet to and from one server's address is dropped, as when its host loses power.
fn silent_row(stage: &Stage, balancer: &Balancer, rounds: usize, rate: f64) -> Result<()> {
    let figure =
        format!("a server's address falls silent under {rate:.0} GET/s, to out of rotation");
    let demand = "<= 250 ms";
    if let Some(why) = Drops::missing() {
        row(&figure, demand, &format!("not measured: {why}"));
        return Ok(());
    }
    let mut out = Vec::new();
    let mut failed = 0;
    for round in 0..rounds {
        let player = stage.serf_server(&format!("silent-{round}"), balancer)?;
        let begun = player.agent_started;
        balancer.wait(&player.name, "serving", begun, PATIENCE)?;
        std::thread::sleep(Duration::from_millis(1200 + 53 * (round as u64 % 20)));
        let load = balancer.load(rate);
        std::thread::sleep(Duration::from_millis(500));
        let (drops, begun) = Drops::begin(player.ip)?;
        let reached = balancer.wait_out(&player.name, begun, PATIENCE);
        failed += load.end();
        drop(drops);
        out.push(reached?);
    }
    let times = Times::of(out).show();
    row(
        &figure,
        demand,
        &format!("{times}; {failed} requests failed"),
    );
    Ok(())
}
