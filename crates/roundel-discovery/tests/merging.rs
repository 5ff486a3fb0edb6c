//! What the aggregator says depends on the last set of each source, not on the way there.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use roundel_discovery::Aggregator;
use roundel_model::{Name, Presence, Server, SourceKind, Weight};

const KINDS: [SourceKind; 3] = [SourceKind::Static, SourceKind::File, SourceKind::Gossip];

fn server(number: u8, kind: SourceKind, port: u16) -> Server {
    Server {
        name: Name::new(&format!("s{number}")).expect("a name"),
        address: ([10, 0, 0, number], port).into(),
        weight: Weight::ONE,
        backup: false,
        source: kind,
        presence: Presence::Present,
    }
}

/// The set in force after all updates, each at its time.
fn last_set(updates: &[(usize, Vec<Server>)], gap: Duration) -> Vec<Server> {
    let backend = Name::new("nodes").expect("a name");
    let mut aggregator = Aggregator::new(backend, KINDS, None);
    let mut now = Instant::now();
    let mut last = Vec::new();
    let mut generation = 0;
    for (source, servers) in updates {
        aggregator.handle_servers(now, *source, servers.clone());
        now += gap;
        if let Some((set, _)) = aggregator.poll_set(now) {
            assert_eq!(set.generation.0, generation + 1, "one more each time");
            assert!(
                set.servers != last || generation == 0,
                "only what differs is said"
            );
            generation += 1;
            last = set.servers;
        }
    }
    let end = aggregator.poll_timeout().unwrap_or(now);
    if let Some((set, _)) = aggregator.poll_set(end) {
        last = set.servers;
    }
    last
}

fn sets() -> impl Strategy<Value = Vec<(usize, Vec<Server>)>> {
    let one = (
        0..3usize,
        prop::collection::btree_set(1..8u8, 0..5),
        1..3u16,
    );
    let update = one.prop_map(|(source, numbers, port)| {
        let servers = numbers.into_iter().map(|n| server(n, KINDS[source], port));
        (source, servers.collect::<Vec<_>>())
    });
    prop::collection::vec(update, 1..30)
}

/// Only the last update of each source, in order of source.
fn final_updates(updates: &[(usize, Vec<Server>)]) -> Vec<(usize, Vec<Server>)> {
    let last = |source| updates.iter().rev().find(|(s, _)| *s == source).cloned();
    (0..3).filter_map(last).collect()
}

proptest! {
    #[test]
    fn order_and_timing_do_not_matter(updates in sets(), ms in 0..60u64) {
        let gap = Duration::from_millis(ms);
        let reached = last_set(&updates, gap);
        let mut finals = final_updates(&updates);
        prop_assert_eq!(&reached, &last_set(&finals, Duration::ZERO));
        finals.reverse();
        prop_assert_eq!(&reached, &last_set(&finals, gap));
        let mut names: Vec<_> = reached.iter().map(|s| s.name.clone()).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), reached.len(), "one server per name");
    }
}
