//! Servers that answer nothing.

use super::*;
use crate::{OutlierSpec, ServerLive};

/// Servers under a load that all but those of `silent` answer at once: 60 requests a second each.
struct Loaded {
    bench: Bench,
    silent: Vec<u8>,
    waiting: Vec<Pick>,
    lives: Vec<Arc<ServerLive>>,
}

impl Loaded {
    fn new(bench: Bench, servers: u8) -> Self {
        let lives = (1..=servers).map(|n| bench.status(n).live).collect();
        Self {
            bench,
            silent: Vec::new(),
            waiting: Vec::new(),
            lives,
        }
    }

    fn run(&mut self, span: Duration) {
        for _ in 0..span.as_millis() / 16 {
            for n in 1..=u8::try_from(self.lives.len()).unwrap() {
                self.request(n);
            }
            self.bench.run(16 * MS);
        }
    }

    fn request(&mut self, n: u8) {
        let state = self.bench.state(n);
        if !state.takes_new() {
            return;
        }
        let counters = &self.lives[usize::from(n) - 1].workers[0];
        counters.requests.add(1);
        match self.silent.contains(&n) {
            true => self.waiting.push(self.bench.pick_of(n)),
            false => counters.answered.add(1),
        }
    }

    /// All that waits is answered.
    fn answer(&mut self) {
        for pick in self.waiting.drain(..) {
            pick.counters().answered.add(1);
        }
    }
}

impl Bench {
    fn pick_of(&mut self, n: u8) -> Pick {
        let wanted = self.status(n).live.id;
        let turns = std::iter::repeat_with(|| self.pick());
        turns.take(16).find(|pick| pick.id() == wanted).unwrap()
    }
}

#[test]
fn a_paused_server_is_down_before_many_wait_for_it() {
    let mut loaded = Loaded::new(Bench::serving(4), 4);
    loaded.run(SECOND);
    loaded.silent = vec![2];
    loaded.bench.silent_checks.push(2);
    loaded.run(500 * MS);
    let status = loaded.bench.status(2);
    assert_eq!(status.state, ServerState::Down);
    assert!(
        status.reason.contains("requests without an answer for"),
        "{}",
        status.reason
    );
    assert!(status.live.is_silent());
    assert!(loaded.waiting.len() <= 30, "{}", loaded.waiting.len());
    assert!(loaded.bench.director.balancer().silences() == 1);
    loaded.silent.clear();
    loaded.answer();
    loaded.bench.silent_checks.clear();
    loaded.bench.finish_checks();
    assert_eq!(
        loaded.bench.state(2),
        ServerState::Up,
        "one pass tells that it answers"
    );
    assert!(!loaded.lives[1].is_silent());
}

#[test]
fn silent_but_checked_well_is_left_alone() {
    let mut loaded = Loaded::new(Bench::serving(3), 3);
    loaded.run(SECOND);
    loaded.silent = vec![1];
    loaded.run(3 * SECOND);
    assert_eq!(loaded.bench.state(1), ServerState::Up);
}

#[test]
fn silence_of_all_speaks_against_none() {
    let mut loaded = Loaded::new(Bench::serving(3), 3);
    loaded.run(SECOND);
    loaded.silent = vec![1, 2, 3];
    loaded.bench.silent_checks = vec![1, 2, 3];
    loaded.run(SECOND);
    assert_eq!(loaded.bench.states(), [ServerState::Up; 3]);
}

#[test]
fn a_server_that_is_always_slow_is_known_to_be() {
    let mut loaded = Loaded::new(Bench::serving(3), 3);
    loaded.silent = vec![1];
    for _ in 0..8 {
        loaded.run(2 * SECOND);
        loaded.answer();
    }
    loaded.bench.silent_checks.push(1);
    loaded.run(500 * MS);
    assert_eq!(loaded.bench.state(1), ServerState::Up);
}

#[test]
fn without_checks_long_silence_puts_it_out() {
    let config = DirectorConfig {
        outlier: OutlierSpec::default(),
        ..off()
    };
    let mut loaded = Loaded::new(Bench::new(3, config), 3);
    loaded.run(SECOND);
    loaded.silent = vec![1];
    loaded.run(800 * MS);
    assert_eq!(loaded.bench.state(1), ServerState::Up);
    loaded.run(500 * MS);
    assert_eq!(loaded.bench.state(1), ServerState::Ejected);
    assert!(loaded.lives[0].is_silent());
    loaded.silent.clear();
    loaded.run(11 * SECOND);
    assert_eq!(loaded.bench.state(1), ServerState::Up);
    assert!(!loaded.lives[0].is_silent());
}

#[test]
fn one_pass_is_enough_where_nobody_serves() {
    let mut bench = Bench::serving(1);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(10 * SECOND);
    assert_eq!(bench.state(1), ServerState::Down);
    bench.verdicts.clear();
    bench.run(280 * MS);
    assert_eq!(bench.state(1), ServerState::Up);
}
