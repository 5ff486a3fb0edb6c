//! Stock Serf agents as users run them: a host each, on their default bind, while their number
//! changes and the balancer is killed, started again and renewed.

use std::process::Command;

use roundel_testkit::{Host, Lan, Process, Signal, external, get, wait_for};

use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::alone;

/// How many agents there are at most, and while it is quiet.
const MANY: usize = 6;
const FEW: usize = 2;

/// An agent and the app beside it.
struct Stock {
    agent: Process,
    app: Process,
}

impl Stock {
    fn start(host: &Host, name: &str, seed: &str) -> Self {
        let toy = roundel(&["toy", "--listen", "0.0.0.0:3000", "--node-name", name]);
        let app = Process::spawn(&mut host.on(&toy));
        let at = (host.ip, 3000).into();
        wait_for("the app to answer", SOON, || get(at, "/healthz").ok());
        let mut agent = Command::new("serf");
        agent
            .args(["agent", &format!("-node={name}")])
            .args([&format!("-retry-join={seed}"), "-retry-interval=1s"])
            .args(["-tag", "role=backend"]);
        let agent = Process::spawn(&mut host.on(&agent));
        Self { agent, app }
    }

    fn check_log(&mut self) {
        let log = format!("{}", self.agent);
        assert!(!log.to_lowercase().contains("conflict"), "{log}");
        assert!(self.agent.try_exit().is_none(), "the agent ended: {log}");
    }

    fn leave(mut self) {
        self.check_log();
        self.agent.signal(Signal::INT);
        self.agent.wait_exit(SOON);
        self.app.kill();
    }
}

/// A balancer with nothing but defaults, which may join by a member that stays.
fn serve(host: &Host, seed: &Host) -> Balancer {
    let mut command = roundel(&["serve", "--node-name", "lb", "--cli-listen", "off"]);
    command.args(["--join", &seed.ip.to_string()]);
    let at = |port| (host.ip, port).into();
    let balancer = Balancer {
        process: Process::spawn(&mut host.on(&command)),
        front: at(80),
        stats: at(1936),
        gossip: at(7946),
    };
    balancer.ready()
}

#[test]
fn stock_agents_on_their_default_bind_stay_through_scaling_and_renewals() {
    if external("serf", "serf").is_none() {
        return;
    }
    let _turn = alone();
    let Some(lan) = Lan::new(MANY as u8 + 1) else {
        return;
    };
    let (host, others) = lan.hosts().split_first().unwrap();
    let seed = host.ip.to_string();
    let mut balancer = serve(host, &others[0]);
    let start = |number: usize| Stock::start(&others[number], &format!("s{number}"), &seed);
    let mut stocks: Vec<Stock> = (0..MANY).map(start).collect();
    balancer.wait_up(MANY, SOON);

    stocks.drain(FEW..).for_each(Stock::leave);
    balancer.wait_up(FEW, SOON);
    stocks.extend((FEW..MANY).map(start));
    balancer.wait_up(MANY, SOON);

    balancer.process.kill();
    let balancer = serve(host, &others[0]);
    balancer.wait_up(MANY, SOON);

    let before = balancer.snapshot()["process"]["pid"].clone();
    balancer.process.signal(Signal::USR2);
    wait_for("the successor", SOON, || {
        let now = get(balancer.stats, "/api/v1/snapshot").ok()?;
        let now: serde_json::Value = serde_json::from_slice(&now.body).ok()?;
        (now["process"]["pid"] != before).then_some(())
    });
    balancer.wait_up(MANY, SOON);
    assert_eq!(balancer.get("/").status, 200);
    for stock in &mut stocks {
        stock.check_log();
    }
}
