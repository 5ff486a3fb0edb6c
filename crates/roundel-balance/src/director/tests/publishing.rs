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

#[test]
fn a_set_in_another_order_keeps_what_is_known_of_each_server() {
    let mut bench = Bench::serving(6);
    let ids = |bench: &Bench, order: &[u8]| -> Vec<ServerId> {
        order.iter().map(|n| bench.status(*n).live.id).collect()
    };
    let before = ids(&bench, &[1, 2, 3, 4, 5, 6]);
    // One is new, one is missing, two have changed places.
    bench.set = [4, 7, 2, 1, 5, 6].map(server).into();
    bench.apply();
    bench.run(MS);
    assert_eq!(ids(&bench, &[1, 2, 3, 4, 5, 6]), before);
    let up = |n: u8| bench.status(n).state == ServerState::Up;
    assert!([1, 2, 4, 5, 6, 7].into_iter().all(up));
    assert_eq!(bench.status(3).state, ServerState::Leaving);
    let shown = bench.director.servers(bench.now);
    let names: Vec<&str> = shown.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["s4", "s7", "s2", "s1", "s5", "s6", "s3"]);
}
