//! The rules of who serves, on virtual time.

mod birth;
mod checks;
mod evidence;
mod gossip;
mod leaving;
mod newcomers;
mod orders;
mod outliers;
mod proof;
mod publishing;
mod relief;
mod silence;

use std::time::{Duration, Instant};

use roundel_model::{AdminState, BackendSet, Generation, Name, Presence, Server, ServerState};
use roundel_model::{SourceKind, Weight, WeightOrder};

use super::*;
use crate::{BackendConfig, CheckKind, CheckReport, CheckStatus, Policy, StickyKey, StickyVerdict};
use crate::{OutlierSpec, Pick, PickContext, View};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A director on virtual time, with servers that answer checks as told.
struct Bench {
    director: Director,
    now: Instant,
    set: Vec<Server>,
    /// What a check of each server finds; absent ones pass.
    verdicts: std::collections::BTreeMap<Name, CheckStatus>,
    /// Servers whose checks stay without a result, and those checks.
    silent_checks: Vec<u8>,
    unanswered: Vec<StartCheck>,
    events: Vec<DirectorEvent>,
    checks: Vec<(Instant, Name)>,
    view: View,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn server(n: u8) -> Server {
    Server {
        name: name(&format!("s{n}")),
        address: ([10, 0, 0, n], 3000).into(),
        weight: Weight::ONE,
        backup: false,
        source: SourceKind::Gossip,
        presence: Presence::Present,
    }
}

fn off() -> DirectorConfig {
    DirectorConfig {
        check: CheckSpec {
            kind: CheckKind::Off,
            ..CheckSpec::default()
        },
        outlier: OutlierSpec::OFF,
        ..DirectorConfig::default()
    }
}

impl Bench {
    fn new(servers: u8, config: DirectorConfig) -> Self {
        let backend = BackendConfig {
            name: name("nodes"),
            policy: Policy::RoundRobin,
            sticky_key: StickyKey::default(),
        };
        let balancer = Balancer::new(backend, 1);
        let mut bench = Self {
            view: View::new(Arc::clone(&balancer)),
            director: Director::new(balancer, config, 7),
            now: Instant::now(),
            set: (1..=servers).map(server).collect(),
            verdicts: Default::default(),
            silent_checks: Vec::new(),
            unanswered: Vec::new(),
            events: Vec::new(),
            checks: Vec::new(),
        };
        bench.apply();
        bench
    }

    /// A bench whose servers all serve.
    fn serving(servers: u8) -> Self {
        let mut bench = Self::new(servers, DirectorConfig::default());
        bench.run(MS);
        assert!(bench.states().iter().all(|s| *s == ServerState::Up));
        bench.events.clear();
        bench
    }

    fn apply(&mut self) {
        let set = BackendSet {
            backend: name("nodes"),
            generation: Generation::default(),
            servers: self.set.clone(),
        };
        self.director.handle_set(self.now, &set);
        self.drain();
    }

    fn presence(&mut self, n: u8, presence: Presence) {
        let server = self.set.iter_mut().find(|s| s.name == server(n).name);
        server.unwrap().presence = presence;
        self.apply();
    }

    fn vanish(&mut self, n: u8) {
        self.set.retain(|s| s.name != server(n).name);
        self.apply();
    }

    /// Answers every check that is asked for after 1 ms of virtual time.
    fn drain(&mut self) {
        let mut due = Vec::new();
        while let Some(output) = self.director.poll_output() {
            match output {
                DirectorOutput::Event(event) => self.events.push(event),
                DirectorOutput::StartCheck(start) => {
                    self.checks.push((self.now, start.server.clone()));
                    due.push(start);
                }
            }
        }
        for start in due {
            if self
                .silent_checks
                .iter()
                .any(|n| start.server == server(*n).name)
            {
                self.unanswered.push(start);
                continue;
            }
            let status = self.verdicts.get(&start.server).copied();
            let status = status.unwrap_or(CheckStatus::L7Ok);
            self.director
                .handle_check(self.now + MS, start.ticket, report(status));
            self.drain();
        }
    }

    /// Lets the checks pass that had no result so far.
    fn finish_checks(&mut self) {
        for start in std::mem::take(&mut self.unanswered) {
            let report = report(CheckStatus::L7Ok);
            self.director.handle_check(self.now, start.ticket, report);
        }
        self.drain();
    }

    /// Lets time pass.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.director.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.director.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn states(&self) -> Vec<ServerState> {
        let statuses = self.director.servers(self.now);
        statuses.iter().map(|s| s.state).collect()
    }

    fn status(&self, n: u8) -> ServerStatus {
        let wanted = server(n).name;
        let statuses = self.director.servers(self.now);
        statuses.into_iter().find(|s| s.name == wanted).unwrap()
    }

    fn state(&self, n: u8) -> ServerState {
        self.status(n).state
    }

    fn pick(&mut self) -> Pick {
        let context = PickContext {
            tried: &[],
            worker: 0,
            now: self.now,
            hash: None,
        };
        let mut rng = fastrand::Rng::with_seed(1);
        self.view.current().pick(&context, &mut rng).unwrap()
    }

    /// The servers of the next `n` picks, by the last part of their address.
    fn round(&mut self, n: usize) -> Vec<u8> {
        let octet = |pick: Pick| match pick.address().ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => unreachable!("the bench has IPv4 servers"),
        };
        (0..n).map(|_| octet(self.pick())).collect()
    }

    fn evidence(&mut self, n: u8, kind: EvidenceKind) {
        let status = self.status(n);
        let evidence = Evidence {
            backend: name("nodes"),
            server: status.live.id,
            address: status.address,
            kind,
        };
        self.director.handle_evidence(self.now, &evidence);
        self.drain();
    }

    fn command(&mut self, n: u8, act: ServerAct) -> Result<(), CommandError> {
        let command = ServerCommand {
            server: server(n).name,
            act,
        };
        let done = self.director.handle_command(self.now, &command);
        self.drain();
        done
    }

    fn kept(&self) -> Vec<String> {
        let kept = self.director.kept_orders();
        kept.map(|(name, orders)| format!("{name}: {orders}"))
            .collect()
    }

    fn told(&self, kind: EventKind) -> Vec<&str> {
        let of_kind = self.events.iter().filter(|e| e.kind == kind);
        of_kind.map(|e| e.text.as_str()).collect()
    }

    fn sticky(&mut self, cookie: &str) -> StickyVerdict {
        self.view.current().sticky(cookie.as_bytes())
    }
}

fn report(status: CheckStatus) -> CheckReport {
    CheckReport {
        status,
        http_code: (status == CheckStatus::L7Ok).then_some(200),
        duration: MS,
        description: Arc::from(match status {
            CheckStatus::L4Con => "Connection refused",
            _ => "",
        }),
    }
}
