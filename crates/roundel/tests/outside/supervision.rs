//! Parts that panic on order; only debug builds take such orders.

use std::fs;

use roundel_testkit::{Origin, get, wait_for};

use crate::balancer::{Balancer, SOON};
use crate::servers::Agent;

/// A balancer with two workers that panic when the file says so.
struct Drill {
    balancer: Balancer,
    folder: tempfile::TempDir,
    _origin: Origin,
}

impl Drill {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::named("app");
        let server = format!("s1={}", origin.address());
        let order = folder.path().join("order");
        let order = order.to_str().unwrap().to_owned();
        let flags = ["--static", &server];
        let balancer = Balancer::start_with(&["serve"], &flags, &[("ROUNDEL_PANIC_FILE", &order)]);
        let balancer = balancer.ready();
        balancer.wait_up(1, SOON);
        Self {
            balancer,
            folder,
            _origin: origin,
        }
    }

    fn order(&self, what: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, what).unwrap();
        fs::rename(draft, self.folder.path().join("order")).unwrap();
    }

    fn told(&self, text: &str) {
        wait_for(text, SOON, || {
            self.balancer.process.stderr().contains(text).then_some(())
        });
    }

    /// Requests on connections of their own: each of them reaches a listener.
    fn all_answered(&self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.balancer.get("/").status, 200);
        }
    }
}

#[test]
fn a_worker_that_panics_is_replaced_and_told_of() {
    let drill = Drill::start();
    drill.all_answered(20);
    drill.order("worker 0");
    drill.told("thread 'worker-0' panicked at ");
    drill.told("\na panic that was asked for\n");
    drill.told("worker 0 ended by a panic and was replaced");
    drill.all_answered(40);
    wait_for("the metric", SOON, || {
        let page = drill.balancer.page("/metrics");
        page.contains("roundel_worker_restarts_total 1\n")
            .then_some(())
    });
    let events = drill.balancer.page("/api/v1/events");
    assert!(events.contains("was replaced"), "{events}");
}

#[test]
fn the_third_worker_in_a_minute_ends_the_process() {
    let mut drill = Drill::start();
    for n in 1..=2 {
        drill.order("worker 1");
        wait_for("a replacement", SOON, || {
            let page = drill.balancer.page("/metrics");
            page.contains(&format!("roundel_worker_restarts_total {n}\n"))
                .then_some(())
        });
    }
    drill.order("worker 1");
    let status = drill.balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{}", drill.balancer.process);
    drill.told("worker 1, as others within a minute, ended by a panic");
}

#[test]
fn without_its_control_task_it_drains_and_fails() {
    let mut drill = Drill::start();
    drill.order("control");
    drill.told("the control task ended by a panic");
    let status = drill.balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{}", drill.balancer.process);
    let last = drill.balancer.process.stderr();
    let last = last.lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("the control task"), "{last}");
    assert!(get(drill.balancer.front, "/").is_err());
}

/// Says that the process ends with a line that names the part.
fn ends_for(mut drill: Drill, part: &str) {
    drill.told(&format!("{part} ended by a panic"));
    let status = drill.balancer.process.wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{}", drill.balancer.process);
    let last = drill.balancer.process.stderr();
    let last = last.lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(part), "{last}");
    assert!(get(drill.balancer.front, "/").is_err());
}

#[test]
fn the_collector_ends_with_the_control_task_and_the_process_with_both() {
    let drill = Drill::start();
    drill.order("collector");
    ends_for(drill, "the control task");
}

#[test]
fn without_an_aggregator_it_drains_and_fails() {
    let drill = Drill::start();
    drill.order("aggregator");
    ends_for(drill, "the aggregator of backend nodes");
}

#[test]
fn the_gossip_is_started_again_with_its_members() {
    let drill = Drill::start();
    let seed = drill.balancer.gossip;
    let first = Agent::start("a1", seed);
    drill.balancer.wait_up(2, SOON);
    for n in 1..=2 {
        drill.order("gossip");
        wait_for("the metric", SOON, || {
            drill.all_answered(4);
            let page = drill.balancer.page("/metrics");
            page.contains(&format!("roundel_gossip_restarts_total {n}\n"))
                .then_some(())
        });
        drill.balancer.wait_member("a1", "alive", SOON);
        drill.balancer.wait_up(2, SOON);
        let events = drill.balancer.page("/api/v1/events");
        let told = events.matches("was started again with its members");
        assert_eq!(told.count(), n, "{events}");
    }
    let told = drill.balancer.process.stderr();
    for word in ["down: ", "failed a1", "leave announced", "no longer in"] {
        assert!(!told.contains(word), "{word}: {told}");
    }
    // Who joins and who leaves is heard of as before.
    let second = Agent::start("a2", seed);
    drill.balancer.wait_up(3, SOON);
    first.stop();
    drill.balancer.wait_up(2, SOON);
    drop(second);

    drill.order("gossip");
    ends_for(
        drill,
        "the gossip's driver, for the third time within a minute,",
    );
}
