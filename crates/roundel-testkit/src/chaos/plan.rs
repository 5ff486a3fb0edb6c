//! What happens to the servers, and when.

use std::time::Duration;

use crate::Dice;

/// Something that happens; servers by their number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The server's process begins; the proxy is told of it once it answers.
    Start(usize),
    /// The process is killed; nobody is told.
    Kill(usize),
    /// The process is killed and begins again at once; nobody is told.
    Restart(usize),
    /// The proxy is told that the server goes; then it ends in order.
    Stop(usize),
    /// The process is stopped where it is (SIGSTOP).
    Pause(usize),
    /// It goes on (SIGCONT).
    Resume(usize),
    /// The proxy reads its configuration again.
    Reload,
}

/// What happens from the start of a load on.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Servers that there are at the start.
    pub servers: usize,
    /// What happens, in order.
    pub acts: Vec<(Duration, Act)>,
    /// How long the load goes on.
    pub lasts: Duration,
}

/// A server as the plan sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Dead,
    Gone,
    Paused,
}

const SERVERS: usize = 4;
/// Servers that may be added to those of the start.
const MORE: usize = 2;
/// Servers that run at any time of a random plan.
const FEWEST: usize = 2;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Plan {
    /// The most servers that a plan has at any time.
    pub const MOST: usize = SERVERS + MORE;

    /// One of four servers is paused for six seconds.
    pub fn pause() -> Self {
        Self {
            servers: SERVERS,
            acts: vec![(ms(3_000), Act::Pause(1)), (ms(9_000), Act::Resume(1))],
            lasts: ms(12_000),
        }
    }

    /// Three reloads.
    pub fn reloads() -> Self {
        let at = [2_000, 4_000, 6_000];
        Self {
            servers: SERVERS,
            acts: at.map(|at| (ms(at), Act::Reload)).to_vec(),
            lasts: ms(8_000),
        }
    }

    /// All servers are killed and come back three seconds later.
    pub fn outage() -> Self {
        let kills = (0..SERVERS).map(|i| (ms(2_000), Act::Kill(i)));
        let starts = (0..SERVERS).map(|i| (ms(5_000), Act::Start(i)));
        Self {
            servers: SERVERS,
            acts: kills.chain(starts).collect(),
            lasts: ms(9_000),
        }
    }

    /// Kill, restart, flapping, adding.
    pub fn changes() -> Self {
        let mut acts = vec![
            (ms(2_000), Act::Kill(0)),
            (ms(4_000), Act::Start(0)),
            (ms(6_000), Act::Restart(1)),
        ];
        acts.extend((0..5).map(|i| (ms(8_000 + 400 * i), Act::Restart(2))));
        acts.extend([
            (ms(11_000), Act::Start(SERVERS)),
            (ms(12_000), Act::Start(SERVERS + 1)),
            (ms(14_000), Act::Stop(SERVERS)),
        ]);
        Self {
            servers: SERVERS,
            acts,
            lasts: ms(16_000),
        }
    }

    /// Something at random every one to three seconds; at least two servers always run.
    pub fn random(seed: u64, lasts: Duration) -> Self {
        let mut dice = Dice::new(seed);
        let mut states = [State::Runs; Self::MOST];
        states[SERVERS..].fill(State::Gone);
        let mut acts = Vec::new();
        let mut at = ms(1_500);
        while at + ms(2_000) < lasts {
            let act = random_act(&mut dice, &mut states);
            acts.extend(act.map(|act| (at, act)));
            at += ms(1_000 + dice.draw() % 2_000);
        }
        Self {
            servers: SERVERS,
            acts,
            lasts,
        }
    }
}

fn random_act(dice: &mut Dice, states: &mut [State]) -> Option<Act> {
    let i = dice.roll(states.len());
    let running = states.iter().filter(|s| **s == State::Runs).count();
    let (act, after) = match states[i] {
        State::Paused => (Act::Resume(i), State::Runs),
        State::Dead | State::Gone => (Act::Start(i), State::Runs),
        State::Runs if running <= FEWEST => return None,
        State::Runs => match dice.roll(5) {
            0 => (Act::Kill(i), State::Dead),
            1 => (Act::Stop(i), State::Gone),
            2 => (Act::Pause(i), State::Paused),
            _ => (Act::Restart(i), State::Runs),
        },
    };
    states[i] = after;
    Some(act)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_and_keeps_two_servers() {
        let long = Duration::from_secs(600);
        let plan = Plan::random(3, long);
        assert_eq!(plan.acts, Plan::random(3, long).acts);
        assert_ne!(plan.acts, Plan::random(4, long).acts);
        let mut running = [true; Plan::MOST];
        running[SERVERS..].fill(false);
        let mut kinds = [false; 6];
        for (_, act) in plan.acts {
            let (kind, i, runs) = match act {
                Act::Start(i) => (0, i, true),
                Act::Kill(i) => (1, i, false),
                Act::Restart(i) => (2, i, true),
                Act::Stop(i) => (3, i, false),
                Act::Pause(i) => (4, i, false),
                Act::Resume(i) => (5, i, true),
                Act::Reload => panic!("no reload at random"),
            };
            (kinds[kind], running[i]) = (true, runs);
            assert!(running.iter().filter(|r| **r).count() >= FEWEST);
        }
        assert_eq!(kinds, [true; 6]);
    }
}
