//! Random sequences of orders with reloads and renewals between them. HAProxy forgets its orders
//! then; Roundel keeps them, so it plays alone and is compared with a model.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use roundel_testkit::{Signal, get, poll, send_signal, wait_for, wait_gone};
use serde_json::Value;

use super::sequences::play_all;
use super::servers::App;
use super::stage::{Side, WEIGHT, start_roundel};
use crate::balancer::SOON;

const STEPS: usize = 12;

/// A server as the model has it.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    /// The weight that the file or `add server` gives.
    given: u32,
    /// The weight ordered: a number, or a percentage of what is given.
    ordered: Option<&'static str>,
    state: &'static str,
    /// In the file, or added and not deleted.
    is_there: bool,
}

impl Known {
    fn new(given: u32) -> Self {
        Self {
            given,
            ordered: None,
            state: "ready",
            is_there: true,
        }
    }

    fn weight(&self) -> u32 {
        let Some(text) = self.ordered else {
            return self.given;
        };
        match text.strip_suffix('%') {
            Some(percent) => self.given * percent.parse::<u32>().unwrap() / 100,
            None => text.parse().unwrap(),
        }
    }
}

/// One step. Names are those of servers: `s…` of the file, `x…` added.
#[derive(Debug, Clone)]
enum Step {
    State(String, &'static str),
    Weight(String, &'static str),
    Add(String),
    Del(String),
    Stop(String),
    Start(String),
    /// The file leaves a server out, or has it again with this weight, and is read again.
    Reload(String, Option<u32>),
    /// Another process takes over.
    Renew,
}

/// Who ought to serve.
struct Model(BTreeMap<String, Known>);

impl Model {
    fn new() -> Self {
        let known = ["s1", "s2", "s3"].map(|name| (name.to_owned(), Known::new(WEIGHT)));
        Self(known.into())
    }

    fn is_there(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|known| known.is_there)
    }

    fn draw(&self, rng: &mut fastrand::Rng, apps: &Apps) -> Step {
        let there: Vec<&String> = self.0.keys().filter(|name| self.is_there(name)).collect();
        let own = ["s1", "s2", "s3"][rng.usize(..3)].to_owned();
        let added = ["x1", "x2"][rng.usize(..2)].to_owned();
        let any = there[rng.usize(..there.len())].clone();
        match rng.u8(..16) {
            0..=3 => Step::State(any, ["ready", "ready", "drain", "maint"][rng.usize(..4)]),
            4..=6 => Step::Weight(
                any,
                ["0", "1", "3", "0%", "50%", "100%", "150%"][rng.usize(..7)],
            ),
            7 | 8 if self.is_there(&added) => Step::Del(added),
            7 | 8 => Step::Add(added),
            9 | 10 if apps.is_up(&any) => Step::Stop(any),
            9 | 10 => Step::Start(any),
            // A backend without any source is refused.
            11 | 12 if own != "s1" && self.is_there(&own) && rng.bool() => Step::Reload(own, None),
            11 | 12 => Step::Reload(own, Some([2, 4][rng.usize(..2)])),
            _ => Step::Renew,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::State(name, state) => self.0.get_mut(name).unwrap().state = state,
            Step::Weight(name, text) => {
                self.0.get_mut(name).unwrap().ordered = Some(*text).filter(|text| *text != "100%");
            }
            Step::Add(name) => drop(self.0.insert(name.clone(), Known::new(4))),
            Step::Del(name) => drop(self.0.remove(name)),
            Step::Reload(name, weight) => {
                let known = self.0.get_mut(name).unwrap();
                known.is_there = weight.is_some();
                known.given = weight.unwrap_or(known.given);
            }
            Step::Stop(_) | Step::Start(_) | Step::Renew => {}
        }
    }

    fn of(&self, apps: &Apps, takes: impl Fn(&Known) -> bool) -> BTreeSet<String> {
        let serves = |name: &str, known: &Known| known.is_there && apps.is_up(name) && takes(known);
        let known = self.0.iter().filter(|(name, known)| serves(name, known));
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Who takes new clients, and who those that it has.
    fn serving(&self, apps: &Apps) -> [BTreeSet<String>; 2] {
        [
            self.of(apps, |k| k.state == "ready" && k.weight() > 0),
            self.of(apps, |k| k.state != "maint"),
        ]
    }

    fn round(&self) -> u32 {
        let there = self.0.values().filter(|known| known.is_there);
        there.map(Known::weight).sum()
    }
}

struct Apps(BTreeMap<String, App>);

impl Apps {
    fn is_up(&self, name: &str) -> bool {
        self.0[name].is_up()
    }
}

/// Roundel, whichever process it is by now.
struct Running {
    side: Side,
    file: PathBuf,
    stats: SocketAddr,
    pid: u32,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        send_signal(self.pid, Signal::KILL);
    }
}

impl Running {
    fn start(apps: &[App]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roundel.toml");
        let side = start_roundel(apps, &file, folder.path().join("roundel.sock"));
        Self {
            pid: side.process.id(),
            stats: side.stats.unwrap(),
            side,
            file,
            _folder: folder,
        }
    }

    fn snapshot(&self) -> Option<Value> {
        serde_json::from_str(&get(self.stats, "/api/v1/snapshot").ok()?.text()).ok()
    }

    fn quiet(&self, line: &str) {
        assert_eq!(self.side.say(line), "\n", "{line}");
    }

    fn play(&mut self, step: &Step, model: &Model, apps: &mut Apps) {
        match step {
            Step::State(name, state) => self.quiet(&format!("set server b/{name} state {state}")),
            Step::Weight(name, weight) => self.quiet(&format!("set weight b/{name} {weight}")),
            Step::Add(name) => self.add(name, apps.0[name].address),
            Step::Del(name) => {
                self.quiet(&format!("disable server b/{name}"));
                let told = self.side.say(&format!("del server b/{name}"));
                assert_eq!(told, "Server deleted.\n");
            }
            Step::Stop(name) => apps.0.get_mut(name).unwrap().down(),
            Step::Start(name) => apps.0.get_mut(name).unwrap().up(),
            Step::Reload(..) => self.reload(model, apps),
            Step::Renew => self.renew(),
        }
    }

    fn add(&self, name: &str, address: SocketAddr) {
        let line = format!("add server b/{name} {address} check weight 4");
        let told = self.side.say(&line);
        assert_eq!(told, "New server registered.\n\n", "{line}");
        self.quiet(&format!("enable health b/{name}"));
        self.quiet(&format!("enable server b/{name}"));
    }

    fn reload(&self, model: &Model, apps: &Apps) {
        let reloads = || {
            let snapshot = self.snapshot()?;
            assert_eq!(
                snapshot["config"]["reloads_failed_total"], 0,
                "{}",
                self.side.process
            );
            snapshot["config"]["reloads_ok_total"].as_u64()
        };
        let before = wait_for("the page", SOON, reloads);
        let own = model.0.iter().filter(|(name, _)| name.starts_with('s'));
        let there = own.filter(|(_, known)| known.is_there);
        let servers = there.map(|(name, known)| (&apps.0[name], known.given));
        self.side.configure(&self.file, servers);
        send_signal(self.pid, Signal::HUP);
        wait_for("the reload", SOON, || reloads().filter(|n| *n > before));
    }

    fn renew(&mut self) {
        send_signal(self.pid, Signal::USR2);
        let old = self.pid;
        self.pid = poll(SOON, || {
            let pid = self.snapshot()?["process"]["pid"].as_u64()?;
            u32::try_from(pid).ok().filter(|pid| *pid != old)
        })
        .unwrap_or_else(|| panic!("nobody took over from {old}: {}", self.side.process));
        wait_gone(old, SOON);
    }
}

fn run(seed: u64) -> bool {
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let own = ["s1", "s2", "s3"].map(App::start);
    let mut running = Running::start(&own);
    let added = ["x1", "x2"].map(App::start);
    let all = own.into_iter().chain(added);
    let mut apps = Apps(all.map(|app| (app.name.clone(), app)).collect());
    let mut model = Model::new();
    let mut steps = Vec::new();
    for number in 1..=STEPS {
        let step = model.draw(&mut rng, &apps);
        model.take(&step);
        steps.push(step.clone());
        running.play(&step, &model, &mut apps);
        // Some steps follow others before those have settled; not a loss, since a successor that
        // finds none where its parent knew of one does not take over.
        if number < STEPS && rng.u8(..3) == 0 && !matches!(step, Step::Stop(_)) {
            continue;
        }
        let right = model.serving(&apps);
        let mut last = Default::default();
        let settled = poll(SOON, || {
            let side = &running.side;
            last = [side.serving(model.round()), side.serving_sticky("")];
            (last == right).then_some(())
        });
        assert!(
            settled.is_some(),
            "seed {seed}: {last:?}, not {right:?} after {steps:?}\n{}\n{}",
            running.side.say("show servers state"),
            running.side.process
        );
    }
    let told = running.side.process.stderr();
    assert!(!told.contains("not all servers"), "seed {seed}: {told}");
    true
}

#[test]
fn orders_last_through_reloads_and_renewals_in_any_order() {
    play_all(run);
}
