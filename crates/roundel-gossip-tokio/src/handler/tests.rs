use std::collections::BTreeMap;
use std::time::Instant;

use roundel_gossip::Status;

use super::*;

fn member(name: &str, tags: &[(&str, &str)]) -> Member {
    let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Member {
        name: name.to_owned(),
        address: "10.0.0.7:7946".parse().unwrap(),
        tags: tags.collect::<BTreeMap<_, _>>(),
        status: Status::Alive,
        suspect: false,
        incarnation: 1,
        versions: [1, 5, 2, 2, 5, 5],
        since: Instant::now(),
        known: roundel_gossip::Known::Asked,
    }
}

fn user(name: &str) -> Happening {
    Happening::User(UserEvent {
        name: name.to_owned(),
        payload: b"v2".to_vec(),
        time: 7,
    })
}

#[test]
fn filters_are_read_as_serf_reads_them() {
    let join = Happening::Members("member-join", Vec::new());
    let failed = Happening::Members("member-failed", Vec::new());
    let wants = |text: &str, happening: &Happening| -> bool {
        text.parse::<Handler>().unwrap().wants(happening)
    };
    assert!(wants("./all.sh", &join) && wants("*=./all.sh", &user("x")));
    assert!(wants("member-join,member-leave=./h.sh a=b", &join));
    assert!(!wants("member-join,member-leave=./h.sh", &failed));
    assert!(wants("user=x", &user("deploy")) && wants("user:deploy=x", &user("deploy")));
    assert!(!wants("user:deploy=x", &user("other")));
    assert!(!wants("query:deploy=x", &user("deploy")));
    let script = "user=sh -c 'a=b'".parse::<Handler>().unwrap().script;
    assert_eq!(script, "sh -c 'a=b'");
    assert_eq!("user=".parse::<Handler>(), Err(HandlerError::NoScript));
    let wrong = "member-joined=x".parse::<Handler>();
    assert_eq!(wrong, Err(HandlerError::Event("member-joined".to_owned())));
}

#[test]
fn members_come_as_lines_and_payloads_as_they_are() {
    let web = member("web-1", &[("role", "backend"), ("port", "30\t00\n")]);
    let lines = run::input(&Happening::Members("member-join", vec![web]));
    let wanted = "web-1\t10.0.0.7\tbackend\tport=30\\t00\\n,role=backend\n";
    assert_eq!(String::from_utf8(lines).unwrap(), wanted);
    assert_eq!(run::input(&user("x")), b"v2\n");
}

#[test]
fn what_happens_alike_shares_a_run_and_too_much_is_dropped() {
    let mut waiting = Waiting::default();
    let one = |kind| Happening::Members(kind, vec![member("a", &[])]);
    waiting.add(one("member-join"));
    waiting.add(one("member-join"));
    waiting.add(one("member-leave"));
    waiting.add(one("member-join"));
    let count = |happening: &Happening| match happening {
        Happening::Members(_, members) => members.len(),
        _ => 0,
    };
    let counts: Vec<_> = waiting.queue.iter().map(count).collect();
    assert_eq!(counts, [2, 1, 1]);
    for _ in 0..2000 {
        waiting.add(user("x"));
    }
    assert_eq!((waiting.queue.len(), waiting.dropped), (WAITING, 979));
}

async fn node() -> Handle {
    let config = crate::Config {
        name: "lb".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tags: [
            ("role".to_owned(), "balancer".to_owned()),
            ("my-tag".to_owned(), "é".to_owned()),
        ]
        .into(),
        ..crate::Config::default()
    };
    crate::start(config).await.unwrap()
}

#[tokio::test]
async fn variables_go_by_both_names() {
    let handle = node().await;
    let found: BTreeMap<_, _> = run::variables(&handle, &user("deploy"))
        .into_iter()
        .collect();
    for (name, value) in [
        ("SERF_EVENT", "user"),
        ("SERF_SELF_NAME", "lb"),
        ("SERF_SELF_ROLE", "balancer"),
        ("SERF_TAG_ROLE", "balancer"),
        ("ROUNDEL_TAG_MY_TAG", "é"),
        ("SERF_USER_EVENT", "deploy"),
        ("ROUNDEL_USER_LTIME", "7"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
    let nul = run::variables(&handle, &user("a\0b"));
    assert!(!nul.iter().any(|(name, _)| name == "SERF_USER_EVENT"));
}

#[tokio::test]
async fn a_script_that_hangs_is_killed_with_its_children() {
    let handle = node().await;
    let begun = Instant::now();
    let limit = Duration::from_millis(200);
    run::run(handle, "sleep 60 & sleep 60", &user("x"), limit).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}
