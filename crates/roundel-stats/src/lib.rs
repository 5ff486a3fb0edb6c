//! Counters, gauges and histograms on atomics, and rings of history.
//!
//! Owns: how a number is counted cheaply on many threads and read by one collector.
//! Does not own: names, labels, Prometheus, time.
//! Invariant: a [`Counter`] has one writing thread; readers may be anywhere. That is what
//! makes `add` a plain load and store.

mod counted;
mod counter;
mod histogram;
mod ring;

pub use counted::{Counted, Kind, Totals};
pub use counter::{Counter, Gauge, PerWorker};
pub use histogram::{Histogram, HistogramSnapshot, LATENCY_BUCKETS};
pub use ring::Ring;
