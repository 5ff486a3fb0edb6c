//! Servers for a balancer: the toy alone, the toy behind our agent, the toy beside a Serf agent.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use roundel_testkit::{Process, Signal, free_port, get, loopback, wait_for};

use crate::balancer::{SOON, roundel};

/// The toy on a loopback address of its own.
#[derive(Debug)]
pub(crate) struct Toy {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Toy {
    /// Starts a toy that calls itself `name`, and waits until it answers.
    pub(crate) fn start(name: &str) -> Self {
        let ip = loopback();
        Self::start_at(name, (ip, free_port(ip)).into())
    }

    /// Starts a toy at this address, and waits until it answers.
    pub(crate) fn start_at(name: &str, address: SocketAddr) -> Self {
        let listen = address.to_string();
        let words = ["toy", "--listen", &listen, "--node-name", name];
        let process = Process::spawn(&mut roundel(&words));
        wait_for("the toy to answer", SOON, || get(address, "/healthz").ok());
        Self { process, address }
    }
}

/// `roundel agent -- roundel toy` on a loopback address of its own.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) process: Process,
    /// The toy's address.
    pub(crate) app: SocketAddr,
}

impl Agent {
    /// Starts an agent called `name` that joins `seed` and runs a toy.
    pub(crate) fn start(name: &str, seed: SocketAddr) -> Self {
        Self::with(name, seed, &[], None)
    }

    /// Starts an agent with further flags; `command` stands instead of the toy if given.
    pub(crate) fn with(
        name: &str,
        seed: SocketAddr,
        flags: &[&str],
        command: Option<&[&str]>,
    ) -> Self {
        let ip = loopback();
        let app = SocketAddr::from((ip, free_port(ip)));
        let gossip = SocketAddr::from((ip, free_port(ip)));
        let listen = app.to_string();
        let toy = [
            env!("CARGO_BIN_EXE_roundel"),
            "toy",
            "--listen",
            &listen,
            "--node-name",
            name,
        ];
        let mut agent = roundel(&["agent", "--node-name", name]);
        agent
            .args(["--gossip-listen", &gossip.to_string()])
            .args(["--join", &seed.to_string()])
            .args(["--port", &app.port().to_string()])
            .args(flags)
            .arg("--")
            .args(command.unwrap_or(&toy));
        Self {
            process: Process::spawn(&mut agent),
            app,
        }
    }

    /// Asks it to end in order; panics unless the toy ended by itself or by the signal that the
    /// agent passed on.
    pub(crate) fn stop(mut self) {
        self.process.signal(Signal::TERM);
        let code = self.process.wait_exit(SOON).code();
        assert!(matches!(code, Some(0 | 143)), "{code:?}\n{}", self.process);
    }
}

/// A real Serf agent and the toy that it stands for.
#[derive(Debug)]
pub(crate) struct SerfServer {
    pub(crate) serf: Process,
    pub(crate) toy: Toy,
    pub(crate) name: String,
    /// Where the Serf agent takes commands.
    pub(crate) rpc: SocketAddr,
}

impl SerfServer {
    /// Starts the agent for a toy that runs already.
    pub(crate) fn start(serf: &Path, name: &str, toy: Toy, seed: SocketAddr) -> Self {
        let SocketAddr::V4(at) = toy.address else {
            panic!("toys listen on IPv4");
        };
        let ip: Ipv4Addr = *at.ip();
        let gossip = SocketAddr::from((ip, free_port(ip)));
        let rpc = SocketAddr::from((ip, free_port(ip)));
        let mut command = Command::new(serf);
        command
            .arg("agent")
            .arg(format!("-node={name}"))
            .arg(format!("-bind={gossip}"))
            .arg(format!("-rpc-addr={rpc}"))
            .arg(format!("-join={seed}"))
            .args(["-tag", "role=backend"])
            .args(["-tag", &format!("port={}", toy.address.port())]);
        Self {
            serf: Process::spawn(&mut command),
            toy,
            name: name.to_string(),
            rpc,
        }
    }

    /// What `serf members` prints at this agent.
    pub(crate) fn members(&self, serf: &Path) -> String {
        self.command(serf, &["members"])
    }

    /// What a command of Serf's prints at this agent.
    pub(crate) fn command(&self, serf: &Path, words: &[&str]) -> String {
        let mut command = Command::new(serf);
        command.arg(words[0]);
        command.arg(format!("-rpc-addr={}", self.rpc));
        command.args(&words[1..]);
        let output = command.output().expect("serf runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
