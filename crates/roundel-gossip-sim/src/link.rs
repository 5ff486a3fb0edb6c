//! What the network does to what is sent.

use std::time::Duration;

/// The quality of the network.
///
/// Datagrams are lost, doubled, delayed and so reordered. Of streams the loss is felt as time: a
/// lost SYN is sent again after 1 s, lost data after 200 ms, twice as long each further time.
/// Source: RFC 6298 for the first figure, Linux for the second.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Share of packets that vanish, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that come twice, 0 to 1.
    pub duplication: f64,
    /// Shortest and longest way; different ways reorder.
    pub delay: (Duration, Duration),
}

impl Link {
    /// A good network within one house.
    pub fn good() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_micros(100), Duration::from_millis(2)),
        }
    }

    /// A good network on which a share of the packets vanishes.
    pub fn lossy(loss: f64) -> Self {
        Self {
            loss,
            ..Self::good()
        }
    }

    /// A bad one: a share is lost, some comes twice, much out of order.
    pub fn bad(loss: f64) -> Self {
        Self {
            loss,
            duplication: 0.05,
            delay: (Duration::from_millis(1), Duration::from_millis(60)),
        }
    }

    /// How long one datagram takes.
    pub(crate) fn way(&self, rng: &mut fastrand::Rng) -> Duration {
        let (short, long) = self.delay;
        let spread = u64::try_from((long - short).as_nanos()).unwrap_or(u64::MAX);
        short + Duration::from_nanos(rng.u64(0..=spread))
    }

    /// How long a part of a stream takes that is first sent again after `again`. `loss` is what
    /// the two ends add to the loss of the network.
    pub(crate) fn stream_way(
        &self,
        rng: &mut fastrand::Rng,
        again: Duration,
        loss: f64,
    ) -> Duration {
        let mut wait = again;
        let mut total = self.delay.1;
        let loss = 1.0 - (1.0 - self.loss) * (1.0 - loss);
        // After some tries TCP would give up; deadlines come sooner.
        for _ in 0..6 {
            if rng.f64() >= loss {
                break;
            }
            total += wait;
            wait *= 2;
        }
        total
    }
}
