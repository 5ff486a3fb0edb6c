//! When the last server of a backend went away, so that requests know whether waiting for one
//! makes sense.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::Balancer;

/// No server was ever there.
const NEVER: u64 = 0;
/// One is there.
const HERE: u64 = 1;
/// From here on: milliseconds since the first loss, plus this.
const LOST: u64 = 2;

/// Shape: `state` is one of the constants or a time above them.
#[derive(Debug, Default)]
pub(crate) struct Loss {
    /// The first loss.
    epoch: OnceLock<Instant>,
    state: AtomicU64,
}

impl Balancer {
    /// Notes that a server takes connections. Writes only when that is news: the line is shared
    /// by all workers.
    pub fn note_served(&self) {
        let state = &self.loss().state;
        if state.load(Relaxed) != HERE {
            state.store(HERE, Relaxed);
        }
    }

    /// Notes that no server takes connections; an earlier loss that still lasts stands.
    pub fn note_lost(&self, now: Instant) {
        let loss = self.loss();
        let stamp = LOST + loss.millis(now);
        let _ = loss.state.compare_exchange(HERE, stamp, Relaxed, Relaxed);
    }

    /// Goes on from what another process knew at `now`: for how long no server has taken
    /// connections there. One that did is missed from here on, until it is found.
    pub fn inherit_loss(&self, now: Instant, lost_for: Duration) {
        let loss = self.loss();
        let since = now.checked_sub(lost_for).unwrap_or(now);
        let stamp = LOST + loss.millis(since);
        let _ = loss.state.compare_exchange(NEVER, stamp, Relaxed, Relaxed);
    }

    /// For how long no server has taken connections: zero while one does, `None` when none ever
    /// did.
    pub fn lost_for(&self, now: Instant) -> Option<Duration> {
        let loss = self.loss();
        match loss.state.load(Relaxed) {
            NEVER => None,
            HERE => Some(Duration::ZERO),
            stamp => Some(Duration::from_millis(
                (LOST + loss.millis(now)).saturating_sub(stamp),
            )),
        }
    }
}

impl Loss {
    fn millis(&self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| now);
        now.saturating_duration_since(epoch).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BackendConfig, Policy, StickyKey};

    #[test]
    fn a_loss_lasts_from_its_first_report_to_the_next_server() {
        let balancer = balancer();
        let at = |s| Instant::now() + Duration::from_secs(s);
        let t0 = at(0);
        balancer.note_lost(t0);
        assert_eq!(balancer.lost_for(t0), None, "none was ever there");
        balancer.note_served();
        assert_eq!(balancer.lost_for(t0), Some(Duration::ZERO));
        balancer.note_lost(t0);
        balancer.note_lost(t0 + Duration::from_secs(2));
        let later = t0 + Duration::from_secs(3);
        assert_eq!(balancer.lost_for(later), Some(Duration::from_secs(3)));
        balancer.note_served();
        assert_eq!(balancer.lost_for(later), Some(Duration::ZERO));
    }

    #[test]
    fn a_loss_goes_on_in_another_process_until_a_server_is_found() {
        let now = Instant::now() + Duration::from_secs(10);
        let lost = Duration::from_secs(3);
        let heir = balancer();
        heir.inherit_loss(now, lost);
        assert_eq!(heir.lost_for(now), Some(lost));
        assert_eq!(heir.lost_for(now + lost), Some(2 * lost));
        heir.note_lost(now + lost);
        assert_eq!(heir.lost_for(now + lost), Some(2 * lost), "it still lasts");
        heir.note_served();
        heir.inherit_loss(now, lost);
        assert_eq!(heir.lost_for(now), Some(Duration::ZERO), "found meanwhile");
    }

    fn balancer() -> std::sync::Arc<Balancer> {
        let config = BackendConfig {
            name: roundel_model::Name::new("web").unwrap(),
            policy: Policy::RoundRobin,
            sticky_key: StickyKey::default(),
        };
        Balancer::new(config, 1)
    }
}
