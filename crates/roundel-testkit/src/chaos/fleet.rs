//! A proxy and its servers, and what is done to them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::load::OpenLoad;
use super::plan::{Act, Plan};
use super::report::{Mark, Report};
use super::server::{END, SERVER};
use crate::{Process, Signal, free_address, get, poll, wait_for};

/// Enough for a process to begin or to end, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(30);

/// A server as its proxy may be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub address: SocketAddr,
}

type Tell = dyn Fn(&[Member]);
type Reload = dyn FnMut(&Process);
type ServerCommand = dyn Fn(SocketAddr, &Path) -> Command;

/// A running proxy.
pub struct Proxy {
    /// What it is called in reports.
    pub name: String,
    /// The program; killed on drop.
    pub process: Process,
    /// Where it takes requests.
    pub front: SocketAddr,
    /// Tells it which servers there are from now on.
    pub tell: Box<Tell>,
    /// Makes it read its configuration again.
    pub reload: Box<Reload>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("name", &self.name).finish()
    }
}

struct Server {
    member: Member,
    log: PathBuf,
    process: Option<Process>,
    listed: bool,
}

/// A proxy with servers of its own.
pub struct Fleet {
    proxy: Proxy,
    servers: Vec<Server>,
    command: Box<ServerCommand>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxy.fmt(f)
    }
}

impl Fleet {
    /// Gives every server that a plan may have an address, lets `start` start the proxy for them.
    ///
    /// `command` must make a process that calls [`super::serve`] with that address and that file;
    /// the files go into `folder`.
    pub fn new(
        folder: &Path,
        command: impl Fn(SocketAddr, &Path) -> Command + 'static,
        start: impl FnOnce(&[Member]) -> Proxy,
    ) -> Self {
        let member = |i| Member {
            name: format!("s{i}"),
            address: free_address(),
        };
        let members: Vec<Member> = (1..=Plan::MOST).map(member).collect();
        let server = |member: &Member| Server {
            member: member.clone(),
            log: folder.join(format!("{}.log", member.name)),
            process: None,
            listed: false,
        };
        Self {
            servers: members.iter().map(server).collect(),
            proxy: start(&members),
            command: Box::new(command),
        }
    }

    /// The name of the proxy.
    pub fn name(&self) -> &str {
        &self.proxy.name
    }

    /// Plays a plan under a load of `rate` requests per second.
    ///
    /// Panics if a server does not begin, or the proxy ends or never serves from all servers that
    /// the plan starts with.
    pub fn run(&mut self, plan: &Plan, rate: u32, seed: u64) -> Report {
        self.set_up(plan.servers);
        let start = Instant::now();
        let load = OpenLoad::start(self.proxy.front, rate, seed, start);
        let mut marks = Vec::new();
        for (at, act) in &plan.acts {
            thread::sleep((start + *at).saturating_duration_since(Instant::now()));
            let began = start.elapsed();
            self.carry_out(*act);
            let ended = start.elapsed();
            marks.push(Mark {
                act: *act,
                began,
                ended,
            });
        }
        thread::sleep((start + plan.lasts).saturating_duration_since(Instant::now()));
        for server in &self.servers {
            if let Some(process) = &server.process {
                process.signal(Signal::CONT);
            }
        }
        let records = load.stop();
        let exit = self.proxy.process.try_exit();
        assert!(exit.is_none(), "it ended: {}", self.proxy.process);
        let logs = self.servers.iter().map(|s| s.log.as_path());
        Report::new(plan.servers, rate, &records, &marks, logs)
    }

    /// Brings so many servers up, takes the others away, and empties what they wrote down.
    fn set_up(&mut self, count: usize) {
        for server in &mut self.servers {
            server.process = None;
            server.listed = false;
            let _ = std::fs::remove_file(&server.log);
        }
        for i in 0..count {
            self.carry_out(Act::Start(i));
        }
        self.announce();
        let mut seen = BTreeSet::new();
        let Proxy { process, front, .. } = &mut self.proxy;
        wait_for("answers from all servers", SOON, || {
            assert!(process.try_exit().is_none(), "it ended: {process}");
            let answer = get(*front, "/").ok()?;
            seen.extend(answer.header(SERVER).map(String::from));
            (seen.len() == count).then_some(())
        });
    }

    fn carry_out(&mut self, act: Act) {
        match act {
            Act::Start(i) => {
                self.start(i);
                self.servers[i].listed = true;
                self.announce();
            }
            Act::Kill(i) => self.servers[i].process = None,
            Act::Restart(i) => {
                self.servers[i].process = None;
                self.start(i);
            }
            Act::Stop(i) => {
                self.servers[i].listed = false;
                self.announce();
                let server = &mut self.servers[i];
                let asked = get(server.member.address, END);
                if let Some(mut process) = server.process.take()
                    && asked.is_ok()
                {
                    poll(SOON, || process.try_exit());
                }
            }
            Act::Pause(i) => self.signal(i, Signal::STOP),
            Act::Resume(i) => self.signal(i, Signal::CONT),
            Act::Reload => (self.proxy.reload)(&self.proxy.process),
        }
    }

    fn signal(&self, i: usize, signal: Signal) {
        if let Some(process) = &self.servers[i].process {
            process.signal(signal);
        }
    }

    /// Starts the process and waits until it answers.
    fn start(&mut self, i: usize) {
        let server = &mut self.servers[i];
        let (address, command) = (server.member.address, &self.command);
        let process = Process::spawn(&mut command(address, &server.log));
        let up = poll(SOON, || get(address, "/").ok());
        assert!(up.is_some(), "a server does not begin: {process}");
        server.process = Some(process);
    }

    fn announce(&self) {
        let listed = self.servers.iter().filter(|s| s.listed);
        let members: Vec<Member> = listed.map(|s| s.member.clone()).collect();
        (self.proxy.tell)(&members);
    }
}
