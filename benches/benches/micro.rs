//! Micro benchmarks: `cargo bench -p roundel-bench`, one line each with `-- NAME`.
//!
//! They tell where time goes on one core; what counts is `compare` and the count of
//! instructions.

#[path = "micro/balance.rs"]
mod balance;
#[path = "micro/gossip.rs"]
mod gossip;
#[path = "micro/http1.rs"]
mod http1;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    http1::run(&mut criterion);
    balance::run(&mut criterion);
    gossip::run(&mut criterion);
    criterion.final_summary();
}
