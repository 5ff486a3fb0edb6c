//! Members that join while news of others spreads.

use std::time::Duration;

use roundel_gossip_sim::{Link, World};

use super::{SECOND, each_seed};

#[test]
fn whoever_joins_in_a_crowd_soon_knows_all() {
    each_seed(100, |seed| {
        let mut world = World::new(seed, Link::lossy(0.02));
        let mut rng = fastrand::Rng::with_seed(seed);
        for index in 0..12 {
            world.add(&[("role", "backend")]);
            if index > 0 {
                world.join(index, rng.usize(..index));
            }
            world.run(Duration::from_millis(rng.u64(..4)));
            world.slow(rng.usize(..=index), Duration::from_millis(rng.u64(..60)));
        }
        // Long before the first of the exchanges that each has with another now and then.
        world.run_until("all meet", SECOND * 4, |world| world.all_see_alive(12));
    });
}
