//! Experiments with whole clusters in memory.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use roundel_gossip::{Event, Timings};
use roundel_gossip_sim::{Link, World};

use super::measure::{Detection, Spread};

const SECOND: Duration = Duration::from_secs(1);

/// A network within one data centre on which a share of the packets vanishes.
fn network(loss: f64) -> Link {
    Link {
        loss,
        duplication: 0.0,
        delay: (Duration::from_micros(100), Duration::from_millis(1)),
    }
}

/// Keeps the events for which `wanted` holds.
fn listen<T: 'static>(
    world: &mut World,
    wanted: impl Fn(&Event) -> Option<T> + 'static,
) -> Rc<RefCell<Vec<(Duration, T)>>> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let sink = heard.clone();
    world.listen(Box::new(move |at, _, event| {
        if let Some(what) = wanted(event) {
            sink.borrow_mut().push((at, what));
        }
    }));
    heard
}

/// Lets members in turn change their tags, and looks when the others know. State exchanges are
/// off, so what gossip misses is missed. Probes are off, as in the model: nothing rides on them,
/// and on a bad network the suspicions of thousands do not drown what is measured.
pub(super) fn spread(n: usize, loss: f64, timings: &Timings, rounds: usize, seed: u64) -> Spread {
    let never = SECOND * 1_000_000;
    let timings = Timings {
        probe_interval: never,
        push_pull_interval: never,
        ..timings.clone()
    };
    let mut world = World::settled(seed, network(loss), timings, n);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut spread = Spread::new(n);
    let current = Rc::new(RefCell::new(String::new()));
    let subject = current.clone();
    let heard = listen(&mut world, move |event| match event {
        Event::Update(member) if member.name == *subject.borrow() => Some(()),
        _ => None,
    });
    world.run(SECOND);
    for round in 0..rounds {
        world.run(Duration::from_millis(rng.u64(..200)));
        let origin = rng.usize(..n);
        current.borrow_mut().clone_from(&world.peers[origin].name);
        heard.borrow_mut().clear();
        let begun = world.elapsed();
        let tags = [("round".to_owned(), round.to_string())].into();
        world.with(origin, |node, now| {
            node.set_tags(now, tags).expect("the tags are short");
        });
        // All transmissions are used up by then.
        world.run(if n < 100 { SECOND * 3 / 2 } else { SECOND * 3 });
        // The first is told by the origin itself.
        let heard = heard.borrow();
        let others = heard.iter().skip(1);
        spread.add(others.map(|(at, ())| (*at - begun).as_secs_f64()).collect());
    }
    spread
}

enum Verdict {
    Suspect(String),
    Failed(String),
}

impl Verdict {
    fn name(&self) -> &str {
        match self {
            Verdict::Suspect(name) | Verdict::Failed(name) => name,
        }
    }
}

/// Crashes members one after the other, `pause` apart, and looks when that is found out. Those of
/// a small cluster are started again, so that it stays as large.
pub(super) fn detection(
    n: usize,
    loss: f64,
    timings: &Timings,
    crashes: usize,
    seed: u64,
) -> Detection {
    let mut timings = timings.clone();
    if n > 5000 {
        // Gossip has done its work within seconds; two in three seconds of computing would go
        // into state exchanges.
        timings.push_pull_interval = SECOND * 1_000_000;
    }
    let mut world = World::settled(seed, network(loss), timings, n);
    let mut rng = fastrand::Rng::with_seed(seed);
    let heard = listen(&mut world, |event| match event {
        Event::Suspect { name, .. } => Some(Verdict::Suspect(name.clone())),
        Event::Failed(member) => Some(Verdict::Failed(member.name.clone())),
        _ => None,
    });
    world.run(SECOND * 2);
    let small = n < 500;
    let mut dead = Vec::new();
    let mut detection = Detection::default();
    for _ in 0..crashes {
        world.run(Duration::from_millis(rng.u64(500..1500)));
        let victim = rng.usize(..n);
        if world.peers[victim].node.is_none() {
            continue;
        }
        world.crash(victim);
        dead.push((world.peers[victim].name.clone(), world.elapsed()));
        if small {
            world.run(SECOND * 40);
            judge(&mut detection, n, &dead, &heard.borrow());
            dead.clear();
            heard.borrow_mut().clear();
            world.start(victim, &[("role", "backend")]);
            world.join(victim, (victim + 1) % n);
            world.run(SECOND * 5);
        }
    }
    if !small {
        world.run(SECOND * 27);
        judge(&mut detection, n, &dead, &heard.borrow());
    }
    detection
}

fn judge(
    detection: &mut Detection,
    members: usize,
    dead: &[(String, Duration)],
    heard: &[(Duration, Verdict)],
) {
    for (name, at) in dead {
        let since = |time: &Duration| time.as_secs_f64() - at.as_secs_f64();
        let suspected = heard.iter().filter_map(|(time, verdict)| match verdict {
            Verdict::Suspect(who) if who == name => Some(since(time)),
            _ => None,
        });
        let failed = || {
            heard.iter().filter_map(|(time, verdict)| match verdict {
                Verdict::Failed(who) if who == name => Some(since(time)),
                _ => None,
            })
        };
        let first =
            |mut times: Box<dyn Iterator<Item = f64> + '_>| times.next().unwrap_or(f64::INFINITY);
        let (suspected, verdict) = (first(Box::new(suspected)), first(Box::new(failed())));
        // Members that were found dead before do not count for the rule any more.
        let before = |(time, verdict): &&(Duration, Verdict)| {
            since(time) < suspected && matches!(verdict, Verdict::Failed(_))
        };
        let gone: BTreeSet<_> = heard.iter().filter(before).map(|(_, v)| v.name()).collect();
        // In thousandths, cut off, as memberlist counts.
        let scale = ((members - gone.len()) as f64).log10().max(1.0);
        let rule = 4.0 * (scale * 1000.0).floor() / 1000.0;
        detection.over_rule.push((verdict - suspected) / rule);
        detection.suspected.push(suspected);
        detection.failed.push(verdict);
        detection
            .failed_at_all
            .push(failed().fold(f64::NEG_INFINITY, f64::max));
    }
    let wrong = |(_, verdict): &&(Duration, Verdict)| match verdict {
        Verdict::Failed(who) => dead.iter().all(|(name, _)| name != who),
        Verdict::Suspect(_) => false,
    };
    detection.false_failures += heard.iter().filter(wrong).count();
}

/// What happens in a cluster in which nobody crashes.
pub(super) struct Peace {
    pub(super) suspicions: usize,
    /// Verdicts, each counted once however many members took it over.
    pub(super) failures: usize,
    /// Bytes sent in a second by each member in datagrams, with `HEADERS` for each.
    pub(super) bytes_per_second: f64,
    pub(super) datagrams_per_second: f64,
}

/// Ethernet, IPv4 and UDP.
const HEADERS: f64 = 42.0;

/// What is said of whom: a suspicion, or a verdict on one incarnation.
type Verdicts = Rc<RefCell<Vec<(Duration, Option<(String, u32)>)>>>;

fn count_verdicts(world: &mut World, about: impl Fn(&str) -> bool + 'static) -> Verdicts {
    listen(world, move |event| match event {
        Event::Suspect { name, .. } => about(name).then_some(None),
        Event::Failed(m) => about(&m.name).then(|| Some((m.name.clone(), m.incarnation))),
        _ => None,
    })
}

fn peace(world: &World, verdicts: &Verdicts, seconds: f64) -> Peace {
    let verdicts = verdicts.borrow();
    let suspicions = verdicts.iter().filter(|(_, failed)| failed.is_none());
    let failed: BTreeSet<_> = verdicts.iter().filter_map(|(_, f)| f.as_ref()).collect();
    let per_second = seconds * world.peers.len() as f64;
    let datagrams = world.datagrams as f64;
    Peace {
        suspicions: suspicions.count(),
        failures: failed.len(),
        bytes_per_second: (world.bytes as f64 + HEADERS * datagrams) / per_second,
        datagrams_per_second: datagrams / per_second,
    }
}

/// Lets a cluster be, on a network that loses packets of datagrams and streams.
pub(super) fn quiet(n: usize, loss: f64, timings: &Timings, seconds: u64, seed: u64) -> Peace {
    let mut world = World::settled(seed, network(loss), timings.clone(), n);
    let verdicts = count_verdicts(&mut world, |_| true);
    world.run(SECOND * 2);
    (world.datagrams, world.bytes) = (0, 0);
    world.run(SECOND * seconds as u32);
    peace(&world, &verdicts, seconds as f64)
}

/// Keeps some members from running most of the time, and counts what is said of the others.
///
/// Source: Lifeguard (Dadgar et al. 2018), section "false positives": blocks of 16.4 s, 1 ms
/// apart, at 16 of 128 members.
pub(super) fn slow(timings: &Timings, seconds: u64, seed: u64) -> Peace {
    const MEMBERS: usize = 128;
    const SLOW: usize = 16;
    let mut world = World::settled(seed, network(0.0), timings.clone(), MEMBERS);
    let slow: Vec<usize> = (0..SLOW).map(|i| i * MEMBERS / SLOW).collect();
    let names: Vec<String> = slow.iter().map(|i| world.peers[*i].name.clone()).collect();
    let healthy = move |name: &str| names.iter().all(|slow| slow != name);
    let verdicts = count_verdicts(&mut world, healthy);
    world.run(SECOND * 2);
    let end = world.elapsed() + SECOND * seconds as u32;
    while world.elapsed() < end {
        for index in &slow {
            world.slow(*index, Duration::from_millis(16_384));
        }
        world.run(Duration::from_millis(16_384 + 1));
    }
    peace(&world, &verdicts, seconds as f64)
}

/// Crashes, leaves, restarts and changes among `n` within seconds while 2 % of the packets vanish;
/// then peace. Gives how many members are gone or changed, and in how many views something is wrong.
pub(super) fn trouble(n: usize, seed: u64) -> (usize, usize) {
    let mut link = network(0.02);
    link.duplication = 0.02;
    let mut world = World::settled(seed, link, Timings::lan(), n);
    world.listen(Box::new(|_, _, _| ()));
    world.strict = n < 5000;
    let count = (n / 100).max(3);
    let again = count / 2;
    let fate = world.trouble(count, again);
    (3 * count + again, world.disagreements(&fate).len())
}
