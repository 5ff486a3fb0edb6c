//! Seeds that can be resolved and do not answer: said after a while, then seldom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Task;

/// How long nothing is said: seeds may start later than we do.
const QUIET: Duration = Duration::from_secs(5);

/// The pause grows by this factor each time, up to the longest.
const SELDOM: u32 = 6;
const LONGEST: Duration = Duration::from_secs(3600);

/// Most addresses that are named.
const NAMED: usize = 5;

/// Most addresses that are remembered.
const KEPT: usize = 64;

/// What was tried while no seed has answered.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    since: Option<Instant>,
    /// Addresses, and why each failed the last time.
    tried: BTreeMap<SocketAddr, Option<String>>,
    /// When it is said next, counted from the start.
    say_after: Duration,
}

impl Unanswered {
    /// Notes that these addresses are tried.
    pub(super) fn tried(&mut self, now: Instant, addresses: &[SocketAddr]) {
        // A name may stand for others by now.
        self.tried.retain(|address, _| addresses.contains(address));
        for address in addresses.iter().take(KEPT) {
            self.tried.entry(*address).or_default();
        }
        if self.tried.is_empty() {
            *self = Self::default();
        } else if self.since.is_none() {
            (self.since, self.say_after) = (Some(now), QUIET);
        }
    }

    /// Notes why an address is of no use.
    pub(super) fn failed(&mut self, address: SocketAddr, why: &str) {
        if let Some(reason) = self.tried.get_mut(&address) {
            *reason = Some(why.to_owned());
        }
    }

    /// What there is to show, and whether it is to be logged now; nothing at first.
    fn trouble(&mut self, now: Instant) -> Option<(String, bool)> {
        let waited = now.saturating_duration_since(self.since?);
        if waited < QUIET {
            return None;
        }
        let say = waited >= self.say_after;
        if say {
            self.say_after = waited + LONGEST.min(waited * SELDOM);
        }
        let told = self.tried.iter().take(NAMED).map(|(address, why)| {
            let why = why.as_deref().unwrap_or("no answer yet");
            format!("{address} ({why})")
        });
        let told: Vec<String> = told.collect();
        let more = match self.tried.len() - told.len() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        Some((told.join(", ") + &more, say))
    }
}

impl Task {
    /// Says that no seed has answered, if that is so for long.
    pub(super) fn look_at_seeds(&mut self, now: Instant) {
        let Some((tried, say)) = self.seeding.unanswered.trouble(now) else {
            return;
        };
        if say {
            tracing::warn!(
                "no seed has answered; tried {tried}; is a member there, and is its gossip port \
                 open for TCP and UDP? trying on"
            );
        }
        self.publish.trouble.send_if_modified(|old| {
            let news = *old != tried;
            *old = tried;
            news
        });
    }

    /// Some seed has answered.
    pub(super) fn seed_answered(&mut self) {
        self.seeding.unanswered = Unanswered::default();
        if !self.publish.trouble.borrow().is_empty() {
            tracing::info!("a seed has answered");
            self.publish.trouble.send_replace(String::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_after_a_while_then_seldom_with_the_reasons() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let seeds: Vec<SocketAddr> = (1..=7).map(|n| ([10, 0, 0, n], 7946).into()).collect();
        let mut unanswered = Unanswered::default();
        unanswered.tried(start, &seeds);
        unanswered.failed(seeds[0], "Connection refused");
        assert_eq!(unanswered.trouble(start + 4 * second), None);
        let (told, say) = unanswered.trouble(start + 5 * second).unwrap();
        assert!(
            say && told.starts_with("10.0.0.1:7946 (Connection refused), "),
            "{told}"
        );
        assert!(told.contains("10.0.0.2:7946 (no answer yet)") && told.ends_with(" and 2 more"));
        let mut said = 0;
        for at in 6..86_400 {
            unanswered.tried(start + at * second, &seeds);
            said += usize::from(unanswered.trouble(start + at * second).unwrap().1);
        }
        assert!((10..=30).contains(&said), "{said} times a day");
        // A node whose only seed is itself has tried nobody.
        unanswered.tried(start, &[]);
        assert_eq!(unanswered.trouble(start + 99 * second), None);
    }
}
