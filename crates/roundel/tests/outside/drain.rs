//! The two-way drain: a server ends only after every balancer has said that it is done with it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use roundel_gossip_tokio::{DRAIN, DRAINS, DrainAnswer, DrainRequest, Handle, QueryParams};
use roundel_testkit::{
    Load, Origin, Process, Reply, Response, Reuse, Signal, external, free_address, free_port, get,
    poll, wait_for,
};

use crate::balancer::{Balancer, SOON, roundel};
use crate::renewal::begin_renewal;
use crate::servers::Agent;
use crate::turns::{alone, beside_others};

/// An app that says when it is told to end.
const APP: &str = "trap 'echo told-to-e\"\"nd; exit 0' TERM; while :; do sleep 0.02; done";

/// The app's port: `/slow` is answered when told to, everything else at once.
struct Gate {
    origin: Origin,
    open: Arc<(Mutex<bool>, Condvar)>,
    asked: Arc<AtomicBool>,
}

impl Gate {
    fn start() -> Self {
        let open = Arc::new((Mutex::new(false), Condvar::new()));
        let asked = Arc::new(AtomicBool::new(false));
        let (gate, seen) = (Arc::clone(&open), Arc::clone(&asked));
        let origin = Origin::start_on(free_address(), move |request| {
            if request.target == "/slow" {
                seen.store(true, Ordering::SeqCst);
                let guard = gate.0.lock().unwrap();
                drop(gate.1.wait_while(guard, |open| !*open).unwrap());
            }
            Reply::text("gate")
        });
        Self {
            origin,
            open,
            asked,
        }
    }

    fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }

    /// An agent for it, around a shell.
    fn agent(&self, name: &str, seed: SocketAddr, flags: &[&str]) -> Process {
        let at = self.origin.address();
        let gossip = format!("{}:0", at.ip());
        let mut agent = roundel(&["agent", "--node-name", name]);
        agent
            .args(["--gossip-listen", &gossip, "--join", &seed.to_string()])
            .args(["--port", &at.port().to_string()])
            .args(flags)
            .args(["--", "sh", "-c", APP]);
        Process::spawn(&mut agent)
    }

    /// Sends `/slow` through a balancer until one is under way here.
    fn slow_request(&self, balancer: &Balancer) -> JoinHandle<std::io::Result<Response>> {
        let front = balancer.front;
        let (mut client, asked) = (None, Arc::clone(&self.asked));
        wait_for("a slow request at the gate", SOON, || {
            client = Some(std::thread::spawn(move || get(front, "/slow")));
            poll(Duration::from_millis(200), || {
                asked.load(Ordering::SeqCst).then_some(())
            })
        });
        client.unwrap()
    }
}

fn wait_leaving(balancer: &Balancer, name: &str) {
    wait_for(&format!("{name} to be leaving"), SOON, || {
        let states = balancer.states();
        states
            .iter()
            .any(|(n, state)| n == name && state == "leaving")
            .then_some(())
    });
}

/// The app is told to end only now.
fn check_end(mut agent: Process) {
    agent.wait_line("told-to-end", SOON);
    assert_eq!(agent.wait_exit(SOON).code(), Some(0), "{agent}");
}

#[test]
fn a_slow_request_ends_before_its_app_does() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let gate = Gate::start();
    let agent = gate.agent("slow", balancer.gossip, &[]);
    let _other = Agent::start("other", balancer.gossip);
    balancer.wait_up(2, SOON);
    let client = gate.slow_request(&balancer);

    agent.signal(Signal::TERM);
    agent.wait_line("in_flight=1", SOON);
    wait_leaving(&balancer, "slow");
    for _ in 0..30 {
        let response = balancer.get("/");
        assert_eq!(response.status, 200);
        assert_ne!(response.text(), "gate", "a new request at a leaving server");
    }
    assert!(!agent.stdout().contains("told-to-end"), "{agent}");
    gate.open();
    assert_eq!(client.join().unwrap().unwrap().text(), "gate");
    check_end(agent);
    balancer.wait_member("slow", "left", SOON);
}

#[test]
fn each_of_two_balancers_has_to_be_done() {
    let _turn = beside_others();
    let one = Balancer::serve(&["--node-name", "lb-1"]);
    let two = Balancer::serve(&["--node-name", "lb-2", "--join", &one.gossip.to_string()]);
    let gate = Gate::start();
    let agent = gate.agent("slow", one.gossip, &[]);
    for balancer in [&one, &two] {
        balancer.wait_up(1, SOON);
    }
    let client = gate.slow_request(&two);
    agent.signal(Signal::TERM);
    agent.wait_line("in_flight=1", SOON);
    // The first is done at once, as its row is gone; the app goes on for the second.
    one.wait_up(0, SOON);
    assert_eq!(one.get("/").status, 503);
    assert!(!agent.stdout().contains("told-to-end"), "{agent}");
    gate.open();
    assert_eq!(client.join().unwrap().unwrap().text(), "gate");
    check_end(agent);
}

#[test]
fn a_balancer_that_dies_meanwhile_is_not_waited_for() {
    let _turn = beside_others();
    let one = Balancer::serve(&["--node-name", "lb-1"]);
    let mut two = Balancer::serve(&["--node-name", "lb-2", "--join", &one.gossip.to_string()]);
    let gate = Gate::start();
    // Its own limit never comes.
    let agent = gate.agent("slow", one.gossip, &["--drain-timeout", "10m"]);
    for balancer in [&one, &two] {
        balancer.wait_up(1, SOON);
    }
    let client = gate.slow_request(&two);
    agent.signal(Signal::TERM);
    agent.wait_line("in_flight=1", SOON);
    two.process.kill();
    assert!(client.join().unwrap().is_err());
    gate.open();
    check_end(agent);
    one.wait_member("slow", "left", SOON);
}

#[test]
fn a_process_that_was_renewed_is_waited_for() {
    let _turn = beside_others();
    let mut balancer = Balancer::serve(&["--node-name", "lb"]);
    let gate = Gate::start();
    let agent = gate.agent("slow", balancer.gossip, &["--drain-timeout", "10m"]);
    balancer.wait_up(1, SOON);
    let client = gate.slow_request(&balancer);
    let _successor = begin_renewal(&balancer);
    // The new process knows of no request, the old one does not hear the agent.
    agent.signal(Signal::TERM);
    agent.wait_line("in_flight=0", SOON);
    let asker = Asker::join("asker", balancer.gossip);
    asker.drain();
    balancer.wait_member("asker", "alive", SOON);
    balancer.wait_up(0, SOON);
    // Longer than the workers take to see the server gone.
    for _ in 0..20 {
        let said = asker.ask_as(asker.incarnation());
        assert!(said.is_none_or(|said| !said.drained), "{said:?}");
    }
    assert!(!agent.stdout().contains("told-to-end"), "{agent}");
    gate.open();
    assert_eq!(client.join().unwrap().unwrap().text(), "gate");
    assert_eq!(balancer.process.wait_exit(SOON).code(), Some(0));
    check_end(agent);
    wait_for("the asker to be drained", SOON, || {
        asker
            .ask_as(asker.incarnation())
            .filter(|said| said.drained)
    });
}

#[test]
fn the_deadline_ends_the_wait() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&[]);
    let gate = Gate::start();
    let agent = gate.agent("slow", balancer.gossip, &["--drain-timeout", "500ms"]);
    balancer.wait_up(1, SOON);
    let client = gate.slow_request(&balancer);
    agent.signal(Signal::TERM);
    agent.wait_line("not drained in time", SOON);
    check_end(agent);
    gate.open();
    let _ = client.join().unwrap();
}

#[test]
fn no_request_fails_while_servers_are_stopped_and_started() {
    let _turn = alone();
    let one = Balancer::serve(&["--node-name", "lb-1", "--access-log", "off"]);
    let seed = one.gossip.to_string();
    let flags = [
        "--node-name",
        "lb-2",
        "--access-log",
        "off",
        "--join",
        &seed,
    ];
    let two = Balancer::serve(&flags);
    let start = |name: &str| Agent::start(name, one.gossip);
    let mut agents: Vec<Agent> = ["s1", "s2", "s3"].iter().map(|name| start(name)).collect();
    for balancer in [&one, &two] {
        balancer.wait_up(3, SOON);
    }
    let loads: Vec<Load> = [&one, &two]
        .iter()
        .flat_map(|b| [Reuse::KeepAlive, Reuse::PerRequest].map(|r| Load::start(b.front, 4, r)))
        .collect();
    for round in 0..6 {
        loads.iter().for_each(|load| load.wait_more(50, SOON));
        // As `docker stop` and `docker run` do: another container, another name.
        agents.remove(0).stop();
        agents.push(start(&format!("n{round}")));
    }
    for balancer in [&one, &two] {
        balancer.wait_up(3, SOON);
    }
    loads.iter().for_each(|load| load.wait_more(50, SOON));
    for load in loads {
        load.stop().assert_clean();
    }
}

#[test]
fn a_stock_observer_sees_an_update_and_then_a_leave() {
    let _turn = beside_others();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    let balancer = Balancer::serve(&["--node-name", "lb"]);
    let at = free_address();
    let rpc = SocketAddr::from((at.ip(), free_port(roundel_testkit::loopback())));
    let mut observer = Command::new(&serf);
    observer
        .args(["agent", "-node=observer"])
        .args([format!("-bind={at}"), format!("-rpc-addr={rpc}")])
        .arg(format!("-join={}", balancer.gossip));
    let _observer = Process::spawn(&mut observer);
    let gate = Gate::start();
    let agent = gate.agent("app", balancer.gossip, &[]);
    balancer.wait_up(1, SOON);
    balancer.wait_member("observer", "alive", SOON);
    let line = || {
        let mut command = Command::new(&serf);
        command.args(["members", &format!("-rpc-addr={rpc}")]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("app "))?;
        Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    wait_for("the observer to see the app", SOON, || {
        line().filter(|line| line.contains(" alive ") && !line.contains("drain"))
    });
    let client = gate.slow_request(&balancer);
    agent.signal(Signal::TERM);
    wait_for("the observer to see the update", SOON, || {
        line().filter(|line| line.contains(" alive ") && line.contains("drain=1"))
    });
    gate.open();
    assert_eq!(client.join().unwrap().unwrap().text(), "gate");
    check_end(agent);
    wait_for("the observer to see the leave", SOON, || {
        line().filter(|line| line.contains(" left "))
    });
}

#[test]
fn a_balancer_without_the_handshake_gets_the_leave_first() {
    let _turn = beside_others();
    let Some(serf) = external("serf", "serf") else {
        return;
    };
    // Stands for what a stock agent feeds: it says that it is a balancer and answers no question.
    let at = free_address();
    let rpc = free_address();
    let mut stock = Command::new(serf);
    stock
        .args(["agent", "-node=old", "-tag", "role=balancer"])
        .args([format!("-bind={at}"), format!("-rpc-addr={rpc}")]);
    let stock = Process::spawn(&mut stock);
    let gate = Gate::start();
    let agent = gate.agent("app", at, &[]);
    stock.wait_line("EventMemberJoin: app", SOON);
    // A connection as a balancer has one holds the app, until it ends.
    let connection = std::net::TcpStream::connect(gate.origin.address()).unwrap();
    agent.signal(Signal::TERM);
    stock.wait_line("EventMemberLeave: app", SOON);
    assert!(!agent.stdout().contains("told-to-end"), "{agent}");
    drop(connection);
    check_end(agent);
}

/// A member of our own making that asks what a server asks.
struct Asker(Handle, tokio::runtime::Runtime);

impl Asker {
    fn join(name: &str, seed: SocketAddr) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let config = roundel_gossip_tokio::Config {
            name: name.to_owned(),
            listen: free_address(),
            join: vec![seed.to_string()],
            ..roundel_gossip_tokio::Config::default()
        };
        let handle = runtime.block_on(roundel_gossip_tokio::start(config));
        Self(handle.unwrap(), runtime)
    }

    fn ask(&self, payload: Vec<u8>) -> Option<DrainAnswer> {
        let params = QueryParams {
            name: DRAIN.to_owned(),
            payload,
            nodes: vec!["lb".to_owned()],
            timeout: Some(Duration::from_secs(1)),
            direct: true,
            ..QueryParams::default()
        };
        self.1.block_on(async {
            let mut answers = self.0.query(params).await.unwrap();
            let answer = answers.next().await?;
            Some(DrainAnswer::decode(&answer.payload?).unwrap())
        })
    }

    fn ask_as(&self, incarnation: u32) -> Option<DrainAnswer> {
        let request = DrainRequest {
            deadline: Duration::from_secs(8),
            incarnation,
        };
        self.ask(request.encode())
    }

    /// Takes the tag of a server that ends.
    fn drain(&self) {
        let tags = [(DRAINS.0.to_owned(), DRAINS.1.to_owned())];
        self.1.block_on(self.0.set_tags(tags.into())).unwrap();
    }

    fn incarnation(&self) -> u32 {
        let members = self.0.members().borrow().clone();
        let own = members.iter().find(|m| *m.name == *self.0.name());
        own.unwrap().incarnation
    }
}

#[test]
fn nothing_is_drained_that_does_not_say_so_itself() {
    let _turn = beside_others();
    let balancer = Balancer::serve(&["--node-name", "lb"]);
    let asker = Asker::join("asker", balancer.gossip);
    balancer.wait_member("asker", "alive", SOON);
    // A datagram may be lost, and an answer come too late: then it is asked again.
    let told = |incarnation| wait_for("an answer", SOON, || asker.ask_as(incarnation));
    let no = DrainAnswer::default();
    // It does not carry the tag.
    assert_eq!(told(asker.incarnation()), no);
    asker.drain();
    wait_for("the balancer to know", SOON, || {
        let yes = asker.ask_as(asker.incarnation())?;
        yes.drained.then_some(())
    });
    // Of a later life nothing is known yet.
    assert_eq!(told(asker.incarnation() + 1), no);
    // What cannot be read is not answered, and harms nobody.
    for payload in [vec![], b"drain".to_vec(), vec![0xdf; 200]] {
        assert_eq!(asker.ask(payload), None);
    }
    assert_eq!(balancer.get("/").status, 503);
    assert!(balancer.page("/metrics").contains("roundel_"));
}
