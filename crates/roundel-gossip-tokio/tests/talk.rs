//! Queries, user events, keys, snapshots and handlers, with real Serf agents where it matters.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::agent::{Agent, KEY, KEY_BASE64, SOON};
use common::{alive, config, eventually, node, status, until};
use roundel_gossip_tokio::{
    Config, Event, Handle, KeyAct, QueryParams, Status, parse_key, show_key, start,
};
use roundel_testkit::wait_for;

const NEW: [u8; 32] = *b"vutsrqponmlkjihgfedcba9876543210";

async fn balancer(name: &str, change: impl FnOnce(&mut Config)) -> Handle {
    let mut config = config(name);
    change(&mut config);
    start(config).await.unwrap()
}

/// Answers queries called `load` with `answer`, for as long as the node lives.
async fn responder(handle: &Handle, answer: &'static str) {
    let mut questions = handle.questions("load").await;
    let handle = handle.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            handle.respond(question.id, answer.into()).await.unwrap();
        }
    });
}

fn load(change: impl FnOnce(&mut QueryParams)) -> QueryParams {
    let mut params = QueryParams {
        name: "load".to_owned(),
        payload: b"now".to_vec(),
        ack: true,
        timeout: Some(Duration::from_secs(2)),
        ..QueryParams::default()
    };
    change(&mut params);
    params
}

/// Who answered what, and who acknowledged.
async fn collect(handle: &Handle, params: QueryParams) -> (BTreeMap<String, String>, Vec<String>) {
    let mut answers = handle.query(params).await.unwrap();
    let (mut said, mut acks) = (BTreeMap::new(), Vec::new());
    while let Some(answer) = answers.next().await {
        match answer.payload {
            None => acks.push(answer.from),
            Some(text) => {
                let text = String::from_utf8(text).unwrap();
                said.insert(answer.from, text.trim().to_owned());
            }
        }
    }
    acks.sort();
    (said, acks)
}

/// Runs a command of an agent beside the runtime.
async fn run(agent: &Agent, arguments: &[&str]) -> String {
    let output = tokio::task::block_in_place(|| agent.run(arguments));
    output.unwrap_or_else(|| panic!("serf {arguments:?} failed\n{}", agent.process))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_ask_us_and_we_ask_agents() {
    let lb = balancer("balancer", |_| {}).await;
    responder(&lb, "0.2").await;
    let seed = lb.local_addr().to_string();
    let handler = "-event-handler=query:load=cat; echo 0.5";
    let Some(a) = Agent::start("ask-1", &["-join", &seed, handler]) else {
        return;
    };
    let b = Agent::start("ask-2", &["-join", &seed, handler]).unwrap();
    until(&lb, "both are seen", SOON, |m| alive(m) == 3).await;
    b.wait_member(&["ask-1", "alive"]);
    b.wait_member(&["balancer", "alive"]);

    let text = run(&a, &["query", "-timeout=2s", "load", "now"]).await;
    for line in [
        "Ack from 'balancer'",
        "Response from 'balancer': 0.2",
        "Total Acks: 3",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let text = run(
        &a,
        &[
            "query",
            "-timeout=2s",
            "-node=balancer",
            "-relay-factor=1",
            "load",
        ],
    )
    .await;
    assert!(text.contains("Response from 'balancer': 0.2"), "{text}");
    assert!(text.contains("Total Responses: 1"), "{text}");
    let text = run(&a, &["query", "-timeout=1s", "-tag=role=back.*", "load"]).await;
    assert!(!text.contains("balancer"), "{text}");
    let text = run(&a, &["reachability"]).await;
    assert!(
        text.contains("Successfully contacted all live nodes"),
        "{text}"
    );

    let (said, acks) = collect(&lb, load(|_| {})).await;
    let both = "now\n0.5".to_owned();
    let wanted = [
        ("ask-1", both.clone()),
        ("ask-2", both),
        ("balancer", "0.2".to_owned()),
    ];
    let wanted: BTreeMap<_, _> = wanted.map(|(n, t)| (n.to_owned(), t)).into();
    assert_eq!(said, wanted);
    assert_eq!(acks, ["ask-1", "ask-2", "balancer"]);
    let relayed = load(|p| {
        p.relay_factor = 1;
        p.nodes = vec!["ask-2".to_owned()];
    });
    assert_eq!(collect(&lb, relayed).await.0.len(), 1);
    let tagged = load(|p| p.tags = vec![("role".to_owned(), "^balancer$".to_owned())]);
    assert_eq!(collect(&lb, tagged).await.1, ["balancer"]);
    assert_eq!(lb.stats().dropped, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_is_asked_directly_and_only_logged_by_agents() {
    let lb = balancer("balancer", |_| {}).await;
    let seed = lb.local_addr().to_string();
    let other = node("agent", Some(&lb)).await;
    let Some(stock) = Agent::start("stock", &["-join", &seed]) else {
        return;
    };
    until(&other, "all are seen", SOON, |m| alive(m) == 3).await;
    let mut questions = lb.questions("_serf_roundel-drain").await;
    let answering = lb.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            assert_eq!(question.from, "agent");
            answering
                .respond(question.id, b"0 in flight".to_vec())
                .await
                .unwrap();
        }
    });
    let params = QueryParams {
        name: "_serf_roundel-drain".to_owned(),
        nodes: vec!["balancer".to_owned(), "stock".to_owned()],
        timeout: Some(Duration::from_secs(1)),
        direct: true,
        ..QueryParams::default()
    };
    let (said, acks) = collect(&other, params).await;
    assert_eq!(
        said.into_iter().collect::<Vec<_>>(),
        [("balancer".to_owned(), "0 in flight".to_owned())]
    );
    assert!(acks.is_empty());
    stock.wait_member(&["balancer", "alive"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_events_go_both_ways() {
    let lb = balancer("balancer", |_| {}).await;
    let seed = lb.local_addr().to_string();
    let Some(agent) = Agent::start("ev-1", &["-join", &seed]) else {
        return;
    };
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    agent.wait_member(&["balancer", "alive"]);
    let monitor = agent.spawn(&["monitor"]);
    // It shows only what happens once it is connected.
    eventually("the monitor is connected", SOON, async || {
        run(&agent, &["event", "anybody"]).await;
        let shown = monitor.stdout().contains("Name: \"anybody\"");
        shown.then_some(())
    })
    .await;
    let mut events = lb.events();
    run(&agent, &["event", "deploy", "v2"]).await;
    let heard = async {
        loop {
            if let Ok(Event::User {
                name,
                payload,
                coalesce,
                ..
            }) = events.recv().await.as_deref()
                && name == "deploy"
            {
                break (name.clone(), payload.clone(), *coalesce);
            }
        }
    };
    let heard = tokio::time::timeout(SOON, heard).await.unwrap();
    assert_eq!(heard, ("deploy".to_owned(), b"v2".to_vec(), true));
    lb.user_event("rollback", b"v1".to_vec(), false)
        .await
        .unwrap();
    monitor.wait_line("Name: \"rollback\"", SOON);
    // Serf prints the bytes of `v1`.
    monitor.wait_line("Payload: []byte{0x76, 0x31}", SOON);
    let long = lb.user_event("x", vec![0; 600], false).await;
    assert!(long.unwrap_err().to_string().contains("at most 512"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_by_either_tool() {
    let folder = tempfile::tempdir().unwrap();
    let ring = folder.path().join("ours.json");
    let theirs = folder.path().join("theirs.json");
    std::fs::write(&theirs, format!("[\"{KEY_BASE64}\"]")).unwrap();
    let keyring = format!("-keyring-file={}", theirs.display());
    let Some(agent) = Agent::start("key-1", &[&keyring]) else {
        return;
    };
    let seed = agent.address.to_string();
    let lb = balancer("balancer", |c| {
        c.keys = vec![KEY.to_vec()];
        c.keyring = Some(ring.clone());
        c.join = vec![seed.clone()];
    })
    .await;
    let other = balancer("other", |c| {
        c.keys = vec![KEY.to_vec()];
        c.join = vec![seed.clone()];
    })
    .await;
    for handle in [&lb, &other] {
        until(handle, "all are seen", SOON, |m| alive(m) == 3).await;
    }
    agent.wait_member(&["balancer", "alive"]);
    agent.wait_member(&["other", "alive"]);

    // By theirs.
    let new = show_key(&NEW);
    run(&agent, &["keys", &format!("-install={new}")]).await;
    run(&agent, &["keys", &format!("-use={new}")]).await;
    run(&agent, &["keys", &format!("-remove={KEY_BASE64}")]).await;
    let list = run(&agent, &["keys", "-list"]).await;
    assert!(list.contains(&new) && list.contains("[3/3]"), "{list}");
    assert!(!list.contains(KEY_BASE64), "{list}");
    assert_eq!(ring_of(&ring), [NEW.to_vec()]);

    // By ours.
    let act = KeyAct::Install(KEY.to_vec());
    assert!(lb.keys(&act).await.unwrap().is_complete());
    let report = lb.keys(&KeyAct::Use(KEY.to_vec())).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(ring_of(&ring), [KEY.to_vec(), NEW.to_vec()]);
    let report = lb.keys(&KeyAct::Remove(KEY.to_vec())).await.unwrap();
    assert_eq!((report.asked, report.refused.len()), (3, 3), "{report:?}");
    let report = lb.keys(&KeyAct::Remove(NEW.to_vec())).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    let report = lb.keys(&KeyAct::List).await.unwrap();
    assert_eq!(report.keys, [(KEY_BASE64.to_owned(), 3)].into());
    assert_eq!(report.primary, [(KEY_BASE64.to_owned(), 3)].into());
    assert_eq!(ring_of(&ring), [KEY.to_vec()]);
    assert_eq!(ring_of(&theirs), [KEY.to_vec()]);
    let mode = std::fs::metadata(&ring).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn ring_of(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    let texts: Vec<String> = serde_json::from_str(&text).unwrap();
    texts.iter().map(|text| parse_key(text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_key_never_appears_and_is_told_of() {
    let lb = balancer("balancer", |c| c.keys = vec![KEY.to_vec()]).await;
    let mut events = lb.events();
    let stranger = balancer("stranger", |c| c.keys = vec![NEW.to_vec()]).await;
    let plain = balancer("plain", |_| {}).await;
    for node in [&stranger, &plain] {
        let refused = node.join(vec![lb.local_addr().to_string()]).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    let told = async {
        loop {
            if let Ok(Event::Dropped { reason, .. }) = events.recv().await.as_deref() {
                break *reason;
            }
        }
    };
    let reason = tokio::time::timeout(SOON, told).await.unwrap();
    assert_eq!(reason.as_str(), "unauthenticated");
    assert_eq!(lb.members().borrow().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_without_seeds_finds_its_cluster_by_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("members");
    let seed = node("seed", None).await;
    let lb = balancer("lb", |c| {
        c.join = vec![seed.local_addr().to_string()];
        c.snapshot = Some(file.clone());
    })
    .await;
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    seed.user_event("deploy", b"v1".to_vec(), false)
        .await
        .unwrap();
    let mut events = lb.events();
    let heard =
        async { while !matches!(events.recv().await.as_deref(), Ok(Event::User { .. })) {} };
    tokio::time::timeout(SOON, heard).await.unwrap();
    lb.leave().await;
    lb.shutdown().await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("alive: seed 127.0.0.1:"), "{text}");
    assert!(text.contains("event-clock: "), "{text}");

    let again = balancer("lb", |c| c.snapshot = Some(file.clone())).await;
    let mut events = again.events();
    until(&again, "the cluster is found", SOON, |m| alive(m) == 2).await;
    until(&seed, "it is seen", SOON, |m| {
        status(m, "lb") == Some(Status::Alive)
    })
    .await;
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(*event, Event::User { .. }),
            "the event was told before"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_an_agent_serves_us() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("members");
    let lb = balancer("balancer", |_| {}).await;
    let snapshot = format!("-snapshot={}", file.display());
    let seed = lb.local_addr().to_string();
    let Some(mut agent) = Agent::start("snap-1", &["-join", &seed, &snapshot]) else {
        return;
    };
    until(&lb, "it is seen", SOON, |m| alive(m) == 2).await;
    tokio::task::block_in_place(|| {
        wait_for("the agent's snapshot", SOON, || {
            // An agent flushes its file only when it writes another line.
            agent.run(&["event", "tick"])?;
            let text = std::fs::read_to_string(&file).ok()?;
            text.contains("alive: balancer").then_some(())
        });
        agent.process.kill();
    });
    let heir = balancer("heir", |c| c.snapshot = Some(file.clone())).await;
    until(&heir, "the balancer is found", SOON, |m| {
        status(m, "balancer") == Some(Status::Alive)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_run_for_events_and_answer_queries() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = |what: &str| format!("{what} >> {}", log.display());
    let handlers = [
        format!(
            "member-join=(echo $SERF_EVENT $ROUNDEL_SELF_NAME; {})",
            "cat"
        ),
        format!("user:deploy=(echo user $SERF_USER_EVENT; {})", "cat"),
    ];
    let handlers = handlers.map(|h| script(&h).parse().unwrap());
    let lb = balancer("lb", |c| {
        c.handlers = handlers.to_vec();
        c.handlers.push("query:load=echo 0.3".parse().unwrap());
        let failing = "query:broken=echo 0.3; exit 3";
        c.handlers.push(failing.parse().unwrap());
    })
    .await;
    let own = "member-join lb\nlb\t127.0.0.1\tbalancer\trole=balancer\n";
    let log_says = |what: &str| {
        wait_for("the scripts' output", SOON, || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.ends_with(what).then_some(text)
        })
    };
    // The first call tells of the node itself, as with agents.
    tokio::task::block_in_place(|| log_says(own));
    let web = balancer("web-1", |c| {
        c.join = vec![lb.local_addr().to_string()];
        c.tags.insert("port".to_owned(), "3000".to_owned());
    })
    .await;
    until(&web, "they meet", SOON, |m| alive(m) == 2).await;
    let announce = async |range: std::ops::RangeInclusive<u8>, coalesce| {
        for version in range {
            let payload = format!("v{version}").into_bytes();
            web.user_event("deploy", payload, coalesce).await.unwrap();
        }
    };
    // One after another in the order in which they were announced.
    announce(1..=20, false).await;
    let mut wanted = format!("{own}member-join lb\n");
    wanted += "web-1\t127.0.0.1\tbalancer\tport=3000,role=balancer\n";
    wanted.extend((1..=20).map(|version| format!("user deploy\nv{version}\n")));
    let text = tokio::task::block_in_place(|| log_says("v20\n"));
    assert_eq!(text, wanted);
    // Merged into the last one.
    announce(21..=40, true).await;
    let text = tokio::task::block_in_place(|| log_says("v40\n"));
    assert_eq!(text, wanted + "user deploy\nv40\n");
    let (said, _) = collect(&web, load(|q| q.name = "broken".to_owned())).await;
    assert!(
        said.is_empty(),
        "a script that fails does not answer: {said:?}"
    );
    let (said, _) = collect(&web, load(|_| {})).await;
    assert_eq!(said, [("lb".to_owned(), "0.3".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_another_has_is_given_up() {
    let Some(first) = Agent::start("twin", &[]) else {
        return;
    };
    let seed = first.address.to_string();
    let second = Agent::start("bystander", &["-join", &seed]).unwrap();
    second.wait_member(&["twin", "alive"]);
    let us = balancer("twin", |_| {}).await;
    let mut events = us.events();
    us.join(vec![second.address.to_string()]).await.unwrap();
    let told = async {
        let mut conflict = false;
        loop {
            match events.recv().await.as_deref() {
                Ok(Event::Conflict { name, .. }) => conflict |= name == "twin",
                Ok(Event::Renamed { from, to }) => break (conflict, from.clone(), to.clone()),
                _ => {}
            }
        }
    };
    let told = tokio::time::timeout(SOON, told).await;
    let (conflict, from, to) = told.expect("another name");
    assert!(
        conflict && from == "twin" && to.starts_with("twin-"),
        "{to}"
    );
    assert_eq!(*us.name(), to);
    // It comes back by those it knew, without being told where they are.
    until(&us, "they meet again", SOON, |m| alive(m) == 3).await;
    second.wait_member(&[&to, "alive"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_one_name_meet_under_others() {
    let first = balancer("twin", |_| {}).await;
    let seed = first.local_addr().to_string();
    let second = balancer("twin", |c| c.join = vec![seed]).await;
    // Far less than the pause after which seeds are tried again.
    let soon = Duration::from_secs(4);
    until(&first, "the first knows both", soon, |m| alive(m) == 2).await;
    until(&second, "the second knows both", soon, |m| alive(m) == 2).await;
    assert_ne!(first.name(), second.name());
}

/// Its vote is answered by nobody else, and an agent without a vote ends itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_our_name_that_is_alone_with_us_stays() {
    let us = balancer("twin", |_| {}).await;
    let seed = us.local_addr().to_string();
    let Some(agent) = Agent::start("twin", &["-join", &seed]) else {
        return;
    };
    until(&us, "they meet", SOON, |m| alive(m) == 2).await;
    agent
        .process
        .wait_line("majority in name conflict resolution [1 / 1]", SOON);
    eventually("we go on under another name", SOON, async || {
        us.name().starts_with("twin-").then_some(())
    })
    .await;
    agent.wait_member(&["twin ", "alive"]);
    agent.wait_member(&[&us.name(), "alive"]);
}
