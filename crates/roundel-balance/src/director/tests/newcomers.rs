//! Floods of servers that do not exist.

use super::*;

fn named(prefix: &str, count: u16, host: u8) -> Vec<Server> {
    let one = |n: u16| {
        let [high, low] = n.to_be_bytes();
        Server {
            name: name(&format!("{prefix}{n}")),
            address: ([10, host, high, low], 80).into(),
            ..server(1)
        }
    };
    (0..count).map(one).collect()
}

/// A bench with a place for so many servers, of which three serve.
fn bench(max_servers: usize) -> Bench {
    let config = DirectorConfig {
        max_servers,
        ..DirectorConfig::default()
    };
    let mut bench = Bench::new(3, config);
    bench.run(MS);
    bench
}

/// Names servers of which none answers its check.
fn flood(bench: &mut Bench, count: u16) {
    for made_up in named("m", count, 66) {
        bench
            .verdicts
            .insert(made_up.name.clone(), CheckStatus::L4Con);
        bench.set.push(made_up);
    }
    bench.apply();
}

fn usable(bench: &Bench) -> usize {
    bench.director.balancer().load().usable()
}

#[test]
fn who_is_there_stays_and_the_rest_waits() {
    let mut bench = bench(100);
    flood(&mut bench, 1_000);
    bench.run(SECOND);
    let here = bench.director.servers(bench.now).len();
    assert_eq!((here, usable(&bench)), (100, 3));
    let crowd = bench.director.crowd();
    assert_eq!((crowd.taken, crowd.waiting, crowd.refused), (100, 903, 903));
    let told: Vec<_> = bench.told(EventKind::Other);
    assert_eq!(
        told,
        ["gossip names too many servers: 100 are taken (max_servers), 903 wait for a place"]
    );
}

#[test]
fn a_real_newcomer_amid_a_flood_serves_within_a_second() {
    let mut bench = bench(1_000);
    flood(&mut bench, 5_000);
    bench.run(500 * MS);
    bench.set.push(server(9));
    bench.apply();
    bench.run(SECOND);
    assert_eq!((usable(&bench), bench.state(9)), (4, ServerState::Up));
}

#[test]
fn a_flood_costs_few_checks_and_hinders_none_of_the_others() {
    let mut bench = bench(200);
    flood(&mut bench, 2_000);
    bench.run(2 * SECOND);
    bench.checks.clear();
    bench.run(10 * SECOND);
    let is_real = |(_, name): &&(Instant, Name)| name.as_str().starts_with('s');
    let real = bench.checks.iter().filter(is_real).count();
    assert!((14..=17).contains(&real), "{real}");
    let all = bench.checks.len();
    assert!(all < 5_500, "{all} checks in ten seconds");
    assert_eq!(usable(&bench), 3);
}

#[test]
fn every_one_of_a_flood_has_its_turn() {
    let mut bench = bench(50);
    flood(&mut bench, 400);
    let hidden = name("m377");
    bench.verdicts.remove(&hidden);
    bench.run(10 * SECOND);
    assert_eq!(usable(&bench), 4);
    assert!(bench.director.find(&hidden).is_some());
}

#[test]
fn thousands_that_answer_come_in_soon() {
    let mut bench = bench(1_000);
    bench.set.extend(named("r", 900, 77));
    bench.apply();
    bench.run(600 * MS);
    assert_eq!(usable(&bench), 903);
    assert_eq!(bench.director.crowd().waiting, 0);
    bench.apply();
    let shown = bench.director.servers(bench.now);
    let order = shown.iter().map(|s| &s.name);
    assert!(
        order.eq(bench.set.iter().map(|s| &s.name)),
        "in the order of the set"
    );
}

#[test]
fn a_place_that_is_left_goes_to_one_that_waits() {
    let mut bench = bench(3);
    bench.set.push(server(4));
    bench.apply();
    assert_eq!(bench.states().len(), 3);
    bench.vanish(1);
    bench.run(SECOND);
    assert_eq!(bench.state(4), ServerState::Up);
    assert_eq!(bench.director.crowd().waiting, 0);
}

#[test]
fn what_an_operator_names_is_not_bounded() {
    let mut bench = bench(3);
    for server in named("o", 300, 55) {
        bench.set.push(Server {
            source: SourceKind::Static,
            ..server
        });
    }
    bench.apply();
    bench.run(MS);
    assert_eq!(usable(&bench), 303);
}

#[test]
fn without_checks_there_is_a_bound_and_no_turn() {
    let config = DirectorConfig {
        max_servers: 500,
        ..off()
    };
    let mut bench = Bench::new(0, config);
    bench.set = named("m", 1_000, 66);
    bench.apply();
    assert_eq!(usable(&bench), 500);
}

#[test]
fn a_process_that_follows_takes_all_that_were_there() {
    let mut bench = bench(10_000);
    bench.set.extend(named("r", 400, 77));
    bench.apply();
    bench.run(2 * SECOND);
    let config = DirectorConfig {
        max_servers: 10_000,
        ..DirectorConfig::default()
    };
    let mut heir = Bench::new(0, config);
    heir.director.inherit(bench.director.bequeath(bench.now));
    heir.set.clone_from(&bench.set);
    heir.apply();
    assert_eq!(usable(&heir), 403);
}

/// What never served leaves few rows behind, and none of them in place of one that did.
#[test]
fn a_flood_that_is_over_leaves_little_behind() {
    let mut bench = bench(1_000);
    bench.vanish(1);
    flood(&mut bench, 2_000);
    bench.run(10 * SECOND);
    assert!(bench.director.servers(bench.now).len() > 900);
    bench
        .set
        .retain(|server| server.name.as_str().starts_with('s'));
    bench.apply();
    bench.run(SECOND);
    let rows = bench.director.servers(bench.now);
    let is_left = |status: &&ServerStatus| status.state == ServerState::Left;
    assert_eq!(rows.iter().filter(is_left).count(), 1 + 64);
    assert_eq!(bench.state(1), ServerState::Left);
    assert_eq!(usable(&bench), 2);
}
