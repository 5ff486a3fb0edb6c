//! Real Serf agents (Debian package `serf`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use roundel_testkit::{Process, external, free_address, free_port};

/// Long enough on a busy machine, too; whatever comes earlier ends the wait.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A key of 32 bytes, as bytes and as the agent takes it.
pub(crate) const KEY: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";
pub(crate) const KEY_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=";

/// A running agent.
pub(crate) struct Agent {
    program: PathBuf,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    rpc: String,
    pub(crate) process: Process,
}

impl Agent {
    /// Starts an agent on an address of its own; nothing if there is no Serf here.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let program = external("serf", "serf")?;
        let address = free_address();
        let SocketAddr::V4(v4) = address else {
            unreachable!("loopback addresses are IPv4")
        };
        let mut rpc_port = free_port(*v4.ip());
        while rpc_port == address.port() {
            rpc_port = free_port(*v4.ip());
        }
        let rpc = format!("{}:{rpc_port}", v4.ip());
        let mut command = Command::new(&program);
        command
            .arg("agent")
            .args([format!("-node={name}"), format!("-bind={address}")])
            .args([format!("-rpc-addr={rpc}"), "-log-level=debug".to_owned()])
            .args(["-tag", "role=backend", "-tag", "port=3000"])
            .args(arguments);
        let process = Process::spawn(&mut command);
        process.wait_line("Serf agent starting", SOON);
        Some(Self {
            program,
            name: name.to_owned(),
            address,
            rpc,
            process,
        })
    }

    /// Runs a command against the agent and gives its standard output; nothing on failure.
    pub(crate) fn run(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new(&self.program)
            .arg(arguments[0])
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(&arguments[1..])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// Waits until `serf members` shows a line with all of `words`.
    pub(crate) fn wait_member(&self, words: &[&str]) {
        let found = roundel_testkit::poll(SOON, || {
            let members = self.run(&["members"]).unwrap_or_default();
            let line = members
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)))?;
            Some(line.to_owned())
        });
        let members = self.run(&["members"]);
        assert!(
            found.is_some(),
            "no {words:?} in {members:?}\n{}",
            self.process
        );
    }

    /// Starts a command against the agent that goes on, such as `monitor`.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(&self.program);
        command
            .arg(arguments[0])
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(&arguments[1..]);
        Process::spawn(&mut command)
    }
}
