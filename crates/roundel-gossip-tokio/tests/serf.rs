//! Our nodes together with real Serf agents (Debian package `serf`).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::agent::{Agent, KEY, KEY_BASE64, SOON};
use common::{alive, config, status, until};
use roundel_gossip_tokio::{Config, Event, Handle, Status, start};
use roundel_testkit::{Signal, wait_for};

async fn balancer(change: impl FnOnce(&mut Config)) -> Handle {
    let mut config = config("balancer");
    change(&mut config);
    start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_joins_us_changes_its_tags_and_leaves() {
    let lb = balancer(|_| {}).await;
    let seed = lb.local_addr().to_string();
    let Some(agent) = Agent::start("web-1", &["-join", &seed]) else {
        return;
    };
    until(&lb, "it is seen", SOON, |m| {
        status(m, "web-1") == Some(Status::Alive)
    })
    .await;
    let seen = lb
        .members()
        .borrow()
        .iter()
        .find(|m| m.name == "web-1")
        .cloned();
    let seen = seen.unwrap();
    assert_eq!(seen.address, agent.address);
    assert_eq!(seen.tags.get("role").map(String::as_str), Some("backend"));
    assert_eq!(seen.tags.get("port").map(String::as_str), Some("3000"));
    agent.wait_member(&["balancer", "alive", "role=balancer"]);

    agent.run(&["tags", "-set", "weight=7"]).unwrap();
    until(&lb, "new tag", SOON, |m| {
        m.iter()
            .any(|m| m.tags.get("weight").is_some_and(|w| w == "7"))
    })
    .await;

    let mut events = lb.events();
    agent.process.signal(Signal::INT);
    until(&lb, "it left", SOON, |m| {
        status(m, "web-1") == Some(Status::Left)
    })
    .await;
    let mut kinds = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &*event {
            Event::Leaving(_) => kinds.push("leaving"),
            Event::Leave(_) => kinds.push("leave"),
            Event::Failed(_) => kinds.push("failed"),
            _ => {}
        }
    }
    assert_eq!(kinds, ["leaving", "leave"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_join_an_agent_change_our_tags_and_leave() {
    let Some(agent) = Agent::start("web-2", &[]) else {
        return;
    };
    let lb = balancer(|c| c.join = vec![agent.address.to_string()]).await;
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    agent.wait_member(&["balancer", "alive", "role=balancer"]);
    let tags = [("role", "balancer"), ("drain", "1")];
    let tags: BTreeMap<_, _> = tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    lb.set_tags(tags).await.unwrap();
    agent.wait_member(&["balancer", "alive", "drain=1"]);
    lb.leave().await;
    agent.wait_member(&["balancer", "left"]);
    let log = agent.process.stdout() + &agent.process.stderr();
    assert!(!log.contains("EventMemberFailed: balancer"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_fails() {
    let lb = balancer(|_| {}).await;
    let seed = lb.local_addr().to_string();
    let Some(mut agent) = Agent::start("web-3", &["-join", &seed]) else {
        return;
    };
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    assert!(lb.watch_only(["web-3".to_owned()].into()));
    let mut events = lb.events();
    agent.process.kill();
    let begun = std::time::Instant::now();
    let silent = async {
        while !matches!(events.recv().await.as_deref(), Ok(Event::Silent { name }) if name == "web-3")
        {
        }
    };
    tokio::time::timeout(SOON, silent)
        .await
        .expect("it is silent");
    let heard_after = begun.elapsed();
    assert!(heard_after < Duration::from_secs(2), "{heard_after:?}");
    until(&lb, "it failed", SOON, |m| {
        status(m, "web-3") == Some(Status::Failed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_off_on_either_side() {
    let lb = balancer(|c| c.compress = false).await;
    let seed = lb.local_addr().to_string();
    let Some(squeezing) = Agent::start("squeezing", &["-join", &seed]) else {
        return;
    };
    let bare = Agent::start("bare", &["-join", &seed, "-disable-compression"]).unwrap();
    until(&lb, "both are seen", SOON, |m| alive(m) == 3).await;
    for agent in [&squeezing, &bare] {
        agent.wait_member(&["balancer", "alive"]);
        agent.wait_member(&["squeezing", "alive"]);
        agent.wait_member(&["bare", "alive"]);
    }
    let stats = lb.stats();
    assert!(stats.dropped.is_empty(), "{:?}", stats.dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_cluster() {
    let encrypt = format!("-encrypt={KEY_BASE64}");
    let Some(agent) = Agent::start("secret", &[&encrypt]) else {
        return;
    };
    let lb = balancer(|c| {
        c.keys = vec![KEY.to_vec()];
        c.join = vec![agent.address.to_string()];
    })
    .await;
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    agent.wait_member(&["balancer", "alive"]);
    let plain = start(config("plain")).await.unwrap();
    let refused = plain.join(vec![agent.address.to_string()]).await;
    assert!(refused.is_err(), "{refused:?}");
    agent.process.signal(Signal::INT);
    until(&lb, "it left", SOON, |m| {
        status(m, "secret") == Some(Status::Left)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_queries_pass_through_us() {
    let lb = balancer(|_| {}).await;
    let seed = lb.local_addr().to_string();
    let Some(a) = Agent::start("web-4", &["-join", &seed]) else {
        return;
    };
    let b = Agent::start("web-5", &["-join", &seed]).unwrap();
    until(&lb, "both are seen", SOON, |m| alive(m) == 3).await;
    b.wait_member(&["web-4", "alive"]);
    let mut events = lb.events();
    a.run(&["event", "deploy", "v2"]).unwrap();
    let heard = async {
        loop {
            if let Ok(Event::User { name, payload, .. }) = events.recv().await.as_deref() {
                break (name.clone(), payload.clone());
            }
        }
    };
    let heard = tokio::time::timeout(SOON, heard).await.unwrap();
    assert_eq!(heard, ("deploy".to_owned(), b"v2".to_vec()));
    wait_for("the event at the other agent", SOON, || {
        let log = b.process.stdout() + &b.process.stderr();
        log.contains("messageUserEventType: deploy").then_some(())
    });
    assert_eq!(lb.stats().dropped, BTreeMap::new());
    assert!(a.name != b.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_agents_comes_and_goes() {
    let lb = balancer(|_| {}).await;
    let other = start(Config {
        join: vec![lb.local_addr().to_string()],
        ..config("balancer-2")
    })
    .await
    .unwrap();
    let seed = lb.local_addr().to_string();
    let start_one = |i: usize| Agent::start(&format!("crowd-{i}"), &["-join", &seed]);
    let Some(agents) = (0..12).map(start_one).collect::<Option<Vec<_>>>() else {
        return;
    };
    for handle in [&lb, &other] {
        until(handle, "all are seen", SOON, |m| alive(m) == 14).await;
    }
    agents[11].wait_member(&["balancer-2", "alive"]);
    let mut events = lb.events();
    for agent in &agents[..6] {
        agent.process.signal(Signal::INT);
    }
    let left = |members: &[_]| {
        let has_left = |i: &usize| status(members, &format!("crowd-{i}")) == Some(Status::Left);
        (0..6).filter(has_left).count()
    };
    for handle in [&lb, &other] {
        until(handle, "six have left", SOON, |m| {
            left(m) == 6 && alive(m) == 8
        })
        .await;
    }
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(*event, Event::Failed(_)), "{event:?}");
    }
    assert_eq!(lb.stats().dropped, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_that_was_killed_and_restarted_is_found_again() {
    let lb = balancer(|_| {}).await;
    let address = lb.local_addr();
    let Some(agent) = Agent::start("web-6", &["-join", &address.to_string()]) else {
        return;
    };
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    agent.wait_member(&["balancer", "alive"]);
    lb.shutdown().await;
    // It knows no seed; the agent goes on probing its name at its address.
    // Another connection of this machine may have its port for a moment.
    let again = tokio::time::timeout(SOON, async {
        loop {
            let mut config = config("balancer");
            config.listen = address;
            match start(config).await {
                Ok(handle) => break handle,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    });
    let again = again.await.expect("the port is free again");
    until(&again, "it is seen again", SOON, |m| alive(m) == 2).await;
    agent.wait_member(&["balancer", "alive"]);
}
