//! Random sequences of orders: the same servers serve behind HAProxy and behind Roundel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use roundel_testkit::{poll, wait_for};

use super::servers::App;
use super::stage::{Side, Stage, WEIGHT};
use crate::balancer::SOON;
use crate::turns::alone;

/// So many sequences run where `ROUNDEL_SEQUENCES` does not say another number; 200 are the
/// whole.
const SEQUENCES: u64 = 16;
const STEPS: usize = 10;

/// What has been ordered for one server.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: &'static str,
    weight: u32,
    initial: u32,
}

/// One step.
#[derive(Debug, Clone)]
enum Step {
    State(String, &'static str),
    Weight(String, &'static str),
    Add(String),
    Del(String),
    Stop(String),
    Start(String),
}

/// Who ought to serve: what HAProxy is asked for as well, so that the model is HAProxy's.
struct Model {
    apps: BTreeMap<String, App>,
    known: BTreeMap<String, Known>,
}

impl Model {
    fn new() -> Self {
        let apps = ["s1", "s2", "s3", "x1", "x2"].map(|name| (name.to_owned(), App::start(name)));
        let known = ["s1", "s2", "s3"].map(|name| {
            let known = Known {
                state: "ready",
                weight: WEIGHT,
                initial: WEIGHT,
            };
            (name.to_owned(), known)
        });
        Self {
            apps: apps.into(),
            known: known.into(),
        }
    }

    fn configured(self) -> (Self, Option<Stage>) {
        let Self { mut apps, known } = self;
        let added: Vec<App> = ["x1", "x2"].map(|name| apps.remove(name).unwrap()).into();
        let own: Vec<App> = apps.into_values().collect();
        let stage = Stage::new(&own);
        let all = own.into_iter().chain(added);
        let apps = all.map(|app| (app.name.clone(), app)).collect();
        (Self { apps, known }, stage)
    }

    fn round(&self) -> u32 {
        self.known.values().map(|k| k.weight).sum()
    }

    fn of(&self, takes: impl Fn(&Known) -> bool) -> BTreeSet<String> {
        let up = |name: &str| self.apps[name].is_up();
        let known = self.known.iter();
        let serving = known.filter(|(name, known)| up(name) && takes(known));
        serving.map(|(name, _)| name.clone()).collect()
    }

    fn serving(&self) -> BTreeSet<String> {
        self.of(|k| k.state == "ready" && k.weight > 0)
    }

    fn sticky(&self) -> BTreeSet<String> {
        // HAProxy gives no cookie to servers that were added.
        let all = self.of(|k| k.state != "maint");
        all.into_iter()
            .filter(|name| name.starts_with('s'))
            .collect()
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> Step {
        let names: Vec<&String> = self.known.keys().collect();
        let any = names[rng.usize(..names.len())].clone();
        let added = |name: &str| self.known.contains_key(name);
        match rng.u8(..12) {
            0..=3 => Step::State(any, ["ready", "ready", "drain", "maint"][rng.usize(..4)]),
            4..=7 => Step::Weight(
                any,
                ["0", "1", "3", "0%", "50%", "100%", "150%"][rng.usize(..7)],
            ),
            8 | 9 => match ["x1", "x2"].iter().find(|name| !added(name)) {
                Some(name) => Step::Add((*name).to_owned()),
                None => Step::Del("x1".to_owned()),
            },
            10 => match ["x1", "x2"].iter().find(|name| added(name)) {
                Some(name) => Step::Del((*name).to_owned()),
                None => Step::Stop(any),
            },
            _ if self.apps[&any].is_up() => Step::Stop(any),
            _ => Step::Start(any),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::State(name, state) => self.known.get_mut(name).unwrap().state = state,
            Step::Weight(name, text) => {
                let known = self.known.get_mut(name).unwrap();
                known.weight = match text.strip_suffix('%') {
                    Some(percent) => known.initial * percent.parse::<u32>().unwrap() / 100,
                    None => text.parse().unwrap(),
                };
            }
            Step::Add(name) => {
                let known = Known {
                    state: "ready",
                    weight: 4,
                    initial: 4,
                };
                self.known.insert(name.clone(), known);
            }
            Step::Del(name) => drop(self.known.remove(name)),
            Step::Stop(name) => self.apps.get_mut(name).unwrap().down(),
            Step::Start(name) => self.apps.get_mut(name).unwrap().up(),
        }
    }
}

fn play(side: &Side, step: &Step, apps: &BTreeMap<String, App>) {
    let quiet = |line: String| {
        let answer = side.say(&line);
        assert_eq!(answer, "\n", "{}: {line}", side.name);
    };
    match step {
        Step::State(name, state) => quiet(format!("set server b/{name} state {state}")),
        Step::Weight(name, weight) => quiet(format!("set weight b/{name} {weight}")),
        Step::Add(name) => {
            let line = format!(
                "add server b/{name} {} check inter 100ms fall 2 rise 2 weight 4",
                apps[name].address
            );
            let answer = side.say(&line);
            assert_eq!(
                answer, "New server registered.\n\n",
                "{}: {line}",
                side.name
            );
            quiet(format!("enable health b/{name}"));
            quiet(format!("enable server b/{name}"));
        }
        Step::Del(name) => {
            quiet(format!("disable server b/{name}"));
            let line = format!("del server b/{name}");
            // HAProxy waits for the last connection.
            wait_for(&format!("{}: {line}", side.name), SOON, || {
                (side.say(&line) == "Server deleted.\n").then_some(())
            });
        }
        Step::Stop(_) | Step::Start(_) => {}
    }
}

fn run(seed: u64) -> bool {
    println!("seed {seed}");
    let (mut model, stage) = Model::new().configured();
    let Some(stage) = stage else { return false };
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        let step = model.draw(&mut rng);
        steps.push(step.clone());
        model.take(&step);
        let (new, sticky) = (model.serving(), model.sticky());
        for side in &stage.sides {
            play(side, &step, &model.apps);
        }
        for side in &stage.sides {
            let mut last = Default::default();
            let settled = poll(SOON, || {
                last = (side.serving(model.round()), side.serving_sticky("s"));
                (last.0 == new && last.1 == sticky).then_some(())
            });
            assert!(
                settled.is_some(),
                "seed {seed}, {}: {last:?}, not {new:?} and {sticky:?} after {steps:?}\n{}",
                side.name,
                side.say("show servers state")
            );
        }
    }
    true
}

/// Plays as many sequences as are asked for, seeds from 1 on, until one says that it cannot.
pub(super) fn play_all(run: impl Fn(u64) -> bool + Sync) {
    let number = std::env::var("ROUNDEL_SEQUENCES").ok();
    let number: u64 = number.map_or(SEQUENCES, |text| text.parse().unwrap());
    let _turn = alone();
    // Most of a sequence is waiting for checks, so several play at a time.
    let next = AtomicU64::new(1);
    let play = || {
        loop {
            let seed = next.fetch_add(1, SeqCst);
            if seed > number || !run(seed) {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(play)));
    });
}

#[test]
fn the_same_servers_serve_after_every_order() {
    play_all(run);
}
