use super::*;

#[test]
fn an_equal_set_publishes_nothing() {
    let mut bench = Bench::serving(3);
    let before = bench.director.balancer().generation();
    bench.apply();
    assert_eq!(bench.director.balancer().generation(), before);
    assert!(bench.events.is_empty());
}

#[test]
fn the_round_goes_on_when_a_server_joins() {
    let mut bench = Bench::serving(3);
    assert_eq!(bench.round(5), [1, 2, 3, 1, 2]);
    bench.set.push(server(4));
    bench.apply();
    bench.run(MS);
    assert_eq!(bench.round(5), [3, 4, 1, 2, 3]);
    bench.vanish(4);
    assert_eq!(bench.round(4), [1, 2, 3, 1]);
}

#[test]
fn backups_serve_only_while_no_other_does() {
    let mut bench = Bench::new(3, DirectorConfig::default());
    bench.set[2].backup = true;
    bench.apply();
    bench.run(MS);
    assert_eq!(bench.round(4), [1, 2, 1, 2]);
    for n in [1, 2] {
        bench
            .command(n, ServerAct::State(AdminState::Maint))
            .unwrap();
    }
    assert_eq!(bench.round(2), [3, 3]);
}
