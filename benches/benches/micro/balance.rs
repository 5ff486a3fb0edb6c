//! Picking a server, finding a sticky one, publishing a set: at 10, 1,000 and 10,000 servers.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, BenchmarkId, Criterion};
use roundel_balance::{
    BackendConfig, Balancer, PickContext, Placement, Policy, StickyKey, StickyVerdict, View,
    hash_key,
};
use roundel_model::{Name, ServerState};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

pub(crate) fn run(criterion: &mut Criterion) {
    picks(criterion);
    sticky(criterion);
    swaps(criterion);
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn balancer(policy: Policy) -> Arc<Balancer> {
    let config = BackendConfig {
        name: name("nodes"),
        policy,
        sticky_key: StickyKey::derive(b"bench"),
    };
    Balancer::new(config, 1)
}

/// The first `n` servers, all of the same weight.
fn servers(balancer: &Balancer, n: usize) -> Vec<Placement> {
    let server = |i: usize| Placement {
        live: balancer.live(&name(&format!("webapp-{i}"))),
        address: ([10, 0, (i >> 8) as u8, i as u8], 3000).into(),
        weight: Placement::WEIGHT_UNIT,
        backup: false,
        state: ServerState::Up,
    };
    (0..n).map(server).collect()
}

fn picks(criterion: &mut Criterion) {
    for policy in Policy::ALL {
        let mut group = criterion.benchmark_group(format!("pick, {policy}"));
        for n in SIZES {
            let balancer = balancer(policy);
            balancer.publish(servers(&balancer, n));
            let mut view = View::new(balancer);
            let mut rng = fastrand::Rng::with_seed(1);
            let now = Instant::now();
            let mut key = 0u64;
            group.bench_function(BenchmarkId::from_parameter(n), |b| {
                b.iter(|| {
                    key += 1;
                    let context = PickContext {
                        tried: &[],
                        worker: 0,
                        now,
                        hash: policy.needs_key().then(|| hash_key(&key.to_le_bytes())),
                    };
                    let pick = view.current().pick(&context, &mut rng);
                    black_box(pick.expect("all serve").index())
                });
            });
        }
    }
}

fn sticky(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sticky value to server");
    for n in SIZES {
        let balancer = balancer(Policy::RoundRobin);
        balancer.publish(servers(&balancer, n));
        let snapshot = balancer.load();
        let value = snapshot.cookie_value(n / 3).to_owned();
        group.bench_function(BenchmarkId::from_parameter(n), |b| {
            b.iter(|| {
                let verdict = snapshot.sticky(black_box(value.as_bytes()));
                assert_eq!(verdict, StickyVerdict::Valid(n / 3));
            });
        });
    }
}

/// One server comes or goes, which is what most changes are.
fn swaps(criterion: &mut Criterion) {
    for policy in [Policy::RoundRobin, Policy::Hash, Policy::Maglev] {
        let mut group = criterion.benchmark_group(format!("set swap, {policy}"));
        group.sample_size(10);
        for n in SIZES {
            let balancer = balancer(policy);
            let all = servers(&balancer, n);
            let mut fewer = false;
            group.bench_function(BenchmarkId::from_parameter(n), |b| {
                b.iter_batched(
                    || {
                        fewer = !fewer;
                        all[usize::from(fewer)..].to_vec()
                    },
                    |set| assert!(balancer.publish(set).is_some()),
                    BatchSize::LargeInput,
                );
            });
        }
    }
}
