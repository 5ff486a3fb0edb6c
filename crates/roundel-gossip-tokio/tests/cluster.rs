//! Our own nodes over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{alive, config, node, status, until};
use roundel_gossip_tokio::{Config, Event, StartError, Status, Timings, start};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn two_nodes_join_and_one_leaves() {
    let a = node("a", None).await;
    let b = node("b", Some(&a)).await;
    until(&a, "a sees b", SOON, |m| {
        status(m, "b") == Some(Status::Alive)
    })
    .await;
    until(&b, "b sees a", SOON, |m| {
        status(m, "a") == Some(Status::Alive)
    })
    .await;
    let tags = a.members().borrow()[1].tags.clone();
    assert_eq!(tags.get("role").map(String::as_str), Some("balancer"));

    let begun = std::time::Instant::now();
    b.leave().await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    until(&a, "b has left", SOON, |m| {
        status(m, "b") == Some(Status::Left)
    })
    .await;
    assert_eq!(status(&b.members().borrow(), "b"), Some(Status::Left));
}

#[tokio::test]
async fn a_seed_may_come_later() {
    // The port is found by a node that ends, so that nobody listens there at first.
    let first = node("first", None).await;
    let address = first.local_addr();
    first.shutdown().await;
    let early = start(Config {
        join: vec![address.to_string()],
        ..config("early")
    })
    .await
    .unwrap();
    assert_eq!(alive(&early.members().borrow()), 1);
    let late = start(Config {
        listen: address,
        ..config("late")
    })
    .await
    .unwrap();
    until(&late, "they meet", Duration::from_secs(15), |m| {
        alive(m) == 2
    })
    .await;
}

#[tokio::test]
async fn many_nodes_meet_through_any_seed() {
    let mut nodes = vec![node("n0", None).await];
    for i in 1..12 {
        let next = node(&format!("n{i}"), nodes.last()).await;
        nodes.push(next);
    }
    for handle in &nodes {
        until(handle, "all are seen", SOON, |m| alive(m) == 12).await;
    }
}

#[tokio::test]
async fn tags_change_and_spread() {
    let a = node("a", None).await;
    let b = node("b", Some(&a)).await;
    until(&a, "a sees b", SOON, |m| alive(m) == 2).await;
    let mut events = a.events();
    let tags = BTreeMap::from([("drain".to_owned(), "1".to_owned())]);
    b.set_tags(tags.clone()).await.unwrap();
    until(&a, "new tags", SOON, |m| m.iter().any(|m| m.tags == tags)).await;
    loop {
        if let Event::Update(member) = &*events.recv().await.unwrap() {
            assert_eq!((member.name.as_str(), &member.tags), ("b", &tags));
            break;
        }
    }
    let long = BTreeMap::from([("x".to_owned(), "y".repeat(600))]);
    assert!(b.set_tags(long).await.is_err());
}

#[tokio::test]
async fn a_node_that_stops_without_a_word_fails() {
    let timings = Timings {
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(50),
        watch_interval: Duration::from_millis(20),
        watch_fresh: Duration::from_millis(10),
        ..Timings::local()
    };
    let quick = |name: &str| Config {
        timings: timings.clone(),
        ..config(name)
    };
    let a = start(quick("a")).await.unwrap();
    let b = start(Config {
        join: vec![a.local_addr().to_string()],
        ..quick("b")
    })
    .await
    .unwrap();
    until(&a, "a sees b", SOON, |m| alive(m) == 2).await;
    assert!(a.watch_only(["b".to_owned()].into()));
    let mut events = a.events();
    b.shutdown().await;
    let silent = async {
        while !matches!(events.recv().await.as_deref(), Ok(Event::Silent { name }) if name == "b") {
        }
    };
    tokio::time::timeout(SOON, silent)
        .await
        .expect("b is silent");
    until(&a, "b failed", SOON, |m| {
        status(m, "b") == Some(Status::Failed)
    })
    .await;
}

#[tokio::test]
async fn encrypted_nodes_keep_others_out() {
    let key = |byte: u8| vec![vec![byte; 32]];
    let a = start(Config {
        keys: key(1),
        ..config("a")
    })
    .await
    .unwrap();
    let join = vec![a.local_addr().to_string()];
    let b = start(Config {
        keys: key(1),
        join: join.clone(),
        ..config("b")
    })
    .await
    .unwrap();
    until(&b, "same key", SOON, |m| alive(m) == 2).await;
    let wrong = start(Config {
        keys: key(2),
        ..config("wrong")
    })
    .await
    .unwrap();
    let error = wrong.join(join.clone()).await.unwrap_err();
    assert!(error.to_string().contains("no member answered"), "{error}");
    let plain = node("plain", None).await;
    assert!(plain.join(join).await.is_err());
    assert_eq!(alive(&a.members().borrow()), 2);
}

#[tokio::test]
async fn both_families_on_one_socket() {
    let a = start(Config {
        listen: "[::]:0".parse().unwrap(),
        advertise: Some(roundel_gossip_tokio::Advertise::Address(
            "127.0.0.1:0".parse().unwrap(),
        )),
        ..config("a")
    })
    .await
    .unwrap();
    let seed = format!("127.0.0.1:{}", a.local_addr().port());
    let b = start(Config {
        join: vec![seed],
        ..config("b")
    })
    .await
    .unwrap();
    until(&a, "they meet", SOON, |m| alive(m) == 2).await;
    until(&b, "they meet", SOON, |m| alive(m) == 2).await;
    let address = a.members().borrow()[1].address;
    assert!(address.is_ipv4(), "{address}");
}

#[tokio::test]
async fn a_join_tells_who_answered() {
    let a = node("a", None).await;
    let b = node("b", None).await;
    let there = a.local_addr().to_string();
    let nobody = node("gone", None).await;
    let gone = nobody.local_addr().to_string();
    nobody.shutdown().await;
    assert_eq!(b.join(vec![there, gone.clone()]).await, Ok(1));
    assert!(b.join(vec![gone]).await.is_err());
    assert!(b.join(vec!["not an address".to_owned()]).await.is_err());
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let a = node("a", None).await;
    let taken = start(Config {
        listen: a.local_addr(),
        ..config("b")
    })
    .await
    .unwrap_err();
    assert!(matches!(taken, StartError::Bind { .. }), "{taken}");
    let unnamed = start(config("a name")).await.unwrap_err();
    assert!(matches!(unnamed, StartError::Config(_)), "{unnamed}");
}

#[tokio::test]
async fn a_seed_that_was_replaced_is_joined_again() {
    let lb = node("lb", None).await;
    let address = lb.local_addr();
    let a = node("a", Some(&lb)).await;
    let b = node("b", Some(&lb)).await;
    for handle in [&a, &b] {
        until(handle, "all are seen", SOON, |m| alive(m) == 3).await;
    }
    lb.leave().await;
    lb.shutdown().await;
    // The next one at this address has another name, as containers have.
    let next = start(Config {
        listen: address,
        ..config("lb-2")
    })
    .await
    .unwrap();
    until(&next, "all are seen again", SOON, |m| alive(m) == 3).await;
}

/// Debug builds only: others take no such order.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_panics_goes_on_with_its_members_until_the_third_time() {
    let a = node("a", None).await;
    let b = node("b", Some(&a)).await;
    let joined = |m: &[_]| alive(m) == 2;
    until(&a, "a sees b", SOON, joined).await;
    let mut questions = a.questions("load").await;
    let mut events = a.events();
    let mut members = a.members();
    for n in 1..=2 {
        a.panic().await;
        while *events.recv().await.unwrap() != Event::Restarted {}
        let counted = async {
            while a.stats().restarts < n {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, counted).await.unwrap();
        // Who came and left meanwhile may still be among them.
        let kept = members.borrow_and_update().clone();
        assert_eq!(status(&kept, "b"), Some(Status::Alive), "{kept:?}");
        // It hears, answers and is heard.
        let mut answers = b.query(load()).await.unwrap();
        let question = questions.recv().await.unwrap();
        a.respond(question.id, b"light".to_vec()).await.unwrap();
        assert_eq!(answers.next().await.unwrap().from, "a");
        let name = format!("c{n}");
        let c = node(&name, Some(&a)).await;
        until(&b, "b sees c", SOON, |m| {
            status(m, &name) == Some(Status::Alive)
        })
        .await;
        c.leave().await;
        c.shutdown().await;
    }
    a.panic().await;
    let ended = async { while events.recv().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.unwrap();
    assert!(members.has_changed().is_err(), "nobody tells any more");
    assert!(a.query(load()).await.is_err());
}

#[cfg(debug_assertions)]
fn load() -> roundel_gossip_tokio::QueryParams {
    roundel_gossip_tokio::QueryParams {
        name: "load".to_owned(),
        ..Default::default()
    }
}
