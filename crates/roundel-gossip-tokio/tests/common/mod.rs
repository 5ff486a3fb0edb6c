//! Helpers of the tests over real sockets.
#![allow(dead_code, reason = "each test file uses some of them")]

pub(crate) mod agent;

use std::future::Future;
use std::time::{Duration, Instant};

use roundel_gossip_tokio::{Config, Handle, Member, Status, start};

/// Settings of a node on loopback, any port.
pub(crate) fn config(name: &str) -> Config {
    Config {
        name: name.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tags: [("role".to_owned(), "balancer".to_owned())].into(),
        ..Config::default()
    }
}

/// Starts a node that joins `seed`, if given.
pub(crate) async fn node(name: &str, seed: Option<&Handle>) -> Handle {
    let mut config = config(name);
    config.join.extend(seed.map(|s| s.local_addr().to_string()));
    start(config).await.unwrap()
}

/// Waits until `condition` holds for the members that `handle` knows.
pub(crate) async fn until(
    handle: &Handle,
    what: &str,
    limit: Duration,
    condition: impl Fn(&[Member]) -> bool,
) -> Duration {
    let begun = Instant::now();
    let mut members = handle.members();
    let waited = tokio::time::timeout(limit, async {
        while !condition(&members.borrow_and_update().clone()) {
            members.changed().await.unwrap();
        }
    });
    if waited.await.is_err() {
        panic!(
            "{what}: not within {limit:?}; members: {:#?}",
            members.borrow()
        );
    }
    begun.elapsed()
}

/// Waits until `probe` gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tells what is held of a member.
pub(crate) fn status(members: &[Member], name: &str) -> Option<Status> {
    members.iter().find(|m| m.name == name).map(|m| m.status)
}

/// Counts the living.
pub(crate) fn alive(members: &[Member]) -> usize {
    members.iter().filter(|m| m.status == Status::Alive).count()
}
