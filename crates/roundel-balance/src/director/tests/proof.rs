//! Weights that anybody may announce.

use super::*;

fn open() -> DirectorConfig {
    DirectorConfig {
        open_gossip: true,
        ..DirectorConfig::default()
    }
}

fn weight(n: u64) -> Weight {
    Weight::new(n).unwrap()
}

/// The weights that count.
fn weights(bench: &Bench) -> Vec<u16> {
    let statuses = bench.director.servers(bench.now);
    statuses.iter().map(|s| s.weight).collect()
}

fn announce(bench: &mut Bench, n: u8, value: u64) {
    let mut newcomer = server(n);
    newcomer.weight = weight(value);
    bench.set.retain(|s| s.name != newcomer.name);
    bench.set.push(newcomer);
    bench.apply();
}

#[test]
fn a_newcomer_has_at_most_the_weight_of_one_that_served_for_a_minute() {
    let mut bench = Bench::new(0, open());
    announce(&mut bench, 1, 3);
    bench.run(59 * SECOND);
    assert_eq!(weights(&bench), [1]);
    bench.run(2 * SECOND);
    assert_eq!(weights(&bench), [3]);
    announce(&mut bench, 2, 256);
    announce(&mut bench, 4, 2);
    bench.run(59 * SECOND);
    assert_eq!(weights(&bench), [3, 3, 2]);
    let status = bench.status(2);
    assert_eq!(
        (status.initial_weight, status.state),
        (256, ServerState::Up)
    );
    assert!(
        status
            .reason
            .starts_with("weight 256 announced and 3 counts"),
        "{}",
        status.reason
    );
    let told = bench.told(EventKind::Weight);
    assert_eq!(
        told.iter().filter(|t| t.contains("256 announced")).count(),
        1,
        "{told:?}"
    );
    bench.run(2 * SECOND);
    assert_eq!(weights(&bench), [3, 256, 2]);
}

#[test]
fn one_that_fails_its_checks_proves_nothing() {
    let mut bench = Bench::new(0, open());
    announce(&mut bench, 1, 5);
    bench.run(50 * SECOND);
    bench.verdicts.insert(name("s1"), CheckStatus::L4Con);
    bench.run(8 * SECOND);
    bench.verdicts.clear();
    bench.run(50 * SECOND);
    assert_eq!(
        (bench.state(1), weights(&bench)),
        (ServerState::Up, vec![1])
    );
    bench.run(20 * SECOND);
    assert_eq!(weights(&bench), [5]);
}

#[test]
fn who_announces_more_than_before_waits_again() {
    let mut bench = Bench::new(2, open());
    bench.run(70 * SECOND);
    announce(&mut bench, 1, 256);
    bench.run(30 * SECOND);
    assert_eq!(bench.status(1).weight, 1);
    announce(&mut bench, 1, 0);
    assert_eq!(
        (bench.state(1), bench.status(1).weight),
        (ServerState::Draining, 0)
    );
}

#[test]
fn the_operators_word_and_that_of_a_gossip_with_a_key_count_at_once() {
    let mut bench = Bench::new(1, open());
    bench.run(MS);
    let order = ServerAct::Weight(WeightOrder::Absolute(weight(9)));
    bench.command(1, order).unwrap();
    assert_eq!(weights(&bench), [9]);
    let mut bench = Bench::new(0, DirectorConfig::default());
    announce(&mut bench, 1, 7);
    assert_eq!(weights(&bench), [7]);
    let mut bench = Bench::new(0, open());
    bench.set = vec![Server {
        weight: weight(8),
        source: SourceKind::Static,
        ..server(1)
    }];
    bench.apply();
    assert_eq!(weights(&bench), [8]);
}

#[test]
fn what_is_proven_is_so_in_another_process() {
    let mut bench = Bench::new(0, open());
    announce(&mut bench, 1, 3);
    bench.run(61 * SECOND);
    let mut heir = Bench::new(0, open());
    heir.director.inherit(bench.director.bequeath(bench.now));
    heir.set.clone_from(&bench.set);
    heir.apply();
    assert_eq!(weights(&heir), [3]);
}
