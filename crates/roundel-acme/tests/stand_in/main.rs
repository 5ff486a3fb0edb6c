//! What a CA may do to an order, and a kill at any moment: against a small CA that does as it is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod ca;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ca::{Ca, Done, Refusal, Script};
use roundel_acme::{Challenge, Config, Facts, Renewer};
use roundel_tls::Challenges;
use tokio::sync::mpsc::UnboundedReceiver;

const DAY: Duration = Duration::from_hours(24);

struct Scene {
    ca: Ca,
    killed: UnboundedReceiver<()>,
    challenges: Challenges,
    config: Config,
}

impl Scene {
    fn new(script: Script) -> Self {
        let challenges = Challenges::default();
        let (ca, killed) = Ca::start(script, &challenges);
        let config = Config {
            email: Some("ops@example.org".into()),
            accept_terms: true,
            names: ["www.example.org", "example.org"].map(String::from).into(),
            directory: ca.directory(),
            ca_file: Some(ca.roots()),
            eab: None,
            state: ca.folder().join("state"),
            challenge: Challenge::Http01,
        };
        Self {
            ca,
            killed,
            challenges,
            config,
        }
    }

    fn refusing(step: &'static str, refusals: impl Into<VecDeque<Refusal>>) -> Self {
        Self::new(Script {
            refusals: BTreeMap::from([(step, refusals.into())]),
            ..Script::default()
        })
    }

    fn open(&self) -> Renewer {
        let challenges = Arc::new(self.challenges.clone());
        Renewer::open(self.config.clone(), challenges, None, SystemTime::now()).unwrap()
    }

    fn orders(&self) -> usize {
        self.ca.state.lock().unwrap().orders.len()
    }

    fn accounts(&self) -> usize {
        self.ca.state.lock().unwrap().accounts.len()
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

fn facts(renewer: &Renewer) -> Facts {
    renewer.facts().borrow().clone()
}

#[test]
fn an_order_that_is_refused_at_any_step_goes_on_where_it_was() {
    let steps = [
        "directory",
        "nonce",
        "account",
        "new-order",
        "authorization",
        "challenge",
        "order",
        "finalize",
        "certificate",
    ];
    for step in steps {
        let refusal = Refusal::acme(500, "serverInternal", "not today");
        let scene = Scene::refusing(step, [refusal]);
        let now = SystemTime::now();
        let mut renewer = scene.open();
        let next = block(renewer.turn(now));
        let told = facts(&renewer);
        assert_eq!((told.failures, told.self_signed), (1, true), "{step}");
        let line = told.last_error.unwrap();
        assert!(
            line.contains("not today") || step == "nonce",
            "{step}: {line}"
        );
        assert!(next >= now + Duration::from_secs(60), "{step}");

        drop(renewer);
        let mut renewer = scene.open();
        let early = block(renewer.turn(now + Duration::from_secs(30)));
        assert_eq!(
            facts(&renewer).failures_total,
            0,
            "{step}: tried before its time"
        );
        block(renewer.turn(early));
        let told = facts(&renewer);
        assert_eq!(
            (told.failures, told.self_signed, told.last_error),
            (0, false, None),
            "{step}"
        );
        assert_eq!((scene.orders(), scene.accounts()), (1, 1), "{step}");
    }
}

#[test]
fn a_kill_at_any_moment_loses_no_account_and_makes_no_second_order() {
    for done in [Done::Not, Done::Yes] {
        for at in 1.. {
            let mut scene = Scene::new(Script {
                kill: Some((at, done)),
                ..Script::default()
            });
            let mut renewer = scene.open();
            let (killed, renewed) = (&mut scene.killed, &mut renewer);
            let killed = block(async {
                tokio::select! {
                    _ = renewed.turn(SystemTime::now()) => false,
                    _ = killed.recv() => true,
                }
            });
            if !killed {
                assert!(at > 10, "an order has more steps than {at}");
                break;
            }
            drop(renewer);
            let mut renewer = scene.open();
            block(renewer.turn(SystemTime::now()));
            let told = facts(&renewer);
            assert_eq!(
                (told.self_signed, told.last_error),
                (false, None),
                "{at} {done:?}"
            );
            assert_eq!((scene.orders(), scene.accounts()), (1, 1), "{at} {done:?}");
            let last = scene.ca.state.lock().unwrap().asked[at - 1];
            let asked = 1 + usize::from(last == "new-order");
            assert_eq!(scene.ca.count("new-order"), asked, "{at} {done:?}: {last}");
        }
    }
}

#[test]
fn a_ca_s_word_of_when_to_come_again_is_kept_over_a_restart() {
    let limited = Refusal {
        retry_after: Some(3 * 24 * 3600),
        ..Refusal::acme(429, "rateLimited", "too many orders")
    };
    let scene = Scene::refusing("new-order", [limited]);
    let now = SystemTime::now();
    let mut renewer = scene.open();
    let next = block(renewer.turn(now));
    assert!(next > now + 3 * DAY - Duration::from_secs(60), "{next:?}");
    assert!(
        facts(&renewer)
            .last_error
            .unwrap()
            .contains("too many orders")
    );
    drop(renewer);
    let mut renewer = scene.open();
    assert!(block(renewer.turn(now + 2 * DAY)) >= next);
    assert_eq!(scene.ca.count("new-order"), 1);
    block(renewer.turn(next + Duration::from_secs(1)));
    assert!(!facts(&renewer).self_signed);
}

#[test]
fn nonces_may_be_refused_some_times_in_a_row() {
    let bad = || Refusal::acme(400, "badNonce", "stale");
    for step in [
        "account",
        "new-order",
        "authorization",
        "challenge",
        "finalize",
        "certificate",
    ] {
        let scene = Scene::refusing(step, [bad(), bad(), bad(), bad()]);
        let mut renewer = scene.open();
        block(renewer.turn(SystemTime::now()));
        assert_eq!(facts(&renewer).last_error, None, "{step}");
        assert!(!facts(&renewer).self_signed);
    }
}

#[test]
fn what_is_no_acme_is_told_of_by_its_status() {
    let page = Refusal {
        status: 503,
        body: "<html>\u{1b}[2J".into(),
        retry_after: None,
    };
    let scene = Scene::refusing("new-order", [page]);
    let mut renewer = scene.open();
    block(renewer.turn(SystemTime::now()));
    assert_eq!(
        facts(&renewer).last_error.unwrap(),
        "a new order: the CA answered 503 Service Unavailable"
    );
}

#[test]
fn an_order_that_the_ca_has_dropped_is_made_again() {
    let gone = Refusal::acme(404, "malformed", "no such order");
    let scene = Scene::refusing("order", [gone]);
    let mut renewer = scene.open();
    let next = block(renewer.turn(SystemTime::now()));
    assert_eq!(facts(&renewer).failures, 1);
    block(renewer.turn(next));
    assert!(!facts(&renewer).self_signed);
    assert_eq!(scene.ca.count("new-order"), 2);
}

#[test]
fn what_does_not_fit_our_key_is_never_served() {
    let scene = Scene::new(Script {
        wrong_key: true,
        ..Script::default()
    });
    let mut renewer = scene.open();
    let next = block(renewer.turn(SystemTime::now()));
    let line = facts(&renewer).last_error.unwrap();
    assert!(line.contains("of no use"), "{line}");
    scene.ca.state.lock().unwrap().script.wrong_key = false;
    block(renewer.turn(next));
    assert!(!facts(&renewer).self_signed);
    assert_eq!(scene.orders(), 2);
}

#[test]
fn the_ca_s_window_says_when_to_renew() {
    let now = SystemTime::now();
    let scene = Scene::new(Script {
        window: Some((now + 10 * DAY, now + 12 * DAY)),
        ..Script::default()
    });
    let mut renewer = scene.open();
    block(renewer.turn(now));
    let next = block(renewer.turn(now));
    assert!(
        next <= now + Duration::from_secs(3601),
        "the CA is asked again within the hour"
    );
    let first = renewer.certificate().borrow().certificate.clone();
    block(renewer.turn(now + 9 * DAY));
    assert_eq!(scene.orders(), 1);

    // The CA takes it back: at once.
    scene.ca.state.lock().unwrap().script.window = Some((now - 2 * DAY, now - DAY));
    block(renewer.turn(now + 9 * DAY + Duration::from_secs(3601)));
    assert_eq!(scene.orders(), 2);
    assert_ne!(renewer.certificate().borrow().certificate, first);
    let state = scene.ca.state.lock().unwrap();
    let replaced = state.orders[1].replaces.as_deref().unwrap();
    assert!(
        replaced
            .split_once('.')
            .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()),
        "{replaced}"
    );
}

#[test]
fn without_a_window_that_can_be_used_the_lifetime_says_when_to_renew() {
    let broken = Refusal::acme(500, "serverInternal", "");
    let garbage = Refusal {
        status: 200,
        body: "{}".into(),
        retry_after: Some(60),
    };
    for refusals in [vec![], vec![broken; 9], vec![garbage; 9]] {
        let scene = Scene::refusing("renewal", refusals);
        scene.ca.state.lock().unwrap().script.life = Some(6 * DAY);
        let now = SystemTime::now();
        let mut renewer = scene.open();
        block(renewer.turn(now));
        block(renewer.turn(now + 2 * DAY));
        assert_eq!(scene.orders(), 1);
        block(renewer.turn(now + 3 * DAY));
        assert_eq!(scene.orders(), 2, "at half of six days");
        assert_eq!(facts(&renewer).last_error, None);
    }
}

#[test]
fn of_two_processes_one_orders_and_the_other_serves_what_is_issued() {
    let scene = Scene::new(Script::default());
    let mut first = scene.open();
    let mut second = scene.open();
    let now = SystemTime::now();
    block(second.turn(now));
    assert!(facts(&second).elsewhere && facts(&second).self_signed);
    block(first.turn(now));
    block(second.turn(now));
    assert!(facts(&second).elsewhere && !facts(&second).self_signed);
    let served = |renewer: &Renewer| renewer.certificate().borrow().certificate.clone();
    assert_eq!(served(&first), served(&second));
    drop(first);
    block(second.turn(now + 61 * DAY));
    assert!(!facts(&second).elsewhere);
    assert_eq!((scene.orders(), scene.accounts()), (2, 1));
}

#[test]
fn a_ca_that_is_not_trusted_or_not_there_is_told_of() {
    let mut scene = Scene::new(Script::default());
    scene.config.ca_file = None;
    let mut renewer = scene.open();
    block(renewer.turn(SystemTime::now()));
    let line = facts(&renewer).last_error.unwrap();
    assert!(
        line.contains("cannot be reached") && line.contains("certificate"),
        "{line}"
    );
    scene.config.directory = format!(
        "https://127.0.0.1:{}/",
        roundel_testkit::free_port([127, 0, 0, 1].into())
    );
    let mut renewer = scene.open();
    block(renewer.turn(SystemTime::now()));
    let line = facts(&renewer).last_error.unwrap();
    assert!(line.contains("cannot be reached"), "{line}");
    assert_eq!(scene.ca.count("account"), 0);
}
